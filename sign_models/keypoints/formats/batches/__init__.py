"""Arrays of several clips: (N, T, K, C), or vectors of MediaPipe (N, T, numbers), padded to one length.

Ids, labels and lengths stand beside the array in an npz, HDF5 file or dict ("ids", "y", "lengths"), or in files of the
same folder ("ids.npy", "y_train.npy", "labels.txt"). A list of clips of several lengths may have them too. Frames in
which nothing is seen at the ends of such a clip are padding.

N clips, T frames, K landmarks, C channels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import parts, records
from sign_models.keypoints.formats.batches.batch_files import (
    SUFFIXES,
    as_list,
    belongs,
    column_of,
    columns_beside,
    siblings,
)
from sign_models.keypoints.formats.batches.batch_names import name_of_batch, role_of
from sign_models.keypoints.formats.clip import ClipReader
from sign_models.keypoints.formats.estimators import mediapipe
from sign_models.keypoints.formats.files.containers import npy_shape
from sign_models.keypoints.formats.files.source import ReadOptions, Source, stem_of
from sign_models.keypoints.formats.part_names import HANDS, part_of
from sign_models.keypoints.pickles.folded_arrays import Arrays
from sign_models.keypoints.sequence import KeypointSequence

log = logging.getLogger(__name__)

MAX_PEOPLE = 4  # along an axis that may be of people or of clips
MAX_COLUMNS = 16  # arrays of a file
_HEADER = ("layout", "fps", "unit", "size")
_CHANNELS = (2, 3, 4)
_OF_FRAMES = ("confidence", "masks")  # columns with values of each frame


@dataclass(frozen=True)
class Batch:
    """Several clips, and what is known of them.

    Attributes:
        arrays: By part, or "" for whole clips: (N, T, K, C), (N, T, numbers), or a list of N clips.
        columns: By role ("ids", "texts", "lengths" ...): a value a clip.
        split: Split of all of them, or None.
        layout: Layout that the name of the array tells, or None.
    """

    arrays: dict[str, Any]
    columns: dict[str, Any] = field(default_factory=dict)
    split: str | None = None
    layout: str | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a file has an array of several clips, or a list of clips with ids, labels or lengths beside it.

    Raises:
        DataError: The file is broken.
    """
    if source.kind not in ("npy", "npz", "pickle", "hdf5", "json"):
        return False
    tree = source.tree
    if isinstance(tree, np.ndarray):
        return source.kind == "npy" and _is_batch(tree.shape)
    if isinstance(tree, Mapping):
        return bool(_members(tree))
    return source.kind in ("npy", "pickle") and _are_clips(tree) and bool(columns_beside(source))


def is_companion(source: Source) -> bool:
    """Tell files of ids, labels or lengths that are read together with an array of clips.

    Args:
        source: A file.

    Returns:
        Whether it is such a file.
    """
    if source.is_folder or source.path.suffix.lower() not in SUFFIXES or role_of(stem_of(source.name)) is None:
        return False
    try:
        if column_of(source) is None:
            return False
        return any(_may_be_batch(other, source) and detect(other) for other in siblings(source))
    except DataError:
        return False


def _may_be_batch(other: Source, column: Source) -> bool:
    """Whether a file may have the clips of a file of ids, told without reading all of it."""
    if other.place == column.place or not belongs(column, other):
        return False
    if other.path.suffix.lower() == ".npy":
        shape = npy_shape(other.path)
        return shape is None or _is_batch(shape)
    named = name_of_batch(stem_of(other.name)).rest == name_of_batch(stem_of(column.name)).rest
    return named and other.path.suffix.lower() in (".npz", ".h5", ".hdf5", ".pkl")


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read the clips of a file.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.

    Raises:
        DataError: The axes are in another order, or what stands beside the clips does not fit them.
    """
    tree = source.tree
    beside: dict[str, Any] = {role: column_of(file) for role, file in columns_beside(source).items()}
    header: dict[str, Any] = {}
    if not isinstance(tree, Mapping):
        batches = [Batch({"": tree}, beside)]
    else:
        batches = _members(tree)
        header = {n: tree[n] for n in _HEADER if n in tree and not isinstance(tree[n], np.ndarray | Mapping | list)}
        if len(batches) == 1:
            batches = [replace(batches[0], columns={**beside, **batches[0].columns})]
    for batch in batches:
        yield from _clips(batch, source, options, header)


def _members(tree: Mapping[Any, Any]) -> list[Batch]:
    """The arrays of clips in a mapping with what stands beside them: one, one a split, or the parts of one."""
    if not 0 < len(tree) <= MAX_COLUMNS or not all(isinstance(name, str) for name in tree):
        return []
    shapes = {name: _shape(tree, name) for name in tree}
    found = [name for name in tree if _is_batch(shapes[name]) and role_of(name) is None]
    if not found:
        beside = [n for n in tree if role_of(n) not in (None, *_OF_FRAMES) and len(shapes[n]) == 1]
        lists = [name for name in tree if len(shapes[name]) == 1 and name not in beside and _are_clips(tree[name])]
        found = lists if len(lists) == 1 and beside else []
    named = {part_of(name): name for name in found}
    if len(found) > 1 and len(named) == len(found) and None not in named:
        return [Batch({str(part): tree[name] for part, name in named.items()}, _columns(tree, found, shapes))]
    if len(found) == 1:
        columns = _columns(tree, found, shapes)
        hand = part_of(found[0]) if part_of(found[0]) in HANDS else None
        if not columns and not hand and not name_of_batch(found[0]).generic:
            return []
        return [Batch({"": tree[found[0]]}, columns, layout=f"{hand}_21" if hand else None)]
    splits = {name: name_of_batch(name) for name in found}
    if not found or not all(name.split and name.generic for name in splits.values()):
        return []
    return [Batch({"": tree[name]}, _columns(tree, found, shapes, of.split), of.split) for name, of in splits.items()]


def _columns(
    tree: Mapping[str, Any], arrays: list[str], shapes: Mapping[str, tuple[int, ...]], split: str | None = None
) -> dict[str, Any]:
    """What stands beside the arrays: by role, of one split where there are several."""
    found: dict[str, Any] = {}
    for name in tree:
        role = role_of(name) if name not in arrays else None
        if role is not None and shapes[name] and (split is None or name_of_batch(name).split == split):
            found.setdefault(role, tree[name])
    return found


def _shape(tree: Mapping[Any, Any], name: str) -> tuple[int, ...]:
    """Shape of an array in a mapping, (N,) of a list, () of anything else. Arrays in files are not read for it."""
    shape_of = getattr(tree, "shape_of", None)
    if shape_of is not None:
        return tuple(shape_of(name))
    value = tree[name]
    if isinstance(value, list | tuple | Arrays):
        return (len(value),)
    return value.shape if isinstance(value, np.ndarray) else ()


def _is_batch(shape: tuple[int, ...]) -> bool:
    return len(shape) in (4, 5) or (len(shape) == 3 and shape[2] in mediapipe.WIDTHS)


def _are_clips(value: Any) -> bool:
    """Whether a list is of clips, (T, K, C) or (T, numbers) each."""
    some = list(islice(value, 4)) if isinstance(value, list | tuple | Arrays) else []
    return bool(some) and all(
        (isinstance(one, np.ndarray) and one.ndim == 3) or mediapipe.are_vectors(one) or _is_nested(one) for one in some
    )


def _is_nested(value: Any) -> bool:
    """Whether a value is frames of landmarks in lists."""
    for _ in range(2):
        if not isinstance(value, list) or not value:
            return False
        value = value[0]
    return isinstance(value, list | np.ndarray) and len(value) in _CHANNELS


def _clips(batch: Batch, source: Source, options: ReadOptions, header: Mapping[str, Any]) -> Iterator[ClipReader]:
    batch = _without_people(batch, source)
    arrays, known = batch.arrays, _checked_columns(batch, source)
    count = len(next(iter(arrays.values())))
    one, held = count == 1 and not known, 0
    made: list[dict[str, Any]] = []
    padding: list[int] = []
    for i in range(count):
        clip = {part: array[i] for part, array in arrays.items()}
        id = str(known["ids"][i]) if "ids" in known else source.id if one else f"{source.id}/{i}"
        length, mask = (known[role][i] if role in known else None for role in ("lengths", "masks"))
        whole = len(next(iter(clip.values())))
        ragged = not isinstance(next(iter(arrays.values())), np.ndarray) and length is None and mask is None
        first, last = (0, whole) if one or ragged else _span(clip, length, mask, f"{source.name}: {id!r}")
        held += _ends_held(clip)
        padding.append(whole - (last - first))
        fields = {part or "keypoints": values[first:last] for part, values in clip.items()}
        if "confidence" in known:
            fields["confidence"] = known["confidence"][i][first:last]
        for role, name in (("texts", "text"), ("splits", "split"), ("groups", "signer"), ("rates", "fps")):
            if role in known:
                fields[name] = known[role][i]
        fields |= {name: value for name in ("split", "layout") if (value := getattr(batch, name)) is not None}
        made.append({"id": id, **fields})
    if 2 * held > count > 1 and not {"lengths", "masks"} & known.keys():
        message = "%s: %d of %d clips end in frames that repeat, which may be padding: save their lengths beside them"
        log.warning(message, source.name, held, count)
    readers: Iterator[ClipReader]
    if "" in arrays:
        readers = records.clips(made, source, options, header=header)
    else:
        readers = (
            partial(parts.of_tree, {**header, **one}, one["id"], f"{source.name}: sample {one['id']!r}", options)
            for one in made
        )
    for make, padded in zip(readers, padding, strict=True):
        yield partial(_with_padding, make, padded)


def _with_padding(make: ClipReader, padded: int) -> KeypointSequence:
    return replace(make(), padded=padded)


def _without_people(batch: Batch, source: Source) -> Batch:
    """A batch whose arrays are (N, T, K, C), (N, T, numbers) or lists. DataError for other axes, or unclear ones."""
    told = any(role not in _OF_FRAMES for role in batch.columns)
    arrays, columns = dict(batch.arrays), dict(batch.columns)
    for part, array in batch.arrays.items():
        if not isinstance(array, np.ndarray):
            continue
        shape = array.shape
        if array.ndim == 5 or (array.ndim == 4 and shape[3] not in _CHANNELS):
            turned = "transpose(0, 2, 3, 1)" if shape[1] in _CHANNELS else "transpose(...)"
            raise DataError(
                f"an array of shape {shape}",
                place=source.name,
                wanted="(clips, frames, landmarks, 2 to 4)",
                remedy="bring its axes into this order and save it again, such as "
                f"a{'[..., 0]' if array.ndim == 5 else ''}.{turned}",
            )
        if array.ndim != 4 or told or min(shape[:2]) > MAX_PEOPLE or shape[0] == 1:
            continue
        if shape[1] > 1:
            raise DataError(
                f"an array of shape {shape}, whose axis of {min(shape[:2])} may be of people or of clips",
                place=source.name,
                wanted="(clips, frames, landmarks, channels) with ids, or one clip (frames, landmarks, channels)",
                remedy="save ids beside it, numpy.savez(path, keypoints=a, ids=names), or the array of one person",
            )
        arrays[part] = array[None, :, 0]  # frames of one person
        for role in _OF_FRAMES:
            values = columns.get(role)
            if isinstance(values, np.ndarray) and values.shape[:2] == shape[:2]:
                columns[role] = values[None, :, 0]
    return replace(batch, arrays=arrays, columns=columns)


def _checked_columns(batch: Batch, source: Source) -> dict[str, Any]:
    """The columns of a batch with a value a clip. Numbers of classes become names where the file has them."""
    found: dict[str, Any] = {}
    for role, values in batch.columns.items():
        if role == "classes":
            continue
        column = values if role in _OF_FRAMES and getattr(values, "ndim", 0) > 1 else as_list(values)
        if column is None or len(column) != len(batch):
            count = "no list" if column is None else f"{len(column):,}"
            raise DataError(
                f"{count} {role} for {len(batch):,} clips",
                place=source.name,
                wanted=f"one a clip, or no {role}",
                remedy=f"save {role} in the order of the clips, or rename them",
            )
        found[role] = column
    ids = [int(one) if isinstance(one, float) and one.is_integer() else one for one in found.get("ids", ())]
    if odd := [one for one in ids if not isinstance(one, str | int)]:
        raise DataError(f"an id {odd[0]}", place=source.name, wanted="texts or whole numbers", remedy="name each clip")
    found |= {"ids": ids} if ids else {}
    if "texts" in found and not any(isinstance(text, str) for text in found["texts"]):
        names = as_list(batch.columns.get("classes"))
        known = names is not None and all(isinstance(n, str) for n in names)
        numbers = [int(n) if n is not None and float(n).is_integer() else -1 for n in found.pop("texts")]
        if known and names is not None and 0 <= min(numbers) <= max(numbers) < len(names):
            found["texts"] = [names[number] for number in numbers]
        else:
            log.warning("%s: its labels are numbers, which are no texts; save their names too (classes)", source.name)
    return found


def _span(clip: Mapping[str, Any], length: Any, mask: Any, place: str) -> tuple[int, int]:
    """First frame of a clip and the one after the last, without padding before or after it."""
    count = len(next(iter(clip.values())))
    seen = np.zeros(count, bool)
    for values in clip.values():
        if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
            frames = values.reshape(count, -1)
            seen |= ((frames != 0) & (frames != -1) & ~np.isnan(frames)).any(1)
        else:
            seen[:] = True
    begin, end = _reach(seen)
    if mask is not None:
        told = np.asarray(mask, bool).ravel()
        sides = [side for side in (told, ~told) if len(told) == count and side.any() and not seen[~side].any()]
        if not sides:
            found, wanted = "a mask that does not fit what is seen", "one value a frame, false where it is padding"
            raise DataError(found, place=place, wanted=wanted, remedy="save lengths in place of the mask")
        return _reach(sides[0])
    if length is None:
        return begin, end
    if isinstance(length, str) or length is None or not (float(length).is_integer() and 0 < length <= count):
        raise DataError(
            f"a length of {length} in {count} frames", place=place, wanted=f"1 to {count}", remedy="correct the lengths"
        )
    length = int(length)
    before = begin >= count - length and end > length  # the padding stands before the clip
    return (count - length, count) if before else (0, length)


def _ends_held(clip: Mapping[str, Any]) -> bool:
    """Whether the last three frames are equal and somebody is seen in them."""
    last = [values[-3:] for values in clip.values() if isinstance(values, np.ndarray) and len(values) > 3]
    return bool(last) and all((frames == frames[-1]).all() for frames in last) and any(map(np.any, last))


def _reach(seen: np.ndarray) -> tuple[int, int]:
    """The first true of (T,) and the one after the last; all of it where none is."""
    at = np.flatnonzero(seen)
    return (int(at[0]), int(at[-1]) + 1) if len(at) else (0, len(seen))
