"""Uni-Sign's pose files: one pickle a clip, RTMPose's 133 landmarks as fractions of the picture.

{"keypoints": [(P, 133, 2), ...], "scores": [(P, 133), ...], "start"?, "end"?}, a list entry a frame, P people; labels
lie in gzip pickles (`labels`). Source: datasets.py and demo/pose_extraction.py of ZechengLi19/Uni-Sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, make_sequence
from sign_models.keypoints.formats.estimators.people import follow_signer
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.pickles.folded_arrays import Arrays
from sign_models.keypoints.sequence import KeypointSequence

MAX_PEOPLE = 32


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a pickle or npz has keypoints and scores a frame.

    Raises:
        DataError: The file is broken.
    """
    tree = source.tree if source.kind in ("pickle", "npz") else None
    if not (isinstance(tree, Mapping) and "keypoints" in tree and "scores" in tree):
        return False
    keypoints = tree["keypoints"]
    return isinstance(keypoints, list | Arrays) or (isinstance(keypoints, np.ndarray) and keypoints.ndim == 4)


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read the record of a file as a clip.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    yield partial(_read, source, options)


def _read(source: Source, options: ReadOptions) -> KeypointSequence:
    place, tree = source.name, source.tree
    with np.errstate(over="ignore"):  # what is too large becomes Inf, which `clip` refuses
        keypoints, scores = _frames(tree["keypoints"], place), _frames(tree["scores"], place)
    if keypoints.ndim != 4 or keypoints.shape[3] != 2 or scores.shape != keypoints.shape[:3]:
        found = f"keypoints of shape {keypoints.shape} with scores of shape {scores.shape}"
        raise DataError(found, place=place, wanted="(T, P, 133, 2) and (T, P, 133)", remedy="extract the clip again")
    start, end = tree.get("start", 0), tree.get("end", len(keypoints))
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(keypoints)):
        found = f"start {start} and end {end} of {len(keypoints)} frames"
        raise DataError(found[:200], place=place, wanted="0 <= start < end <= frames")
    points, confidence = follow_signer(keypoints[start:end], scores[start:end])
    beside = {
        name: value[start:end]
        for name, value in tree.items()
        if name not in ("keypoints", "scores") and isinstance(value, list | np.ndarray) and len(value) == len(keypoints)
    }
    return make_sequence(source.id, points, options, source=place, confidence=confidence, beside=beside)


def _frames(frames: Any, place: str) -> np.ndarray:
    """Stack a list of T arrays to (T, P, ...). Missing people are filled with 0."""
    if isinstance(frames, np.ndarray):
        return as_numbers(frames, place)
    if not isinstance(frames, list | tuple | Arrays):
        found = f"frames that are a {type(frames).__name__.strip('_').lower()}"
        raise DataError(found, place=place, wanted="a list with an array a frame", remedy="extract the clip again")
    with suppress(TypeError, ValueError, OverflowError):
        if isinstance(frames, Arrays):
            return np.concatenate(frames.parts, dtype=np.float32, casting="same_kind")
        if len(counts := set(map(len, frames))) == 1:  # as in nearly all files: one copy, much faster than np.stack
            joined = np.concatenate(frames, dtype=np.float32, casting="same_kind")
            return np.asarray(joined).reshape(len(frames), counts.pop(), *joined.shape[1:])
    arrays = [as_numbers(frame, place) for frame in frames]
    if len({array.shape for array in arrays}) <= 1:
        return np.array(arrays, np.float32)
    rest = {array.shape[1:] for array in arrays if array.ndim and len(array)}
    if len(rest) != 1:
        raise DataError(f"frames of {len(rest)} shapes", place=place, wanted="(P, 133, ...) in every frame")
    people = min(max(len(array) for array in arrays), MAX_PEOPLE)
    filled = np.zeros((len(arrays), people, *rest.pop()), np.float32)
    for t, array in enumerate(arrays):
        filled[t, : min(len(array), people)] = array[:people] if len(array) else 0
    return filled
