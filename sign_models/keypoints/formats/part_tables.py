"""Tables of one part of a clip, Parquet or CSV: left_hand.csv, with the columns of `table`, which may lack the part.

x0, y0, ...; WRIST_x, ...; left_hand_0_x, ...: a row a frame. frame, landmark, x, y: a row a landmark. A column of ids
divides a table into clips. Tables of the parts of a clip are joined by their frame numbers where they have them.

T frames, K landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import frame_times
from sign_models.keypoints.formats.files.source import Source
from sign_models.keypoints.formats.tables import columns as known_columns
from sign_models.keypoints.formats.tables.table import LandmarkRows, shape_of
from sign_models.keypoints.formats.tables.table_columns import (
    COUNTED,
    OFFSETS,
    TYPES,
    cell_of,
    is_landmark,
    landmark_column,
)
from sign_models.keypoints.formats.tables.table_files import batches, column_names, header, nested_columns
from sign_models.keypoints.formats.tables.table_rows import by_id
from sign_models.keypoints.landmarks import MESH_468

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TimedArray:
    """The landmarks of one part of a clip.

    Attributes:
        values: (T, K, 4) float32 x, y, z and confidence, 0 where unseen.
        first: Number of the first frame, None where nothing numbers them.
    """

    values: np.ndarray
    first: int | None


def detect(source: Source) -> bool:
    """Recognise a table of a part by its header.

    Args:
        source: A file.

    Returns:
        Whether it is a table of landmarks.

    Raises:
        DataError: The file is broken.
    """
    if source.kind == "parquet":
        return True
    if source.kind != "text":
        return False
    names = header(source).names
    known = [is_landmark(name) or cell_of(f"pose_{name}") or cell_of(f"left_hand_{name}") for name in names]
    return sum(map(bool, known)) >= 4 or ({"x", "y"} <= set(names) and landmark_column(names) is not None)


def count_of(source: Source) -> int | None:
    """Count the landmarks of a table that only numbers them, by its header.

    Args:
        source: The file.

    Returns:
        Their number. None where the columns name the landmarks.

    Raises:
        DataError: The file is broken.
    """
    names = column_names(source) if source.kind == "parquet" else header(source).names
    counted = {found[2] for name in names if (found := COUNTED.fullmatch(name))}
    return len(counted) or None


def read(source: Source, part: str) -> dict[str | None, TimedArray]:
    """Read a table of one part.

    Args:
        source: The file.
        part: Its part.

    Returns:
        The landmarks of each clip by id; of a table without ids of one clip, under None.

    Raises:
        DataError: The table cannot be read, or has landmarks of another part.
    """
    if source.kind == "parquet" and (lists := nested_columns(source)):
        raise DataError(
            f"lists of numbers in column {lists[0]!r} of the table of {part}",
            place=source.name,
            wanted="a column a coordinate, or one table with a column of lists for each part",
            remedy="join the tables: columns id, pose, left_hand, right_hand (docs/formats/tables.md)",
        )
    found: dict[str | None, list[LandmarkRows]] = {}
    rows: dict[str | None, int] = {}
    last: list[str | None] = []
    timed, shape, id_column = False, None, None
    for batch in batches(source):
        batch = _named(batch, part)
        if shape is None:
            names = batch.schema.names
            timed = "frame" in names
            id_column = known_columns.first_of([n for n in names if not is_landmark(n)], known_columns.ID)
            _check_part(names, part, source.name)
            shape = shape_of(names, source.name, part)
            counted = any(COUNTED.fullmatch(name) for name in names)
        for key, piece in by_id(batch, id_column):
            if key in found and last != [key]:
                told = f"the rows of {key!r} do not stand together"
                raise DataError(told, place=source.name, wanted="clip after clip", remedy="sort the table")
            last = [key]
            found.setdefault(key, []).append(shape.rows(piece, rows.get(key, 0)))
            rows[key] = rows.get(key, 0) + piece.num_rows
    if not found:
        raise DataError("has no rows", place=source.name, wanted="at least one frame")
    offset, count = (0, None) if counted else (OFFSETS[part], TYPES[part])
    return {key: _timed(pieces, offset, count, timed, f"{source.name}: {key or part}") for key, pieces in found.items()}


def _named(batch: pa.RecordBatch, part: str) -> pa.RecordBatch:
    """A table with the names of `table`: the part before landmarks that lack it, a column with the type."""
    import pyarrow as pa

    names = batch.schema.names
    index = landmark_column(names)
    if {"x", "y"} <= set(names) and index is not None:
        batch = batch.rename_columns(["landmark_index" if name == index else name for name in names])
        if "type" not in names:
            batch = batch.append_column("type", pa.array([part] * batch.num_rows, pa.string()))
        if "frame" not in names:
            batch = batch.append_column("frame", pa.array(np.zeros(batch.num_rows, np.int64)))
        return batch
    whole = [n if is_landmark(n) or not cell_of(f"{part}_{n}") else f"{part}_{n}" for n in names]
    return batch if whole == names else batch.rename_columns(whole)


def _check_part(names: list[str], part: str, place: str) -> None:
    other = next((name for name in names if (cell := cell_of(name)) and cell.part != part), None)
    if other is not None:
        raise DataError(
            f"column {other!r} in the table of {part}",
            place=place,
            wanted=f"landmarks of {part} alone",
            remedy="rename the file if it has all parts, or the column",
        )


def _timed(pieces: list[LandmarkRows], offset: int, count: int | None, timed: bool, place: str) -> TimedArray:
    frame, landmark = np.concatenate([p.frame for p in pieces]), np.concatenate([p.place for p in pieces]) - offset
    values = np.concatenate([p.values for p in pieces])
    first, last = int(frame.min()), int(frame.max())
    frame_times.check_span(first, last, len(np.unique(frame)), place)
    count = int(landmark.max()) + 1 if count is None else count
    if count == TYPES["face"] and landmark.max() < len(MESH_468):
        count = len(MESH_468)
    flat = (frame - first) * count + landmark
    if len(np.unique(flat)) < len(flat):
        wanted = "each once, with a column frame, and a column id that parts the clips"
        raise DataError("the same landmark of a frame twice", place=place, wanted=wanted)
    lost = np.isnan(values).any(1) | (values[:, :2] == 0).all(1) | (values[:, :2] == -1).all(1)
    whole = np.zeros((last - first + 1, count, 4), np.float32)
    whole.reshape(-1, 4)[flat] = np.where(lost[:, None], 0, values)
    return TimedArray(whole, first if timed else None)


def at_one_time(held: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Bring the tables of a clip's parts to the same frames. What a table leaves out is unseen.

    Args:
        held: By part: a TimedArray, or an array of another file.
        place: What an error message names.

    Returns:
        Arrays by part.

    Raises:
        DataError: Some number their frames and others do not, and they differ in length.
    """
    tables = {part: value for part, value in held.items() if isinstance(value, TimedArray)}
    numbered = {part: (t.first, t.first + len(t.values)) for part, t in tables.items() if t.first is not None}
    arrays = {part: value.values if isinstance(value, TimedArray) else value for part, value in held.items()}
    if len(set(numbered.values())) < 2:
        return arrays
    if len(numbered) < len(held):
        others = ", ".join(part for part in held if part not in numbered)
        raise DataError(
            f"frames of {', '.join(numbered)} have different numbers, those of {others} have none",
            place=place,
            wanted="a column frame in every part",
            remedy="export them again with frame numbers",
        )
    first, last = min(a for a, _ in numbered.values()), max(b for _, b in numbered.values())
    frame_times.check_span(first, last - 1, max(b - a for a, b in numbered.values()), place)
    for part, (begin, end) in numbered.items():
        whole = np.zeros((last - first, *arrays[part].shape[1:]), np.float32)
        whole[begin - first : end - first] = arrays[part]
        arrays[part] = whole
    return arrays
