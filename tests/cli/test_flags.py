"""Every flag of the pipeline and its stages, on the real thing."""

from __future__ import annotations

import json
import logging
import os
import pty
import shutil
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run

from sign_models.params import load
from sign_models.pipeline import runner
from sign_models.pipeline.context import Output
from sign_models.stages.declaration import STAGES, Stage
from tests import tiny, warm

client = mlflow.MlflowClient


def runs(*stages: str) -> list[Run]:
    """Newest first."""
    found = client().search_runs(["0"], order_by=["attributes.start_time DESC"])
    return [run for run in found if run.data.tags.get("sign.stage") in stages]


def children() -> list[str]:
    """Stages of the newest pipeline's runs, in order."""
    parent = runs("pipeline")[0].info.run_id
    found = client().search_runs(["0"], f"tags.mlflow.parentRunId = '{parent}'", order_by=["attributes.start_time ASC"])
    return [run.data.tags["sign.stage"] for run in found]


def versions(stage: str) -> int:
    return len(client().search_model_versions(f"name = 'sign-{stage}'"))


# skip_trained, force --------------------------------------------------------------------------------------------------


def test_skipping_leaves_out_what_would_come_out_again(pipeline, caplog) -> None:
    caplog.set_level(logging.INFO)
    assert pipeline("pipeline", "--skip-trained").code == 0
    assert children() == []
    assert [f"{stage}: skipped" in caplog.text for stage in STAGES] == [True] * 5


MODELLING = {"transformers", "accelerate", "sklearn", "matplotlib", "torch._dynamo"}
DRAWING = MODELLING - {"matplotlib"}  # the diagram of its confidence
HEAVY = MODELLING | {"torch", "sacrebleu", "pose_format"}


NEEDLESS = {"pipeline": HEAVY, "lineage": HEAVY, "prune": HEAVY, "promote": MODELLING, "generate": DRAWING}
LOADED = """
import importlib, json, sys
from sign_models import interruption
from sign_models.cli import commands
for name, (unwanted, words) in json.loads(sys.argv[1]).items():
    sys.argv = [name, *words]
    try:
        commands.run(importlib.import_module(f"entrypoints.{name}").main)
    except SystemExit as end:
        assert not end.code, (name, end.code)
    finally:
        interruption.release()
    assert not {*unwanted} & set(sys.modules), (name, {*unwanted} & set(sys.modules))
"""


def test_a_command_loads_nothing_heavy_that_it_does_not_need(
    built: Path, tmp_path: Path, tiny_data: Path, root: Path
) -> None:
    """One after another, those that need more later. How long each takes is a row of benchmarks/speed.py."""
    shutil.copy(built / "mlflow.db", tmp_path)
    given = ["--data", str(tiny_data), "--config-override", str(tiny_data / "tiny.yaml")]
    words = {"pipeline": [*given, "--skip-trained"], "generate": given}
    asked = {name: ([*unwanted], words.get(name, [])) for name, unwanted in NEEDLESS.items()}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(asked)], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("skipped") == 5 and "version 1" in done.stdout


def test_skipping_trains_what_has_changed_and_what_builds_on_it(pipeline, caplog) -> None:
    caplog.set_level(logging.INFO)
    assert pipeline("pipeline", "--skip-trained", "--alignment.training.steps", "2").code == 0
    assert children() == ["alignment", "generate"]
    assert "alignment: nothing to skip: version 1: params.alignment.training.steps was 60, is 2" in caplog.text


def test_skipping_sees_other_data(pipeline, tiny_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "other"))
    rows = tiny.texts()
    rows[0]["text"] = "coffee now"
    (data / "text_data.json").write_text(json.dumps(rows))
    assert pipeline("pipeline", "--data", data, "--skip-trained", "--no-inference", data=False).code == 0
    assert children() == ["temporal", "alignment"]  # the keypoints are the same


def test_force_trains_a_stage_although_it_could_be_skipped(pipeline) -> None:
    assert pipeline("pipeline", "--skip-trained", "--force", "alignment", "--inference", "false").code == 0
    assert children() == ["alignment"]
    assert [versions(stage) for stage in ("skeleton", "temporal", "alignment")] == [1, 1, 2]


def test_without_skipping_a_stage_is_trained_again(pipeline) -> None:
    assert pipeline("pipeline", "--stage", "skeleton").code == 0
    assert children() == ["skeleton"] and versions("skeleton") == 2
    assert client().get_model_version_by_alias("sign-skeleton", "candidate").version == 2


# inference, stage, preset, config_override ----------------------------------------------------------------------------


def test_without_inference_nothing_is_represented_or_generated(empty) -> None:
    assert empty("pipeline", "--inference", "false", "--steps", "1").code == 0
    assert children() == ["skeleton", "temporal", "alignment"]


def test_without_inference_frozen_alignment_still_gets_its_representations(empty) -> None:
    assert empty("pipeline", "--no-inference", "--alignment.finetune", "false", "--steps", "1").code == 0
    assert children() == ["skeleton", "temporal", "represent", "alignment"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_alone_builds_on_what_is_registered(pipeline, stage: str) -> None:
    short = ["--steps", "2"] if stage in ("skeleton", "temporal", "alignment") else []
    assert pipeline("pipeline", "--stage", stage, *short).code == 0
    assert children() == [stage]
    store_lock = pipeline(stage, *short)
    assert store_lock.code == 0
    first, second = runs(stage)[:2]
    assert "mlflow.parentRunId" not in first.data.tags and "mlflow.parentRunId" in second.data.tags
    assert first.data.params == second.data.params


def test_preset_and_override_are_what_the_run_used(empty, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("skeleton: {training: {steps: 2, seed: 5}}")
    done = empty("pipeline", "--preset", "quick", "--config-override", "my.yaml", "--stage", "skeleton", params=False)
    assert done.code == 0
    quick = load.resolve(None, "quick").skeleton
    params = runs("skeleton")[0].data.params
    assert params["skeleton.model.width"] == str(quick.model.width)
    assert (params["skeleton.training.steps"], params["skeleton.training.seed"]) == ("2", "5")
    assert runs("pipeline")[0].data.tags["sign.preset"] == "quick"


def test_epochs_and_other_shorts_are_what_the_run_used(pipeline) -> None:
    assert pipeline("alignment", "--epochs", "2", "--batch-size", "5", "--lr", "3e-3", "--seed", "7").code == 0
    run = runs("alignment")[0]
    given = {"epochs": "2.0", "batch_size": "5", "lr": "0.003", "seed": "7", "steps": "null"}
    assert {k: run.data.params[f"alignment.training.{k}"] for k in given} == given
    steps = [p.step for p in client().get_metric_history(run.info.run_id, "train/loss")]
    assert steps[-1] == 2 * 3 - 1  # 12 clips in batches of 5 are 3 steps


# data -----------------------------------------------------------------------------------------------------------------


def test_files_one_by_one_are_the_folder(pipeline, tiny_data: Path) -> None:
    """The same data: nothing needs training."""
    files = {
        "--keypoints": "sign_language_keypoints.pkl",
        "--videos": "video_sequences.pkl",
        "--texts": "text_data.json",
    }
    words = [word for option, name in files.items() for word in (option, tiny_data / name)]
    assert pipeline("pipeline", *words, "--skip-trained", data=False).code == 0
    assert children() == []


def test_one_file_wins_over_the_folder(pipeline, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"test_0": "hello"}))
    assert pipeline("generate", "--texts", "mine.json").code == 0
    path = mlflow.artifacts.download_artifacts(
        run_id=runs("generate")[0].info.run_id, artifact_path="generation_results.json"
    )
    rows = {row["id"]: row["reference"] for row in json.loads(Path(path).read_text())["results"]}
    assert rows == {name: "hello" if name == "test_0" else None for name in tiny.videos()}


def test_relative_paths_count_from_where_the_command_is_typed(pipeline, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    shutil.copytree(tiny_data, tmp_path / "far" / "data")
    words = ["--data", "data", "--config-override", "data/tiny.yaml", "--relative-to", tmp_path / "far"]
    assert pipeline("pipeline", *words, "--skip-trained", data=False, params=False).code == 0
    assert children() == []


def test_videos_serve_as_keypoints_but_those_of_the_test_split_do_not(empty, tiny_data: Path) -> None:
    files = ["--videos", tiny_data / "video_sequences.pkl", "--texts", tiny_data / "text_data.json"]
    assert empty("skeleton", *files, "--steps", "2", data=False).code == 0
    from sign_models.data.splits import hold_out
    from sign_models.datasets.inputs import Inputs

    corpus = Inputs.from_paths(None, None, files[1], files[3]).keypoints
    train, validation, *_ = hold_out(corpus, 0.1, 0)
    used = {corpus.ids[i].partition("_")[0] for i in [*train, *validation]}
    assert used == {"train", "dev", "wild"}


# upstream -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["mine", "runs:/{run}"])
def test_an_upstream_is_named_in_any_form(pipeline, form: str) -> None:
    """Forms are resolved in one place: all of them are in tests/tracking/test_registry.py."""
    client().set_registered_model_alias("sign-skeleton", "mine", "1")
    [made] = runs("skeleton")
    asked = form.format(run=made.info.run_id)
    assert pipeline("temporal", "--skeleton-model", asked, "--steps", "1").code == 0
    tags = runs("temporal")[0].data.tags
    assert (tags["sign.upstream.skeleton.asked"], tags["sign.upstream.skeleton"]) == (asked, "models:/sign-skeleton/1")


def test_a_pipeline_builds_on_its_own_versions(pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where somebody moves the alias in between."""

    run_stage = runner.run_stage

    def moved_before(stage: Stage, *given: Any) -> Output:
        if stage.name == "temporal":
            client().set_registered_model_alias("sign-skeleton", "candidate", "1")
        return run_stage(stage, *given)

    monkeypatch.setattr(runner, "run_stage", moved_before)
    monkeypatch.setattr(runner, "STAGES", {name: STAGES[name] for name in ("skeleton", "temporal")})
    assert pipeline("pipeline", "--steps", "1").code == 0
    assert runs("temporal")[0].data.tags["sign.upstream.skeleton"] == "models:/sign-skeleton/2"


def test_the_registry_is_all_that_a_later_stage_needs(
    pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the folder in which an earlier one ran, nor anything in it."""
    store = Path(shutil.move(tmp_path / "mlflow.db", tmp_path.with_name(f"{tmp_path.name}-store.db")))
    for left in tmp_path.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    assert pipeline("generate").code == 0
    assert versions("translator") == 2
    assert not list(elsewhere.iterdir())


# what is shown while it works -----------------------------------------------------------------------------------------


def test_a_log_gets_lines_and_a_terminal_gets_bars_below_them(
    built: Path, tmp_path: Path, tiny_data: Path, root: Path
) -> None:
    shutil.copy(built / "mlflow.db", tmp_path)
    line = [
        sys.executable,
        "-m",
        "entrypoints.temporal",
        "--data",
        str(tiny_data),
        "--config-override",
        str(tiny_data / "tiny.yaml"),
    ]
    env = {**os.environ, "PYTHONPATH": str(root), "TERM": "xterm"}
    done = warm.run(line, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr and "Warning" not in done.stderr
    assert [text.split()[2] for text in done.stderr.splitlines() if "train loss" in text] == ["2/6", "4/6", "6/6"]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))  # a bar on a terminal of no width is empty
    process = warm.Popen(line, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    while block := _read(ours):
        shown += block
    assert process.wait(timeout=60) == 0
    os.close(ours)
    assert b"temporal: 100%" in shown
    lines = [line.split("\r")[-1] for line in shown.decode().replace("\r\n", "\n").split("\n")]  # as they stay there
    assert [text.split()[2] for text in lines if "train loss" in text] == ["2/6", "4/6", "6/6"]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""
