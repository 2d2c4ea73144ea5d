"""A sixth stage, declared outside the package, in fewer than 60 lines, is one as the five are."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run
from safetensors.numpy import load_file

from sign_models.cli import commands
from sign_models.stages.declaration import STAGES
from tests import warm
from tests.conftest import Command

client = mlflow.MlflowClient


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module that declares it."""
    known = dict(STAGES)
    module = importlib.import_module("tests.pipeline.toy")
    STAGES["toy"] = module.TOY
    yield module
    STAGES.clear()
    STAGES.update(known)
    STAGES.pop("toy", None)


def runs(stage: str) -> list[Run]:
    """Newest first."""
    return client().search_runs(["0"], f"tags.`sign.stage` = '{stage}'", order_by=["attributes.start_time DESC"])


def typed(data: Path, *words: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "tests.pipeline.toy", "--data", str(data), *words]
    return warm.run(line)


def weights(name: str) -> dict[str, np.ndarray]:
    return load_file(
        Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1")) / "artifacts/model/model.safetensors"
    )


def test_it_is_declared_in_fewer_than_sixty_lines(toy: Any) -> None:
    assert len(Path(toy.__file__).read_text().splitlines()) < 60


def test_it_runs_resumes_after_a_kill_registers_skips_and_shows_in_the_lineage(
    toy: Any, pipeline: Command, tiny_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = typed(tiny_data, "--killed_at", "2")
    assert cut.returncode == -signal.SIGKILL, cut.stderr
    assert not client().search_model_versions("name = 'sign-toy'")
    done = typed(tiny_data)
    assert done.returncode == 0, done.stderr
    [run] = runs("toy")
    assert f"toy: goes on with run {run.info.run_id}, which was cut off" in done.stderr
    assert run.info.status == "FINISHED"
    assert [p.step for p in client().get_metric_history(run.info.run_id, "train.norm")] == [0, 1, 2, 3]
    assert "models:/sign-toy/1" in done.stdout and "mlflow models serve -m models:/sign-toy/1" in done.stdout
    before, after = weights("sign-skeleton"), weights("sign-toy")
    for name in before.keys() & after.keys():
        if np.issubdtype(before[name].dtype, np.floating) and np.abs(before[name]).sum():
            assert not np.array_equal(before[name], after[name]), name
    assert run.data.params == {"toy.steps": "4", "toy.rate": "0.1", "toy.killed_at": "2"}
    assert run.data.tags["sign.upstream.skeleton"] == "models:/sign-skeleton/1"

    caplog.set_level(logging.INFO)
    assert pipeline("pipeline", "--skip-trained").code == 0
    assert "toy: skipped, models:/sign-toy/1 is what it would give again" in caplog.text
    assert len(runs("toy")) == 1
    assert pipeline("pipeline", "--skip-trained", "--toy.rate", "0.5").code == 0
    assert "toy: nothing to skip: version 1: params.toy.rate was 0.1, is 0.5" in caplog.text
    assert [run.data.tags["sign.stage"] for run in client().search_runs(["0"])].count("toy") == 2

    told = pipeline("lineage", "--model", "sign-toy/1", data=False, params=False).out
    assert told.index("sign-toy version 1") < told.index("sign-skeleton version 1") < told.rindex("keypoints")
    done = pipeline("promote", "--model", "sign-toy", "--version", "1", data=False, params=False)
    assert done.code == 0, done.err
    assert client().get_model_version_by_alias("sign-toy", "champion").version == 1
    worse = pipeline("promote", "--model", "sign-toy", "--version", "2", data=False, params=False)
    assert worse.code == 2 and "score" in worse.err


IN_PROCESSES = """
from dataclasses import replace
from sign_models.cli import commands
from sign_models.stages.declaration import STAGES
from tests import tiny
from tests.pipeline.toy import TOY

def run(work):
    from sign_models.stages.skeleton import train
    return train(tiny.params().skeleton, work.inputs["keypoints"], work.logger).result()

STAGES["toy"] = replace(TOY, run="somebodys_stage:run", trains=True)
main = commands.stage_command("toy")
if __name__ == "__main__":
    commands.run(main)
"""


def test_it_trains_in_several_processes(
    toy: Any, pipeline: Command, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They know it by its name. One of them has the run, and says what is to be said, once."""
    (tmp_path / "somebodys_stage.py").write_text(IN_PROCESSES)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    line = [sys.executable, "-m", "somebodys_stage", "--data", str(tiny_data), "--processes", "2"]
    done = warm.run(line)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 6/6") == done.stderr.count("registered") == 1
    [run] = runs("toy")
    assert (run.info.status, run.data.tags["sign.processes"]) == ("FINISHED", "2")
    points = client().get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in points] == [1, 3, 5]
    assert len(client().search_model_versions("name = 'sign-toy'")) == 1 and "models:/sign-toy/1" in done.stdout


def test_its_help_and_refusals_are_those_of_a_stage(toy: Any, pipeline: Command, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        commands.run(toy.main, ["--help"])
    told = capfd.readouterr().out
    for said in (toy.TOY.help, "--skeleton-model MODEL", "  --rate 0.1\n", toy.TOY.examples):
        assert said in told
    assert "did you mean 'rate'?" in typed(Path(), "--rat", "0.5").stderr
    told = pipeline("pipeline", "--toy.rate", "2").err
    assert "toy.rate is '2'; wanted less than 1" in told
    assert "--stage to" not in told and "did you mean 'toy'?" in pipeline("pipeline", "--stage", "tow").err


def test_it_can_read_nothing_that_it_does_not_declare(toy: Any, pipeline: Command, monkeypatch) -> None:
    """What is not in the fingerprint is not there."""

    def reads_more(work: Any) -> None:
        for undeclared in (lambda: work.inputs["videos"], lambda: work.models["temporal"],
                           lambda: work.settings["generate.scoring"]):  # fmt: skip
            with pytest.raises(KeyError):
                undeclared()
        assert work.artifact is None
        raise KeyboardInterrupt

    monkeypatch.setattr(toy, "run", reads_more)
    assert pipeline("pipeline", "--stage", "toy").code == 130


def test_its_own_source_is_in_its_fingerprint(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sign_models.tracking import sources

    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for body in ("return 1", "return 2", "return 1  # a comment"):
        (tmp_path / "somebodys_stage.py").write_text(f"import sign_models.data.corpus\ndef run(work): {body}\n")
        sources._read.cache_clear()
        digests.append(sources.source_digest("somebodys_stage"))
    assert digests[0] == digests[2] != digests[1]
    assert "sign_models.data.corpus" in sources.reachable("somebodys_stage")
