"""The same promises through a real tracking server: SQL store, artifact proxy, one that goes away for a while."""

from __future__ import annotations

import getpass
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from sign_models.errors import ResourceError
from sign_models.tracking import store
from sign_models.tracking.checkpoints import RunCheckpoints
from sign_models.tracking.registered.registration import register
from sign_models.tracking.registered.registry import resolve
from sign_models.tracking.runs import stage_run
from tests.tracking import fakes
from tests.tracking.servers import Server

pytestmark = pytest.mark.server


def started(fresh_store: Path, folder: Path, password: str = "") -> Server:
    shutil.copy(fresh_store, folder / "mlflow.db")
    server = Server(folder, password)
    server.start()
    return server


@pytest.fixture(scope="module")
def open_server(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that asks nobody who comes, for all tests of this file: starting it takes seconds."""
    server = started(fresh_store, tmp_path_factory.mktemp("open"))
    yield server
    server.stop()


@pytest.fixture
def server(open_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    use(open_server, tmp_path, monkeypatch)
    return open_server


def use(server: Server, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Work in `folder`, with an experiment of its name."""
    patch.chdir(folder)
    patch.setenv("MLFLOW_TRACKING_URI", server.uri)
    patch.setenv("MLFLOW_EXPERIMENT_NAME", folder.name)


@pytest.mark.usefixtures("fakes")
def test_a_run_lives_through_a_server_that_goes_away(server: Server, tmp_path: Path) -> None:
    work = fakes.write(tmp_path / "work", "skeleton", 1.0)
    with stage_run("skeleton") as run:
        checkpoints = RunCheckpoints(run)
        for step in (1, 2, 3):
            run.log_metrics({"loss": float(step)}, step)
            checkpoints.save(work, step, best=step == 1)
        server.stop()
        for step in range(4, 2000):
            run.log_metrics({"loss": float(step)}, step)
        server.start()
        checkpoints.save(work, 2000, best=False)
        again = RunCheckpoints(run)
        assert again.steps() == [2000, 3, 1]
        latest = again.latest()
        assert latest is not None and fakes.Fake(latest).weight == 1.0 and not latest.is_relative_to(server.folder)
        register(run, "skeleton", work, metrics={}, upstream={}, tags={}, step=2000)
    history = mlflow.MlflowClient().get_metric_history(run.id, "loss")
    assert [(m.step, m.value) for m in history] == [(step, float(step)) for step in range(1, 2000)]
    path = resolve("candidate", "skeleton").path()
    assert fakes.Fake(path).weight == 1.0 and not path.is_relative_to(server.folder)


@pytest.fixture
def asking(fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One that asks for a password."""
    (tmp_path / "server").mkdir()
    server = started(fresh_store, tmp_path / "server", "a word to pass")
    use(server, tmp_path, monkeypatch)
    yield server
    server.stop()


@pytest.mark.usefixtures("fakes")
def test_a_server_that_asks_who_comes_needs_mlflows_own_variables_only(
    asking: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="authenticated"), stage_run("skeleton"):
        raise AssertionError("entered")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", asking.password)
    with stage_run("skeleton") as run:
        run.log_metrics({"loss": 1.0}, 1)
        work = fakes.write(tmp_path / "work", "skeleton", 1.0)
        RunCheckpoints(run).save(work, 1, best=True)
        register(run, "skeleton", work, metrics={}, upstream={}, tags={}, step=1)
    again = RunCheckpoints(run)  # a download lives as long
    latest = again.latest()
    assert latest is not None and fakes.Fake(latest).weight == 1.0 and not latest.is_relative_to(asking.folder)
    assert [m.step for m in mlflow.MlflowClient().get_metric_history(run.id, "loss")] == [1]
    assert fakes.Fake(resolve("candidate", "skeleton").path()).weight == 1.0


@pytest.mark.usefixtures("server")
def test_a_run_that_no_step_began_within_an_hour_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = mlflow.MlflowClient()
    experiment = client.create_experiment(os.environ["MLFLOW_EXPERIMENT_NAME"])
    project = {
        "mlflow.project.entryPoint": "skeleton",
        "mlflow.source.name": f"file://{store.PROJECT}",
        "mlflow.user": getpass.getuser(),
    }
    made = int((time.time() - store.PENDING_RUN_GRACE_S - 60) * 1000)
    left, own = (client.create_run(experiment, made, project).info.run_id for _ in range(2))
    client.create_run(experiment, tags=project)
    client.create_run(experiment, made, project | {"mlflow.source.name": "elsewhere"})
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    assert store.close_dead_runs() == [left]
    monkeypatch.setenv("MLFLOW_RUN_ID", left)  # it had waited in a queue
    with stage_run("skeleton") as run:
        assert run.id == left and client.get_run(left).info.status == "RUNNING"
    assert client.get_run(left).info.status == "FINISHED"
