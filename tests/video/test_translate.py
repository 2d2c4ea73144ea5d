"""Keypoints and videos to captions, by a translator out of the registry."""

from __future__ import annotations

import importlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from sign_models.cli.translate import parse
from sign_models.errors import DataError, ParamsError
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.pipeline import translate
from sign_models.pipeline.translate import run_translate, segments
from sign_models.video.pose_file import write_pose
from tests.keypoints.signer import signer

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "video" / "hoy.mp4"
NOTHING = {
    name: ""
    for name in (
        "videos",
        "model",
        "out",
        "srt",
        "vtt",
        "eaf",
        "json",
        "n_best",
        "strict_extractor",
        "overlay",
        "experiment",
    )
}


def given(**chosen: str) -> dict[str, str]:
    return NOTHING | {"relative_to": ""} | chosen


def test_keypoints_become_captions_and_annotations(
    pipeline: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    points = (signer("mediapipe_75", 60) * 100 + 300).astype(np.float32)
    confidence = np.ones(points.shape[:2], np.float32)
    clip = KeypointSequence("a", points, confidence, "mediapipe_75", size=(640.0, 480.0), fps=25.0)
    write_pose(tmp_path / "in" / "a.pose", clip, np.zeros(points.shape[:2], np.float32), {})
    forms = {"srt": "true", "vtt": "true", "eaf": "true", "json": "true"}
    run_translate(parse(given(videos=str(tmp_path / "in"), model="candidate", out=str(tmp_path / "out"), **forms)))
    tree = json.loads((tmp_path / "out" / "a.json").read_text())
    assert tree["source"] == "a" and tree["model"].startswith("models:/sign-translator/") and tree["segments"]
    times = [(s["start"], s["end"]) for s in tree["segments"]]
    assert all(0 <= start < end <= 60 / 25 for start, end in times)
    lines = capfd.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines if "\t" in line] == ["a"] * len(times)
    root = ET.parse(tmp_path / "out" / "a.eaf")
    slots = [int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")]
    assert slots == [round(1000 * at) for pair in times for at in pair]
    assert (tmp_path / "out" / "a.vtt").read_text().startswith("WEBVTT\n")
    assert (tmp_path / "out" / "a.srt").exists()


@pytest.mark.usefixtures("pipeline")
def test_a_warning_of_many_clips_is_said_once_and_counted(
    tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = (signer("mediapipe_75", 60) * 100 + 300).astype(np.float32)
    for name in "abc":
        clip = KeypointSequence(
            name, points, np.ones(points.shape[:2], np.float32), "mediapipe_75", size=(640.0, 480.0), fps=25.0
        )
        write_pose(tmp_path / "in" / f"{name}.pose", clip, np.zeros(points.shape[:2], np.float32), {})
    monkeypatch.setattr(translate, "trained_on", lambda tags: ["other 1.0 (hand 00000000, pose 00000000)"])
    run_translate(parse(given(videos=str(tmp_path / "in"), model="candidate")))
    said = [line.partition("warning: ") for line in capfd.readouterr().err.splitlines() if "warning: " in line]
    assert [clip for clip, _, _ in said] == ["a: ", "3 clips in all: "] and said[0][2] == said[1][2]


@pytest.mark.parametrize(("unsure", "lines"), [("mark", ["[unsure]"]), ("omit", [])])
def test_what_is_rejected_is_marked_or_left_out_of_captions(
    pipeline: Path, tmp_path: Path, capfd: pytest.CaptureFixture, unsure: str, lines: list[str]
) -> None:
    points = (signer("mediapipe_75", 60) * 100 + 300).astype(np.float32)
    clip = KeypointSequence(
        "a", points, np.ones(points.shape[:2], np.float32), "mediapipe_75", size=(640.0, 480.0), fps=25.0
    )
    write_pose(tmp_path / "in" / "a.pose", clip, np.zeros(points.shape[:2], np.float32), {})
    out = {"out": str(tmp_path / "out"), "srt": "true", "eaf": "true", "json": "true"}
    base = given(videos=str(tmp_path / "in"), model="candidate", **out)
    run_translate(parse(base | {"reject_below": "0"}))
    before = json.loads((tmp_path / "out" / "a.json").read_text())["segments"]
    run_translate(parse(base | {"reject_below": "1", "unsure": unsure}))
    after = json.loads((tmp_path / "out" / "a.json").read_text())["segments"]
    assert before and all(s["text"] for s in before)
    for was, now in zip(before, after, strict=True):
        assert (now["text"], now["unsure"], now["n_best"][0]) == ("", True, was["text"])
    captions = (tmp_path / "out" / "a.srt").read_text().splitlines()
    assert [line for line in captions if line.startswith("[")] == lines * len(before)
    assert not any(s["text"] in captions for s in before)
    root = ET.parse(tmp_path / "out" / "a.eaf")
    values = [value.text or "" for value in root.iter("ANNOTATION_VALUE")]
    assert ("[unsure]" in values) == bool(lines)


def test_segments_of_python_say_what_is_unsure() -> None:
    clip = KeypointSequence("a", np.zeros((1, 75, 2)), np.zeros((1, 75)), "mediapipe_75", fps=25.0)
    window = {"start": 0.0, "end": 1.0, "text": "", "guess": "tea", "score": -0.5, "confidence": 0.2, "unsure": True}
    others = [{"text": "tea", "score": -0.5}, {"text": "milk", "score": -0.9}]
    [segment] = segments({"windows": [window], "n_best": others}, clip)
    assert (segment.text, segment.unsure, segment.confidence, segment.n_best) == ("", True, 0.2, ("tea", "milk"))
    [sure] = segments({"windows": [{"start": 0.0, "end": 1.0, "text": "tea", "score": 0.0}]}, clip)
    assert (sure.text, sure.unsure, sure.confidence, sure.n_best) == ("tea", False, 1.0, ())


@pytest.mark.video
@pytest.mark.skipif(not REAL.is_file(), reason="real videos of signing are not part of the repository")
def test_a_real_video_becomes_captions(pipeline: Path, tmp_path: Path) -> None:
    """By a tiny translator: the way is tried, not the text."""
    run_translate(parse(given(videos=str(REAL), model="candidate", out=str(tmp_path), eaf="true", json="true")))
    tree = json.loads((tmp_path / "hoy.json").read_text())
    assert tree["source"] == "hoy.mp4" and 0 <= tree["segments"][0]["start"] < tree["segments"][-1]["end"] <= 2.2
    assert 'MEDIA_URL="./hoy.mp4"' in (tmp_path / "hoy.eaf").read_text()


def test_without_a_frame_rate_there_are_no_times() -> None:
    clip = KeypointSequence("a", np.zeros((1, 75, 2)), np.zeros((1, 75)), "mediapipe_75", source="a.npy")
    with pytest.raises(DataError, match="a.npy: tells no frame rate"):
        segments({"windows": []}, clip)


@pytest.mark.parametrize("name", ["extract", "translate"])
def test_a_video_may_stand_without_its_option(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Path] = []
    monkeypatch.setattr(f"sign_models.pipeline.{name}.run_{name}", lambda options: taken.append(options.videos))
    main = importlib.import_module(f"entrypoints.{name}").main
    for words in (["a.mp4"], ["--videos", "a.mp4"], ["--out", "o", "a.mp4"]):
        main.main([*words, *([] if "--out" in words else ["--out", "o"])], standalone_mode=False)
    assert taken == [Path("a.mp4")] * 3
    with pytest.raises(ParamsError, match="videos: given twice, as 'b.mp4' and 'a.mp4'"):
        main.main(["a.mp4", "--videos", "b.mp4"], standalone_mode=False)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({}, "videos: not given"),
        ({"videos": "v", "srt": "true"}, "out: not given"),
        ({"videos": "v", "n_best": "17"}, "n_best: '17'"),
        ({"videos": "v", "vtt": "perhaps"}, "true or false"),
        ({"videos": "v", "unsure": "perhaps"}, "unsure: 'perhaps'; wanted mark or omit"),
        ({"videos": "v", "reject_below": "1.5"}, "reject_below: '1.5'; wanted 0 to 1"),
        ({"videos": "v", "reject_below": "nan"}, "reject_below: 'nan'"),
        ({"videos": "v", "reject_below": "a"}, "reject_below: 'a'"),
    ],
)
def test_mistakes_are_refused_before_any_work(chosen: dict[str, str], said: str) -> None:
    with pytest.raises(ParamsError) as caught:
        parse(given(**chosen))
    assert said in str(caught.value)
