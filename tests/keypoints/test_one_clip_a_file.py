"""A file with one clip: whatever its array is called, however it is wrapped, its id is the name of the file."""

import gzip
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from tests.keypoints.clips import scored
from tests.keypoints.signer import pixels
from tests.keypoints.table_examples import vectors

CLIP = scored("mediapipe_75")
XY, SURE = CLIP[..., :2].astype(np.float64), CLIP[..., 2].astype(np.float64)
FRAMES = [{"pose": f[:33], "left_hand": f[33:54], "right_hand": f[54:]} for f in CLIP]
COCO = {
    "images": [{"id": 100 + t, "file_name": f"clip_{t:03}.jpg"} for t in range(len(CLIP))],
    "annotations": [
        {"image_id": 100 + t, "category_id": 1, "keypoints": np.insert(frame, 2, 2, -1).ravel().tolist()}
        for t, frame in enumerate(pixels("coco_17", len(CLIP)))
        if t != 2
    ],
    "categories": [],
}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def text(tree: object) -> bytes:
    return json.dumps(tree).encode()


# Name of the file, and its content.
ONE = {
    "any name": ("clip.npz", npz(whatever=CLIP)),
    "a rate in a list": ("clip.npz", npz(kp=CLIP, fps=np.array([25]))),
    "a zipped array": ("clip.npy.gz", gzip.compress(npy(CLIP))),
    "a zipped pickle": ("clip.pkl.gz", gzip.compress(pickle.dumps({"keypoints": CLIP}))),
    "zipped JSON": ("clip.json.gz", gzip.compress(text({"keypoints": CLIP.tolist()}))),
    "a list of frames": ("clip.pkl", pickle.dumps(list(CLIP))),
    "frames in parts": ("clip.pkl", pickle.dumps(FRAMES)),
    "an array in JSON": ("clip.json", text(CLIP.tolist())),
    "frames in JSON": ("clip.json", text({"frames": CLIP.tolist()})),
}


@pytest.mark.parametrize("name", ONE)
def test_the_id_is_the_name_of_the_file(name: str, tmp_path: Path) -> None:
    file, content = ONE[name]
    (tmp_path / file).write_bytes(content)
    for source in (tmp_path, tmp_path / file):
        (sequence,) = read(source)
        assert sequence.id == "clip" and sequence.layout == "mediapipe_75"
        np.testing.assert_allclose(sequence.points, XY, rtol=1e-6)
        np.testing.assert_allclose(sequence.confidence, SURE, rtol=1e-6)


WRAPPED: dict[str, Callable[[np.ndarray], tuple[str, bytes]]] = {
    "npz": lambda array: ("clip.npz", npz(keypoints=array)),
    "npz of another name": lambda array: ("clip.npz", npz(features=array)),
    "pickle": lambda array: ("clip.pkl", pickle.dumps({"keypoints": array})),
    "pickle by id": lambda array: ("all.pkl", pickle.dumps({"clip": array})),
    "JSON": lambda array: ("clip.json", text({"keypoints": array.tolist()})),
    "JSON of frames": lambda array: ("clip.json", text(array.tolist())),
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_vectors_are_read_wherever_arrays_are(wrapped: str, tmp_path: Path) -> None:
    frames = vectors("mediapipe_75")
    np.save(tmp_path / "clip.npy", frames)
    (wanted,) = read(tmp_path / "clip.npy")
    (tmp_path / "clip.npy").unlink()
    file, content = WRAPPED[wrapped](frames)
    (tmp_path / file).write_bytes(content)
    (found,) = read(tmp_path)
    assert (found.id, found.unit, found.layout) == (wanted.id, wanted.unit, wanted.layout)
    np.testing.assert_allclose(found.points, wanted.points, rtol=1e-6)
    np.testing.assert_allclose(found.confidence, wanted.confidence, rtol=1e-6)


def test_vectors_in_pixels_are_pixels(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", np.insert(XY, 2, -0.1, -1).reshape(len(XY), -1))
    (sequence,) = read(tmp_path)
    assert sequence.unit == "pixel"


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_name_of_one_array_tells_the_side(side: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", **{f"{side}_hand": pixels(f"{side}_hand_21", 6)})
    (sequence,) = read(tmp_path)
    assert sequence.layout == f"{side}_hand_21"


@pytest.mark.parametrize("names", [("raw", "normalized"), ("pose", "pose_world"), ("pose", "face"), ("xy", "data")])
def test_arrays_under_names_of_no_clip_are_a_question(names: tuple[str, str], tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", **dict.fromkeys(names, CLIP))
    with pytest.raises(DataError, match=f"clip.npz: arrays called {names[0]!r}, {names[1]!r}, which are no names"):
        list(read(tmp_path))


@pytest.mark.parametrize("name", ["poseWorld", "pose_world_landmarks", "world_pose"])
def test_a_body_of_world_landmarks_alone_is_no_silent_loss(name: str, tmp_path: Path) -> None:
    hands = {"left_hand": CLIP[:, 33:54], "right_hand": CLIP[:, 54:]}
    np.savez(tmp_path / "clip.npz", **hands, **{name: CLIP[:, :33]})
    with pytest.raises(DataError, match=f"a body of world landmarks alone .'{name}'"):
        list(read(tmp_path))
    np.savez(tmp_path / "clip.npz", **hands, **{name: CLIP[:, :33]}, pose=CLIP[:, :33])
    (sequence,) = read(tmp_path)
    assert sequence.layout == "mediapipe_75"


def test_a_list_of_clips_of_one_frame_is_a_question(tmp_path: Path) -> None:
    (tmp_path / "clip.pkl").write_bytes(pickle.dumps([frame[None] for frame in CLIP]))
    with pytest.raises(DataError, match="a list of arrays of shape .1, 75, 3.*numpy.concatenate"):
        list(read(tmp_path))


@pytest.mark.parametrize("holder", ["sequences", "clips", "samples", "videos"])
def test_records_may_lie_below_a_word(holder: str, tmp_path: Path) -> None:
    records = [{"id": "a", "keypoints": CLIP.tolist()}, {"id": "b", "keypoints": CLIP.tolist()}]
    (tmp_path / "all.json").write_bytes(text({"fps": 25, holder: records}))
    assert [(s.id, s.fps) for s in read(tmp_path)] == [("a", 25), ("b", 25)]


def test_a_class_of_a_record_is_its_text_unless_labels_tell_more(tmp_path: Path) -> None:
    tree = {"a": {"keypoints": CLIP, "label": 3}, "b": {"keypoints": CLIP, "label": np.int64(4), "signer": np.int64(7)}}
    (tmp_path / "all.pkl").write_bytes(pickle.dumps(tree))
    assert [(s.id, s.text, s.group) for s in read(tmp_path)] == [("a", "3", None), ("b", "4", "7")]
    (tmp_path / "labels.csv").write_text("id,text\na,tea\n")
    assert [(s.id, s.text) for s in read(tmp_path)] == [("a", "tea"), ("b", "4")]


def test_annotations_of_coco_are_frames_of_clips(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_bytes(text(COCO))
    (sequence,) = read(tmp_path)
    assert sequence.id == "all" and sequence.layout == "coco_17" and len(sequence) == len(CLIP)
    assert sequence.confidence.any(1).tolist() == [t != 2 for t in range(len(CLIP))]
    np.testing.assert_allclose(sequence.points[3], pixels("coco_17", len(CLIP))[3], rtol=1e-6)


def test_a_file_of_torch_is_named(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"keypoints": torch.ones(6, 75, 3)}, tmp_path / "clip.pt")
    with pytest.raises(DataError, match="clip.pt: is a file of torch.save.*numpy.savez"):
        list(read(tmp_path))


def test_a_folder_without_keypoints_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("0,1,2\n1,2,3\n")
    with pytest.raises(DataError, match="a folder without a file of keypoints, but numbers.csv"):
        list(read(tmp_path))
