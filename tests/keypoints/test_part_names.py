"""The parts of one clip under other names, in keys, files and folders: one clip, or a refusal. Never several clips."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from tests.keypoints.signer import pixels

WHOLE = pixels("mediapipe_75", 6)
PARTS = (WHOLE[:, :33], WHOLE[:, 33:54], WHOLE[:, 54:])
NAMES = [
    ("pose", "left_hand", "right_hand"), ("pose", "hand_l", "hand_r"), ("body", "l_hand", "r_hand"),
    ("kp_pose", "kp_left_hand", "kp_right_hand"), ("pose_kps", "lhand_kps", "rhand_kps"),
    ("body_pose", "left_hand_pose", "right_hand_pose"), ("keypoints_body", "keypoints_left", "keypoints_right"),
    ("body_kp", "left_kp", "right_kp"), ("skeleton", "lefthand_3d", "righthand_3d"), ("Body", "LH", "RH"),
    ("pose_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d"),
    ("poseLandmarks", "leftHandLandmarks", "rightHandLandmarks"),
]  # fmt: skip
FILES = [
    ("{}_pose", "{}_left_hand", "{}_right_hand"), ("pose_{}", "left_hand_{}", "right_hand_{}"),
    ("{}-body", "{}-lh", "{}-rh"), ("{}_pose", "{}_left", "{}_right"), ("{}.pose", "{}.hand_l", "{}.hand_r"),
    ("body/{}", "hands/left/{}", "hands/right/{}"), ("pose/{}_pose", "left/{}_left", "right/{}_right"),
    ("{}/pose", "{}/left_hand", "{}/right_hand"),
]  # fmt: skip


def check(folder: Path, ids: tuple[str, ...] = ("clip_a",)) -> None:
    found = list(read(folder))
    assert tuple(clip.id for clip in found) == ids
    for clip in found:
        assert clip.layout == "mediapipe_75"
        np.testing.assert_allclose(clip.points, WHOLE, rtol=1e-5)


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[1])
def test_keys(tmp_path: Path, names: tuple[str, str, str]) -> None:
    np.savez(tmp_path / "clip_a.npz", **dict(zip(names, PARTS, strict=True)))
    check(tmp_path)


@pytest.mark.parametrize("names", FILES, ids=lambda names: names[1])
def test_files_and_folders(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for id in ("clip_a", "clip_b"):
        for name, part in zip(names, PARTS, strict=True):
            path = tmp_path / f"{name.format(id)}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, part)
    check(tmp_path, ("clip_a", "clip_b"))


@pytest.mark.parametrize("holder", ["keypoints", "landmarks", "data"])
@pytest.mark.parametrize("by_id", [False, True])
def test_parts_below_a_key(tmp_path: Path, holder: str, by_id: bool) -> None:
    clip = {holder: dict(zip(NAMES[0], PARTS, strict=True)), "fps": 25.0, "text": "tea"}
    if by_id:
        (tmp_path / "all.pkl").write_bytes(pickle.dumps({"clip_a": clip, "clip_b": clip}))
    else:
        (tmp_path / "clip_a.json").write_text(json.dumps(clip, default=lambda array: array.tolist()))
    check(tmp_path, ("clip_a", "clip_b") if by_id else ("clip_a",))
    assert {(clip.fps, clip.text) for clip in read(tmp_path)} == {(25.0, "tea")}


@pytest.mark.parametrize("names", [("a", "b", "c"), ("corps", "main_gauche", "main_droite"), ("p", "x1", "x2")])
@pytest.mark.parametrize("form", ["keys", "files"])
def test_names_that_nobody_knows_are_refused(tmp_path: Path, names: tuple[str, str, str], form: str) -> None:
    arrays = dict(zip(names, PARTS, strict=True))
    if form == "keys":
        np.savez(tmp_path / "clip_a.npz", **arrays)
    else:
        for name, array in arrays.items():
            np.save(tmp_path / f"clip_a_{name}.npy", array)
    with pytest.raises(DataError, match="may be the parts of one clip.*rename"):
        list(read(tmp_path))


@pytest.mark.parametrize("name", ["keypoints", "upper", "extra_points"])
def test_an_array_beside_the_parts_is_not_lost(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "clip_a.npz", left_hand=PARTS[1], right_hand=PARTS[2], **{name: PARTS[0]})
    with pytest.raises(DataError, match=f"an array '{name}' beside the parts"):
        list(read(tmp_path))


def test_clips_of_one_hand_are_clips(tmp_path: Path) -> None:
    for name in ("turn_left", "turn_right", "wave"):
        np.save(tmp_path / f"{name}.npy", PARTS[2])
    assert [clip.id for clip in read(tmp_path)] == ["turn_left", "turn_right", "wave"]


def test_hands_and_bodies_of_other_lengths_are_clips(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PARTS[0])
    np.save(tmp_path / "b.npy", PARTS[2][:4])
    assert [clip.layout for clip in read(tmp_path)] == ["mediapipe_pose_33", "right_hand_21"]
