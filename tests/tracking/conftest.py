"""Every test gets a real sqlite store of its own: a copy of one that was made once, since making one takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from sign_models.tracking import store
from tests.tracking.fakes import Fake


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    store.make_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def tracking(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store in a working directory of its own, in use by this process and its children."""
    shutil.copy(template, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(store.__file__).parents[2]))
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = mlflow.MlflowClient()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    client.create_experiment("tests", artifact_location=str(tmp_path / "artifacts"))
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run("FAILED")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered models are models.Fake."""
    monkeypatch.setattr("sign_models.models.load", Fake, raising=False)
