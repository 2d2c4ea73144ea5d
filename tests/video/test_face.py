"""The optional face: found at the signer's head only, written, imported, and among the landmarks that models read."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest

import sign_models as sm
from sign_models.data.corpus import Corpus
from sign_models.keypoints import formats
from sign_models.keypoints.extractor import finds_faces
from sign_models.keypoints.layouts import CANONICAL, PARTS, PLACE, to_canonical
from sign_models.keypoints.sequence import KeypointSequence, from_canonical
from sign_models.pipeline import translate
from sign_models.pipeline.demo import about
from sign_models.pipeline.sources import seen_parts
from sign_models.tracking.registered.registry import resolve
from sign_models.video import batch
from sign_models.video.extract import Settings, extract, extract_to_file
from sign_models.video.following import shoulder_width
from sign_models.video.models import ModelFiles, model_files
from tests.conftest import Command
from tests.keypoints.signer import pixels
from tests.video.figure import draw, write_frames, write_signing

BOTH = "mediapipe-tasks 1.2.3 hand=" + "a" * 64


@pytest.mark.video
def test_a_face_goes_with_its_clip_into_the_data_that_models_are_trained_on(
    empty: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_signing(tmp_path / "videos" / "tea.mp4", [True] * 6)
    words = ("--videos", tmp_path / "videos", "--out", tmp_path / "poses", "--workers", 1)
    done = empty("extract", *words, "--face", data=False, params=False)
    assert done.code == 0 and "6 frames read at " in done.out and done.out.strip().endswith("frames/s"), done.err
    (clip,) = formats.read(tmp_path / "poses")
    assert clip.layout == "mediapipe_543" and finds_faces([clip.extractor])
    points, confidence = to_canonical(clip.points, clip.confidence, clip.layout)
    assert (confidence[:, PARTS["face"]] == 1).all()
    width = shoulder_width(clip.points[0, :33])
    nose = np.hypot(*(points[:, PLACE["face.nose_tip"]] - points[:, PLACE["body.nose"]]).T)
    assert (nose < 0.25 * width).all()
    for side, sign in (("left", 1), ("right", -1)):  # the person's left is the picture's right
        eye = points[:, PLACE[f"face.{side}_eye_outer"]] - points[:, PLACE["face.nose_tip"]]
        assert (sign * eye[:, 0] > 0).all() and (eye[:, 1] < 0).all()
    # The import keeps them: what a training reads of the store has faces.
    done = empty("import_", "--source", tmp_path / "poses", "--out", tmp_path / "store", data=False, params=False)
    assert done.code == 0, done.err
    from sign_models.datasets.store import open_store

    store = open_store(tmp_path / "store", full=True)
    assert store.ids == ["tea"] and all(finds_faces([extractor]) for extractor in store.extractors)
    # Made again without a face it is another file, not the kept one.
    monkeypatch.setattr(batch, "_progress", lambda frames: None)
    [video] = batch.find_videos(tmp_path / "videos")
    again = batch._one(video, tmp_path / "poses", model_files(), Settings(), True)
    assert again.state == "replaced" and not finds_faces([next(iter(formats.read(tmp_path / "poses"))).extractor])


@pytest.mark.video
@pytest.mark.parametrize(("person", "side"), [("left", 0), ("right", 1)])
def test_the_face_is_the_signer_s_and_nobody_else_s(person: str, side: int, tmp_path: Path) -> None:
    pair = [np.hstack([draw(0.2 * n, (480, 480)), draw(0.2 * n, (480, 480))]) for n in range(5)]
    video = write_frames(tmp_path / "pair.mp4", pair)
    made = extract(video, model_files(face=True), Settings(person))
    assert made.people == 2 and made.counts.face == 5
    x = made.sequence.points[:, 33 : 33 + 468, 0]
    assert (x > 480 * side).all() and (x < 480 * (side + 1)).all()
    assert (made.sequence.confidence[:, 33 : 33 + 468] == 1).all() and made.depth[:, 33 : 33 + 468].any()


@pytest.mark.video
def test_without_asking_there_is_no_face(tmp_path: Path) -> None:
    video = write_signing(tmp_path / "a.mp4", [True] * 3)
    record, _ = extract_to_file(video, tmp_path / "a.pose", model_files(), Settings())
    assert record["counts"]["face"] == 0 and set(record["extractor"]["models"]) == {"pose", "hand"}
    assert next(iter(formats.read(tmp_path / "a.pose"))).layout == "mediapipe_75"


@pytest.mark.parametrize(("trained", "face"), [((f"{BOTH} face={'b' * 64}", None), True), ((BOTH, None), False)])
def test_videos_are_translated_with_faces_where_training_had_them(
    trained: tuple[str | None, ...], face: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def files(*, face: bool) -> ModelFiles:
        asked.append(face)
        raise KeyboardInterrupt

    monkeypatch.setattr(translate, "model_files", files)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(KeyboardInterrupt):
        list(translate.clips(tmp_path / "a.mp4", tmp_path, face=finds_faces(trained)))
    assert asked == [face]


@pytest.mark.parametrize(("given", "face"), [({}, False), ({"face": "true"}, True), ({"face_model": "f.task"}, Path)])
def test_the_face_is_asked_for_by_a_flag_or_a_model(given: dict[str, str], face: object) -> None:
    from entrypoints.extract import main
    from sign_models.cli.extract import parse

    options = {option.name or "": "" for option in main.params} | {"videos": "v", "out": "o", "relative_to": ""}
    found = parse(options | given).face
    assert isinstance(found, Path) if face is Path else found is face


def corpus(parts: set[str], clips: int = 5) -> Corpus:
    """Clips of a signer of whom only these parts are seen."""
    unseen = [place for part, places in PARTS.items() if part not in parts for place in range(len(CANONICAL))[places]]
    made = []
    for i in range(clips):
        frames = np.zeros((12, len(CANONICAL), 3), np.float32)
        frames[..., :2] = np.random.default_rng(i).normal(size=(12, len(CANONICAL), 2))
        frames[:, [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]], :2] = ((0.5, 0), (-0.5, 0))
        frames[..., 2] = 1.0
        frames[:, unseen] = 0
        made.append(from_canonical(f"{i}", frames))
    return Corpus.from_sequences(made)


@pytest.mark.parametrize(
    "parts", [{"body"}, {"body", "right_hand"}, {"body", "left_hand", "right_hand"}, set(PARTS)], ids=len
)
def test_the_parts_that_clips_show_are_told_whatever_extracted_them(parts: set[str]) -> None:
    assert set(seen_parts(corpus(parts))) == parts


@pytest.mark.parametrize(
    ("layout", "face"),
    [
        ("mediapipe_75", False), ("openpose_25_hands_67", False), ("skels_50", False),
        ("mediapipe_543", True), ("coco_wholebody_133", True), ("isharah_86", True), ("sapiens_308", True),
    ],
)  # fmt: skip
def test_a_body_s_nose_and_eyes_are_no_face(layout: str, face: bool) -> None:
    points = pixels(layout, 12).astype(np.float32)
    clip = KeypointSequence("a", points, np.ones(points.shape[:2], np.float32), layout, size=(640.0, 480.0))
    assert ("face" in seen_parts(Corpus.from_sequences([clip]))) == face


@pytest.mark.parametrize("face", [False, True])
def test_a_model_of_clips_with_faces_says_so_where_it_is_shown_clips_without(
    pipeline: Command, face: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its training clips name no extractor: what they show is what is known."""
    store = mlflow.MlflowClient()
    tags = [store.get_model_version(f"sign-{name}", "1").tags["sign.parts"] for name in ("alignment", "translator")]
    assert tags[0] == tags[1] and "face" not in json.loads(tags[0]) and "body" in json.loads(tags[0])
    if face:
        store.set_model_version_tag("sign-translator", "1", "sign.parts", json.dumps([*PARTS]))
    assert about(resolve("1", "translator"), "page 1", 25.0)["face_missing"] == face
    asked: list[bool] = []

    def files(*, face: bool) -> ModelFiles:
        asked.append(face)
        raise KeyboardInterrupt

    monkeypatch.setattr(translate, "model_files", files)
    (tmp_path / "a.mp4").write_bytes(b"x")
    pipeline("translate", tmp_path / "a.mp4", "--model", "1", data=False, params=False)
    published = tmp_path / "published"
    assert pipeline("publish", "--version", "1", "--repo", published, data=False, params=False).code == 0
    for model in ("1", published):
        with pytest.raises(KeyboardInterrupt):
            sm.load(model).translate(tmp_path / "a.mp4")
    assert asked == [face] * 3
