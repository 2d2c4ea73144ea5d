"""Parts of clips in tables and HDF5 files of their own: clip_pose.csv, left_hand/clip.parquet, right_hand.h5."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import detect, read
from sign_models.keypoints.landmarks import HAND
from tests.keypoints.clips import FRAMES, scored

WHOLE = scored("mediapipe_75").astype(np.float64)
PARTS = {"pose": WHOLE[:, :33], "left_hand": WHOLE[:, 33:54], "right_hand": WHOLE[:, 54:]}
Columns = Callable[[str, int], list[str]]  # of a part with so many landmarks: x, y and score of each


def counted(_: str, count: int) -> list[str]:
    return [f"{axis}{i}" for i in range(count) for axis in "xyv"]


def from_one(_: str, count: int) -> list[str]:
    return [f"landmark_{i + 1}_{axis}" for i in range(count) for axis in ("x", "y", "visibility")]


def with_part(part: str, count: int) -> list[str]:
    return [f"{part}_{i}_{axis}" for i in range(count) for axis in "xyc"]


def with_names(part: str, count: int) -> list[str]:
    if part == "pose":
        return counted(part, count)
    return [f"{name.upper()}_{axis}" for name in HAND for axis in ("x", "y", "confidence")]


def table(
    part: str, columns: Columns, ids: Sequence[str] = (), frames: Sequence[int] | None = None, kept: slice = slice(None)
) -> pa.Table:
    values = np.concatenate([PARTS[part][kept].reshape(len(range(FRAMES)[kept]), -1)] * max(1, len(ids)))
    found: dict[str, object] = {"video_id": np.repeat(ids, len(values) // len(ids))} if ids else {}
    if frames is not None:
        found["frame"] = [frames[t] for t in range(FRAMES)][kept] * max(1, len(ids))
    return pa.table(found | dict(zip(columns(part, PARTS[part].shape[1]), values.T, strict=True)))


def write(path: Path, content: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pa.parquet.write_table(content, path)
    else:
        pa.csv.write_csv(content, path, pa.csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ","))


def check(found: list, ids: list[str]) -> None:
    assert [one.id for one in found] == ids
    for one in found:
        assert one.layout == "mediapipe_75"
        np.testing.assert_allclose(one.points, WHOLE[..., :2], atol=1e-3)
        np.testing.assert_allclose(one.confidence, WHOLE[..., 2], atol=1e-6)


@pytest.mark.parametrize("columns", [counted, from_one, with_part, with_names])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("name", ["clip_{}", "{}-clip", "{}/clip"])
def test_tables_of_parts_are_one_clip(tmp_path: Path, name: str, suffix: str, columns: Columns) -> None:
    for part in PARTS:
        write(tmp_path / f"{name.format(part)}{suffix}", table(part, columns))
    assert detect(tmp_path) == "parts"
    check(list(read(tmp_path)), ["clip"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_of_parts_with_ids_are_a_clip_an_id(tmp_path: Path, suffix: str) -> None:
    for part in PARTS:
        write(tmp_path / f"{part}{suffix}", table(part, counted, ["007", "b"]))
    check(list(read(tmp_path)), ["007", "b"])


def test_a_row_a_landmark_in_a_table_of_a_part(tmp_path: Path) -> None:
    for part, values in PARTS.items():
        lines = [f"{t},{k},{x},{y},{s}" for t, frame in enumerate(values) for k, (x, y, s) in enumerate(frame)]
        (tmp_path / f"clip.{part}.csv").write_text("\n".join(["frame,landmark_id,x,y,score", *lines]))
    check(list(read(tmp_path)), ["clip"])


def test_tables_of_parts_are_joined_by_their_frame_numbers(tmp_path: Path) -> None:
    for part in PARTS:
        kept = slice(1, 4) if part == "left_hand" else slice(None)
        write(tmp_path / f"clip_{part}.csv", table(part, counted, frames=range(10, 10 + FRAMES), kept=kept))
    (one,) = read(tmp_path)
    seen = np.isin(np.arange(FRAMES), [1, 2, 3])
    assert len(one) == FRAMES and not one.confidence[~seen, 33:54].any() and one.nan == 0
    np.testing.assert_allclose(one.points[seen], WHOLE[seen, :, :2], atol=1e-3)
    np.testing.assert_allclose(one.points[:, 54:], WHOLE[:, 54:, :2], atol=1e-3)


def test_parts_of_different_lengths_without_numbers_are_refused(tmp_path: Path) -> None:
    for part in PARTS:
        kept = slice(0, 3) if part == "left_hand" else slice(None)
        write(tmp_path / f"clip_{part}.csv", table(part, counted, kept=kept))
    with pytest.raises(DataError, match="6 frames of pose, 3 frames of left_hand"):
        list(read(tmp_path))


def test_frame_numbers_of_some_parts_alone_are_refused_where_they_differ(tmp_path: Path) -> None:
    for part in PARTS:
        frames = {"pose": None, "left_hand": range(FRAMES), "right_hand": range(2, 2 + FRAMES)}[part]
        write(tmp_path / f"clip_{part}.csv", table(part, counted, frames=frames))
    with pytest.raises(DataError, match="those of pose have none.*a column frame in every part"):
        list(read(tmp_path))


def test_a_table_with_landmarks_of_another_part_is_refused(tmp_path: Path) -> None:
    for part in PARTS:
        other = {"left_hand": "right_hand"}.get(part, part)
        write(tmp_path / f"clip_{part}.csv", table(part, lambda _, count, other=other: with_part(other, count)))
    with pytest.raises(DataError, match="column 'right_hand_0_x' in the table of left_hand"):
        list(read(tmp_path))


def test_both_hands_in_one_file_beside_the_body_are_a_question(tmp_path: Path) -> None:
    write(tmp_path / "clip_pose.csv", table("pose", counted))
    hands = np.concatenate([PARTS["left_hand"], PARTS["right_hand"]], 1).reshape(FRAMES, -1)
    names = with_part("left_hand", 21) + with_part("right_hand", 21)
    write(tmp_path / "clip_hands.csv", pa.table(dict(zip(names, hands.T, strict=True))))
    with pytest.raises(DataError, match="clip_hands.csv: is named like both hands of 'clip', beside clip_pose.csv"):
        list(read(tmp_path))


def test_lists_in_tables_of_parts_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for part, values in PARTS.items():
        write(tmp_path / f"{part}.parquet", pa.table({"id": ["a"], "landmarks": [values.tolist()]}))
    with pytest.raises(DataError, match="lists of numbers in column 'landmarks'.*pose, left_hand, right_hand"):
        list(read(tmp_path))


def test_clips_that_are_only_named_like_hands_stay_apart(tmp_path: Path) -> None:
    names = [f"{axis}{i}" for i in range(75) for axis in "xyv"]
    content = pa.table(dict(zip(names, WHOLE.reshape(FRAMES, -1).T, strict=True)))
    for clip in ("turn_left_hand", "turn_right_hand"):
        write(tmp_path / f"{clip}.csv", content)
    check(list(read(tmp_path)), ["turn_left_hand", "turn_right_hand"])


def test_files_beside_parts_in_their_folders_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part in PARTS:
        write(tmp_path / part / "clip.csv", table(part, counted))
        (tmp_path / part / "notes.txt").write_text("recorded on Monday")
    check(list(read(tmp_path)), ["clip"])
    assert "3 files that nobody reads: notes.txt" in caplog.text


def as_files(folder: Path) -> None:
    for part, values in PARTS.items():
        with h5py().File(folder / f"a_{part}.h5", "w") as file:
            file["landmarks"] = values


def as_files_of_ids(folder: Path) -> None:
    for part, values in PARTS.items():
        with h5py().File(folder / f"{part}.h5", "w") as file:
            file["a"] = file["b"] = values


def as_groups(folder: Path) -> None:
    with h5py().File(folder / "all.h5", "w") as file:
        for part, values in PARTS.items():
            file[f"{part}/a"] = values


def as_groups_of_clips(folder: Path) -> None:
    with h5py().File(folder / "all.h5", "w") as file:
        for part, values in PARTS.items():
            file[f"a/{part}"] = values
            file[f"b/{part}"] = values


def as_npz_of_ids(folder: Path) -> None:
    for part, values in PARTS.items():
        np.savez(folder / f"{part}.npz", a=values, b=values)


def h5py():
    return pytest.importorskip("h5py")


@pytest.mark.parametrize("make", [as_files, as_files_of_ids, as_groups, as_groups_of_clips, as_npz_of_ids])
def test_parts_in_files_and_groups_of_arrays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    found = list(read(tmp_path))
    check(found, ["a", "b"][: len(found)])
    assert len(found) == (2 if make in (as_files_of_ids, as_groups_of_clips, as_npz_of_ids) else 1)
