"""processes=N through the real command: one run, one message, one exit code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tests.conftest import use_store

Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(fresh_store: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """The skeleton stage by two processes, in a folder of its own with an empty store.

    Not forked from a warm process: what torchrun writes depends on the environment in which it is imported.
    """
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    use_store(tmp_path, monkeypatch)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        words = ["--data", str(tiny_data), "--config-override", str(tiny_data / "tiny.yaml"), "--processes", "2", *more]
        command = [sys.executable, "-m", "entrypoints.skeleton", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=600)

    return run


def test_two_processes_train_in_one_run(start: Start) -> None:
    done = start()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 6/6") == done.stderr.count("registered") == 1
    [run] = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FINISHED" and run.data.tags["sign.processes"] == "2"
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in points] == [1, 3, 5]
    assert len(mlflow.MlflowClient().search_model_versions("name = 'sign-skeleton'")) == 1


def test_a_mistake_is_told_once(start: Start) -> None:
    done = start("--batch-size", "1")
    assert done.returncode == 2
    [told] = [line for line in done.stderr.splitlines() if "rror" in line or "Traceback" in line]
    assert told.startswith("ParamsError: training.batch_size: 1 clips a step for 2 processes")
    [run] = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"
    assert not mlflow.MlflowClient().search_registered_models()
