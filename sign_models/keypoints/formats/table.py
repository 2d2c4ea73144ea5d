"""Tables of landmarks, Parquet or CSV, in the shapes of Kaggle's two ASL corpora and of the usual MediaPipe scripts.

long     frame, type, landmark_index, x, y[, z][, visibility]: a row a landmark (asl-signs)
wide     x_face_0, ..., y_face_0, ..., x_pose_32, ...: a row a frame (asl-fingerspelling); also pose_0_x,
         left_hand_WRIST_y, LEFT_SHOULDER_x and other orders of part, landmark and axis
counted  x1, y1[, z1][, v1], x2, ...: a row a frame
named    body.nose_x, body.nose_y[, body.nose_c], ...: a row a frame, by the names of `layouts`

A column of `columns.ID` parts a table into clips, whose rows stand together; without one, a table is one clip. An
empty cell or NaN is a landmark that was not found. Ids and texts are text, whatever they look like.
See docs/formats/tables.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import columns as known_columns
from sign_models.keypoints.formats.clip import Clip, clip
from sign_models.keypoints.formats.parts import part_of
from sign_models.keypoints.formats.source import Options, Source
from sign_models.keypoints.formats.table_columns import OFFSETS, TYPES, cell_of
from sign_models.keypoints.formats.table_files import batches, header
from sign_models.keypoints.landmarks import MESH_468, MESH_478
from sign_models.keypoints.layouts import layout_of, name_of, names_of
from sign_models.keypoints.sequence import KeypointSequence

if TYPE_CHECKING:
    import pyarrow as pa

LONG = frozenset(["frame", "type", "landmark_index", "x", "y"])
_LONG_COLUMNS = LONG | {"z", "visibility", "confidence", "score"}
SCORE = ("visibility", "confidence", "score")
COUNTED = re.compile(r"([xyzvc])(\d{1,4})")
NAMED = re.compile(r"((?:body|face|left_hand|right_hand)\.\w+)_([xyc])")
MAX_ROWS = 2**26
GAPS = 4  # frames that a clip may span for each frame that it has


@dataclass(frozen=True)
class RngSlice:
    """Landmarks of one clip, in any order: frame and place in the layout (N,); x, y, score (N, 3), NaN where unseen."""

    frame: np.ndarray
    place: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Shape:
    """How the columns of a table are read: its layout, and what makes Rows of a batch."""

    layout: str
    rows: Callable[[pa.RecordBatch, int], RngSlice]


def detect(source: Source) -> bool:
    if source.kind == "parquet":
        return True
    if source.kind != "text":
        return False
    names = header(source).names
    # The head may end inside a long header, whose last name is then cut off.
    found = sum(map(_is_landmark, names))
    return set(names) >= LONG or found >= 4


@dataclass(frozen=True)
class Told:
    """What the rows of one clip tell beside the landmarks: its id, and the values of each column, empty ones left out.

    values: column kind ("text", "split", "group") -> the different values that its rows hold.
    """

    id: str | None
    values: dict[str, dict[str, None]]

    def one(self, kind: str, column: str | None, place: str) -> str | None:
        """The value of all rows. DataError where it changes within the clip."""
        found = list(self.values.get(kind, {}))
        if len(found) > 1:
            raise DataError(
                f"column {column!r} changes within the clip: {found[0][:40]!r}, then {found[1][:40]!r}",
                place=place,
                wanted="one value a clip",
                remedy="add a column id that tells which rows are one clip, or remove the column",
            )
        return found[0] if found else None


def read(source: Source, options: Options) -> Iterator[Clip]:
    place = source.name
    shape: Shape | None = None
    count, told = 0, Told(None, {})
    parts: list[RngSlice] = []
    unknown = Unknown()
    named: dict[str, str | None] = {}
    for batch in batches(source):
        if shape is None:
            names = batch.schema.names
            shape = _shape(names, place, options.layout)
            free = [name for name in names if not _is_landmark(name)]
            id_column = known_columns.first_of(free, known_columns.ID)
            wanted = {"text": known_columns.TEXT, "split": known_columns.SPLIT, "group": known_columns.GROUP}
            named = {kind: known_columns.first_of(free, columns) for kind, columns in wanted.items()}
        if id_column is None:
            unknown.add(batch, [name for name in free if name not in named.values()])
        for key, part in _by_id(batch, id_column):
            if parts and key != told.id:
                yield partial(_read, parts, told, named, shape, source, options)
                parts = []
            if not parts:
                told, count = Told(key, {}), 0
            for kind, column in named.items():
                told.values.setdefault(kind, {}).update(dict.fromkeys(_values(part, column)))
            if count + part.num_rows > MAX_ROWS:
                raise DataError(f"a clip of more than {MAX_ROWS:,} rows", place=place, remedy="split the file")
            parts.append(shape.rows(part, count))
            count += part.num_rows
    if not parts or shape is None:
        raise DataError("has no rows", place=place, wanted="at least one frame")
    unknown.ask(place)
    yield partial(_read, parts, told, named, shape, source, options)


class Unknown:
    """Columns that nobody knows, in a table without an id: one of them may say which rows are one clip."""

    IGNORED = re.compile(
        r"(row_?id|unnamed.*|index|time.*|.*_?ms|seconds|fps|width|height|hand(edness)?|score.*|)", re.I
    )

    def __init__(self) -> None:
        self._runs: dict[str, int] = {}
        self._last: dict[str, Any] = {}
        self._rows = 0

    def add(self, batch: pa.RecordBatch, names: list[str]) -> None:
        import pyarrow as pa

        for name in names:
            column = batch.column(name)
            if self.IGNORED.fullmatch(name) or name in _LONG_COLUMNS or pa.types.is_floating(column.type):
                continue
            values = column.to_pylist()
            if not any(isinstance(value, str) and not _is_fraction(value) for value in values[:1]) and not (
                pa.types.is_integer(column.type)
            ):
                continue
            runs = sum(a != b for a, b in itertools.pairwise(values))
            first = self._last.get(name, values[0] if values else None)
            self._runs[name] = self._runs.get(name, 1) + runs + (bool(values) and values[0] != first)
            self._last[name] = values[-1] if values else first
        self._rows += batch.num_rows

    def ask(self, place: str) -> None:
        """DataError where a column stays the same for some rows and then changes."""
        for name, runs in self._runs.items():
            if 1 < runs < self._rows:
                raise DataError(
                    f"column {name!r} changes {runs - 1} times, and no column is known to tell the clips apart",
                    place=place,
                    wanted="a column named id where rows of several clips are in one table",
                    remedy=f"rename {name!r} to id if it tells the clips apart, else remove it",
                )


def _is_fraction(value: str) -> bool:
    return bool(re.fullmatch(r"-?\d*[.,]\d+(e-?\d+)?", value.strip(), re.IGNORECASE))


def _is_landmark(name: str) -> bool:
    return bool(COUNTED.fullmatch(name) or NAMED.fullmatch(name) or cell_of(name))


def _shape(columns: list[str], place: str, given: str | None = None) -> Shape:
    """given: the layout that the user names."""
    if repeated := {name for name in columns if columns.count(name) > 1}:
        raise DataError(f"two columns named {repeated.pop()!r}", place=place, wanted="each once")
    if set(columns) >= LONG:
        score = next((name for name in SCORE if name in columns), None)
        return Shape("mediapipe_553", partial(_long_rows, score=score, place=place))

    cells: dict[tuple[int, str], str] = {}  # (place in the layout, axis) -> column
    named = [found for name in columns if (found := NAMED.fullmatch(name))]
    counted = [found for name in columns if (found := COUNTED.fullmatch(name))]
    wide = {name: cell for name in columns if not NAMED.fullmatch(name) and (cell := cell_of(name))}
    if wide and len(wide) >= max(len(named), len(counted)):  # else a column of another meaning sounds like one
        layout = "mediapipe_553"
        for name, cell in wide.items():
            where = OFFSETS[cell.part] + _index(cell.place, cell.part, place), cell.axis
            if where in cells:
                wanted = "each landmark once"
                raise DataError(f"columns {cells[where]!r} and {name!r} are one landmark", place=place, wanted=wanted)
            cells[where] = name
    elif counted:
        first = min(int(found[2]) for found in counted)
        count = max(int(found[2]) for found in counted) - first + 1
        layout = given or ""
        cells = {(int(found[2]) - first, {"v": "c"}.get(found[1], found[1])): found[0] for found in counted}
    elif named:
        names = list(dict.fromkeys(found[1] for found in named))
        layout = name_of(names)
        cells = {(names.index(found[1]), found[2]): found[0] for found in named}
    else:
        wanted = "frame, type, landmark_index, x, y; x_face_0, ...; x1, y1, ...; or body.nose_x, ..."
        raise DataError(f"columns {', '.join(columns[:8])}", place=place, wanted=wanted, remedy="rename the columns")
    places = sorted(k for k, axis in cells if axis == "x" and (k, "y") in cells)
    lone = next((name for (k, axis), name in cells.items() if (axis in "xy") and k not in set(places)), None)
    if lone is not None:
        raise DataError(
            f"column {lone!r} without the other coordinate of its landmark",
            place=place,
            wanted="x and y of every landmark: x0, y0, x1, y1, ...",
            remedy="rename the columns; where x and y alternate in one run of numbers, x0, x1 are x0, y0",
        )
    if not places:
        raise DataError("no landmark with x and y", place=place, wanted="x and y of every landmark: x0, y0, ...")
    if counted and not given:
        layout = layout_of(count, place=place)
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
    for start, stop in itertools.pairwise(cuts):
        if stop > start:
            yield str(codes[start].as_py()), batch.slice(start, stop - start)


def _values(batch: pa.RecordBatch, column: str | None) -> list[str]:
    """The different values of a column as text, empty ones left out."""
    if column is None:
        return []
    found = batch.column(column).unique().to_pylist()
    return [str(value) for value in found if value is not None and str(value).strip()]


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


def _long_rows(batch: pa.RecordBatch, before: int, *, score: str | None, place: str) -> RngSlice:
    kinds = batch.column("type").dictionary_encode()
    names = kinds.dictionary.to_pylist()
    if unknown := [name for name in names if name not in TYPES and part_of(str(name)) not in TYPES]:
        raise DataError(f"landmarks of type {str(unknown[0])[:40]!r}", place=place, wanted=", ".join(TYPES))
    names = [name if name in TYPES else part_of(str(name)) for name in names]
    if kinds.null_count:
        raise DataError("landmarks without a type", place=place, wanted=", ".join(TYPES))
    code = kinds.indices.to_numpy(zero_copy_only=False)
    index = _integers(batch, "landmark_index", place)
    limits, offsets = (np.array([table[name] for name in names], np.int64)[code] for table in (TYPES, OFFSETS))
    if len(bad := np.flatnonzero((index < 0) | (index >= limits))):
        _index(int(index[bad[0]]), names[code[bad[0]]], place)
    x, y = _numbers(batch, "x", place), _numbers(batch, "y", place)
    sure = _numbers(batch, score, place) if score else np.ones(len(x))
    return RngSlice(_integers(batch, "frame", place), offsets + index, np.column_stack([x, y, sure]).astype(np.float32))


def _frame_rows(
    batch: pa.RecordBatch, before: int, *, places: list[int], cells: dict[tuple[int, str], str], place: str
) -> RngSlice:
    count = batch.num_rows
    frame = _integers(batch, "frame", place) if "frame" in batch.schema.names else np.arange(before, before + count)
    values = np.ones((count, len(places), 3), np.float32)
    for i, k in enumerate(places):
        for axis, name in enumerate("xyc"):
            if (k, name) in cells:
                values[:, i, axis] = _numbers(batch, cells[k, name], place)
    return RngSlice(np.repeat(frame, len(places)), np.tile(places, count), values.reshape(-1, 3))


def _read(
    parts: list[RngSlice], told: Told, named: dict[str, str | None], shape: Shape, source: Source, options: Options
) -> KeypointSequence:
    id = told.id
    place = source.name if id is None else f"{source.name}: sequence {id!r}"
    text, split, group = (told.one(kind, named[kind], place) for kind in ("text", "split", "group"))
    frame, landmark = np.concatenate([p.frame for p in parts]), np.concatenate([p.place for p in parts])
    values = np.concatenate([p.values for p in parts])
    length = int(frame.max() - frame.min()) + 1
    if length > GAPS * len(np.unique(frame)):
        found = f"{len(np.unique(frame))} frames between {frame.min()} and {frame.max()}"
        raise DataError(found, place=place, wanted=f"one in {GAPS} at least", remedy="number the frames one by one")
    count = len(names_of(shape.layout))
    flat = (frame - frame.min()) * count + landmark
    if len(np.unique(flat)) < len(flat):
        wanted = "each once, or a column id that parts the clips"
        raise DataError("the same landmark of a frame twice", place=place, wanted=wanted)
    lost = np.isnan(values).any(1, keepdims=True)
    clean = np.where(lost | (values[:, :2] == 0).all(1, keepdims=True), 0, values)
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
        split=split,
        group=group,
        nan=int(np.count_nonzero(lost)),
    )


_WITHOUT = {
    "mediapipe_75": slice(OFFSETS["face"], OFFSETS["face"] + len(MESH_478)),
    "mediapipe_543": slice(OFFSETS["face"] + len(MESH_468), OFFSETS["face"] + len(MESH_478)),  # without irises
}
