"""OpenHands' poses: one pickle a clip, {"keypoints": (T, V, 3), "confidences": (T, V)}.

MediaPipe Holistic's 33 + 21 + 21 landmarks as fractions of the picture. Source: datasets/pipelines/generate_pose.py of
AI4Bharat/OpenHands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from sign_models.keypoints.formats.clip import ClipReader, make_sequence
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.sequence import KeypointSequence


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a pickle has `keypoints` and `confidences`.

    Raises:
        DataError: The file is broken.
    """
    tree = source.tree if source.kind == "pickle" else None
    return isinstance(tree, Mapping) and {"keypoints", "confidences"} <= set(tree)


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
    tree = source.tree
    keypoints, confidence = tree["keypoints"], tree["confidences"]
    beside = {name: tree[name] for name in tree if name not in ("keypoints", "confidences")}
    return make_sequence(source.id, keypoints, options, source=source.name, confidence=confidence, beside=beside)
