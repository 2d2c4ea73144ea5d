"""GloFE's poses: one pickle a clip that holds a bare array (T, K, 3) in pixels with the confidence.

OpenASL: MMPose's 133 landmarks, labels in openasl-v1.0.tsv (`vid`, `raw-text`, `split`). How2Sign: OpenPose's 137 with
the face last, labels in how2sign_realigned_*.csv (`SENTENCE_NAME`, `SENTENCE`); see `labels`. Source: the two training
scripts of HenryLittle/GloFE.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from sign_models.keypoints.formats.clip import ClipReader, as_numbers, make_sequence, split_channels
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.layouts import LAYOUTS
from sign_models.keypoints.sequence import KeypointSequence

ORDERS = ("openpose_137", "glofe_137")


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a pickle is a bare array.

    Raises:
        DataError: The file is broken.
    """
    return source.kind == "pickle" and isinstance(source.tree, np.ndarray)


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read the array of a file as a clip.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    yield partial(_read, source, options)


def _read(source: Source, options: ReadOptions) -> KeypointSequence:
    place, array = source.name, as_numbers(source.tree, source.name)
    points, confidence, *_ = split_channels(array, None, place)
    layout = _order(points, confidence) if points.shape[1] == len(LAYOUTS["glofe_137"]) else None
    return make_sequence(source.id, array, options, source=place, layout=layout)


def _order(points: np.ndarray, confidence: np.ndarray) -> str:
    """OpenPose's own order or GloFE's: the one whose hands start nearer to the wrists of the body."""
    gaps = []
    for layout in ORDERS:
        names = LAYOUTS[layout]
        gap = []
        for side in ("left", "right"):
            hand, wrist = names.index(f"{side}_hand.wrist"), names.index(f"body.{side}_wrist")
            seen = (confidence[:, hand] > 0) & (confidence[:, wrist] > 0)
            gap.append(np.linalg.norm(points[seen, hand] - points[seen, wrist], axis=-1))
        distances = np.concatenate(gap)
        gaps.append(np.median(distances) if len(distances) else np.inf)
    # Without a wrist in sight nothing tells them apart: these pickles come from GloFE.
    return ORDERS[0] if gaps[0] < gaps[1] else ORDERS[1]
