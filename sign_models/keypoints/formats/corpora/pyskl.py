"""Annotations of pyskl and MMAction2: a pickle of a list, or {"split": {name: [id, ...]}, "annotations": list}.

A clip is {"frame_dir", "label", "img_shape" (height, width), "total_frames", "keypoint": (P, T, K, 2 or 3),
"keypoint_score"?: (P, T, K)}, P people. Source: docs of kennymckormick/pyskl and open-mmlab/mmaction2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, make_sequence
from sign_models.keypoints.formats.estimators.people import follow_signer
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.labels.label_rows import split_of
from sign_models.keypoints.formats.tables.columns import SPLIT_WORDS
from sign_models.keypoints.sequence import KeypointSequence

MAX_PEOPLE = 32


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a pickle is a list of annotations, or has one.

    Raises:
        DataError: The file is broken.
    """
    return source.kind == "pickle" and _annotations(source.tree) is not None


def _annotations(tree: Any) -> list[Any] | None:
    found = tree.get("annotations") if isinstance(tree, Mapping) else tree
    if not isinstance(found, list) or not found:
        return None
    return (
        found if all(isinstance(one, Mapping) and {"frame_dir", "keypoint"} <= set(one) for one in found[:8]) else None
    )


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read a clip for each annotation.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    tree = source.tree
    named = tree.get("split") if isinstance(tree, Mapping) else None
    splits: dict[str, str | None] = {}
    for name, ids in named.items() if isinstance(named, Mapping) else ():
        # "train", "xsub_val": the last word that names a split.
        split = next(
            (SPLIT_WORDS[word] for word in reversed(str(name).lower().split("_")) if word in SPLIT_WORDS), None
        )
        for id in ids if isinstance(ids, list | tuple) else ():
            known = splits.setdefault(str(id), split)
            if known != split:
                splits[str(id)] = None  # several protocols, such as xsub and xset, that disagree
    for number, one in enumerate(_annotations(tree) or []):
        yield partial(_read, one, number, splits, source, options)


def _read(
    one: Any, number: int, splits: dict[str, str | None], source: Source, options: ReadOptions
) -> KeypointSequence:
    place = f"{source.name}: annotation {number}"
    if not isinstance(one, Mapping) or not {"frame_dir", "keypoint"} <= set(one):
        raise DataError("is no annotation", place=place, wanted='"frame_dir" and "keypoint"', remedy="export it again")
    id = str(one["frame_dir"])
    place = f"{source.name}: sample {id!r}"
    keypoint = as_numbers(one["keypoint"], place)
    if keypoint.ndim != 4 or keypoint.shape[3] not in (2, 3) or not 0 < keypoint.shape[0] <= MAX_PEOPLE:
        found = f"keypoint of shape {keypoint.shape}"
        raise DataError(found, place=place, wanted="(people, frames, landmarks, 2 or 3)", remedy="export it again")
    points = np.moveaxis(keypoint[..., :2], 0, 1).astype(np.float32)
    if one.get("keypoint_score") is None:
        scores = (points != 0).any(-1).astype(np.float32)
    else:
        given = as_numbers(one["keypoint_score"], place)
        if given.shape != keypoint.shape[:3]:
            found = f"keypoint_score of shape {given.shape}"
            raise DataError(found, place=place, wanted=str(keypoint.shape[:3]), remedy="export it again")
        scores = np.moveaxis(given, 0, 1).astype(np.float32)
    shape = one.get("img_shape", one.get("original_shape"))
    size = (shape[1], shape[0]) if isinstance(shape, tuple | list) and len(shape) == 2 else None
    text = next((one[name] for name in ("text", "gloss", "label") if one.get(name) is not None), None)
    points, scores = follow_signer(points, scores)
    split = splits.get(id) or split_of(source.name)
    beside = {name: value for name, value in one.items() if name not in ("keypoint", "keypoint_score")}
    sequence = make_sequence(
        id, points, options, source=place, confidence=scores, size=size, text=text, split=split, beside=beside
    )
    total = one.get("total_frames")
    if isinstance(total, int) and total > len(sequence):
        found = f"keypoints of {len(points)} of {total} frames, and nothing tells of which"
        raise DataError(found, place=place, wanted="total_frames of them", remedy="add frame_inds, or export it again")
    return sequence
