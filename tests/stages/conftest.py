"""Tiny corpora, and each training stage as a function of its logger."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from sign_models.datasets.inputs import Inputs
from tests import tiny


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs.from_paths(tiny.write_data(tmp_path_factory.mktemp("inputs")), None, None, None)


@pytest.fixture
def train(inputs: Inputs) -> Callable:
    """train("temporal", logger, temporal__training__steps=3) -> Trained."""
    from tests.stages.training import train

    return partial(train, inputs)
