"""Times in every form and in every place: a frame that is missing between two is unseen, or the times are refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sign_models.errors import DataError
from sign_models.keypoints.formats.clock import seconds_of
from tests.keypoints.here import read
from tests.keypoints.test_frame_times import CLIP, KEPT, WHOLE, XY, check, table

# Milliseconds from the beginning -> text.
FORMS: dict[str, Callable[[int], str]] = {
    "hours": lambda ms: f"00:00:{1 + ms / 1000:06.3f}",
    "time of day": lambda ms: f"12:03:{4 + ms / 1000:.2f}",
    "minutes": lambda ms: f"3:{4 + ms / 1000:05.2f}",
    "decimal comma": lambda ms: f"00:00:{ms / 1000:06.3f}".replace(".", ","),
    "ISO": lambda ms: f"2024-01-05T12:03:{ms / 1000:06.3f}Z",
    "ISO, another zone": lambda ms: f"2024-01-05 12:03:{ms / 1000:09.6f}+01:00",
    "German date": lambda ms: f"05.01.2024 12:03:{ms / 1000:06.3f}",
    "American date": lambda ms: f"01/05/2024 12:03:{ms / 1000:06.3f} PM",
    "timedelta of pandas": lambda ms: f"0 days 00:00:{ms / 1000:09.6f}",
    "in brackets": lambda ms: f"[00:00:{ms / 1000:06.3f}]",
    "seconds": lambda ms: f"{ms / 1000:.2f} s",
    "milliseconds": lambda ms: f"{ms}ms",
    "ISO duration": lambda ms: f"PT{ms / 1000:.2f}S",
    "past midnight": lambda ms: f"23:59:{59.84 + ms / 1000:.2f}" if ms < 160 else f"00:00:{ms / 1000 - 0.16:05.2f}",
    "past midnight with a date": lambda ms: (
        f"2023-12-31 23:59:{59.84 + ms / 1000:.2f}" if ms < 160 else f"2024-01-01 00:00:{ms / 1000 - 0.16:05.2f}"
    ),
    "number": lambda ms: f"{1_700_000_000 + ms / 1000:.2f}",
    "number with a comma": lambda ms: f"{ms / 1000:.2f}".replace(".", ","),
}


def table_with_semicolons(folder: Path, name: str, values: list[str]) -> None:
    table(folder, name, values)
    path = folder / "clip.csv"
    numbers = [line.split(",") for line in path.read_text().splitlines()]
    rows = [[cells[0], *cells[-150:]] for cells in numbers]
    for row, value in zip(rows[1:], values, strict=True):
        row[0] = value
    path.write_text("\n".join(";".join(row) for row in rows) + "\n")


def table_with_ids(folder: Path, name: str, values: list[str]) -> None:
    table_with_semicolons(folder, name, values)
    head, *rows = (folder / "clip.csv").read_text().splitlines()
    (folder / "clip.csv").write_text("\n".join([f"id;{head}", *(f"clip;{row}" for row in rows)]) + "\n")


def record(folder: Path, name: str, values: list[Any]) -> None:
    (folder / "clip.json").write_text(json.dumps({"keypoints": CLIP.tolist(), name: values}))


def openhands(folder: Path, name: str, values: list[Any]) -> None:
    clip = {"keypoints": CLIP, "confidences": np.ones(CLIP.shape[:2]), name: values}
    (folder / "clip.pkl").write_bytes(pickle.dumps(clip))


def unisign(folder: Path, name: str, values: list[Any]) -> None:
    clip = {"keypoints": CLIP[:, None], "scores": np.ones((len(CLIP), 1, 75)), name: values}
    (folder / "clip.pkl").write_bytes(pickle.dumps(clip))


def pyskl(folder: Path, name: str, values: list[Any]) -> None:
    clip = {"frame_dir": "clip", "keypoint": CLIP[None], "total_frames": 8, "img_shape": (480, 640), name: values}
    (folder / "a.pkl").write_bytes(pickle.dumps([clip]))


def parts(folder: Path, name: str, values: list[Any]) -> None:
    named = {"pose": CLIP[:, :33], "left_hand": CLIP[:, 33:54], "right_hand": CLIP[:, 54:]}
    np.savez(folder / "clip.npz", **named, **{name: np.array(values)})


def frames(folder: Path, name: str, values: list[Any]) -> None:
    scored = np.concatenate([CLIP, np.full((*CLIP.shape[:2], 1), 0.9)], -1).tolist()
    told = [{name: value, "keypoints": frame} for value, frame in zip(values, scored, strict=True)]
    (folder / "clip.json").write_text(json.dumps({"frames": told}))


def mmpose(folder: Path, name: str, values: list[Any]) -> None:
    people = [[{"keypoints": frame, "keypoint_scores": [0.9] * 75}] for frame in CLIP.tolist()]
    told = [{name: value, "instances": found} for value, found in zip(values, people, strict=True)]
    (folder / "clip.json").write_text(json.dumps(told))


RECORDS = [record, openhands, unisign, pyskl, parts, frames, mmpose]
TABLES = [table_with_semicolons, table_with_ids]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("write", [*TABLES, record, frames, parts])
def test_times_as_texts(tmp_path: Path, write: Callable[[Path, str, list[str]], None], form: str) -> None:
    write(tmp_path, "Time", [FORMS[form](40 * n) for n in KEPT])
    [found] = read(tmp_path)
    check(found)
    assert found.id == "clip" and found.fps == pytest.approx(25)


@pytest.mark.parametrize("form", [form for form in FORMS if "number" not in form])
@pytest.mark.parametrize("name", ["zeit", "Timestamp (UTC)", "captured at"])
def test_the_form_of_a_time_tells_it_under_any_name(tmp_path: Path, form: str, name: str) -> None:
    table_with_semicolons(tmp_path, name, [FORMS[form](40 * n) for n in KEPT])
    [found] = read(tmp_path)
    check(found)


NUMBERS = {
    "frame_inds": KEPT,
    "frame_ids": [str(n) for n in KEPT],
    "frame": [f"{n:06}" for n in KEPT],
    "Frame Name": [f"frame_{n:04}.jpg" for n in KEPT],
    "images": [f"a/{n:05}.png" for n in KEPT],
    "file_name": [f"{n + 1}.jpg" for n in KEPT],
    "timestamp": [n / 25 for n in KEPT],
    "pts_time": [f"{n / 25}" for n in KEPT],
}


@pytest.mark.parametrize("write", RECORDS)
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_and_pictures_beside_the_landmarks(
    tmp_path: Path, write: Callable[[Path, str, list[Any]], None], name: str
) -> None:
    write(tmp_path, name, NUMBERS[name])
    [found] = read(tmp_path)
    assert found.confidence.any(1).tolist() == [t in KEPT for t in range(8)]


@pytest.mark.parametrize("write", [*RECORDS, *TABLES])
@pytest.mark.parametrize("name", ["n", "idx", "Unnamed: 0", "bild"])
@pytest.mark.parametrize("form", ["{}", "frame_{}"])
def test_what_may_be_a_frame_number_is_a_question(tmp_path: Path, write: Callable, name: str, form: str) -> None:
    write(tmp_path, name, [form.format(n) for n in KEPT])
    with pytest.raises(DataError, match=f"'{name}' counts the frames and leaves some out.*rename '{name}' to frame"):
        list(read(tmp_path))


@pytest.mark.parametrize("write", [write for write in [*RECORDS, *TABLES] if write is not pyskl])
def test_what_counts_without_a_gap_tells_nothing(tmp_path: Path, write: Callable) -> None:
    write(tmp_path, "n", [str(n) for n in range(7, 13)])
    assert [len(clip) for clip in read(tmp_path)] == [6]


UNUSABLE = {
    "the same time for several frames": ["12:03:04"] * 3 + ["12:03:05"] * 3,
    "backwards": ["5.0", "4.0", "3.0", "2.0", "1.0", "0.0"],
    "a frame without a time": ["0.0", "", "0.16", "0.2", "0.24", "0.28"],
    "frames within a second": [f"00:00:01:{n:02}" for n in KEPT],
    "words": ["soon", "later", "later", "now", "then", "last"],
    "days of an unknown order": [f"0{1 + n // 4}/02/2024 12:03:0{n}" for n in KEPT],
}


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("write", [*TABLES, record, frames, parts])
def test_times_that_cannot_be_used_are_refused(tmp_path: Path, write: Callable, name: str) -> None:
    write(tmp_path, "timestamp", UNUSABLE[name])
    with pytest.raises(DataError, match="timestamp.*(rename or remove|export it again)|frames with a number"):
        list(read(tmp_path))


@pytest.mark.parametrize("write", [*TABLES, record, frames])
def test_the_time_of_a_recording_is_no_time_of_frames(tmp_path: Path, write: Callable) -> None:
    write(tmp_path, "time", ["2024-01-05 12:03"] * 6)
    assert [(len(clip), clip.fps) for clip in read(tmp_path)] == [(6, None)]


def test_a_time_that_counts_frames_tells_no_frame_rate(tmp_path: Path) -> None:
    table_with_semicolons(tmp_path, "time", [str(n) for n in KEPT])
    [found] = read(tmp_path)
    check(found)
    assert found.fps is None


KINDS = {
    "timestamp": lambda ms: pa.array(ms, pa.timestamp("ms")),
    "timestamp of a zone": lambda ms: pa.array(ms, pa.timestamp("ms", "UTC")),
    "duration": lambda ms: pa.array(ms, pa.duration("ms")),
    "time of day": lambda ms: pa.array([1000 * n for n in ms], pa.time64("us")),
    "number": pa.array,
    "category": lambda ms: pa.array([f"00:00:{n / 1000:06.3f}" for n in ms]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_times_of_every_type_of_parquet(tmp_path: Path, kind: str) -> None:
    columns = {name: pa.array(CLIP.reshape(6, -1)[:, i]) for i, name in enumerate(XY)}
    times = KINDS[kind]([1000 + 40 * n for n in KEPT])
    parquet.write_table(pa.table({"timestamp": times, **columns}), tmp_path / "clip.parquet")
    [found] = read(tmp_path)
    check(found)
    assert found.fps == pytest.approx(25)


def test_too_few_frames_of_pyskl_are_a_question(tmp_path: Path) -> None:
    pyskl(tmp_path, "label", 3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="keypoints of 6 of 8 frames, and nothing tells of which.*frame_inds"):
        list(read(tmp_path))


def test_a_clip_of_a_table_has_its_own_times(tmp_path: Path) -> None:
    rows = [";".join(["id", "time", *XY])]
    for id, numbers in (("a", KEPT), ("b", [0, 1, 2, 3, 4, 6])):
        for n in numbers:
            rows.append(";".join([id, f"00:00:{n / 25:06.3f}", *map(str, WHOLE[n].ravel())]))
    (tmp_path / "all.csv").write_text("\n".join(rows) + "\n")
    unseen = {clip.id: np.flatnonzero(~clip.confidence.any(1)).tolist() for clip in read(tmp_path)}
    assert unseen == {"a": [2, 3], "b": [5]}


@pytest.mark.parametrize("text", ["", "clip_1", "12", "1.5", "12:03:04:05", "2024-01-05", "1:2:3:4", "5 min"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert seconds_of([text]) is None
