"""Each script of examples/ does what its first line says, with the commands that its usage tells."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from sign_models.datasets.inputs import Inputs
from sign_models.stages.declaration import STAGES
from tests import tiny
from tests.conftest import ROOT, Command

EXAMPLES = sorted(ROOT.glob("examples/*.py"))
Run = Callable[..., str]


@pytest.fixture
def run(pipeline: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Run:
    """Runs an example in this process, in a folder whose store holds a finished pipeline; gives what it prints."""

    def call(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [f"examples/{name}.py", *map(str, arguments)])
        capfd.readouterr()
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        return capfd.readouterr().out

    return call


@pytest.fixture
def clips(tiny_data: Path, tmp_path: Path) -> Path:
    """A file of two clips that tells its frame rate."""
    import pickle

    named = dict(list(tiny.videos().items())[:2])
    file = tmp_path / "clips.pkl"
    file.write_bytes(pickle.dumps({"layout": tiny.LAYOUT, "fps": tiny.FPS, "sequences": named}))
    return file


def test_every_example_is_tested_short_and_says_how_it_is_run() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 6
    for file in EXAMPLES:
        text = file.read_text(encoding="utf-8")
        assert re.search(rf"^usage: python (-m examples\.|examples/){file.stem}\b", text, re.M), file
        assert f'"{file.stem}"' in tests or f"examples.{file.stem}" in tests, file
        assert len(text.splitlines()) <= 60, file


def test_train(run: Run, tiny_data: Path) -> None:
    params = [f"{name}={value}" for name, value in tiny.sets().items() if name.startswith("skeleton.")]
    said = run("train", "--data", tiny_data, "--stage", "skeleton", *params, "skeleton.training.steps=2")
    assert said.splitlines()[-1].split() == ["skeleton", "models:/sign-skeleton/2"]


def test_read_files(run: Run, clips: Path) -> None:
    said = run("read_files", clips)
    assert f"train_0: 12 frames of 75 landmarks ({tiny.LAYOUT}), 25 fps" in said
    assert 0 < int(re.search(r"(\d+)% of the model's landmarks", said)[1]) <= 100


def test_translate_clip(run: Run, clips: Path) -> None:
    said = run("translate_clip", clips).splitlines()
    assert [line.split()[0] for line in said] == ["train_0", "train_1"]
    made_by = mlflow.MlflowClient().get_model_version("sign-translator", "1").run_id
    assert made_by and all(re.search(r"\d-\d+\.\d+ s: \w+.*\(\d+%\); or \(", line) for line in said)


def test_write_captions(run: Run, clips: Path, tmp_path: Path) -> None:
    run("write_captions", clips, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        f"train_{i}.{suffix}" for i in range(2) for suffix in ("srt", "vtt", "eaf")
    }
    assert "00:00:00,000 --> " in (tmp_path / "out" / "train_0.srt").read_text()


def test_compare_runs(run: Run) -> None:
    [stored] = mlflow.search_runs(filter_string="tags.`sign.stage` = 'alignment'", output_format="list")
    assert run("compare_runs").split() == [
        *stored.info.run_name.split(),
        "validation/score",
        f"{stored.data.metrics['validation/score']:.4g}",
    ]
    mlflow.MlflowClient().create_run("0", tags={"sign.stage": "skeleton"})  # unfinished: not compared
    assert len(run("compare_runs", "skeleton").splitlines()) == 1
    with pytest.raises(SystemExit, match="no finished run"):
        run("compare_runs", "alignment", "no/metric")


def test_promote(run: Run) -> None:
    said = run("promote")
    assert said.startswith("sign-translator: champion is version 1, was None")
    assert all(f"sign-{stage}/1" in said for stage in ("alignment", "temporal", "skeleton"))
    with pytest.raises(SystemExit, match="not promoted.*no version 9"):
        run("promote", 9)


@pytest.fixture
def stage_of_the_example(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = dict(STAGES)
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    STAGES.clear()
    STAGES.update(known)


def test_add_stage(pipeline: Command, stage_of_the_example: None, tiny_data: Path, capfd) -> None:
    from sign_models.cli import commands

    importlib.import_module("examples.add_stage")
    main = commands.stage_command("round")
    with pytest.raises(SystemExit) as end:
        commands.run(main, ["--data", str(tiny_data), "--bits", "4", "--skeleton-model", "1"])
    assert end.value.code == 0, capfd.readouterr().err
    version = mlflow.MlflowClient().get_model_version_by_alias("sign-rounded", "candidate")
    assert json.loads(version.tags["sign.upstream.skeleton"])["uri"] == "models:/sign-skeleton/1"
    assert mlflow.get_run(version.run_id).data.params["round.bits"] == "4"
    assert (
        Inputs.from_paths(tiny_data, None, None, None).digest("keypoints") == version.tags["sign.data.round.keypoints"]
    )
