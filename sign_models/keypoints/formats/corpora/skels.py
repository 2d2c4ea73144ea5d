"""`.skels` files of sign language production (Progressive Transformers, B. Saunders): one clip a line.

A line holds 151 numbers a frame, separated by spaces: 50 joints (x, y, z) and a counter from 0 to 1. NAME.files and
NAME.text beside NAME.skels hold the ids and the sentences, line by line.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import zip_longest

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, make_sequence
from sign_models.keypoints.formats.files.containers import read_lines
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.labels.label_rows import split_of
from sign_models.keypoints.layouts import LAYOUTS
from sign_models.keypoints.sequence import KeypointSequence

JOINTS = len(LAYOUTS["skels_50"])
NUMBERS = 3 * JOINTS + 1


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a text has lines of numbers of at least one frame.

    Raises:
        DataError: The file is broken.
    """
    if source.kind != "text":
        return False
    # The last number of the head may be cut off.
    return source.path.suffix == ".skels" or _is_frame(source.head.decode("utf-8", "ignore").rpartition(" ")[0])


def _is_frame(text: str) -> bool:
    """Whether the first line is at least one frame of numbers."""
    try:
        return len(np.array(text.partition("\n")[0].split(" "), np.float64)) >= NUMBERS
    except ValueError:
        return False


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read a clip for each line, with its id and text from the files beside it.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    names, texts = _beside(source, ".files"), _beside(source, ".text")
    for i, (line, name, text) in enumerate(zip_longest(read_lines(source.path), names, texts)):
        if line is None:
            if name or text:
                raise DataError(f"{i} lines", place=source.name, wanted="as many as its .files and .text have")
            return
        yield partial(_read, line, f"{i + 1}", name, text, source, options)


def _beside(source: Source, suffix: str) -> Iterator[str]:
    sibling = source.sibling(suffix)
    return (line.strip() for line in read_lines(sibling)) if sibling else iter(())


def _read(
    line: str, number: str, name: str | None, text: str | None, source: Source, options: ReadOptions
) -> KeypointSequence:
    place = f"{source.name}: line {number}"
    try:
        values = np.array(line.split(), np.float32)
    except ValueError as error:
        raise DataError(f"is no line of numbers ({str(error)[:60]})", place=place, wanted="numbers") from error
    if not len(values) or len(values) % NUMBERS:
        found = f"{len(values)} numbers"
        raise DataError(found, place=place, wanted=f"{NUMBERS} a frame: {JOINTS} joints and a counter")
    frames = values.reshape(-1, NUMBERS)[:, :-1].reshape(-1, JOINTS, 3)
    return make_sequence(
        name or f"{source.id}/{number}",
        frames[..., :2],
        options,
        source=place,
        layout="skels_50",
        unit="centered",
        text=text or None,
        split=split_of(source.name),
    )
