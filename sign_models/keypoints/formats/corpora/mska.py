"""MSKA's splits: one pickle a split, {name: {"name", "gloss", "text", "num_frames", "keypoint": Tensor (T, 133, 3)}}.

HRNet's landmarks in pixels with their confidence; the file's ending is the split (Phoenix-2014T.train). Source:
datasets.py of sutwangyan/MSKA.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sign_models.keypoints.formats import records
from sign_models.keypoints.formats.clip import ClipReader
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.labels.label_rows import split_of


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a pickle maps names to records with `keypoint` and `num_frames`.

    Raises:
        DataError: The file is broken.
    """
    values = records.first_values(source.tree) if source.kind == "pickle" and isinstance(source.tree, Mapping) else []
    return bool(values) and all(isinstance(v, Mapping) and {"keypoint", "num_frames"} <= set(v) for v in values)


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read the clips of a split.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    return records.clips(source.tree, source, options, split=split_of(source.name))
