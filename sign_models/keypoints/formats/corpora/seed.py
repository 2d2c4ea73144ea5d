"""The seed's `sign_language_keypoints` and `video_sequences`, and all else that holds arrays by id: pickle, npz, JSON.

{id: array} | {id: record} | [array, ...] | [record, ...] | {"layout", "fps", "sequences": one of these} | array |
record | [frame, ...] | {number: frame}. A record is {"keypoints", "id"?, "confidence"?, "fps"?, "layout"?, "text"?,
"split"?, "group"?}, a frame (K, C). The schema and an example of each: docs/formats/seed.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import records
from sign_models.keypoints.formats.clip import ClipReader, as_numbers
from sign_models.keypoints.formats.estimators import mediapipe
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.part_names import HANDS, is_generic, names_no_clip, part_of
from sign_models.keypoints.formats.tables.columns import FRAME_KEY, GROUP, SPLIT, TEXT, first_of
from sign_models.keypoints.landmarks import HAND
from sign_models.keypoints.pickles.folded_arrays import Arrays

HEADER = ("layout", "fps", "unit", "size")
HOLDERS = ("sequences", "clips", "samples", "videos")  # the first is ours


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a file has arrays or records by id or in a list.

    Raises:
        DataError: The file is broken.
    """
    if source.kind not in ("pickle", "npz", "npy", "json", "hdf5"):
        return False
    tree = source.tree
    if isinstance(tree, np.ndarray) or records.is_record(tree) or _holder(tree):
        return True
    return isinstance(tree, Mapping | list | tuple | Arrays) and (
        not len(tree) or _hold_clips(records.first_values(tree))
    )


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read the clips of a file. One array in an npz or HDF5 file has the file's name for its id.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    tree, header = source.tree, {}
    if holder := _holder(tree):
        header = {name: tree[name] for name in HEADER if tree.get(name) is not None}
        tree = tree[holder]
    elif isinstance(tree, list | tuple | Arrays) and len(tree) and _are_frames(tree, source.name):
        tree = {"keypoints": tree}
    elif (numbers := _numbers(tree)) is not None and _are_frames([tree[key] for key in numbers], source.name):
        keys = sorted(numbers, key=lambda key: numbers[key])
        tree = {"keypoints": [tree[key] for key in keys], "frame": [numbers[key] for key in keys]}
    elif isinstance(tree, Mapping) and not records.is_record(tree):
        # An npz has no other place for them than beside the arrays.
        header = {name: tree[name] for name in HEADER if name in tree and not isinstance(tree[name], np.ndarray)}
        if (one := _only(tree, source, header)) is not None:
            tree = one
        else:
            _check_names(tree, header, source.name)
    return records.clips(tree, source, options, header=header)


def _only(tree: Mapping[str, Any], source: Source, header: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a file with one array, whose id is the name of the file. None for other files."""
    names = [name for name in tree if name not in header]
    values = {name: tree[name] for name in names[: records.MAX_FIELDS]}
    arrays = [name for name, value in values.items() if _is_clip(value)]
    rest = {name: value for name, value in values.items() if name not in arrays}
    generic = bool(arrays) and (str(arrays[0]).lower() in records.GENERIC or is_generic(str(arrays[0])))
    if len(arrays) != 1 or len(names) > records.MAX_FIELDS or not (source.kind in ("npz", "hdf5") or generic):
        return None
    if any(not _is_plain(value) for name, value in rest.items() if name not in records.CONFIDENCE):
        return None
    array = as_numbers(values[arrays[0]], source.name)
    flat = array.ndim == 3 and array.shape[2] == 3 and not array[..., 2].any() and array.any()
    record: dict[str, Any] = {"keypoints": array[..., :2] if flat else array}  # a depth of 0 everywhere
    record |= {name: value for name, value in rest.items() if name == "id" or isinstance(value, list | np.ndarray)}
    if part_of(str(arrays[0])) in HANDS and array.shape[1:2] == (len(HAND),):
        record["layout"] = f"{part_of(str(arrays[0]))}_{len(HAND)}"
    for field, synonyms in (("text", TEXT), ("split", SPLIT), ("group", GROUP)):
        column = first_of(rest, synonyms)
        value = rest.get(column) if column else None
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if value is not None:
            record[field] = value
    return record


def _holder(tree: Any) -> str | None:
    """The key that holds the clips of a file: "sequences", or another word beside nothing but metadata."""
    if not isinstance(tree, Mapping):
        return None
    if HOLDERS[0] in tree:
        return HOLDERS[0]
    name = next((name for name in HOLDERS if isinstance(tree.get(name), Mapping | list) and tree[name]), None)
    values = records.first_values(tree[name]) if name else []
    clips = all(records.is_record(value) for value in values) or (name and isinstance(tree[name], Mapping))
    if not values or not clips or not _hold_clips(values):
        return None
    return name if all(_is_plain(tree[other]) for other in tree if other != name) else None


def _numbers(tree: Any) -> dict[Any, int] | None:
    """Number of each key of {0: ..., 4: ...}, {"frame_0": ...} or {"0004.jpg": ...}, None for another mapping."""
    if not isinstance(tree, Mapping) or not len(tree):
        return None
    keys = list(tree)
    found = [FRAME_KEY.fullmatch(str(key)) for key in keys]
    names = {one["before"] for one in found if one}
    if not all(found) or len(names) > 1:
        return None
    return {key: int(one["number"]) for key, one in zip(keys, found, strict=True) if one}


def _are_frames(values: Sequence[Any] | Arrays, place: str) -> bool:
    """Whether the values of a list are the frames of a clip, (K, C) or vectors. DataError for clips of one frame."""
    some = [v for v in records.first_values(values) if v is not None and not (isinstance(v, list) and not v)]
    fields = [value["keypoints"] if _is_unnamed(value) else value for value in some]
    arrays = [np.asarray(value) for value in fields if isinstance(value, np.ndarray)]
    if len(arrays) == len(some) > 1 and all(array.ndim == 3 and len(array) == 1 for array in arrays):
        raise DataError(
            f"a list of arrays of shape {arrays[0].shape}",
            place=place,
            wanted="an array of each clip, or of each frame: (landmarks, channels)",
            remedy="join the frames of a clip, e.g. numpy.concatenate(frames)",
        )
    return bool(some) and all(map(_is_frame, some))


def _is_unnamed(value: Any) -> bool:
    """Whether a value is a record without an id, as estimators list those of frames."""
    return isinstance(value, Mapping) and "keypoints" in value and "id" not in value


def _is_frame(value: Any) -> bool:
    """Whether a value is (K, 2 to 4) or a vector of MediaPipe, as an array or in lists."""
    if isinstance(value, list):
        depth = 0 if not value or not isinstance(value[0], list) else 1
        if depth and not all(isinstance(row, list) and row and isinstance(row[0], int | float) for row in value[:2]):
            return False
        shape: tuple[int, ...] = (len(value), len(value[0])) if depth else (len(value),)
    else:
        shape = value.shape if isinstance(value, np.ndarray) else ()
    return (len(shape) == 2 and 2 <= shape[1] <= 4) or (len(shape) == 1 and shape[0] in mediapipe.WIDTHS)


def _check_names(tree: Mapping[Any, Any], header: Mapping[str, Any], place: str) -> None:
    """DataError for several arrays under names that name no clip: which one is it, or are they parts of one?"""
    names = [name for name in islice(tree, records.MAX_FIELDS) if name not in header and _is_clip(tree[name])]
    if len(names) > 1 and all(isinstance(name, str) and names_no_clip(name) for name in names):
        raise DataError(
            f"arrays called {', '.join(map(repr, names))}, which are no names of clips",
            place=place,
            wanted="one array a clip, or the parts pose, left_hand, right_hand, face",
            remedy="keep one of them, or name them by the ids of their clips",
        )


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, a text, or one of these for each frame."""
    if isinstance(value, np.ndarray):
        return value.ndim <= 1
    return not isinstance(value, Mapping) and not (isinstance(value, list) and any(isinstance(v, list) for v in value))


def _hold_clips(values: list[Any]) -> bool:
    """Whether a value is a record or an array. Lists of objects are rows of labels, and empty lists beside them too."""
    if any(isinstance(value, np.ndarray | Arrays) or records.is_record(value) for value in values):
        return True
    lists = [value for value in values if isinstance(value, list)]
    return any(value and not isinstance(value[0], Mapping | str) for value in lists) or (bool(lists) and not any(lists))


def _is_clip(value: Any) -> bool:
    return (isinstance(value, np.ndarray) and (value.ndim == 3 or mediapipe.are_vectors(value))) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], list | np.ndarray)
    )
