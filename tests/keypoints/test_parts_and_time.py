"""Parts of one clip are one clip, a file with one array is one clip by the file's name, gaps and NaN are unseen."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pose_format import Pose
from pose_format.numpy import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

from sign_models.data.corpus import Corpus
from sign_models.datasets.importing import import_corpus
from sign_models.datasets.store import Shard
from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.landmarks import HAND
from tests.keypoints.clips import FRAMES, scored
from tests.keypoints.file_examples import openpose_frame
from tests.keypoints.signer import pixels

WHOLE = pixels("mediapipe_75", FRAMES)
PARTS = {"pose": WHOLE[:, :33], "left_hand": WHOLE[:, 33:54], "right_hand": WHOLE[:, 54:]}
OTHER_NAMES = {"pose": "pose_landmarks", "left_hand": "leftHandLandmarks", "right_hand": "hand_right"}


def one_clip(folder: Path, id: str = "clip_a") -> None:
    (sequence,) = read(folder)
    assert (sequence.id, sequence.layout) == (id, "mediapipe_75")
    np.testing.assert_allclose(sequence.points, WHOLE, rtol=1e-6)


@pytest.mark.parametrize("order", [list(PARTS), list(reversed(PARTS))])
def test_keys_of_a_file_are_parts(tmp_path: Path, order: list[str]) -> None:
    np.savez(tmp_path / "clip_a.npz", **{name: PARTS[name] for name in order})
    one_clip(tmp_path)


@pytest.mark.parametrize("flat", [False, True])
def test_keys_of_json_in_other_words(tmp_path: Path, flat: bool) -> None:
    tree = {OTHER_NAMES[name]: (a.reshape(FRAMES, -1) if flat else a).tolist() for name, a in PARTS.items()}
    (tmp_path / "clip_a.json").write_text(json.dumps(tree))
    one_clip(tmp_path)


def test_parts_by_id(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text(json.dumps({"clip_a": {name: a.tolist() for name, a in PARTS.items()}}))
    one_clip(tmp_path)


@pytest.mark.parametrize("names", [dict(zip(PARTS, PARTS, strict=True)), OTHER_NAMES])
def test_folders_are_parts(tmp_path: Path, names: dict[str, str]) -> None:
    for part, array in PARTS.items():
        (tmp_path / names[part]).mkdir()
        np.save(tmp_path / names[part] / "clip_a.npy", array)
    one_clip(tmp_path)


def test_files_are_parts_and_the_others_are_read_too(tmp_path: Path) -> None:
    for part, array in PARTS.items():
        np.save(tmp_path / f"clip_a_{part}.npy", array)
    np.save(tmp_path / "clip_b.npy", WHOLE)
    assert sorted(s.id for s in read(tmp_path)) == ["clip_a", "clip_b"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_side_of_a_single_hand_is_taken_from_its_name(tmp_path: Path, side: str) -> None:
    (tmp_path / f"{side}_hand").mkdir()
    np.save(tmp_path / f"{side}_hand" / "a.npy", PARTS[f"{side}_hand"])
    (sequence,) = read(tmp_path)
    assert sequence.layout == f"{side}_hand_21"


def test_parts_of_different_lengths_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **(PARTS | {"left_hand": PARTS["left_hand"][1:]}))
    with pytest.raises(DataError, match=r"a\.npz: 6 frames of pose, 5 frames of left_hand.*NaN"):
        list(read(tmp_path))


@pytest.mark.parametrize("name", ["arr_0", "landmarks", "x", "whatever"])
def test_the_id_of_an_npz_with_one_array_is_the_file(tmp_path: Path, name: str) -> None:
    for i in range(2):
        np.savez(tmp_path / f"clip_{i}.npz", **{name: WHOLE + i, "label": f"sign {i}"})
    assert [(s.id, s.text, s.points[0, 0, 0] - WHOLE[0, 0, 0]) for s in read(tmp_path)] == [
        ("clip_0", "sign 0", pytest.approx(0, abs=1e-3)),
        ("clip_1", "sign 1", pytest.approx(1, abs=1e-3)),
    ]


def test_frames_and_gloss(tmp_path: Path) -> None:
    hand = np.concatenate([PARTS["right_hand"], np.zeros((FRAMES, 21, 1))], -1)
    (tmp_path / "w.json").write_text(json.dumps({"gloss": "tea", "language": "xx", "fps": 15, "frames": hand.tolist()}))
    (sequence,) = read(tmp_path)
    assert (sequence.id, sequence.text, sequence.fps, sequence.layout) == ("w", "tea", 15, "right_hand_21")


def test_missing_frames_of_mmpose_are_unseen(tmp_path: Path) -> None:
    values = scored("coco_17")
    frames = [
        {"frame_id": t, "instances": [{"keypoints": v[:, :2].tolist(), "keypoint_scores": v[:, 2].tolist()}]}
        for t, v in zip((3, 4, 7, 8, 9, 10), values, strict=True)
    ]
    (tmp_path / "clip.json").write_text(json.dumps(frames))
    (sequence,) = read(tmp_path)
    assert np.flatnonzero(~sequence.confidence.any(1)).tolist() == [2, 3] and len(sequence) == 8
    np.testing.assert_allclose(sequence.points[4], values[2, :, :2])
    (tmp_path / "clip.json").write_text(json.dumps([frames[0], frames[0]]))
    with pytest.raises(DataError, match="frame 3 twice"):
        list(read(tmp_path))


def vector(t: int, width: int) -> np.ndarray:
    """MediaPipe's numbers of one frame; width: 3 without the pose's visibility, else 4."""
    pose = np.concatenate([PARTS["pose"][t] / 640, np.full((33, 1), -0.1), np.ones((33, 1))], 1)[:, :width]
    hands = [np.concatenate([PARTS[f"{side}_hand"][t] / 640, np.full((21, 1), -0.1)], 1) for side in ("left", "right")]
    return np.concatenate([part.ravel() for part in (pose, *hands)])


def test_missing_frames_of_mediapipe_are_unseen(tmp_path: Path) -> None:
    (tmp_path / "tea" / "0").mkdir(parents=True)
    for t, number in enumerate((0, 1, 4, 5, 6, 7)):
        np.save(tmp_path / "tea" / "0" / f"{number}.npy", vector(t, 4))
    (sequence,) = read(tmp_path)
    assert np.flatnonzero(~sequence.confidence.any(1)).tolist() == [2, 3] and len(sequence) == 8


def test_vectors_of_225(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", np.stack([vector(t, 3) for t in range(FRAMES)]))
    (sequence,) = read(tmp_path)
    assert sequence.layout == "mediapipe_75" and sequence.confidence.all()
    np.testing.assert_allclose(sequence.points, WHOLE / 640, rtol=1e-5)


@pytest.mark.parametrize("width", [3, 4])
def test_vectors_with_irises(tmp_path: Path, width: int) -> None:
    frames = [vector(t, width) for t in range(FRAMES)]
    face = np.full(478 * 3, 0.1)  # above the shoulders
    np.save(tmp_path / "clip.npy", np.stack([np.concatenate([f[: 33 * width], face, f[33 * width :]]) for f in frames]))
    (sequence,) = read(tmp_path)
    assert sequence.layout == "mediapipe_553" and sequence.confidence.all()
    np.testing.assert_allclose(np.delete(sequence.points, np.s_[33:511], 1), WHOLE / 640, rtol=1e-5)


def test_nan_is_unseen_in_arrays_and_pose_files(tmp_path: Path) -> None:
    missing = WHOLE.astype(np.float32)
    missing[3:5, 33:54] = np.nan
    np.save(tmp_path / "array.npy", missing)
    hand = PoseHeaderComponent("LEFT_HAND_LANDMARKS", [n.upper() for n in HAND], [], [], "XYZKC")
    data = np.concatenate([missing[:, None, 33:54], np.zeros((FRAMES, 1, 21, 2))], -1).astype(np.float32)
    body = NumPyPoseBody(25.0, data, np.ones((FRAMES, 1, 21), np.float32))
    with (tmp_path / "file.pose").open("wb") as file:
        Pose(PoseHeader(0.2, PoseHeaderDimensions(640, 480, 0), [hand]), body).write(file)
    array, pose = read(tmp_path)
    assert array.confidence[:, 33:54].any(1).tolist() == pose.confidence.any(1).tolist() == [1, 1, 1, 0, 0, 1]
    np.testing.assert_allclose(pose.points[0], WHOLE[0, 33:54], rtol=1e-6)


def test_one_person_as_an_object(tmp_path: Path) -> None:
    values = scored("openpose_137")
    for t in range(2):
        person = openpose_frame(values[t])
        (tmp_path / f"WORD_{t:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": person}))
    (sequence,) = read(tmp_path)
    np.testing.assert_allclose(sequence.points, values[:2, :, :2], rtol=1e-6)


def test_a_body_of_halpe_26(tmp_path: Path) -> None:
    body = scored("halpe_136")[:2, :26]
    for t in range(2):
        people = [{"pose_keypoints_2d": body[t].ravel().tolist()}]
        (tmp_path / f"cam01.{t:04d}.json").write_text(json.dumps({"version": 1.3, "people": people}))
    (sequence,) = read(tmp_path)
    np.testing.assert_allclose(sequence.points[:, :26], body[..., :2], rtol=1e-6)
    assert not sequence.confidence[:, 26:].any()


CLIPS = {"mediapipe_75": WHOLE, "coco_wholebody_133": pixels("coco_wholebody_133", FRAMES)}


def write_by_name(folder: Path, form: str, clips: dict[str, np.ndarray]) -> None:
    """Arrays under these names, in one file, in a file each or in a folder each."""
    if form == "pickle":
        (folder / "all.pkl").write_bytes(pickle.dumps(clips))
    elif form == "npz":
        np.savez(folder / "all.npz", **clips)
    elif form == "json":
        (folder / "all.json").write_text(json.dumps({name: array.tolist() for name, array in clips.items()}))
    for name, array in clips.items():
        if form == "files":
            np.save(folder / f"clip_{name}.npy", array)
        elif form == "folders":
            (folder / name).mkdir()
            np.save(folder / name / "clip.npy", array)


@pytest.mark.parametrize("layout", CLIPS)
@pytest.mark.parametrize("form", ["pickle", "npz", "json", "files", "folders"])
@pytest.mark.parametrize("names", [("left", "right"), ("left_hand", "right_hand"), ("lhand", "rhand", "body", "face")])
def test_clips_that_are_called_like_parts_are_clips(
    tmp_path: Path, layout: str, form: str, names: tuple[str, ...]
) -> None:
    write_by_name(tmp_path, form, {name: CLIPS[layout] for name in names})
    of = {"files": "clip_{}", "folders": "{}/clip"}.get(form, "{}")
    found = {sequence.id: sequence.layout for sequence in read(tmp_path)}
    assert found == {of.format(name): layout for name in names}


@pytest.mark.parametrize("form", ["pickle", "npz", "json", "files", "folders"])
def test_arrays_of_hands_are_parts_however_they_are_stored(tmp_path: Path, form: str) -> None:
    hands = {side: PARTS[side] for side in ("left_hand", "right_hand")}
    write_by_name(tmp_path, form, hands)
    (sequence,) = read(tmp_path)
    np.testing.assert_allclose(sequence.points, WHOLE[:, 33:], rtol=1e-6)


def test_a_pickled_list_of_a_hand_a_frame_is_a_part(tmp_path: Path) -> None:
    frames = {name: [frame.astype(np.float32) for frame in array] for name, array in PARTS.items()}
    (tmp_path / "clip_a.pkl").write_bytes(pickle.dumps(frames))
    one_clip(tmp_path)


def test_hands_seen_in_no_frame_beside_a_body_are_parts(tmp_path: Path) -> None:
    tree = {"pose": PARTS["pose"].tolist(), "left_hand": [None] * FRAMES, "right_hand": PARTS["right_hand"].tolist()}
    (tmp_path / "clip_a.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match="left_hand"):  # a part that has no shape is told as such, not read as a clip
        list(read(tmp_path))


def nan_array(folder: Path, missing: np.ndarray) -> None:
    np.save(folder / "clip.npy", missing)


def nan_parts(folder: Path, missing: np.ndarray) -> None:
    np.savez(folder / "clip.npz", pose=missing[:, :33], left_hand=missing[:, 33:54], right_hand=missing[:, 54:])


def nan_vectors(folder: Path, missing: np.ndarray) -> None:
    pose = np.concatenate([missing[:, :33] / 640, np.full((len(missing), 33, 2), 0.9)], -1)
    hands = np.concatenate([missing[:, 33:] / 640, np.full((len(missing), 42, 1), 0.1)], -1)
    np.save(folder / "clip.npy", np.concatenate([pose.reshape(len(missing), -1), hands.reshape(len(missing), -1)], 1))


def nan_record(folder: Path, missing: np.ndarray) -> None:
    sure = np.ones(missing.shape[:2])
    (folder / "all.pkl").write_bytes(pickle.dumps({"clip": {"keypoints": missing, "confidence": sure}}))


def nan_table(folder: Path, missing: np.ndarray) -> None:
    names = [f"{axis}{k}" for k in range(75) for axis in "xy"]
    rows = [",".join("" if np.isnan(v) else f"{v}" for v in frame.ravel()) for frame in missing]
    (folder / "clip.csv").write_text("\n".join([",".join(names), *rows]))


def nan_pose(folder: Path, missing: np.ndarray) -> None:
    hand = PoseHeaderComponent("LEFT_HAND_LANDMARKS", [n.upper() for n in HAND], [], [], "XYZC")
    data = np.concatenate([missing[:, None, 33:54], np.zeros((FRAMES, 1, 21, 1))], -1).astype(np.float32)
    body = NumPyPoseBody(25.0, data, np.ones((FRAMES, 1, 21), np.float32))
    with (folder / "clip.pose").open("wb") as file:
        Pose(PoseHeader(0.2, PoseHeaderDimensions(640, 480, 0), [hand]), body).write(file)


@pytest.mark.parametrize("write", [nan_array, nan_parts, nan_vectors, nan_record, nan_table, nan_pose])
def test_nan_taken_as_unseen_is_counted_said_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, write: Callable[[Path, np.ndarray], None]
) -> None:
    source, missing = tmp_path / "source", WHOLE.astype(np.float64)
    source.mkdir()
    missing[3:5, 33:54] = np.nan
    missing[0, 40, 1] = np.nan  # one coordinate is enough
    write(source, missing)
    with caplog.at_level("INFO", "sign_models"):
        report = import_corpus(source, tmp_path / "store")
        Corpus.from_sequences(read(source), "source")
    assert caplog.text.count("source: 43 landmarks of 1 of 1 clips are NaN, taken as unseen") == 2
    assert report.numbers["NaN taken as unseen"] == {"landmarks": 43, "clips": 1, "most first": {"clip": 43}}
    assert "- 43 landmarks of 1 clips are NaN, taken as unseen: clip (43)" in report.markdown()
    (shard,) = (Shard.read(path) for path in (tmp_path / "store").glob("*.safetensors"))
    assert shard.known["nan"] == [43]


def test_a_landmark_that_is_unseen_anyway_is_not_counted_as_nan(tmp_path: Path) -> None:
    missing, sure = WHOLE.astype(np.float64), np.ones(WHOLE.shape[:2])
    missing[3:5, 33:54], sure[3:5, 33:54] = np.nan, 0
    (tmp_path / "all.pkl").write_bytes(pickle.dumps({"clip": {"keypoints": missing, "confidence": sure}}))
    (sequence,) = read(tmp_path)
    assert sequence.nan == 0


@pytest.mark.parametrize("folder", ["maria/0", "maria/take_3", "0", "a/b/7"])
def test_a_folder_gives_no_text_unless_it_was_asked_for(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for t in range(FRAMES):
        np.save(tmp_path / folder / f"{t}.npy", vector(t, 4))
    for root in (tmp_path, tmp_path / folder, (tmp_path / folder).parent):
        (sequence,) = read(root)
        assert sequence.text is None
