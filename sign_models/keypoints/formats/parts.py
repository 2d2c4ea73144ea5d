"""Clips in parts: pose, left hand, right hand and face as keys of one file, or as files of one name.

{"pose": (T, 33, C), "left_hand": (T, 21, C), "right_hand": (T, 21, C), "face"?}, bare or by id; or files such as
left_hand/NAME.npy and pose/NAME.npy (LSFB), or NAME_left_hand.npy and NAME_pose.npy. Sides are taken from names. A name
alone makes no part: if no hand has 21 landmarks, the arrays are clips of those names.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import part_tables
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, make_sequence, split_channels
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.part_names import (
    HANDS,
    PARTS,
    is_generic,
    is_hand_without_side,
    part_of,
)
from sign_models.keypoints.formats.part_trees import MAX_PARTS, arranged, confidence_of, flat
from sign_models.keypoints.formats.tables.columns import GROUP, SPLIT, TEXT, check_texts, first_of
from sign_models.keypoints.landmarks import (
    COCO_BODY,
    COCO_FEET,
    FACE_68,
    FACE_70,
    HALPE_BODY,
    HAND,
    LEFT_HAND,
    MEDIAPIPE_POSE,
    MESH_468,
    MESH_478,
    OPENPOSE_BODY_8,
    OPENPOSE_BODY_18,
    OPENPOSE_BODY_25,
    RIGHT_HAND,
)
from sign_models.keypoints.layouts import name_of
from sign_models.keypoints.pickles.folded_arrays import Arrays
from sign_models.keypoints.sequence import KeypointSequence

ARRAYS = (np.ndarray, list, Arrays)
_BODIES = (
    MEDIAPIPE_POSE, COCO_BODY, COCO_BODY + COCO_FEET, HALPE_BODY, OPENPOSE_BODY_25, OPENPOSE_BODY_18, OPENPOSE_BODY_8,
)  # fmt: skip
# Names of landmarks by part and count.
LANDMARKS: dict[str, dict[int, tuple[str, ...]]] = {
    "pose": {len(names): names for names in _BODIES},
    "face": {len(names): names for names in (MESH_468, MESH_478, FACE_68, FACE_70)},
    "left_hand": {len(HAND): LEFT_HAND},
    "right_hand": {len(HAND): RIGHT_HAND},
}
_EMPTY_HANDS, _NO_HANDS = np.zeros((1, len(HAND), 2)), np.zeros((1, 1, 2))  # what stands for a table not read yet
_HOLDERS = ("keypoints", "landmarks", "data", "points", "skeleton", "parts", "poses")


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a source has the parts of a clip, or of each of its clips.

    Raises:
        DataError: The file is broken.
    """
    if source.members:
        return True
    if source.kind not in ("npz", "npy", "json", "pickle", "hdf5"):
        return False
    tree = arranged(source.tree)
    if not isinstance(tree, Mapping) or not tree:
        return False
    _check_sides(tree, source.name)
    return (
        _is_parts(tree)
        or _nested(tree) is not None
        or all(isinstance(value, Mapping) and (_is_parts(value) or _nested(value)) for value in map(flat, _first(tree)))
    )


def _check_sides(tree: Mapping[Any, Any], place: str) -> None:
    """DataError for several hands of which nothing tells the side."""
    hands = [name for name in itertools.islice(tree, MAX_PARTS) if isinstance(name, str) and is_hand_without_side(name)]
    if len(hands) > 1 and all(_is_hand(tree[name]) for name in hands):
        raise DataError(
            f"{', '.join(map(repr, hands))} are named like hands, and not like the left or the right one",
            place=place,
            wanted="left_hand and right_hand",
            remedy="rename them",
        )


def _nested(tree: Mapping[Any, Any]) -> dict[str, Any] | None:
    """The parts and metadata of {"keypoints": {"pose": ...}, "fps": ...}, None for another mapping."""
    name = next((name for name in _HOLDERS if isinstance(tree.get(name), Mapping) and _is_parts(tree[name])), None)
    if name is None or any(isinstance(tree[other], Mapping) for other in tree if other != name):
        return None
    return {**{key: value for key, value in tree.items() if key != name}, **tree[name]}


def _first(tree: Mapping[Any, Any]) -> list[Any]:
    return [tree[key] for key, _ in zip(tree, range(4), strict=False)]


def split_false_parts(source: Source) -> list[Source]:
    """Separate files that only their names make parts of one clip: none of the hands is a hand.

    Args:
        source: A part of a source.

    Returns:
        The source itself, or its files.

    Raises:
        DataError: A file is broken.
    """
    if not source.members:
        return [source]
    read = replace(
        source, members=tuple((part, replace(file)) for part, file in source.members)
    )  # so that their contents are not kept
    contents: dict[str, Any] = {}
    for part, file in read.members:
        if part in HANDS and file.kind in ("text", "parquet"):
            contents[part] = _EMPTY_HANDS if part_tables.count_of(file) in (None, len(HAND)) else _NO_HANDS
        else:
            contents[part] = next(iter(_contents(file, part).values()), None) if part in HANDS else None
    return [read] if _holds_hands(contents) else [file for _, file in read.members]


def _is_parts(tree: Mapping[Any, Any]) -> bool:
    named = {part: key for key in tree if isinstance(key, str) and (part := part_of(key))}
    if len(named) < 2 or not all(isinstance(tree[key], ARRAYS) for key in named.values()):
        return False
    return _holds_hands({part: tree[key] for part, key in named.items()})


def _holds_hands(named: Mapping[str, Any]) -> bool:
    """Whether an array named after a hand has the landmarks of a hand, or all of them are empty next to other parts."""
    hands = [_is_hand(value) for part, value in named.items() if part in HANDS]
    return any(hands) or (bool(hands) and len(hands) < len(named) and all(hand is None for hand in hands))


def _is_hand(value: Any) -> bool | None:
    """Whether an array (T, K, C) or (T, K * C), or a list of frames, is of a hand. None without frames."""
    if isinstance(value, np.ndarray) and value.ndim > 3:
        return False  # of several clips
    if not isinstance(value, ARRAYS) or (isinstance(value, np.ndarray) and not value.ndim):
        return None
    frame = next((f for f in value if isinstance(f, list | np.ndarray) and len(f)), None)
    if frame is None:
        return None
    flat = isinstance(frame[0], int | float | np.number)
    return len(frame) in [count * c for count in LANDMARKS["left_hand"] for c in ((2, 3, 4) if flat else (1,))]


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read the clip that the parts make, or a clip for each key.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    if source.members:
        yield from _of_files(source, options)
        return
    whole = arranged(source.tree)
    if _is_parts(whole) or _nested(whole) is not None:
        yield partial(of_tree, whole, source.id, source.name, options)
    else:
        for key in whole:
            yield partial(of_tree, flat(whole[key]), str(key), f"{source.name}: sample {str(key)!r}", options)


def _of_files(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """The clip in the files of its parts, or the clips that are in each of these files by id."""
    contents = {part: _contents(file, part) for part, file in source.members}
    names = {part: file.name for part, file in source.members}
    single = [part for part, clips in contents.items() if None in clips]
    if single and len(single) < len(contents):
        by_id = next(part for part in contents if part not in single)
        raise DataError(
            f"{names[single[0]]} is one clip, and {names[by_id]} has clips by id",
            place=source.name,
            wanted="the same in each part",
            remedy="name the clips in all files, or split them into a file a clip and part",
        )
    for id in dict.fromkeys(id for clips in contents.values() for id in clips):
        held = {part: clips[id] for part, clips in contents.items() if id in clips}
        place = source.name if id is None else f"{source.name}: sample {id!r}"
        yield partial(_of_parts, held, names, source.id if id is None else id, place, options)


def _of_parts(
    held: Mapping[str, Any], names: Mapping[str, str], id: str, place: str, options: ReadOptions
) -> KeypointSequence:
    held = part_tables.at_one_time(held, place)
    arrays = {part: _array(content, part, f"{part}: {names[part]}") for part, content in held.items()}
    return _join(arrays, id, place, options, {})


def _contents(file: Source, part: str) -> Mapping[str | None, Any]:
    """The arrays of a file by id; under None its only array, or whatever else it holds."""
    if file.kind in ("text", "parquet"):
        return part_tables.read(file, part)
    tree = file.tree
    if isinstance(tree, Mapping):
        arrays = {name: value for name, value in tree.items() if isinstance(value, ARRAYS)}
        if len(arrays) == 1:
            return {None: next(iter(arrays.values()))}
        if len(arrays) == len(tree) and not any(is_generic(str(name)) or confidence_of(str(name)) for name in arrays):
            return {str(name): value for name, value in arrays.items()}
    return {None: tree}


def of_tree(tree: Any, id: str, place: str, options: ReadOptions) -> KeypointSequence:
    """Read a clip whose parts are in a mapping.

    Args:
        tree: The parts, and metadata beside them.
        id: Id of the clip.
        place: What an error message names.
        options: What the user says about it.

    Returns:
        The clip.

    Raises:
        DataError: The parts make no clip.
    """
    if not isinstance(tree, Mapping):
        raise DataError(f"is a {type(tree).__name__}", place=place, wanted="pose, left_hand, right_hand")
    tree = {key: tree[key] for key in tree}  # an npz reads an array each time it is asked
    if not _is_parts(tree):
        tree = _nested(tree) or tree
    arrays: dict[str, np.ndarray] = {}
    sure: dict[str, Any] = {}
    for key in tree:
        part = part_of(key) if isinstance(key, str) else None
        if part is None and isinstance(tree[key], ARRAYS) and (of := confidence_of(str(key))):
            sure[of] = tree[key]
            continue
        if part is None or not isinstance(tree[key], ARRAYS):
            _check_other(key, tree[key], place)
            continue
        if part in arrays:
            raise DataError(f"two arrays of {part}", place=place, wanted="each part once", remedy="rename one of them")
        arrays[part] = _array(tree[key], part, f"{place}: {key}")
    if "pose" not in arrays and (world := next(filter(_is_world_body, tree), None)):
        raise DataError(
            f"a body of world landmarks alone ({world!r}), which are metres from the hips and no places in the picture",
            place=place,
            wanted="pose in the coordinates of the hands",
            remedy="save the body's landmarks of the picture too",
        )
    given = {name: tree[name] for name in ("fps", "unit", "size") if name in tree}
    check_texts(map(str, tree), place)
    scalars = [str(name) for name in tree if isinstance(tree[name], str | int) and not isinstance(tree[name], bool)]
    for field, columns in (("text", TEXT), ("split", SPLIT), ("group", GROUP)):
        given[field] = tree[column] if (column := first_of(scalars, columns)) else None
    given["beside"] = {key: tree[key] for key in tree if not (isinstance(key, str) and part_of(key))}
    return _join(arrays, id, place, options, given, sure)


def _is_world_body(key: Any) -> bool:
    words = re.sub("world", "_", str(key), flags=re.IGNORECASE)
    return words != str(key) and part_of(words) == "pose"


def _check_other(key: Any, value: Any, place: str) -> None:
    """DataError for an array of landmarks beside the parts, which would be lost. World landmarks are not used."""
    if not isinstance(value, ARRAYS) or "world" in str(key).lower():
        return
    if isinstance(value, np.ndarray):
        several = value.ndim > 1
    else:
        several = bool(len(value)) and isinstance(value[0], list | np.ndarray) and len(value[0]) > 1
    if several:
        raise DataError(
            f"an array {str(key)[:40]!r} beside the parts of a clip",
            place=place,
            wanted="pose, face, left_hand, right_hand",
            remedy="rename it if it is one of these, or leave it out",
        )


def _array(value: Any, part: str, place: str) -> np.ndarray:
    """Convert to (T, K, C): from (T, K, C), (T, K * C), or a list whose entries are empty or null in some frames."""
    array = as_numbers(value, place)
    if array.ndim == 2:
        fits = [(k, c) for k in LANDMARKS[part] for c in (2, 3, 4) if k * c == array.shape[1]]
        if len(fits) == 1:
            array = array.reshape(len(array), *fits[0])
    if array.ndim != 3 or array.shape[1] not in LANDMARKS[part]:
        counts = ", ".join(map(str, sorted(LANDMARKS[part])))
        wanted = f"(frames, {counts}, 2 to 4)"
        raise DataError(f"shape {array.shape}", place=place, wanted=wanted, remedy="see docs/formats/parts.md")
    return array


def _join(
    arrays: dict[str, np.ndarray],
    id: str,
    place: str,
    options: ReadOptions,
    given: Mapping[str, Any],
    sure: Mapping[str, Any] | None = None,
) -> KeypointSequence:
    """Put the parts of a clip together. `sure`: confidence (T, K) of parts that have it in an array of its own."""
    lengths = {part: len(array) for part, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{count} frames of {part}" for part, count in lengths.items())
        raise DataError(found, place=place, wanted="as many of every part", remedy="fill missing frames with NaN")
    points, scores, unseen = [], [], 0
    names: list[str] = []
    for part in PARTS:
        if part in arrays:
            xy, scores_of_part, depth, nan = split_channels(arrays[part], (sure or {}).get(part), f"{place}: {part}")
            deep = np.zeros(xy.shape[:2], np.float32) if depth is None else np.nan_to_num(depth)
            points.append(np.concatenate([xy, deep[..., None]], 2))
            scores.append(scores_of_part)
            unseen += nan
            names += LANDMARKS[part][arrays[part].shape[1]]
    metadata = {name: value for name, value in given.items() if value is not None}
    metadata |= {
        "confidence": np.concatenate(scores, 1),
        "layout": None if set(arrays) <= set(HANDS) else name_of(names),
        "nan": unseen,
    }
    return make_sequence(id, np.concatenate(points, 1), options, source=place, **metadata)
