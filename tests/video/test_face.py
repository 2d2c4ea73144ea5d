"""The optional face: found at the signer's head only, written, imported, and among the landmarks that models read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sign_models.keypoints import formats
from sign_models.keypoints.extractor import finds_faces
from sign_models.keypoints.layouts import PARTS, PLACE, to_canonical
from sign_models.pipeline import translate
from sign_models.video.extract import Settings, extract, extract_to_file
from sign_models.video.following import shoulder_width
from sign_models.video.models import ModelFiles, model_files
from tests.conftest import Command
from tests.video.figure import draw, write_frames, write_signing

BOTH = "mediapipe-tasks 1.2.3 hand=" + "a" * 64


@pytest.mark.video
def test_a_face_goes_with_its_clip_into_the_data_that_models_are_trained_on(empty: Command, tmp_path: Path) -> None:
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
    done = empty("extract", *words, data=False, params=False)
    assert "1 replaced" in done.out and not finds_faces([next(iter(formats.read(tmp_path / "poses"))).extractor])


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
