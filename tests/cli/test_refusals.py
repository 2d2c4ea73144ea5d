"""Every bad input that issue 2 lists, through the real commands: one message, exit code 2, nothing registered."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.pipeline import runner
from sign_models.stages.declaration import STAGES
from sign_models.tracking.registered.registration import register
from sign_models.tracking.runs import stage_run
from tests import tiny
from tests.conftest import Command, Done, use_store
from tests.tracking import fakes

KEYPOINTS, VIDEOS, TEXTS = FILES = ("sign_language_keypoints.pkl", "video_sequences.pkl", "text_data.json")
# Place: found; wanted WANTED; REMEDY. Nothing else on standard error.
MESSAGE = re.compile(r"(Data|Upstream)Error: .+: .+; wanted .+; .+\n|ParamsError: .+: .+; .+\n")
UNSEEN = {f"train_{i}" for i in range(7)}
EARLIER = "test.earlier"  # tag of the runs that were there before the test
client = mlflow.MlflowClient


@pytest.fixture(scope="module")
def trained(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model of every stage that nobody trained, and a second temporal one. To be copied."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(fresh_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        use_store(folder, patch)
        patch.setattr("sign_models.serving.load", fakes.Fake)
        made = fakes.train_all(folder / "out")
        with stage_run("temporal") as run:
            register(
                run, "temporal", fakes.write(folder / "other", "temporal"), metrics={},
                upstream={"skeleton": made["skeleton"]}, tags={}, step=1,
            )  # fmt: skip
        for run in runs():
            client().set_tag(run.info.run_id, EARLIER, "")
    return folder


@pytest.fixture
def refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Callable[..., str]:
    """Runs a command that must refuse, checks what every refusal has in common, and gives its message."""
    shutil.copy(trained / "mlflow.db", tmp_path)
    use_store(tmp_path, monkeypatch)
    before = registered()

    def refuse(name: str, *arguments: object, **more: bool) -> str:
        done: Done = command(name, *arguments, **more)
        assert (done.code, done.out) == (2, "")
        assert MESSAGE.fullmatch(done.err), done.err
        assert {run.info.status for run in begun()} <= {"FAILED"}
        assert registered() == before
        return done.err

    return refuse


def runs() -> list[mlflow.entities.Run]:
    """Newest first."""
    return list(client().search_runs(["0"], order_by=["attributes.start_time DESC"]))


def begun() -> list[mlflow.entities.Run]:
    """Those that the test itself has begun."""
    return [run for run in runs() if EARLIER not in run.data.tags]


def registered() -> dict[str, dict[str, int]]:
    """What each model's versions and aliases are."""
    versions = client().search_model_versions()
    return {
        model.name: model.aliases | {v.source: v.version for v in versions if v.name == model.name}
        for model in client().search_registered_models()
    }


# Spoilt data ----------------------------------------------------------------------------------------------------------

Spoil = Callable[[Path], object]


def without(name: str) -> Spoil:
    return lambda data: (data / name).unlink()


def emptied(name: str) -> Spoil:
    return lambda data: (data / name).write_bytes(b"")


def cut(name: str) -> Spoil:
    return lambda data: (data / name).write_bytes((data / name).read_bytes()[:-99])


def videos(change: Callable[[dict[str, np.ndarray]], Any]) -> Spoil:
    """`change` alters the clips by id, or answers what is to be in the file."""

    def spoil(data: Path) -> None:
        clips = tiny.videos()
        tree = change(clips)
        (data / VIDEOS).write_bytes(pickle.dumps(clips if tree is None else tree))

    return spoil


def train_1(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return videos(lambda clips: clips.update(train_1=change(clips["train_1"])))


def at(place: object, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(clip: np.ndarray) -> np.ndarray:
        clip[place] = value
        return clip

    return change


def texts(change: Callable[[list[dict[str, str]]], Any]) -> Spoil:
    def spoil(data: Path) -> None:
        rows = tiny.texts()
        tree = change(rows)
        (data / TEXTS).write_text(json.dumps(rows if tree is None else tree))

    return spoil


class Payload:
    """Unpickled by the usual means, it leaves a file in the working directory."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


SAMPLE = f"DataError: {VIDEOS}: sample 'train_1': "
MISSING = "DataError: .*/{0}: missing; wanted {0}.*; give it with -P data=DIR"
EMPTY = "DataError: {}: is empty; wanted .*; copy or export it again"
BAD: dict[str, tuple[Spoil, str]] = {
    "no keypoints": (without(KEYPOINTS), MISSING.format(KEYPOINTS)),
    "no videos": (without(VIDEOS), MISSING.format(VIDEOS)),
    "no texts": (
        without(TEXTS),
        f"DataError: .*/{VIDEOS}: no video of the training split has a text; wanted .*{TEXTS}.*; add their ids",
    ),
    "empty keypoints": (emptied(KEYPOINTS), EMPTY.format(KEYPOINTS)),
    "empty videos": (emptied(VIDEOS), EMPTY.format(VIDEOS)),
    "empty texts": (emptied(TEXTS), EMPTY.format(TEXTS)),
    "truncated pickle": (
        cut(VIDEOS),
        f"DataError: {VIDEOS}: is no readable pickle: it ends too early; wanted a whole pickle; copy or export",
    ),
    "truncated JSON": (
        cut(TEXTS),
        f"DataError: {TEXTS}: is not JSON: .* in line 1, column .*; wanted .*; copy or export",
    ),
    "a name outside the allow-list": (
        videos(lambda clips: {"a": Payload()} | clips),
        f"{VIDEOS}: the pickle names (posix|nt).system, which was not run; wanted only dicts.*; save it again",
    ),
    "wrong K": (
        train_1(lambda clip: clip[:, :74]),
        SAMPLE + "74 landmarks a frame fit no known layout; wanted a count of .*75 .mediapipe_75.*; name the layout",
    ),
    "wrong C": (
        train_1(lambda clip: np.zeros((9, 75, 5))),
        SAMPLE + r"keypoints of shape \(9, 75, 5\); wanted \(frames, landmarks, 2 to 4\).*; reshape",
    ),
    "T = 0": (train_1(lambda clip: clip[:0]), SAMPLE + "has no frames; wanted at least one; leave the clip out"),
    "NaN": (
        train_1(at(..., np.nan)),
        SAMPLE + "no landmark is seen in any of its 19 frames; wanted confidence above 0.*; leave the clip out",
    ),
    "Inf": (
        train_1(at((2, 3, 0), np.inf)),
        SAMPLE + "NaN or Inf at frame 2, landmark 3, .*; wanted numbers .*; give unseen landmarks confidence 0",
    ),
    "nothing seen": (
        train_1(at((..., 2), 0)),
        SAMPLE + "no landmark is seen in any of its 19 frames; wanted confidence above 0.*; leave the clip out",
    ),
    "no video for a text": (
        videos(lambda clips: {name: clip for name, clip in clips.items() if name not in UNSEEN}),
        f"{TEXTS}: 7 of 18 texts have no video: 'train_0', .*'train_4' and 2 more; "
        f"wanted ids of .*{VIDEOS}, such as 'train_7'.*; add the videos or remove the texts",
    ),
    **{
        f"texts by {what}": (
            texts(lambda rows, form=form: [{**row, "id": form.format(row["id"])} for row in rows]),
            f"{TEXTS}: 18 of 18 texts have no video: .*; write ids as the keypoints have them: 'train_0' for "
            + re.escape(repr(form.format("train_0"))),
        )
        for what, form in {
            "film": "{}.mp4",
            "loud film": "{}.MP4",
            "path": "videos/{}",
            "path and suffix": "a/b/{}.pose",
            "two endings": "{}.mp4.npy",
            "path of Windows": "films\\{}.mov",
            "address": "https://x.org/v/{}.webm?t=1",
        }.items()
    },
    **{
        f"keypoints by {what}": (
            videos(lambda clips, form=form: {form.format(name): clip for name, clip in clips.items()}),
            f"{TEXTS}: 18 of 18 texts have no video: .*; write ids as the keypoints have them: "
            + re.escape(f"{form.format('train_0')!r} for 'train_0'"),
        )
        for what, form in {"film": "{}.mp4", "path": "videos/{}", "path and ending": "a/{}.webm"}.items()
    },
    "a text of nothing": (
        texts(lambda rows: rows[3].update(text=" ") or rows[5].update(text="")),
        f"{TEXTS}: empty texts: 'train_3', 'train_5'; wanted a text for each id; take them out",
    ),
    "no text at all": (texts(lambda rows: []), f"{TEXTS}: no text in it; wanted .*; add texts"),
    "an id twice among the texts": (
        texts(lambda rows: [*rows, rows[3]]),
        f"{TEXTS}: ids given more than once: 'train_3'; wanted one text for an id; keep one",
    ),
    "an id twice among the videos": (
        videos(lambda clips: [{"id": "a", "keypoints": clip} for clip in clips.values()]),
        f"{VIDEOS}: sample 'a': id 'a' again.*; wanted each id once; rename or remove one",
    ),
    "a text in two splits": (
        texts(lambda rows: [*rows, rows[3] | {"split": "test"}]),
        f"{TEXTS}: ids in more than one split: 'train_3'; wanted one split for an id; keep each",
    ),
    "a video in two splits": (
        videos(lambda clips: {name: {"keypoints": clip, "split": "test"} for name, clip in clips.items()}),
        rf"{TEXTS}: video 'train_0' is in two splits: test \(.*{VIDEOS}\) and train \(.*{TEXTS}\); "
        "wanted one split a video; make the two agree",
    ),
    "no training split": (
        texts(lambda rows: [row for row in rows if row["split"] != "train"]),
        f"{TEXTS}: no training split, only 'dev', 'test'; wanted videos of split \"train\"; set",
    ),
}


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


@pytest.mark.parametrize("name", BAD)
def test_a_pipeline_on_bad_input(name: str, refused: Callable[..., str], data: Path) -> None:
    """Whatever is wrong, it is found before the first stage works."""
    spoil, message = BAD[name]
    spoil(data)
    assert re.search(message, refused("pipeline", "--data", data, data=False))
    assert {run.data.tags["sign.stage"] for run in begun()} <= {"pipeline", "skeleton"}
    stages = [run for run in begun() if run.data.tags["sign.stage"] != "pipeline"]  # which says what was asked
    assert not [run for run in begun() if run.data.metrics] and not [run for run in stages if run.data.params]
    assert not Path("executed").exists()


def test_the_payload_would_run(refused: Callable[..., str]) -> None:
    """The pickle above is a real one."""
    pickle.loads(pickle.dumps(Payload()))
    assert Path("executed").exists()


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_its_file(stage: str, skip: bool, refused: Callable[..., str], data: Path) -> None:
    name = {"skeleton": KEYPOINTS, "alignment": TEXTS}.get(stage, VIDEOS)
    (data / name).unlink()
    words = ("pipeline", "--stage", stage, "--skip-trained") if skip else (stage,)
    assert name in refused(*words, "--data", data, data=False)


@pytest.mark.parametrize("option", ["--data", "--keypoints", "--videos", "--texts"])
def test_a_path_that_leads_nowhere(option: str, refused: Callable[..., str]) -> None:
    told = refused("pipeline", option, "nowhere", data=False)
    assert re.search("DataError: .*nowhere: no such file or folder; wanted .*; check the path", told)


def test_videos_without_a_text_are_welcome_and_counted(
    trained: Path, data: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = runner.describe

    def end(*given: Any) -> None:
        describe(*given)
        raise DataError("the stage begins")

    shutil.copy(trained / "mlflow.db", tmp_path)
    use_store(tmp_path, monkeypatch)
    monkeypatch.setattr(runner, "describe", end)
    (data / TEXTS).write_text(json.dumps({"train_0": "tea", "train_1": "milk"}))
    assert "the stage begins" in command("temporal", "--data", data, data=False).err
    found = client().get_run(runs()[0].info.run_id).inputs.dataset_inputs
    profiles = {entry.dataset.name: json.loads(entry.dataset.profile) for entry in found}
    assert profiles["texts"]["texts"] == 2
    assert profiles["videos"]["clips"] == tiny.VIDEOS and profiles["videos"]["without_text"] == tiny.VIDEOS - 2


# Upstream and params --------------------------------------------------------------------------------------------------


def run_of(stage: str) -> str:
    return next(run.info.run_id for run in runs() if run.data.tags["sign.stage"] == stage)


@pytest.mark.parametrize(
    ("stage", "asked", "message"),
    [
        (
            "temporal",
            "canddate",
            r"'canddate': no such alias; wanted an alias \(candidate \(version 1\)\).*; did you mean 'candidate'",
        ),
        ("represent", "7", r"sign-temporal '7': no version 7; wanted .* a version \(2, 1\).*; name one of these"),
        ("temporal", "0" * 32, "sign-skeleton '0+': no such run; wanted .*; name"),
        ("temporal", "{alignment}", "this run registered sign-alignment; wanted .*; name"),
        (
            "alignment",
            "{represent}",
            "this run of stage 'represent' is FINISHED and registered no model; wanted .*; name",
        ),
        ("alignment", "models:/sign-skeleton/1", "this is a version of sign-skeleton; wanted .*; name"),
        ("generate", "models:/sign-alignment@champion", "no such alias; wanted .*; promote one first .*, or name"),
    ],
)
def test_a_model_that_is_not_there(stage: str, asked: str, message: str, refused: Callable[..., str]) -> None:
    role = {"temporal": "skeleton", "generate": "alignment"}.get(stage, "temporal")
    asked = asked.format(alignment=run_of("alignment"), represent=run_of("represent"))
    assert re.search(f"UpstreamError: .*{message}", refused(stage, f"--{role}-model", asked))


@pytest.mark.parametrize("stage", ["temporal", "represent", "alignment", "generate"])
def test_an_empty_registry(stage: str, empty: Command) -> None:
    done = empty(stage)
    assert done.code == 2 and MESSAGE.fullmatch(done.err)
    assert re.search("none exists; run -e (skeleton|temporal|alignment) first", done.err)


def test_representations_of_another_version(refused: Callable[..., str]) -> None:
    told = refused("alignment", "--representations", run_of("represent"))
    assert re.search(
        r"UpstreamError: representations \w+: made by another temporal model, models:/sign-temporal/1 .*\); "
        r"wanted those of models:/sign-temporal/2 .*; run -e represent -P temporal_model=2, or",
        told,
    )


@pytest.mark.parametrize("asked", ["{alignment}", "0" * 32])
def test_representations_of_a_run_that_made_none(asked: str, refused: Callable[..., str]) -> None:
    told = refused("alignment", "--representations", asked.format(alignment=run_of("alignment")))
    assert re.search("(a run of stage 'alignment'|no such run); wanted the ID of a represent run; leave it out", told)


def test_no_representations_of_this_model(refused: Callable[..., str]) -> None:
    told = refused("alignment", "--finetune", "false")
    assert "no represent run of models:/sign-temporal/2 on this data; wanted its run ID; run -e represent" in told


@pytest.mark.parametrize("name", ["pipeline", "alignment"])
def test_a_key_misspelt(name: str, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("alignment: {finetun: true}")
    told = refused(name, "--config-override", "my.yaml", params=False)
    assert told == "ParamsError: my.yaml: alignment.finetun is no parameter; did you mean 'alignment.finetune'?\n"
    assert not begun()
