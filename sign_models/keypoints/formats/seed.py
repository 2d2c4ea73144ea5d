"""The seed's `sign_language_keypoints` and `video_sequences`, and all else that holds arrays by id: pickle, npz, JSON.

{id: array} | {id: record} | [array, ...] | [record, ...] | {"layout", "fps", "sequences": one of these} | array |
record; a record is {"keypoints", "id"?, "confidence"?, "fps"?, "layout"?, "text"?, "split"?, "group"?}. The schema and
an example of each: docs/formats/seed.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sign_models.keypoints.formats import records
from sign_models.keypoints.formats.clip import ClipReader, as_numbers
from sign_models.keypoints.formats.columns import GROUP, SPLIT, TEXT, first_of
from sign_models.keypoints.formats.part_names import is_generic
from sign_models.keypoints.formats.source import ReadOptions, Source
from sign_models.keypoints.pickles.folded_arrays import Arrays

HEADER = ("layout", "fps", "unit", "size")


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
    if isinstance(tree, np.ndarray) or records.is_record(tree):
        return True
    if isinstance(tree, Mapping) and "sequences" in tree:
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
    if isinstance(tree, Mapping) and "sequences" in tree:
        header = {name: tree[name] for name in HEADER if tree.get(name) is not None}
        tree = tree["sequences"]
    elif isinstance(tree, Mapping) and not records.is_record(tree):
        # An npz has no other place for them than beside the arrays.
        header = {name: tree[name] for name in HEADER if name in tree and not isinstance(tree[name], np.ndarray)}
        if (one := _only(tree, source, header)) is not None:
            tree = one
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
    record |= {name: value for name, value in rest.items() if isinstance(value, list | np.ndarray)}
    for field, synonyms in (("text", TEXT), ("split", SPLIT), ("group", GROUP)):
        column = first_of(rest, synonyms)
        value = rest.get(column) if column else None
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if value is not None:
            record[field] = value
    return record


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
    return (isinstance(value, np.ndarray) and value.ndim == 3) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], list | np.ndarray)
    )
