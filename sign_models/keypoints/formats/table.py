"""Tables of landmarks, Parquet or CSV, in the shapes of Kaggle's two ASL corpora and of the usual MediaPipe scripts.

long     frame, type, landmark_index, x, y[, z][, visibility]: a row a landmark (asl-signs)
wide     x_face_0, ..., y_face_0, ..., x_pose_32, ...: a row a frame (asl-fingerspelling)
counted  x1, y1[, z1][, v1], x2, ...: a row a frame
named    body.nose_x, body.nose_y[, body.nose_c], ...: a row a frame, by the names of `layouts`

A column sequence_id, video_id, id or clip parts a table into clips, whose rows stand together; without one, a table is
one clip. An empty cell or NaN is a landmark that was not found. See docs/formats/tables.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import Clip, clip
from sign_models.keypoints.formats.source import Options, Source, open_binary
from sign_models.keypoints.layouts import HAND, MEDIAPIPE_POSE, MESH_468, MESH_478, layout_of, name_of, names_of
from sign_models.keypoints.sequence import KeypointSequence

if TYPE_CHECKING:
    import pyarrow as pa

LONG = frozenset(["frame", "type", "landmark_index", "x", "y"])
ID = ("sequence_id", "video_id", "id", "clip")
TEXT = ("text", "phrase", "sign", "class")
SCORE = ("visibility", "confidence", "score")
# The order of LAYOUTS["mediapipe_553"].
TYPES = {"pose": len(MEDIAPIPE_POSE), "face": len(MESH_478), "left_hand": len(HAND), "right_hand": len(HAND)}
OFFSETS = dict(zip(TYPES, accumulate(TYPES.values(), initial=0), strict=False))
WIDE = re.compile(r"([xyz])_(face|pose|left_hand|right_hand)_(\d{1,4})")
COUNTED = re.compile(r"([xyzvc])(\d{1,4})")
NAMED = re.compile(r"((?:body|face|left_hand|right_hand)\.\w+)_([xyc])")
MAX_ROWS = 2**26
MAX_COLUMNS = 4096
MAX_GROUP_BYTES = 2**31  # of a row group of a Parquet file, unpacked
MAX_ROW_BYTES = 2**24  # of a row of a CSV file
GAPS = 4  # frames that a clip may span for each frame that it has


@dataclass(frozen=True)
class Rows:
    """Landmarks of one clip, in any order: frame and place in the layout (N,); x, y, score (N, 3), NaN where unseen."""

    frame: np.ndarray
    place: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Shape:
    """How the columns of a table are read: its layout, and what makes Rows of a batch."""

    layout: str
    rows: Callable[[pa.RecordBatch, int], Rows]


def detect(source: Source) -> bool:
    if source.kind == "parquet":
        return True
    if source.kind != "text":
        return False
    first = source.head.decode("utf-8-sig", errors="replace").partition("\n")[0]
    names = [name.strip().strip('"\r') for name in first.split(",")]
    # The head may end inside a long header, whose last name is then cut off.
    found = sum(any(form.fullmatch(name) for form in (WIDE, COUNTED, NAMED)) for name in names[:-1])
    return set(names) >= LONG or found >= 4


def read(source: Source, options: Options) -> Iterator[Clip]:
    place = source.name
    shape: Shape | None = None
    count, id, text = 0, None, None
    parts: list[Rows] = []
    for batch in _batches(source):
        if shape is None:
            shape = _shape(batch.schema.names, place)
            id_column = next((name for name in ID if name in batch.schema.names), None)
            text_column = next((name for name in TEXT if name in batch.schema.names), None)
        for key, part in _by_id(batch, id_column):
            if parts and key != id:
                yield partial(_read, parts, id, text, shape, source, options)
                parts = []
            if not parts:
                id, text, count = key, _cell(part, text_column), 0
            if count + part.num_rows > MAX_ROWS:
                raise DataError(f"a clip of more than {MAX_ROWS:,} rows", place=place, remedy="split the file")
            parts.append(shape.rows(part, count))
            count += part.num_rows
    if not parts or shape is None:
        raise DataError("has no rows", place=place, wanted="at least one frame")
    yield partial(_read, parts, id, text, shape, source, options)


def _batches(source: Source) -> Iterator[pa.RecordBatch]:
    """A table piece by piece, so that memory does not grow with it."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    place = source.name
    try:
        if source.kind == "parquet":
            # The limits hold for the footer, which a file may describe as larger than memory.
            file = parquet.ParquetFile(source.path, thrift_string_size_limit=2**24, thrift_container_size_limit=2**20)
            _check_parquet(file.metadata, place)
            batches: Iterator[pa.RecordBatch] = file.iter_batches(batch_size=2**16)
            yield from map(_validated, batches)
        else:
            options = csv.ReadOptions(block_size=MAX_ROW_BYTES)
            with open_binary(source.path) as text:
                yield from map(_validated, csv.open_csv(text, read_options=options))
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, EOFError) as error:
        found = f"is no readable table ({str(error)[:120]})"
        raise DataError(found, place=place, wanted="a whole file", remedy="export it again") from error


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, its offsets within bounds and its text in UTF-8. Raises ArrowInvalid, UnicodeDecodeError."""
    batch.validate(full=True)
    batch.schema.names  # noqa: B018  decodes them
    return batch


def _check_parquet(metadata: Any, place: str) -> None:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns)]
    if metadata.num_columns > MAX_COLUMNS or any(not 0 <= size <= MAX_GROUP_BYTES for size in columns):
        raise DataError(
            f"says it has {metadata.num_columns} columns of up to {max(columns, default=0):,} bytes",
            place=place,
            wanted=f"at most {MAX_COLUMNS} columns, and {MAX_GROUP_BYTES:,} bytes of a column in a row group",
            remedy="write it with smaller row groups",
        )


def _shape(columns: list[str], place: str) -> Shape:
    if repeated := {name for name in columns if columns.count(name) > 1}:
        raise DataError(f"two columns named {repeated.pop()!r}", place=place, wanted="each once")
    if set(columns) >= LONG:
        score = next((name for name in SCORE if name in columns), None)
        return Shape("mediapipe_553", partial(_long_rows, score=score, place=place))
    cells: dict[tuple[int, str], str] = {}  # (place in the layout, axis) -> column
    if wide := [found for name in columns if (found := WIDE.fullmatch(name))]:
        layout = "mediapipe_553"
        for found in wide:
            cells[OFFSETS[found[2]] + _index(int(found[3]), found[2], place), found[1]] = found[0]
    elif counted := [found for name in columns if (found := COUNTED.fullmatch(name))]:
        first = min(int(found[2]) for found in counted)
        layout = layout_of(max(int(found[2]) for found in counted) - first + 1, place=place)
        cells = {(int(found[2]) - first, {"v": "c"}.get(found[1], found[1])): found[0] for found in counted}
    elif named := [found for name in columns if (found := NAMED.fullmatch(name))]:
        names = list(dict.fromkeys(found[1] for found in named))
        layout = name_of(names)
        cells = {(names.index(found[1]), found[2]): found[0] for found in named}
    else:
        wanted = "frame, type, landmark_index, x, y; x_face_0, ...; x1, y1, ...; or body.nose_x, ..."
        raise DataError(f"columns {', '.join(columns[:8])}", place=place, wanted=wanted, remedy="rename the columns")
    places = sorted(k for k, axis in cells if axis == "x" and (k, "y") in cells)
    return Shape(layout, partial(_frame_rows, places=places, cells=cells, place=place))


def _index(index: int, kind: str, place: str) -> int:
    if not 0 <= index < TYPES[kind]:
        raise DataError(f"landmark {index} of {kind}", place=place, wanted=f"0 to {TYPES[kind] - 1}")
    return index


def _by_id(batch: pa.RecordBatch, column: str | None) -> Iterator[tuple[str | None, pa.RecordBatch]]:
    """A batch cut where the id changes."""
    if column is None:
        yield None, batch
        return
    codes = batch.column(column).dictionary_encode()
    indices = codes.indices.to_numpy(zero_copy_only=False)
    cuts = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        if stop > start:
            yield str(codes[start].as_py()), batch.slice(start, stop - start)


def _cell(batch: pa.RecordBatch, column: str | None) -> str | None:
    value = batch.column(column)[0].as_py() if column and batch.num_rows else None
    return None if value is None else str(value)


def _numbers(batch: pa.RecordBatch, column: str, place: str) -> np.ndarray:
    """A column as float64, NaN where empty."""
    import pyarrow as pa

    try:
        return batch.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        found = f"column {column!r} holds something else than numbers ({str(error)[:80]})"
        raise DataError(found, place=place, wanted="numbers", remedy="export it again") from error


def _integers(batch: pa.RecordBatch, column: str, place: str) -> np.ndarray:
    numbers = _numbers(batch, column, place)
    if not ((numbers == np.floor(numbers)) & (np.abs(numbers) < 2**40)).all():
        raise DataError(f"column {column!r} is not whole numbers", place=place, wanted="0, 1, 2, ...")
    return numbers.astype(np.int64)


def _long_rows(batch: pa.RecordBatch, before: int, *, score: str | None, place: str) -> Rows:
    kinds = batch.column("type").dictionary_encode()
    names = kinds.dictionary.to_pylist()
    if unknown := [name for name in names if name not in TYPES]:
        raise DataError(f"landmarks of type {str(unknown[0])[:40]!r}", place=place, wanted=", ".join(TYPES))
    if kinds.null_count:
        raise DataError("landmarks without a type", place=place, wanted=", ".join(TYPES))
    code = kinds.indices.to_numpy(zero_copy_only=False)
    index = _integers(batch, "landmark_index", place)
    limits, offsets = (np.array([table[name] for name in names], np.int64)[code] for table in (TYPES, OFFSETS))
    if len(bad := np.flatnonzero((index < 0) | (index >= limits))):
        _index(int(index[bad[0]]), names[code[bad[0]]], place)
    x, y = _numbers(batch, "x", place), _numbers(batch, "y", place)
    sure = _numbers(batch, score, place) if score else np.ones(len(x))
    return Rows(_integers(batch, "frame", place), offsets + index, np.column_stack([x, y, sure]).astype(np.float32))


def _frame_rows(
    batch: pa.RecordBatch, before: int, *, places: list[int], cells: dict[tuple[int, str], str], place: str
) -> Rows:
    count = batch.num_rows
    frame = _integers(batch, "frame", place) if "frame" in batch.schema.names else np.arange(before, before + count)
    values = np.ones((count, len(places), 3), np.float32)
    for i, k in enumerate(places):
        for axis, name in enumerate("xyc"):
            if (k, name) in cells:
                values[:, i, axis] = _numbers(batch, cells[k, name], place)
    return Rows(np.repeat(frame, len(places)), np.tile(places, count), values.reshape(-1, 3))


def _read(
    parts: list[Rows], id: str | None, text: str | None, shape: Shape, source: Source, options: Options
) -> KeypointSequence:
    place = source.name if id is None else f"{source.name}: sequence {id!r}"
    frame, landmark = np.concatenate([p.frame for p in parts]), np.concatenate([p.place for p in parts])
    values = np.concatenate([p.values for p in parts])
    length = int(frame.max() - frame.min()) + 1
    if length > GAPS * len(np.unique(frame)):
        found = f"{len(np.unique(frame))} frames between {frame.min()} and {frame.max()}"
        raise DataError(found, place=place, wanted=f"one in {GAPS} at least", remedy="number the frames one by one")
    count = len(names_of(shape.layout))
    flat = (frame - frame.min()) * count + landmark
    if len(np.unique(flat)) < len(flat):
        wanted = f"each once, or a column {', '.join(ID)} that parts the clips"
        raise DataError("the same landmark of a frame twice", place=place, wanted=wanted)
    clean = np.where(np.isnan(values).any(1, keepdims=True) | (values[:, :2] == 0).all(1, keepdims=True), 0, values)
    whole = np.zeros((length, count, 3), np.float32)
    whole.reshape(-1, 3)[flat] = clean
    layout = shape.layout
    if layout == "mediapipe_553":  # what no frame has, the layout lacks: other landmarks may stand in for it
        without = next(((name, places) for name, places in _WITHOUT.items() if not whole[:, places].any()), None)
        if without:
            layout, whole = without[0], np.delete(whole, without[1], axis=1)
    return clip(
        source.id if id is None else id,
        whole[..., :2],
        options,
        source=place,
        confidence=whole[..., 2],
        layout=layout,
        text=text,
    )


_WITHOUT = {
    "mediapipe_75": slice(OFFSETS["face"], OFFSETS["face"] + len(MESH_478)),
    "mediapipe_543": slice(OFFSETS["face"] + len(MESH_468), OFFSETS["face"] + len(MESH_478)),  # without irises
}
