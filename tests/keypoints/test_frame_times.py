"""Frame numbers and timestamps are times, wherever a file has them: a frame that is missing is an unseen frame."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.sequence import KeypointSequence
from tests.keypoints.signer import pixels

KEPT = [0, 1, 4, 5, 6, 7]
WHOLE = pixels("mediapipe_75", 8)
CLIP = WHOLE[KEPT]
XY = [f"{axis}{i}" for i in range(75) for axis in "xy"]
NUMBERS = {
    "frame_ids": KEPT,
    "frame_idx": [n + 1 for n in KEPT],
    "frames": KEPT,
    "FrameNumber": [n + 100 for n in KEPT],
}
STAMPS = {
    "timestamps": [n / 25 for n in KEPT], "time_ms": [n * 40 for n in KEPT], "t": [5 + n / 25 for n in KEPT],
    "timestamp_us": [n * 40_000 for n in KEPT], "seconds": [n / 25 for n in KEPT],
}  # fmt: skip


def npz(folder: Path, name: str, values: list[float]) -> None:
    np.savez(folder / "clip.npz", **{"keypoints": CLIP, name: np.array(values)})


def npz_of_one_array(folder: Path, name: str, values: list[float]) -> None:
    np.savez(folder / "clip.npz", **{"points": CLIP, "scores": np.full(CLIP.shape[:2], 0.5), name: np.array(values)})


def pickled(folder: Path, name: str, values: list[float]) -> None:
    (folder / "a.pkl").write_bytes(pickle.dumps({"clip": {"keypoints": CLIP, name: values}}))


def json_record(folder: Path, name: str, values: list[float]) -> None:
    (folder / "a.json").write_text(json.dumps({"clip": {"keypoints": CLIP.tolist(), name: values}}))


def hdf5(folder: Path, name: str, values: list[float]) -> None:
    h5py = pytest.importorskip("h5py", reason="the optional extra hdf5 is not installed")
    with h5py.File(folder / "clip.h5", "w") as file:
        file["keypoints"], file[name] = CLIP, values


def table(folder: Path, name: str, values: list[object]) -> None:
    rows = [[name, *XY], *([value, *frame.ravel()] for value, frame in zip(values, CLIP, strict=True))]
    (folder / "clip.csv").write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")


def check(found: KeypointSequence) -> None:
    assert found.confidence.any(1).tolist() == [t in KEPT for t in range(8)]
    np.testing.assert_allclose(found.points[KEPT], CLIP, rtol=1e-5)


@pytest.mark.parametrize("write", [npz, npz_of_one_array, pickled, json_record, hdf5])
@pytest.mark.parametrize("name", [*NUMBERS, *STAMPS])
def test_records_have_times(tmp_path: Path, write: Callable[[Path, str, list[float]], None], name: str) -> None:
    write(tmp_path, name, (NUMBERS | STAMPS)[name])
    [found] = read(tmp_path)
    check(found)
    assert found.id == "clip"
    assert found.fps == (25 if name in STAMPS else None)


@pytest.mark.parametrize("name", ["Frame #", "frame no.", "FrameIndex", "frame_id", *STAMPS])
def test_tables_have_times(tmp_path: Path, name: str) -> None:
    table(tmp_path, name, STAMPS.get(name, KEPT))
    [found] = read(tmp_path)
    check(found)
    assert found.fps == (25 if name in STAMPS else None)


@pytest.mark.parametrize("name", ["image", "img_name", "file", "path"])
@pytest.mark.parametrize("form", ["{:06d}.jpg", "frame_{}.png", "frames/img{:03d}.jpeg"])
def test_the_number_of_a_picture_is_its_time(tmp_path: Path, name: str, form: str) -> None:
    table(tmp_path, name, [form.format(n) for n in KEPT])
    [found] = read(tmp_path)
    check(found)
    assert found.id == "clip"


def test_pictures_of_several_clips(tmp_path: Path) -> None:
    table(tmp_path, "filename", ["a/1.jpg", "a/2.jpg", "a/4.jpg", "b_001.jpg", "b_002.jpg", "b_003.jpg"])
    assert [(clip.id, len(clip)) for clip in read(tmp_path)] == [("a", 4), ("b", 3)]


def test_an_unknown_counter_with_gaps_is_a_question(tmp_path: Path) -> None:
    table(tmp_path, "n", KEPT)
    with pytest.raises(DataError, match="'n' counts the frames and leaves some out.*rename 'n' to frame"):
        list(read(tmp_path))
    table(tmp_path, "n", [3, 4, 5, 6, 7, 8])
    [found] = read(tmp_path)
    assert len(found) == 6


def test_a_frame_rate_that_is_not_constant_makes_no_gaps(tmp_path: Path) -> None:
    table(tmp_path, "timestamp", [0.0, 0.045, 0.08, 0.13, 0.155, 0.2])
    [found] = read(tmp_path)
    assert len(found) == 6 and found.fps == pytest.approx(22.2, abs=0.1)


def test_a_column_tells_the_frame_rate(tmp_path: Path) -> None:
    table(tmp_path, "fps", [29.97] * 6)
    assert [clip.fps for clip in read(tmp_path)] == [29.97]


@pytest.mark.parametrize("numbers", [[0, 1, 1, 2, 3, 4], [5, 4, 3, 2, 1, 0], [0, 1, 2], [0.5, 1, 2, 3, 4, 5]])
def test_frame_numbers_that_are_none_are_refused(tmp_path: Path, numbers: list[float]) -> None:
    pickled(tmp_path, "frame_ids", numbers)
    with pytest.raises(DataError, match="frame_ids that are no 6 increasing whole numbers"):
        list(read(tmp_path))


def test_frames_that_are_far_apart_are_refused(tmp_path: Path) -> None:
    pickled(tmp_path, "frame_ids", [0, 1, 2, 3, 4, 10**9])
    with pytest.raises(DataError, match="one in 4 at least"):
        list(read(tmp_path))
