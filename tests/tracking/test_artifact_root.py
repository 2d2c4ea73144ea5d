"""One artifact root for the server, the commands and the default store, whichever of them comes first."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest

import sign_models_mlflow
from sign_models.errors import ResourceError
from sign_models.tracking import store
from sign_models.tracking.runs import stage_run
from tools import ui


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a store, as it is before the first command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(store.PROJECT))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def store_something(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An artifact of a new run of the default experiment; where it lies."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with stage_run("skeleton") as run:
        run.log_text("kept", "note.txt")
    return str(mlflow.MlflowClient().get_run(run.id).info.artifact_uri)


@pytest.mark.server
def test_a_store_that_was_opened_in_the_browser_first_can_be_trained_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tools.ui", "--port", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 90
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        for uri in (address, f"sqlite:///{folder}/mlflow.db"):
            where = store_something(uri, monkeypatch)
            assert Path(where.removeprefix("file://")).is_relative_to(folder / "mlruns"), where
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_artifacts_lie_beside_the_database_wherever_a_command_is_typed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{folder}/kept/mlflow.db"
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    roots = [store_something(uri, monkeypatch)]
    roots.append(sign_models_mlflow.sqlite_store(uri).artifact_root_uri)
    roots.append(dict(zip(*[iter(ui.server_command(uri)[1:])] * 2, strict=True))["--default-artifact-root"])
    for root in roots:
        assert Path(root.removeprefix("file://")).is_relative_to(folder / "kept" / "mlruns"), roots


@pytest.mark.parametrize("given", ["MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", ""])
def test_an_experiment_that_no_command_can_write_to_is_named_with_its_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    uri = f"sqlite:///{folder}/mlflow.db"
    store.make_database(uri, "mlflow-artifacts:/")  # as `mlflow server` would
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    if given:
        monkeypatch.setenv(given, "0" if given.endswith("ID") else "Default")
    with pytest.raises(ResourceError, match="experiment 0: .*mlflow-artifacts.*--experiment-name NAME"):
        store.connect()
    monkeypatch.delenv(given or "NONE", raising=False)
    with stage_run("skeleton", experiment="another") as run:
        run.log_text("kept", "note.txt")
    assert list(folder.glob("mlruns/**/note.txt"))


def test_an_artifact_folder_of_another_machine_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{folder}/mlflow.db"
    (folder / "locked").mkdir()
    store.make_database(uri, str(folder / "locked" / "mlruns"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder / "locked")  # root may write anywhere
    with pytest.raises(ResourceError, match="locked cannot be written to; wanted .*; choose another experiment"):
        store.connect()


def test_a_server_is_not_shown_by_another_one() -> None:
    with pytest.raises(SystemExit, match="open http://host:5000 in the browser"):
        ui.server_command("http://host:5000")
