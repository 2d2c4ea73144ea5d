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
    ("corps", "main_gauche", "main_droite"), ("Körper", "linke_Hand", "rechte_Hand"), ("Pose", "HandLinks", "HandRechts"),
    ("cuerpo", "mano_izquierda", "mano_derecha"), ("corpo", "mão_esquerda", "mão_direita"),
    ("corpo", "mano-sinistra", "mano-destra"), ("lichaam", "linkerhand", "rechterhand"), ("身体", "左手", "右手"),
    ("몸", "왼손", "오른손"), ("тело", "левая_рука", "правая_рука"), ("upper_body", "left_fingers", "right_fingers"),
    ("pose33", "left21", "right21"), ("pose_np", "lh_seq", "rh_seq"), ("holistic_pose", "lft_palm", "rgt_palm"),
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


POSE, LEFT, RIGHT = PARTS
SURE = np.linspace(0.1, 1, 6 * 75).reshape(6, 75)
NESTED = {
    "hands in a group": {"pose": POSE, "hands": {"left": LEFT, "right": RIGHT}},
    "an array in each": {"pose": {"xy": POSE}, "left_hand": {"xy": LEFT}, "right_hand": {"landmarks": RIGHT}},
    "scores in each": {
        name: {"keypoints": part, "scores": SURE[:, span]}
        for name, part, span in zip(NAMES[0], PARTS, (slice(33), slice(33, 54), slice(54, 75)), strict=True)
    },
    "scores beside": {
        **dict(zip(NAMES[0], PARTS, strict=True)),
        "pose_conf": SURE[:, :33], "left_hand_confidence": SURE[:, 33:54], "right_hand_scores": SURE[:, 54:],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("form", ["json", "pickle by id"])
def test_nested_parts(tmp_path: Path, name: str, form: str) -> None:
    if form == "json":
        (tmp_path / "clip_a.json").write_text(json.dumps(NESTED[name], default=lambda array: array.tolist()))
    else:
        (tmp_path / "all.pkl").write_bytes(pickle.dumps({"clip_a": NESTED[name]}))
    check(tmp_path)
    [clip] = read(tmp_path)
    np.testing.assert_allclose(clip.confidence, SURE if "scores" in name else 1, rtol=1e-5)


@pytest.mark.parametrize("form", ["pickle", "json", "hdf5"])
def test_clips_below_their_parts(tmp_path: Path, form: str) -> None:
    tree = {name: {id: part for id in ("clip_a", "clip_b")} for name, part in zip(NAMES[0], PARTS, strict=True)}
    if form == "json":
        (tmp_path / "all.json").write_text(json.dumps(tree, default=lambda array: array.tolist()))
    elif form == "pickle":
        (tmp_path / "all.pkl").write_bytes(pickle.dumps(tree))
    else:
        h5py = pytest.importorskip("h5py", reason="the optional extra hdf5 is not installed")
        with h5py.File(tmp_path / "all.h5", "w") as file:
            for name, clips in tree.items():
                for id, part in clips.items():
                    file[f"{name}/{id}"] = part
    check(tmp_path, ("clip_a", "clip_b"))


def test_a_part_that_is_null_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps({"pose": POSE.tolist(), "left_hand": None, "right_hand": RIGHT.tolist()})
    )
    [clip] = read(tmp_path)
    assert clip.points.shape == (6, 54, 2)
    np.testing.assert_allclose(clip.points[:, 33:], RIGHT, rtol=1e-5)


@pytest.mark.parametrize("names", [("a", "b", "c"), ("trunk", "grip_a", "grip_b"), ("p", "x1", "x2")])
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


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[1])
@pytest.mark.parametrize("place", ["{}_01.npy", "{}/01.npy", "clips/{}.npy", "{}/a/01.npy"])
def test_the_side_of_a_hand_alone_is_taken_from_its_name(
    tmp_path: Path, names: tuple[str, str, str], place: str
) -> None:
    for side, name in zip(("left", "right"), names[1:], strict=True):
        path = tmp_path / side[0] / place.format(name)
        path.parent.mkdir(parents=True)
        np.save(path, PARTS[1])
        assert [clip.layout for clip in read(tmp_path / side[0])] == [f"{side}_hand_21"]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[1])
def test_two_hands_are_one_clip(tmp_path: Path, names: tuple[str, str, str]) -> None:
    np.savez(tmp_path / "clip_a.npz", **dict(zip(names[1:], PARTS[1:], strict=True)))
    [clip] = read(tmp_path)
    assert (clip.id, clip.layout) == ("clip_a", "hands_42")


@pytest.mark.parametrize("names", [("hand0", "hand1"), ("dominant_hand", "nondominant_hand"), ("hand_1", "hand_2")])
def test_hands_without_a_side_are_a_question(tmp_path: Path, names: tuple[str, str]) -> None:
    np.savez(tmp_path / "clip_a.npz", **dict(zip(names, PARTS[1:], strict=True)))
    with pytest.raises(DataError, match=f"'{names[0]}', '{names[1]}' are named like hands.*rename them"):
        list(read(tmp_path))


def test_a_hand_of_which_nothing_tells_the_side_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("wave", "turn_left"):
        np.save(tmp_path / f"{name}.npy", PARTS[2])
    assert {clip.layout for clip in read(tmp_path)} == {"right_hand_21"}
    assert "2 clips of one hand are taken for the right one; name the layout if not" in caplog.text


@pytest.mark.parametrize("name", ["kp", "pose", "skeleton_xyz", "joints", "landmarks", "mediapipe_keypoints"])
@pytest.mark.parametrize("beside", [{}, {"fps": 25, "label": "tea"}], ids=["alone", "with metadata"])
def test_an_array_that_names_no_clip_has_the_id_of_its_file(tmp_path: Path, name: str, beside: dict) -> None:
    for i in range(2):
        (tmp_path / f"clip.{i}.pkl").write_bytes(pickle.dumps({name: WHOLE, **beside}))
        (tmp_path / f"take {i}.json").write_text(json.dumps({name: WHOLE.tolist(), **beside}))
    found = list(read(tmp_path))
    assert [clip.id for clip in found] == ["clip.0", "clip.1", "take 0", "take 1"]
    assert {(clip.text, clip.fps) for clip in found} == {(beside.get("label"), beside.get("fps"))}
