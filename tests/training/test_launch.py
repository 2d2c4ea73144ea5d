"""processes=N through the real command: one run, one message, one exit code. A training that ends well by them is in
tests/pipeline/test_toy_stage.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from tests.conftest import use_store


def test_a_mistake_is_told_once(
    fresh_store: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not forked from a warm process: what torchrun writes depends on the environment in which it is imported."""
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    use_store(tmp_path, monkeypatch)
    words = ["--data", str(tiny_data), "--config-override", str(tiny_data / "tiny.yaml"), "--processes", "2"]
    command = [sys.executable, "-m", "entrypoints.skeleton", *words, "--batch-size", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    [told] = [line for line in done.stderr.splitlines() if "rror" in line or "Traceback" in line]
    assert told.startswith("ParamsError: training.batch_size: 1 clips a step for 2 processes")
    [run] = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"
    assert not mlflow.MlflowClient().search_registered_models()
