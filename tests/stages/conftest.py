"""Tiny corpora, and each training stage as a function of its recorder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sign_models.data.inputs import Inputs
from tests import tiny
from tests.stages.recorders import Memory


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs.of(tiny.write_data(tmp_path_factory.mktemp("inputs")), None, None, None)


@pytest.fixture
def train(inputs: Inputs, tmp_path: Path) -> Callable:
    """train("temporal", recorder, temporal__training__steps=3) -> Trained, on models that are fresh and the same each time."""
    import torch

    from sign_models.models.skeleton import SkeletonModel
    from sign_models.models.temporal import TemporalModel
    from sign_models.stages import alignment, skeleton, temporal

    def run(stage: str, recorder: Memory, **more: object):
        params = tiny.params(**more)
        torch.manual_seed(1)
        first = SkeletonModel(**params.skeleton.model.model_dump())
        if stage == "skeleton":
            return skeleton.train(params.skeleton, inputs.keypoints, recorder)
        if stage == "temporal":
            return temporal.train(params.temporal, inputs.videos, first, recorder)
        second = TemporalModel(first, **params.temporal.model.model_dump())
        return alignment.train(params.alignment, inputs.videos, inputs.texts, second, recorder, "cased")

    return run
