"""Arrays by id: the seed's `sign_language_keypoints` and `video_sequences`, as pickle, npz, npy or JSON.

{id: array} | {id: record} | [array, ...] | [record, ...] | {"layout", "fps", "sequences": one of these} | array |
record; a record is {"keypoints", "id"?, "confidence"?, "fps"?, "layout"?, "text"?, "split"?, "group"?}. The schema and
an example of each: docs/formats/seed.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import Clip, as_numbers, channels, clip, is_score, unit_of
from sign_models.keypoints.formats.source import Options, Source
from sign_models.keypoints.sequence import KeypointSequence, Unit

# What the systems of the field call the fields of a record; the first is ours.
KEYPOINTS = ("keypoints", "keypoint", "pose", "poses")
CONFIDENCE = ("confidence", "confidences", "scores", "keypoint_scores")
HEADER = ("layout", "fps", "unit", "size")
SAMPLES = 64  # clips that the unit of a file is told from


def detect(source: Source) -> bool:
    return source.kind in ("pickle", "npz", "npy") or (source.kind == "json" and isinstance(source.tree, dict | list))


def read(source: Source, options: Options) -> Iterator[Clip]:
    tree, header = source.tree, {}
    if isinstance(tree, Mapping) and "sequences" in tree:
        header = {name: tree[name] for name in HEADER if tree.get(name) is not None}
        tree = tree["sequences"]
    elif isinstance(tree, Mapping) and source.kind == "npz":
        header = {name: tree[name] for name in HEADER if name in tree and not isinstance(tree[name], np.ndarray)}
    records = list(_records(tree, source, header))
    if not records:
        raise DataError("holds no clips", place=source.path.name, wanted="at least one")
    unit = _unit(tree, records, source, options, header)
    scored: list[tuple[str, bool]] = []
    for id, key in records:
        yield partial(_read_one, tree, id, key, source, options, header, unit, scored)


def _records(tree: Any, source: Source, header: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(id, key of `tree`) of every clip; the key is None where the tree is the clip."""
    if isinstance(tree, np.ndarray) or _is_record(tree):
        yield _id(tree, source.id, source), None
    elif isinstance(tree, Mapping):
        for key in tree:
            if key not in header:
                yield str(key), key
    elif isinstance(tree, list | tuple):
        for i, value in enumerate(tree):
            yield _id(value, str(i), source), i
    else:
        raise DataError(
            f"holds a {type(tree).__name__}",
            place=source.path.name,
            wanted="{id: array}, a list of arrays or records, or {layout, fps, sequences}",
            remedy="see docs/formats/seed.md",
        )


def _is_record(value: Any) -> bool:
    return isinstance(value, Mapping) and _field(value, KEYPOINTS) is not None


def _field(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if name in record), None)


def _id(value: Any, default: str, source: Source) -> str:
    id = value.get("id", default) if isinstance(value, Mapping) else default
    if not isinstance(id, str | int):
        raise DataError(f"an id that is a {type(id).__name__}", place=source.path.name, wanted="a string")
    return str(id)


def _fields(tree: Any, key: Any, place: str) -> dict[str, Any]:
    """Keyword arguments of `clip` for one value: an array or a record."""
    value = tree if key is None else tree[key]
    if isinstance(value, list | tuple | np.ndarray):
        return {"keypoints": value}
    if not _is_record(value):
        keys = " with " + ", ".join(str(name)[:40] for name in list(value)[:8]) if isinstance(value, Mapping) else ""
        raise DataError(
            f"is a {type(value).__name__}{keys}",
            place=place,
            wanted='an array (frames, landmarks, channels) or a record with "keypoints"',
            remedy="see docs/formats/seed.md",
        )
    fields = {name: value[name] for name in (*HEADER, "text", "split", "group") if name in value}
    return {"keypoints": _field(value, KEYPOINTS), "confidence": _field(value, CONFIDENCE), **fields}


def _unit(
    tree: Any, records: list[tuple[str, Any]], source: Source, options: Options, header: Mapping[str, Any]
) -> Unit | None:
    """The unit of a file whose clips do not say it: one for all, told from some of them."""
    if options.unit or "unit" in header:
        return None
    some = []
    for id, key in records[:: -(-len(records) // SAMPLES)]:
        try:
            fields = _fields(tree, key, "")
            points, confidence = channels(fields["keypoints"], fields.get("confidence"), id)
        except DataError:
            continue  # reading that clip says what is wrong with it
        some.append((points, confidence > 0))
    return unit_of(some) if some else None


def _read_one(
    tree: Any,
    id: str,
    key: Any,
    source: Source,
    options: Options,
    header: Mapping[str, Any],
    unit: Unit | None,
    scored: list[tuple[str, bool]],
) -> KeypointSequence:
    place = source.path.name if key is None else f"{source.path.name}: sample {id!r}"
    fields = _fields(tree, key, place)
    _check_third_channel(fields, id, place, scored)
    return clip(id, fields.pop("keypoints"), options, source=place, **{"unit": unit, **header, **fields})


def _check_third_channel(fields: dict[str, Any], id: str, place: str, scored: list[tuple[str, bool]]) -> None:
    """The third channel of all clips of a file is a confidence, or a depth in all of them."""
    array = as_numbers(fields["keypoints"], place)
    fields["keypoints"] = array
    if array.ndim != 3 or array.shape[2] != 3 or fields.get("confidence") is not None or np.isnan(array).any():
        return  # the question does not arise, or `clip` refuses it
    score = is_score(array[..., 2])
    if scored and scored[0][1] != score:
        other, low, high = scored[0][0], array[..., 2].min(), array[..., 2].max()
        raise DataError(
            f"its third channel goes from {low:g} to {high:g}: a {'confidence' if score else 'depth'}, "
            f"but sample {other!r} holds a {'depth' if score else 'confidence'} there",
            place=place,
            wanted="the same channels in every clip",
            remedy="give the confidence apart, or scale it to 0..1",
        )
    scored[:] = scored or [(id, score)]
