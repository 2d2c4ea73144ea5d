"""Fixtures of the tests of imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.generated import sequences, write_folder
from tests.datasets.imports import COUNT


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("source") / "clips", sequences(COUNT))
