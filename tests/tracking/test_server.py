"""The same promises through a real tracking server: SQL store, artifact proxy, one that goes away for a while."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from sign_models.tracking.checkpoints import RunCheckpoints
from sign_models.tracking.registration import register
from sign_models.tracking.registry import resolve
from sign_models.tracking.runs import stage_run
from tests.tracking import fakes


class Server:
    """`mlflow server` on a port of this machine, started and stopped at will."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        artifacts = ["--artifacts-destination", str(self.folder / "served"), "--workers", "1"]
        env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        env.pop("MLFLOW_TRACKING_URI", None)
        self.process = subprocess.Popen(
            [*command, *store, *artifacts],
            env=env,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 90
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise TimeoutError("mlflow server does not start")

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    shutil.copy(template, tmp_path / "server/mlflow.db")
    server = Server(tmp_path / "server")
    server.start()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "remote")
    yield server
    server.stop()


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
        register(run, "skeleton", work, input_example=fakes.clips(), metrics={}, upstream={}, tags={}, step=2000)
    history = mlflow.MlflowClient().get_metric_history(run.id, "loss")
    assert [(m.step, m.value) for m in history] == [(step, float(step)) for step in range(1, 2000)]
    path = resolve("candidate", "skeleton").path()
    assert fakes.Fake(path).weight == 1.0 and not path.is_relative_to(server.folder)
