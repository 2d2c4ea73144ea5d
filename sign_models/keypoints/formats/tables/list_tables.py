"""Tables whose cells are lists of numbers: Parquet, or CSV with JSON in its cells; a row a frame, or a row a clip.

keypoints               a row a clip (T, K, C) or (T, numbers); a row a frame (K, C) or K * C numbers
pose, left_hand, ...    the same of each part
x, y[, z][, score]      a row a clip (T, K), a row a frame (K,); also pose_x, left_hand_y, ...

Lists in Parquet may hold structs of x, y, z and a score. A cell that is null or empty is a frame in which nothing was
found. See docs/formats/tables.md.

T frames, K landmarks, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import parts, records
from sign_models.keypoints.formats.clip import ClipReader, as_numbers
from sign_models.keypoints.formats.estimators import mediapipe
from sign_models.keypoints.formats.files.encodings import first_line, head_text
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.frame_times import MAX_SPAN_RATIO
from sign_models.keypoints.formats.part_names import HANDS, are_named, is_generic, part_of
from sign_models.keypoints.formats.part_trees import confidence_of
from sign_models.keypoints.formats.tables import columns as known_columns
from sign_models.keypoints.formats.tables.columns import normal_name
from sign_models.keypoints.formats.tables.table import FPS
from sign_models.keypoints.formats.tables.table_columns import is_landmark
from sign_models.keypoints.formats.tables.table_files import as_floats, batches, header, nested_columns
from sign_models.keypoints.formats.tables.table_rows import ClipColumns, by_id, column_of, values_of
from sign_models.keypoints.formats.tables.unknown_columns import UnknownColumns
from sign_models.keypoints.layouts import BY_COUNT, names_of
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.keypoints.trees import check_json, parse_json

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 64
FREE_VALUES = 2**20  # of unseen landmarks that are filled in, however few others there are
_CHANNELS = (2, 3, 4)
_AXES = {"x": "x", "y": "y", "z": "z"} | dict.fromkeys(
    ("v", "c", "visibility", "confidence", "conf", "score", "scores"), "c"
)
_LIST_CELL = re.compile(r'(?:^|[,;\t|])\s*"?\[\s*(?:\[|-?\d|NaN|null)')


@dataclass(frozen=True)
class ListColumns:
    """The columns of a table of lists.

    Attributes:
        arrays: By part ("" for whole clips): by axis ("x", "y", "z", "c"), or "" for all of them: the column.
        id: Column that tells the clips apart, or None.
        named: Columns of text, split, group and frame rate, or None.
        others: All other columns.
        of_frames: Whether a row is a frame.
    """

    arrays: dict[str, dict[str, str]]
    id: str | None
    named: dict[str, str | None]
    others: list[str]
    of_frames: bool


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a table has lists of numbers in columns that are named as landmarks are.

    Raises:
        DataError: The file is broken.
    """
    if source.kind == "parquet":
        return bool(_arrays(nested_columns(source)))
    if source.kind != "text" or b"[" not in source.head:
        return False
    names = header(source).names
    row = first_line(first_line(head_text(source.head))[1])[0]
    return bool(_LIST_CELL.search(row)) and not sum(map(is_landmark, names)) and bool(_arrays(names))


def _arrays(names: list[str]) -> dict[str, dict[str, str]]:
    """Columns of landmarks, by part and axis. {} where none are."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        words = normal_name(name).split("_")
        axis, rest = (_AXES[words[-1]], words[:-1]) if words[-1] in _AXES else ("", words)
        if not axis and words[0] in _AXES and len(words) > 1:
            axis, rest = _AXES[words[0]], words[1:]
        part = part_of("_".join(rest)) if rest else ""
        if part is None and (of := confidence_of(name)):
            part, axis = of, "c"
        if part is None and (is_generic("_".join(rest)) or "_".join(rest) in (*records.KEYPOINTS, *records.GENERIC)):
            part = ""
        if part is not None and (part or axis or rest):
            found.setdefault(part, {}).setdefault(axis, name)
    found = {part: axes for part, axes in found.items() if "" in axes or {"x", "y"} <= axes.keys()}
    if len(found) > 1 and not are_named(found):
        found.pop("", None)
    return found


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read a table clip by clip. Only the rows of one clip are in memory.

    Args:
        source: File that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.

    Raises:
        DataError: It cannot be told which rows are one clip.
    """
    columns: ListColumns | None = None
    unknown, number, repeats = UnknownColumns(), 0, 0
    pieces: list[pa.RecordBatch] = []
    current: str | None = None
    for batch in batches(source, BATCH_ROWS):
        if columns is None:
            columns = _columns_of(batch, source)
        if columns.of_frames and columns.id is None:
            unknown.add(batch, columns.others)
        for key, rows in by_id(batch, columns.id):
            if not columns.of_frames:
                for i in range(rows.num_rows):
                    id = source.id if key is None else key
                    if key is None and (number or rows.num_rows > 1 or batch.num_rows == BATCH_ROWS):
                        id = f"{source.id}/{number}"
                    yield partial(_read, [rows.slice(i, 1)], id, columns, source, options)
                    number += 1
                continue
            if pieces and key != current:
                yield partial(_read, pieces, current, columns, source, options)
                pieces, number = [], number + 1
            repeats += rows.num_rows - (not pieces)
            pieces, current = [*pieces, rows], key
    if columns is None or not (pieces or number):
        raise DataError("has no rows", place=source.name, wanted="at least one")
    if not columns.of_frames:
        return
    unknown.check(source.name)
    if number and not repeats:
        raise DataError(
            f"{number + 1} rows with one id and one list of numbers each",
            place=source.name,
            wanted="a row a frame, or lists of frames: (frames, landmarks, channels)",
            remedy="save each clip as lists of its frames, or its frames in rows of one id",
        )
    yield partial(_read, pieces, current, columns, source, options)


def _columns_of(batch: pa.RecordBatch, source: Source) -> ListColumns:
    names = batch.schema.names
    arrays = _arrays(nested_columns(source) if source.kind == "parquet" else names)
    used = {name for axes in arrays.values() for name in axes.values()}
    free = [name for name in names if name not in used]
    known_columns.check_texts(free, source.name)
    id_column = known_columns.first_of(free, known_columns.ID)
    wanted = {"text": known_columns.TEXT, "split": known_columns.SPLIT, "group": known_columns.GROUP, "fps": FPS}
    named = {kind: known_columns.first_of(free, columns) for kind, columns in wanted.items()}
    others = [name for name in free if name != id_column and name not in named.values()]
    first = next(iter(next(iter(arrays.values())).items()))
    return ListColumns(arrays, id_column, named, others, _are_frames(batch.column(first[1]), first[0], source.name))


def _are_frames(column: pa.Array, axis: str, place: str) -> bool:
    """Whether a cell is a frame, by the first that holds anything."""
    for i in range(len(column)):
        shape = _values(column.slice(i, 1), place).shape[1:]
        if 0 not in shape:
            deep = len(shape) + bool(axis)  # a column of x has no axis of channels
            return deep == 1 or (deep == 2 and (bool(axis) or shape[1] in _CHANNELS))
    raise DataError(
        f"its first {len(column)} lists are empty", place=place, wanted="landmarks", remedy="leave out empty clips"
    )


def _values(column: pa.Array, place: str) -> np.ndarray:
    """The lists of a column as an array, NaN where a cell is empty."""
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return _dense(column, place)
    cells: list[Any] = []
    for text in column.to_pylist():
        check_json((text or "").encode(), place)
        try:
            cells.append(parse_json(text) if text and text.strip() else None)
        except ValueError as error:
            found = f"a cell that is no list in JSON ({str(error)[:80]})"
            remedy = "write lists with json.dumps(array.tolist()), or save Parquet"
            raise DataError(found, place=place, wanted="[[x, y], ...]", remedy=remedy) from error
    if all(cell is None or cell == [] for cell in cells):
        return np.zeros((len(cells), 0), np.float32)
    return as_numbers(cells, place).astype(np.float32)


def _dense(values: pa.Array, place: str) -> np.ndarray:
    """Lists of one length as an array (N, length, ...), NaN where a list is null or empty."""
    import pyarrow as pa
    from pyarrow import compute

    kind = values.type
    if pa.types.is_struct(kind):
        axes = {_AXES.get(field.name.lower(), ""): i for i, field in enumerate(kind)}
        if "" in axes or not {"x", "y"} <= axes.keys():
            found = f"lists of objects with {', '.join(field.name for field in kind)}"[:200]
            raise DataError(found, place=place, wanted="x, y, z and visibility", remedy="save lists of numbers")
        fields = values.flatten()
        return np.stack([_dense(fields[axes[axis]], place) for axis in "xyzc" if axis in axes], -1)
    if not any(f(kind) for f in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        return as_floats(values).astype(np.float32)
    lengths = as_floats(compute.fill_null(compute.list_value_length(values), 0)).astype(np.int64)
    inner = _dense(values.flatten(), place)
    widths = np.unique(lengths[lengths > 0])
    if len(widths) > 1:
        raise DataError(
            f"lists of {widths[0]:,} and of {widths[1]:,} values",
            place=place,
            wanted="as many in every frame",
            remedy="give every frame the same landmarks, unseen ones as NaN",
        )
    width = int(widths[0]) if len(widths) else 0
    inner = inner.reshape(-1, width, *inner.shape[1:]) if width else inner.reshape(0, 0, *inner.shape[1:])
    if len(inner) == len(lengths):
        return inner
    filled = len(lengths) * int(np.prod(inner.shape[1:]))
    if filled > MAX_SPAN_RATIO * inner.size + FREE_VALUES:
        found = f"{len(inner)} lists that hold anything, of {len(lengths)}"
        raise DataError(found, place=place, wanted="a quarter of them", remedy="leave out empty rows")
    whole = np.full((len(lengths), *inner.shape[1:]), np.nan, np.float32)
    whole[lengths > 0] = inner
    return whole


def _read(
    pieces: list[pa.RecordBatch], key: str | None, columns: ListColumns, source: Source, options: ReadOptions
) -> KeypointSequence:
    id = source.id if key is None else key
    place = f"{source.name}: sequence {id!r}"
    told = ClipColumns(id, {})
    for kind, column in columns.named.items():
        for piece in pieces:
            told.values.setdefault(kind, {}).update(dict.fromkeys(values_of(piece, column)))
    text, split, group, rate = (
        told.one(kind, columns.named[kind], place) for kind in ("text", "split", "group", "fps")
    )
    tree: dict[str, Any] = {"text": text, "split": split, "signer": group}
    if rate and re.fullmatch(r"\d+(\.\d+)?", rate):
        tree["fps"] = float(rate)
    if columns.of_frames:
        for name in columns.others:
            values = [found for piece in pieces if (found := column_of(piece, name)) is not None]
            if len(values) == len(pieces):
                tree[name] = np.concatenate(values)
    arrays = {part: _array(pieces, part, columns, options, place) for part in columns.arrays}
    if "" not in arrays and len(arrays) > 1:
        tree |= arrays
        return parts.of_tree({name: value for name, value in tree.items() if value is not None}, id, place, options)
    part, array = next(iter(arrays.items()))
    if part in HANDS and array.shape[1:2] == (21,):
        tree["layout"] = f"{part}_21"
    (make,) = records.clips([{"id": id, "keypoints": array, **tree}], source, options)
    return make()


def _array(
    pieces: list[pa.RecordBatch], part: str, columns: ListColumns, options: ReadOptions, place: str
) -> np.ndarray:
    """(T, K, C), or (T, numbers) of vectors."""
    found = {}
    for axis, name in columns.arrays[part].items():
        where = f"{place}: {name}"
        cells = [_values(piece.column(name), where) for piece in pieces]
        if columns.of_frames:
            found[axis] = _joined(cells, where)
        else:
            found[axis] = cells[0][0]
    if "" not in found:
        shapes = {array.shape for array in found.values()}
        if len(shapes) > 1:
            told = ", ".join(f"{axis}: {array.shape}" for axis, array in found.items())
            raise DataError(told, place=place, wanted="as many of x and y", remedy="export them again")
        return np.stack([found[axis] for axis in "xyzc" if axis in found], -1)
    array = found[""]
    scores = found.get("c")
    if array.ndim == 2 and not part and array.shape[1] not in mediapipe.WIDTHS:
        array = _unraveled(array, options, place)
    if scores is not None and array.ndim == 3 and scores.shape == array.shape[:2]:
        return _scored(array, scores)
    return array


def _scored(array: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Landmarks with scores of their own as the last of their channels."""
    return np.concatenate([array[..., :3], np.nan_to_num(scores)[..., None]], 2)


def _joined(cells: list[np.ndarray], place: str) -> np.ndarray:
    """Arrays of consecutive rows, of which some have nothing."""
    shapes = {cell.shape[1:] for cell in cells if 0 not in cell.shape[1:]}
    if len(shapes) > 1:
        raise DataError(
            f"rows of shapes {' and '.join(map(str, sorted(shapes)))}",
            place=place,
            wanted="the same landmarks in every frame",
            remedy="give every frame the same landmarks, unseen ones as NaN",
        )
    shape = next(iter(shapes), (0,))
    return np.concatenate([c if 0 not in c.shape[1:] else np.full((len(c), *shape), np.nan, np.float32) for c in cells])


def _unraveled(array: np.ndarray, options: ReadOptions, place: str) -> np.ndarray:
    """(T, K, C) of (T, K * C), where only one layout has so many numbers."""
    count = array.shape[1]
    known = [len(names_of(options.layout))] if options.layout else sorted(BY_COUNT)
    fits = [(k, c) for k in known for c in _CHANNELS if k * c == count]
    if len(fits) == 1:
        return array.reshape(len(array), *fits[0])
    several = " or ".join(f"{k} landmarks of {c}" for k, c in fits) or "no layout that is known"
    raise DataError(
        f"{count} numbers a frame: {several}",
        place=place,
        wanted="lists of landmarks: [[x, y], ...]",
        remedy="save a list a landmark, or name the layout (--layout)",
    )
