"""Tables of landmarks, Parquet or CSV, in the forms of Kaggle's two ASL corpora and of common MediaPipe scripts.

long     frame, type, landmark_index, x, y[, z][, visibility]: a row a landmark (asl-signs)
wide     x_face_0, ..., y_face_0, ..., x_pose_32, ...: a row a frame (asl-fingerspelling); also pose_0_x,
         left_hand_WRIST_y, LEFT_SHOULDER_x and other orders of part, landmark and axis
counted  x1, y1[, z1][, v1], x2, ...: a row a frame
named    body.nose_x, body.nose_y[, body.nose_c], ...: a row a frame, by the names of `layouts`

A column of `columns.ID` divides a table into clips, whose rows are consecutive. Without one, a table is one clip. An
empty cell or NaN is a landmark that was not found. Ids and texts are text, whatever they look like.
See docs/formats/tables.md.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import frame_times, plausible
from sign_models.keypoints.formats.clip import ClipReader, make_sequence
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.part_names import part_of
from sign_models.keypoints.formats.tables import columns as known_columns
from sign_models.keypoints.formats.tables.table_columns import (
    COUNTED,
    LONG,
    NAMED,
    OFFSETS,
    TYPES,
    cell_of,
    is_landmark,
)
from sign_models.keypoints.formats.tables.table_files import as_floats, batches, header
from sign_models.keypoints.formats.tables.table_pictures import number_pictures, pictures_of
from sign_models.keypoints.formats.tables.table_rows import (
    ClipColumns,
    all_numbers_of,
    by_id,
    column_of,
    integers_of,
    numbers_of,
    values_of,
)
from sign_models.keypoints.formats.tables.unknown_columns import UnknownColumns
from sign_models.keypoints.landmarks import (
    COCO_BODY,
    COCO_FEET,
    HALPE_BODY,
    MESH_468,
    MESH_478,
    OPENPOSE_BODY_18,
    OPENPOSE_BODY_25,
)
from sign_models.keypoints.layouts import layout_of, name_of, names_of
from sign_models.keypoints.sequence import KeypointSequence

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

SCORE = ("visibility", "confidence", "score")
MAX_ROWS = 2**26
# Counts of landmarks of other estimators' bodies, which columns like pose_0_x may number.
_BODIES = frozenset(map(len, (COCO_BODY, OPENPOSE_BODY_18, [*COCO_BODY, *COCO_FEET], OPENPOSE_BODY_25, HALPE_BODY)))
FPS = ("fps", "frame_rate", "framerate")


@dataclass(frozen=True)
class LandmarkRows:
    """N landmarks of one clip, in any order.

    Attributes:
        frame: (N,) int64 frame of each.
        place: (N,) int64 index of each in the layout.
        values: (N, 4) float32 x, y, z (0 where there is none) and score, NaN where unseen.
        beside: Other columns of its rows, where nothing numbers the frames.
    """

    frame: np.ndarray
    place: np.ndarray
    values: np.ndarray
    beside: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TableShape:
    """The form of a table.

    Attributes:
        layout: Layout of its landmarks.
        counted: Whether only the count of landmarks tells the layout.
        pose: Number of landmarks of the pose that are only numbered, and not 33. 0: none.
        rows: Converts a batch of rows, after so many rows of the clip.
    """

    layout: str
    counted: bool
    rows: Callable[[pa.RecordBatch, int], LandmarkRows]
    pose: int = 0


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a file is Parquet, or a text whose header names landmarks.

    Raises:
        DataError: The file is broken.
    """
    if source.kind == "parquet":
        return True
    if source.kind != "text":
        return False
    names = header(source).names
    # The first bytes may end inside a long header, whose last name is then incomplete.
    found = sum(map(is_landmark, names))
    return set(names) >= LONG or found >= 4


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read a table clip by clip. Only the rows of one clip are in memory.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    place = source.name
    shape: TableShape | None = None
    count, others = 0, ClipColumns(None, {})
    parts: list[LandmarkRows] = []
    unknown = UnknownColumns()
    named: dict[str, str | None] = {}
    for batch in batches(source):
        if shape is None:
            names = batch.schema.names
            shape = shape_of(names, place, options.layout)
            free = [name for name in names if not is_landmark(name)]
            known_columns.check_texts(free, place)
            if shape.pose:
                message = "%s: %d landmarks of the pose are only numbered; they are taken for MediaPipe's first %d"
                log.warning(message, place, shape.pose, shape.pose)
            id_column = known_columns.first_of(free, known_columns.ID)
            wanted = {
                "text": known_columns.TEXT, "split": known_columns.SPLIT, "group": known_columns.GROUP, "fps": FPS,
            }  # fmt: skip
            named = {kind: known_columns.first_of(free, columns) for kind, columns in wanted.items()}
            pictures = pictures_of(batch, free, id_column)
            batch, id_column = number_pictures(batch, pictures, id_column)
        else:
            batch, _ = number_pictures(batch, pictures, id_column)
        others_free = [name for name in free if name != id_column and name not in named.values()]
        if id_column is None:
            unknown.add(batch, others_free)
        untimed = [] if "frame" in batch.schema.names else others_free
        for key, part in by_id(batch, id_column):
            if parts and key != others.id:
                yield partial(_read, parts, others, named, shape, source, options)
                parts = []
            if not parts:
                others, count = ClipColumns(key, {}), 0
            for kind, column in named.items():
                others.values.setdefault(kind, {}).update(dict.fromkeys(values_of(part, column)))
            if count + part.num_rows > MAX_ROWS:
                raise DataError(f"a clip of more than {MAX_ROWS:,} rows", place=place, remedy="split the file")
            beside = {name: values for name in untimed if (values := column_of(part, name)) is not None}
            parts.append(replace(shape.rows(part, count), beside=beside))
            count += part.num_rows
    if not parts or shape is None:
        raise DataError("has no rows", place=place, wanted="at least one frame")
    unknown.check(place)
    yield partial(_read, parts, others, named, shape, source, options)


def shape_of(columns: list[str], place: str, given: str | None = None) -> TableShape:
    """Find the form of a table by its columns.

    Args:
        columns: Its columns.
        place: What an error message names.
        given: Layout that the user names for landmarks that are only counted, or None.

    Returns:
        The form.

    Raises:
        DataError: The columns are of no form that is known.
    """
    if repeated := {name for name in columns if columns.count(name) > 1}:
        raise DataError(f"two columns named {repeated.pop()!r}", place=place, wanted="each once")
    if set(columns) >= LONG:
        score = next((name for name in SCORE if name in columns), None)
        return TableShape("mediapipe_553", False, partial(_long_rows, score=score, place=place))

    layout: str | None
    cells: dict[tuple[int, str], str] = {}  # columns by index in the layout and axis
    named = [found for name in columns if (found := NAMED.fullmatch(name))]
    counted = [found for name in columns if (found := COUNTED.fullmatch(name))]
    wide = {name: cell for name in columns if not NAMED.fullmatch(name) and (cell := cell_of(name))}
    if wide and len(wide) >= max(len(named), len(counted)):  # else a column of another meaning has such a name
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
        layout = given
        cells = {(int(found[2]) - first, {"v": "c"}.get(found[1], found[1])): found[0] for found in counted}
    elif named:
        names = list(dict.fromkeys(found[1] for found in named))
        layout = name_of(names)
        cells = {(names.index(found[1]), found[2]): found[0] for found in named}
    else:
        raise _unknown(columns, place)
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
    rows = partial(_frame_rows, places=places, cells=cells, place=place)
    numbered = {cell.place for name, cell in wide.items() if cell.part == "pose" and re.search(r"\d", name)}
    pose = max(numbered, default=-1) + 1
    return TableShape(layout or layout_of(count, place=place), layout is None, rows, pose if pose in _BODIES else 0)


def _unknown(columns: list[str], place: str) -> DataError:
    """The error of a table without landmarks."""
    some = ", ".join(columns[:8])
    if known_columns.first_of(columns, known_columns.ID) and known_columns.first_of(columns, known_columns.TEXT):
        told = f"is a table of labels: {some}"
        return DataError(told, place=place, wanted="labels as text", remedy="save it as CSV in UTF-8")
    wanted = "frame, type, landmark_index, x, y; x_face_0, ...; x1, y1, ...; or body.nose_x, ..."
    return DataError(f"columns {some}", place=place, wanted=wanted, remedy="rename the columns")


def _index(index: int, kind: str, place: str) -> int:
    if not 0 <= index < TYPES[kind]:
        raise DataError(f"landmark {index} of {kind}", place=place, wanted=f"0 to {TYPES[kind] - 1}")
    return index


def _long_rows(batch: pa.RecordBatch, before: int, *, score: str | None, place: str) -> LandmarkRows:
    kinds = batch.column("type").dictionary_encode()
    names = kinds.dictionary.to_pylist()
    if unknown := [name for name in names if name not in TYPES and part_of(str(name)) not in TYPES]:
        raise DataError(f"landmarks of type {str(unknown[0])[:40]!r}", place=place, wanted=", ".join(TYPES))
    names = [name if name in TYPES else part_of(str(name)) for name in names]
    if kinds.null_count:
        raise DataError("landmarks without a type", place=place, wanted=", ".join(TYPES))
    code = as_floats(kinds.indices).astype(np.int64)
    index = integers_of(batch, "landmark_index", place)
    limits, offsets = (np.array([table[name] for name in names], np.int64)[code] for table in (TYPES, OFFSETS))
    if len(bad := np.flatnonzero((index < 0) | (index >= limits))):
        _index(int(index[bad[0]]), names[code[bad[0]]], place)
    x, y = numbers_of(batch, "x", place), numbers_of(batch, "y", place)
    z = numbers_of(batch, "z", place) if "z" in batch.schema.names else np.zeros(len(x))
    scores = numbers_of(batch, score, place) if score else np.ones(len(x))
    return LandmarkRows(
        integers_of(batch, "frame", place), offsets + index, np.column_stack([x, y, z, scores]).astype(np.float32)
    )


def _frame_rows(
    batch: pa.RecordBatch, before: int, *, places: list[int], cells: dict[tuple[int, str], str], place: str
) -> LandmarkRows:
    count = batch.num_rows
    frame = integers_of(batch, "frame", place) if "frame" in batch.schema.names else np.arange(before, before + count)
    values = np.ones((count, len(places), 4), np.float32)
    values[..., 2] = 0
    held = [
        (i, axis, cells[k, name])
        for i, k in enumerate(places)
        for axis, name in enumerate("xyzc")
        if (k, name) in cells
    ]
    at, axes, names = (list(found) for found in zip(*held, strict=True))
    values[:, at, axes] = all_numbers_of(batch, names, place)
    return LandmarkRows(np.repeat(frame, len(places)), np.tile(places, count), values.reshape(-1, 4))


def _read(
    parts: list[LandmarkRows],
    others: ClipColumns,
    named: dict[str, str | None],
    shape: TableShape,
    source: Source,
    options: ReadOptions,
) -> KeypointSequence:
    id = others.id
    place = source.name if id is None else f"{source.name}: sequence {id!r}"
    text, split, group, rate = (others.one(kind, named[kind], place) for kind in ("text", "split", "group", "fps"))
    frame, landmark = np.concatenate([p.frame for p in parts]), np.concatenate([p.place for p in parts])
    values = np.concatenate([p.values for p in parts])
    fps = float(rate) if rate and re.fullmatch(r"\d+(\.\d+)?", rate) else None
    rows = {
        name: np.concatenate([p.beside[name] for p in parts]) for name in parts[0].beside if name in parts[-1].beside
    }
    if (timed := frame_times.of_fields(rows, len(np.unique(frame)), place)) is not None:
        frame, fps = timed.numbers[frame - frame.min()], fps or timed.fps
    length = int(frame.max() - frame.min()) + 1
    frame_times.check_span(int(frame.min()), int(frame.max()), len(np.unique(frame)), place)
    count = len(names_of(shape.layout))
    flat = (frame - frame.min()) * count + landmark
    if len(np.unique(flat)) < len(flat):
        wanted = "each once, or a column id that parts the clips"
        raise DataError("the same landmark of a frame twice", place=place, wanted=wanted)
    lost = np.isnan(values[:, [0, 1, 3]]).any(1, keepdims=True)
    unseen = lost | (values[:, :2] == 0).all(1, keepdims=True) | (values[:, :2] == -1).all(1, keepdims=True)
    clean = np.where(unseen | np.isnan(values), 0, values)
    whole = np.zeros((length, count, 4), np.float32)
    whole.reshape(-1, 4)[flat] = clean
    layout = shape.layout
    if shape.pose and options.layout is None and plausible.contradiction(whole[..., :2], whole[..., 3], layout):
        raise DataError(
            f"{shape.pose} landmarks of a pose that are only numbered, which are not at the places of MediaPipe's",
            place=place,
            wanted="MediaPipe's order, or names: LEFT_SHOULDER_x, ...",
            remedy="name the columns by landmarks (docs/formats/tables.md), or number all landmarks in one run, "
            "x0, y0, ..., and name the layout (--layout)",
        )
    if (
        layout == "mediapipe_553"
    ):  # parts that no frame has are left out of the layout, so that other landmarks are used
        without = next(((name, places) for name, places in _WITHOUT.items() if not whole[:, places].any()), None)
        if without:
            layout, whole = without[0], np.delete(whole, without[1], axis=1)
    return make_sequence(
        source.id if id is None else id,
        whole[..., :3],
        options,
        source=place,
        confidence=whole[..., 3],
        layout=None if shape.counted else layout,
        text=text,
        split=split,
        group=group,
        fps=fps,
        nan=int(np.count_nonzero(lost)),
    )


_WITHOUT = {
    "mediapipe_75": slice(OFFSETS["face"], OFFSETS["face"] + len(MESH_478)),
    "mediapipe_543": slice(OFFSETS["face"] + len(MESH_468), OFFSETS["face"] + len(MESH_478)),  # without irises
}
