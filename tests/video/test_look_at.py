"""What is wrong with the frames of a clip is said wherever it is translated: in the report, by `translate`, on the page."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sign_models as sm
from sign_models.keypoints.formats.estimators.pose_record import read_record
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.pipeline import translate
from sign_models.video import batch, report
from sign_models.video.extract import DEFAULTS, Counts, extract
from sign_models.video.following import PEOPLE_RULES, Person
from sign_models.video.models import model_files
from sign_models.video.pose_file import write_pose
from sign_models.video.quality import faults, look, shares
from tests.conftest import ROOT, Command
from tests.keypoints.signer import signer
from tests.video.figure import draw, write_frames

SIZE = (640.0, 480.0)
FINE = {"body": 1.0, "left_hand": 1.0, "right_hand": 1.0, "face": 1.0}
UNSEEN_BY_THE_PAGE = {"face", "several_people", "too_dark"}  # it looks for one body, and sends no picture


def frame(x: float = 320.0, y: float = 160.0, width: float = 100.0) -> np.ndarray:
    """(75, 4) of a signer whose neck is at x, y, with shoulders of a width."""
    points = signer("mediapipe_75", 1)[0] * width + (x, y)
    return np.column_stack([points, np.zeros(75), np.ones(75)]).astype(np.float32)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, set()),
        ({"x": 20.0}, {"no_shoulders"}),
        ({"x": 630.0}, {"no_shoulders"}),
        ({"y": 490.0}, {"no_shoulders"}),
        ({"y": -20.0}, {"no_shoulders"}),
        ({"width": 700.0}, {"no_shoulders"}),
        ({"width": 30.0}, {"too_small"}),
    ],
)
def test_where_the_shoulders_are(given: dict[str, float], wrong: set[str]) -> None:
    seen = look(frame(**given), SIZE)
    assert {name for name in ("no_shoulders", "too_small") if seen[name]} == wrong
    assert faults(shares(np.stack([frame(**given)] * 4), SIZE)).keys() == wrong


def test_a_frame_without_a_body_has_no_shoulders_to_be_judged() -> None:
    assert not any(look(np.zeros((75, 4), np.float32), SIZE).values())


def test_a_large_picture_is_judged_as_the_models_get_it() -> None:
    wide = frame(1600.0, 800.0, 100.0)
    assert look(wide, (3840.0, 2160.0))["too_small"] and not look(wide, (1280.0 * 1.2, 900.0))["too_small"]


@pytest.mark.parametrize("name", report.FAULTS)
def test_each_fault_is_found_and_said(name: str) -> None:
    bad = {"body": 0.5, "hands": 0.2, "face": 0.1}.get(name, 0.9)
    given = FINE | ({"left_hand": bad, "right_hand": 0.1} if name == "hands" else {name: bad})
    assert faults(given, face=True) == {name: bad}
    assert f"{bad:.0%}" in report.FAULTS[name].format(bad)


def test_the_page_says_each_fault_that_it_can_see_in_both_languages() -> None:
    texts = (ROOT / "sign_models" / "serving" / "static" / "texts.js").read_text(encoding="utf-8")
    said = re.findall(r"\blook_(\w+):", texts)
    assert sorted(said) == sorted([*report.FAULTS.keys() - UNSEEN_BY_THE_PAGE] * 2)
    assert len(re.findall(r"\bnoFace:", texts)) == 2


def result_of(person: Person = DEFAULTS.person, **counted: int) -> batch.Result:
    counts = Counts(**({"frames": 10, "body": 10, "left_hand": 10, "right_hand": 10} | counted))
    settings = asdict(replace(DEFAULTS, person=person))
    return batch.Result("a", "extracted", {"counts": asdict(counts), "extractor": {"models": {}}, "settings": settings})


@pytest.mark.parametrize("person", PEOPLE_RULES)
@pytest.mark.parametrize("others", [0, 4])
def test_who_is_asked_for_by_side_and_stands_alone_is_told(person: Person, others: int) -> None:
    told = [line for line in report.warnings(result_of(person, several_people=others)) if "second person" in line]
    assert len(told) == (person in ("left", "right") and not others)


@pytest.mark.parametrize("name", ["body", "left_hand", "several_people", "too_dark", "too_small", "no_shoulders"])
def test_translate_says_what_the_report_of_an_extraction_would(
    pipeline: Command, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad: dict[str, int] = {"left_hand": 1, "right_hand": 1} if name == "left_hand" else {name: 5}
    made = result_of(**bad)

    def extracted(videos: Any, out: Path, *_: object, **__: object) -> list[batch.Result]:
        values = np.stack([frame()] * 10)
        clip = KeypointSequence("a", values[..., :2], values[..., 3], "mediapipe_75", size=SIZE, fps=25.0)
        write_pose(out / "a.pose", clip, values[..., 2], {})
        return [made]

    monkeypatch.setattr(translate, "extract_all", extracted)
    monkeypatch.setattr(translate, "model_files", lambda **_: None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    done = pipeline("translate", tmp_path / "a.mp4", "--model", "candidate", data=False, params=False)
    [told] = report.warnings(made)
    assert done.code == 0 and f"a: warning: {told}\n" in done.err
    sm.read(tmp_path / "a.mp4")
    assert f"a: {told}" in caplog.messages


def test_a_file_that_lacks_a_count_of_today_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"extractor": {"name": "x"}, "settings": asdict(DEFAULTS), "video": {"name": "a.mp4"}}
    monkeypatch.setattr(batch, "record_of", lambda *_: wanted)
    monkeypatch.setattr(batch, "extract_to_file", lambda *_: (wanted, None))
    values = np.stack([frame()] * 3)
    clip = KeypointSequence("a", values[..., :2], values[..., 3], "mediapipe_75", size=SIZE, fps=25.0)
    counts = asdict(Counts(3, 3, 3, 3))
    for lacking in (None, *counts):
        told = {k: v for k, v in counts.items() if k != lacking}
        write_pose(tmp_path / "a.pose", clip, values[..., 2], wanted | {"counts": told})
        assert read_record(tmp_path / "a.pose")
        video = batch.Video("a", tmp_path / "a.mp4")
        state = batch._one(video, tmp_path, model_files, DEFAULTS, False).state  # type: ignore[arg-type]
        assert state == ("kept" if lacking is None else "replaced"), lacking


@pytest.mark.video
@pytest.mark.parametrize(
    ("cut", "wrong"),
    [(np.s_[:], set()), (np.s_[:380], {"no_shoulders", "hands"}), (np.s_[:, 800:], {"body", "hands"})],
    ids=["whole", "head", "an arm"],
)
def test_a_drawn_signer_without_shoulders_is_named(cut: Any, wrong: set[str], tmp_path: Path) -> None:
    pictures = [np.ascontiguousarray(draw(0.25 * n, (1280, 960))[cut]) for n in range(8)]
    made = extract(write_frames(tmp_path / "a.mp4", pictures), model_files())
    share = {name: count / made.counts.frames for name, count in asdict(made.counts).items()}
    assert faults(share).keys() == wrong
