"""SLRT's keypoints (TwoStreamNetwork): one pickle a corpus, {name: {"keypoints": (T, 133, 3)}} for all splits.

HRNet's landmarks in pixels with their confidence; texts, splits and signers lie in gzip pickles (`labels`). NLA-SLR has
the arrays without the inner dictionary, which `seed` reads. Source: dataset/Dataset.py of FangyunWei/SLRT.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sign_models.keypoints.formats import records
from sign_models.keypoints.formats.clip import ClipReader
from sign_models.keypoints.formats.files.source import ReadOptions, Source


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a pickle maps names to records with nothing but `keypoints`.

    Raises:
        DataError: The file is broken.
    """
    values = records.first_values(source.tree) if source.kind == "pickle" and isinstance(source.tree, Mapping) else []
    return bool(values) and all(isinstance(value, Mapping) and set(value) == {"keypoints"} for value in values)


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read the clips of a corpus.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    return records.clips(source.tree, source, options)
