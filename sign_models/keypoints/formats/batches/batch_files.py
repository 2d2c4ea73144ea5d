"""Files of ids, labels and lengths beside a file of several clips: "ids.npy", "y_train.npy", "labels.txt"."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.keypoints.folders import is_inside
from sign_models.keypoints.formats.batches.batch_names import name_of_batch, role_of
from sign_models.keypoints.formats.files.containers import read_text
from sign_models.keypoints.formats.files.encodings import first_line, head_text
from sign_models.keypoints.formats.files.source import Source, stem_of

SUFFIXES = (".npy", ".txt", ".json", ".csv", ".tsv", ".pkl")


def as_list(values: Any) -> list[Any] | None:
    """Convert a column to a list.

    Args:
        values: Array or list.

    Returns:
        Its texts or numbers, of vectors with a single 1 its place. None of anything else.
    """
    if isinstance(values, np.ndarray):
        if values.ndim == 2 and 1 in values.shape:
            values = values.ravel()
        if values.ndim == 2 and values.dtype.kind in "biuf" and ((values != 0).sum(1) == 1).all():
            values = values.argmax(1)  # classes as vectors with a single 1
        if values.ndim != 1:
            return None
        values = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in values.tolist()]
    whole = isinstance(values, list | tuple) and all(isinstance(v, str | int | float) or v is None for v in values)
    return list(values) if whole else None


def siblings(source: Source) -> Iterator[Source]:
    """List the files of a folder.

    Args:
        source: One of them.

    Yields:
        All of them that may be read, in the order of their names.
    """
    folder, root = Path(source.place).parent, source.root or os.path.realpath(Path(source.place).parent)
    for path in sorted(folder.iterdir()):
        if path.is_file() and is_inside(path, root) and path.stat().st_size:
            above = source.id.rpartition("/")[0]
            yield Source(str(path), path.name, f"{above}/{stem_of(path.name)}".lstrip("/"), root=source.root)


def columns_beside(source: Source) -> dict[str, Source]:
    """Find the files of ids, labels and lengths of the clips in a file.

    Args:
        source: The file of clips.

    Returns:
        Files by role, those that are named as the file is before those that are named as any.

    Raises:
        DataError: A file is broken.
    """
    found: dict[str, Source] = {}
    for other in siblings(source):
        role = role_of(stem_of(other.name))
        if role is None or other.place == source.place or other.path.suffix.lower() not in SUFFIXES:
            continue
        if belongs(other, source) and column_of(other) is not None:
            exact = name_of_batch(stem_of(other.name)).rest == name_of_batch(stem_of(source.name)).rest
            if exact or role not in found:
                found[role] = other
    return found


def belongs(column: Source, batch: Source) -> bool:
    """Tell whether a file of ids is named as a file of clips is, or has a name for all: ids.npy.

    Args:
        column: The file of ids, labels or lengths.
        batch: The file of clips.

    Returns:
        Whether they may belong together.
    """
    rest = name_of_batch(stem_of(column.name)).rest
    return not rest or rest == name_of_batch(stem_of(batch.name)).rest


def column_of(source: Source) -> list[Any] | None:
    """Read a file of ids, labels or lengths.

    Args:
        source: The file.

    Returns:
        Its values, or None where it holds anything else.

    Raises:
        DataError: The file is broken.
    """
    if source.kind == "text":
        if any(sign in first_line(head_text(source.head))[0] for sign in "\t|;,"):
            return None
        lines = [line.strip() for line in read_text(source.path).splitlines()]
        if any(sign in line for line in lines for sign in "\t|;,"):
            return None
        if lines and source.path.suffix.lower() in (".csv", ".tsv") and role_of(lines[0]):
            del lines[0]
        while lines and not lines[-1]:
            lines.pop()
        return lines or None
    if source.kind == "json" and re.match(r"\s*\[\s*[\"\d-]", head_text(source.head)) is None:
        return None  # no list of texts or numbers, and perhaps large
    return as_list(source.tree)
