"""Clips in a tree of containers: arrays and records, by id or in a list.

A record is a mapping with the keypoints and the metadata of a clip. The readers of pickles, npz, HDF5 and JSON share
this. Systems differ in the names of the fields and in what surrounds the records.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, is_score, make_sequence, split_channels
from sign_models.keypoints.formats.estimators import mediapipe
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.metadata import unit_of
from sign_models.keypoints.formats.tables.columns import GROUP as SIGNERS
from sign_models.keypoints.formats.tables.columns import SPLIT, TEXT, check_texts, first_of
from sign_models.keypoints.pickles.folded_arrays import Arrays
from sign_models.keypoints.sequence import KeypointSequence, Unit

# Names of the fields of a record in different systems. The first is ours.
KEYPOINTS = ("keypoints", "keypoint")
CONFIDENCE = ("confidence", "confidences", "scores", "keypoint_scores", "score", "keypoint_score", "conf", "visibility")
GROUP = ("group", "signer")
# Names of arrays that tell nothing of the clip.
GENERIC = ("arr_0", "data", "landmarks", "frames", "poses", "points", "array", "x", "kpts", "kps", "skeleton")
MAX_FIELDS = 16  # of a file or group with one array
UNIT_CLIPS = 64  # of a file, from which its unit is inferred
_PROBED_VALUES = 8  # values of a tree by which it is recognised


def is_record(value: Any) -> bool:
    """Recognise a record.

    Args:
        value: Any value of a tree.

    Returns:
        Whether it is a mapping with keypoints.
    """
    return isinstance(value, Mapping) and is_named(value)


def is_named(names: Container[str]) -> bool:
    """Recognise a record by its fields.

    Args:
        names: Names of fields.

    Returns:
        Whether keypoints are among them.
    """
    return any(name in names for name in KEYPOINTS)


def first_values(tree: Any) -> list[Any]:
    """Get the first values of a tree, by which it is recognised.

    Args:
        tree: Mapping, list or other value.

    Returns:
        Some values, [] if the tree is no container.
    """
    if isinstance(tree, Mapping):
        return [tree[key] for key in islice(tree, _PROBED_VALUES)]
    return list(islice(tree, _PROBED_VALUES)) if isinstance(tree, list | tuple | Arrays) else []


def clips(
    tree: Any,
    source: Source,
    options: ReadOptions,
    *,
    header: Mapping[str, Any] | None = None,
    split: str | None = None,
) -> Iterator[ClipReader]:
    """Find the clips of a tree: {id: array or record}, [array or record, ...], or one array or record.

    Args:
        tree: Contents of a file.
        source: The file.
        options: What the user says about it.
        header: Fields of all clips, such as {"layout": ..., "fps": ...}. Keys of these names are no ids.
        split: Split of all clips that have no other.

    Yields:
        A function for each clip, which reads it.

    Raises:
        DataError: There is no clip, or an id is no string or number.
    """
    header = dict(header or {})
    keyed = list(_keyed(tree, source, header))
    if not keyed:
        raise DataError("holds no clips", place=source.name, wanted="at least one", remedy="copy or export it again")
    if options.unit is None and "unit" not in header and len(keyed) > 1:  # of a single one make_sequence tells it
        header["unit"] = _unit(tree, keyed)
    if split:
        header["split"] = split
    kinds: dict[bool, str] = {}
    for id, key in keyed:
        yield partial(_clip, tree, id, key, source, options, header, kinds)


def _keyed(tree: Any, source: Source, header: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Id and key in `tree` of every clip. The key is None if the tree is the clip."""
    if isinstance(tree, np.ndarray) or is_record(tree):
        yield _id(tree, source.id, source), None
    elif isinstance(tree, Mapping):
        yield from ((str(key), key) for key in tree if key not in header)
    elif isinstance(tree, list | tuple | Arrays):
        yield from ((_id(value, str(i), source), i) for i, value in enumerate(tree))


def _id(value: Any, default: str, source: Source) -> str:
    id = value.get("id", default) if isinstance(value, Mapping) else default
    if not isinstance(id, str | int):
        raise DataError(
            f"an id that is a {type(id).__name__}",
            place=source.name,
            wanted="a string or a whole number",
            remedy="name each clip, or leave the id out of all",
        )
    return str(id)


def _fields(tree: Any, key: Any, place: str) -> dict[str, Any]:
    """Keyword arguments of make_sequence for an array or a record."""
    value = tree if key is None else tree[key]
    if isinstance(value, list | tuple | Arrays | np.ndarray):
        return {"keypoints": value}
    if not is_record(value):
        keys = " with " + ", ".join(str(name)[:40] for name in islice(value, 8)) if isinstance(value, Mapping) else ""
        raise DataError(
            f"is a {type(value).__name__.strip('_').lower()}{keys}",
            place=place,
            wanted='an array (frames, landmarks, channels) or a record with "keypoints"',
            remedy="see docs/formats/seed.md",
        )
    fields = {name: value[name] for name in ("layout", "fps", "unit", "size", "text", "split") if name in value}
    for name, synonyms in (("keypoints", KEYPOINTS), ("confidence", CONFIDENCE), ("group", GROUP)):
        fields[name] = _single(next((value[synonym] for synonym in synonyms if synonym in value), None))
    if fields.get("text") is None:
        check_texts(map(str, value), place)
    for name, columns in (("text", TEXT), ("split", SPLIT), ("group", SIGNERS)):  # "label": "tea"
        if fields.get(name) is None and (column := first_of(map(str, value), columns)):
            known = value.get(column)
            is_number = isinstance(known, int | np.integer) and not isinstance(known, bool)
            fields[name] = known if is_number or (isinstance(known, str) and known.strip()) else None
    return fields


def _single(value: Any) -> Any:
    """The value of a mapping with one, such as a group of HDF5."""
    while isinstance(value, Mapping) and len(value) == 1:
        value = value[next(iter(value))]
    return value


def _beside(value: Any) -> dict[str, Any]:
    """Fields of a record that are neither keypoints nor metadata. Some may have a value for each frame."""
    if not isinstance(value, Mapping):
        return {}
    known = {*KEYPOINTS, *CONFIDENCE, *TEXT, *SPLIT, *SIGNERS, "id"}
    return {name: value[name] for name in value if isinstance(name, str) and name not in known}


def _unit(tree: Any, keyed: list[tuple[str, Any]]) -> Unit | None:
    """Unit of a file that does not state it: one for all clips, inferred from some of them."""
    some = []
    for id, key in keyed[:: -(-len(keyed) // UNIT_CLIPS)]:
        try:
            fields = _fields(tree, key, id)
            array = as_numbers(fields["keypoints"], id)
            points, confidence, *_ = split_channels(array, fields.get("confidence"), id)
        except DataError:
            continue  # the error is raised when the clip is read
        some.append((points, confidence > 0))
    return unit_of(some) if some else None


def _clip(
    tree: Any,
    id: str,
    key: Any,
    source: Source,
    options: ReadOptions,
    header: Mapping[str, Any],
    kinds: dict[bool, str],
) -> KeypointSequence:
    place = source.name if key is None else f"{source.name}: sample {id!r}"
    fields = _fields(tree, key, place)
    keypoints = as_numbers(fields.pop("keypoints"), place)
    if fields.get("confidence") is None:
        _check_third_channel(keypoints, id, place, kinds)
    given = {**header, **{name: value for name, value in fields.items() if value is not None}}
    beside = _beside(tree if key is None else tree[key])
    if mediapipe.are_vectors(keypoints) and given.get("confidence") is None:
        return mediapipe.sequence_of(keypoints, id, options, place, beside=beside, **given)
    return make_sequence(id, keypoints, options, source=place, beside=beside, **given)


def _check_third_channel(array: np.ndarray, id: str, place: str, kinds: dict[bool, str]) -> None:
    """DataError if the third channel is a confidence in one clip and a depth in another. `kinds`: a clip of each."""
    if array.ndim != 3 or array.shape[2] != 3 or np.isnan(array).any():
        return  # nothing to check, or make_sequence refuses it
    score = is_score(array[..., 2])
    kinds.setdefault(score, id)
    if (other := kinds.get(not score)) is None:
        return
    low, high = array[..., 2].min(), array[..., 2].max()
    raise DataError(
        f"its third channel goes from {low:g} to {high:g}: a {'confidence' if score else 'depth'}, "
        f"but sample {other!r} holds a {'depth' if score else 'confidence'} there",
        place=place,
        wanted="the same channels in every clip",
        remedy="give the confidence apart, or scale it to 0..1",
    )
