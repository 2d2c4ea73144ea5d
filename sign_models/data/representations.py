"""Representations on disk: an npz file with one array a video, named by the video's id.

S vectors of a video, D width.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sign_models.errors import DataError

FOLDER, FILE = "temporal_representations_all", "all_representations.npz"


def write_representations(path: Path, arrays: Iterable[tuple[str, np.ndarray]]) -> int:
    """Write representations one by one, so that memory does not grow. np.load reads the file.

    Args:
        path: File to write. Its folder is made.
        arrays: Id of a video and its (S, D) vectors, written as float32.

    Returns:
        Number of videos.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array, np.float32), allow_pickle=False)
            count += 1
    return count


def read_representations(path: Path) -> dict[str, np.ndarray]:
    """Read all representations of a file.

    Args:
        path: File written by `write_representations`.

    Returns:
        (S, D) float32 vectors by the id of the video.

    Raises:
        DataError: The file cannot be read or holds other arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot be read: {error}",
            place=str(path),
            wanted=f"{FILE} of a represent run",
            remedy="run -e represent again",
        ) from error
    for name, array in arrays.items():
        if array.ndim != 2:
            raise DataError(
                f"{name!r} has shape {array.shape}",
                place=str(path),
                wanted="(vectors, width)",
                remedy="run -e represent again",
            )
    return arrays
