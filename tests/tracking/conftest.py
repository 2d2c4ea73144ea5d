"""Every test gets a real sqlite store of its own: a copy of one that was made once, since making one takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from sign_models.tracking import store
from tests.tracking import versions
from tests.tracking.fakes import Fake


@pytest.fixture
def tracking(fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store in a working directory of its own, in use by this process and its children."""
    use(fresh_store, tmp_path, monkeypatch)
    yield tmp_path
    end_runs()


@pytest.fixture(scope="session")
def excerpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this package what MLflow runs of a model. All 250 files would be written and read six times a version."""
    package = tmp_path_factory.mktemp("excerpt") / "sign_models"
    (package / "serving").mkdir(parents=True)
    for name in ("__init__.py", "serving/__init__.py", "serving/served_model.py"):
        shutil.copy(store.PROJECT / "sign_models" / name, package / name)
    return package


@pytest.fixture
def fakes(excerpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered models are fakes.Fake."""
    pretend(excerpt, monkeypatch)


@pytest.fixture(scope="module")
def shared(fresh_store: Path, excerpt: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Like `tracking` with `fakes`, one for all tests of a module: for those that only look."""
    with pytest.MonkeyPatch.context() as patch:
        pretend(excerpt, patch)
        path = tmp_path_factory.mktemp("shared")
        use(fresh_store, path, patch)
        yield path
        end_runs()


@pytest.fixture(scope="session")
def registered(fresh_store: Path, excerpt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder whose mlflow.db holds the translators of versions.FOUR. To be read only."""
    path = tmp_path_factory.mktemp("registered")
    with pytest.MonkeyPatch.context() as patch:
        pretend(excerpt, patch)
        use(fresh_store, path, patch)
        for chrf, data in versions.FOUR:
            versions.train(path / "out", chrf, data)
        end_runs()
    return path


@pytest.fixture
def four(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: None) -> Iterator[Path]:
    """Like `tracking` with `fakes`, with the translators of versions.FOUR."""
    use_copy(registered / "mlflow.db", tmp_path, monkeypatch)
    yield tmp_path
    end_runs()


def pretend(excerpt: Path, patch: pytest.MonkeyPatch) -> None:
    """Register and load fakes.Fake, with `excerpt` in place of the package."""
    patch.setattr("sign_models.serving.load", Fake)
    patch.setattr("sign_models.tracking.registered.registration.PACKAGE", excerpt)


def use(empty: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Work in `folder`, on a copy of an empty store."""
    use_copy(empty, folder, patch)
    mlflow.MlflowClient().create_experiment("tests", artifact_location=str(folder / "artifacts"))


def use_copy(database: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Work in `folder`, on a copy of a database."""
    shutil.copy(database, folder / "mlflow.db")
    patch.chdir(folder)
    patch.setenv("PYTHONPATH", str(store.PROJECT))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        patch.delenv(name, raising=False)
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    patch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")


def end_runs() -> None:
    while mlflow.active_run():
        mlflow.end_run("FAILED")
