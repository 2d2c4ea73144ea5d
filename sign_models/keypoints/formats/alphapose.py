"""AlphaPose's results, which are COCO's too: one JSON file with an object a person and picture.

[{"image_id": "12.jpg", "category_id": 1, "keypoints": [x, y, score, ...], "score": 2.9, "box"?, "idx"?}, ...]. The
layout is told by the count: Halpe-26, Halpe-136 and others. A picture in which nobody was found is left out. Source:
write_json in alphapose/utils/pPose_nms.py of MVIG-SJTU/AlphaPose, whose OpenPose form `openpose` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, make_sequence
from sign_models.keypoints.formats.people import signer_in_frames
from sign_models.keypoints.formats.source import ReadOptions, Source
from sign_models.keypoints.sequence import KeypointSequence

FILE = "alphapose-results"  # the name that AlphaPose gives all its files, which tells no clip from another
_FIELDS = {"image_id", "keypoints", "score"}
_IMAGE = re.compile(r"(?P<clip>.*?)[/_.-]?(?P<number>\d{1,15})(\.\w{1,5})?")
_PROBED_RESULTS = 8


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a JSON file is a list of results with image, keypoints and score.

    Raises:
        DataError: The file is broken.
    """
    tree = source.tree if source.kind == "json" else None
    return isinstance(tree, list) and bool(tree) and all(map(_is_result, tree[:_PROBED_RESULTS]))


def _is_result(result: Any) -> bool:
    return isinstance(result, Mapping) and set(result) >= _FIELDS


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Group the results of a file into clips by the names of their images.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    clips: dict[str, dict[int, list[Any]]] = {}
    for result in source.tree:
        name, number = _named(result, source.name)
        clips.setdefault(name, {}).setdefault(number, []).append(result["keypoints"])
    whole = source.id.removesuffix(f"/{FILE}")
    for name, frames in clips.items():
        id = whole if len(clips) == 1 else "/".join(filter(None, (whole, name)))
        yield partial(_read, frames, id, source.name, options)


def _named(result: Any, place: str) -> tuple[str, int]:
    """The clip and the frame number that a result's picture names: "a_012.jpg" -> ("a", 12)."""
    if not _is_result(result):
        raise DataError("an object that is no result", place=place, wanted=", ".join(sorted(_FIELDS)))
    found = _IMAGE.fullmatch(str(result["image_id"]).replace("\\", "/"))
    if not found:
        named = f"a picture named {str(result['image_id'])[:40]!r}"
        raise DataError(
            named, place=place, wanted="a number in its name, which is its time", remedy="rename the pictures"
        )
    return found["clip"], int(found["number"])


def _read(frames: dict[int, list[Any]], id: str, place: str, options: ReadOptions) -> KeypointSequence:
    people = [
        (number, [_person(numbers, f"{place}: frame {number}") for numbers in several])
        for number, several in frames.items()
    ]
    points, confidence = signer_in_frames(people, place)
    return make_sequence(id, points, options, source=place, confidence=confidence)


def _person(numbers: Any, place: str) -> np.ndarray:
    """(K, 3) x, y, score out of 3 K numbers."""
    flat = as_numbers(numbers, place)
    if flat.ndim != 1 or not flat.size or flat.size % 3:
        raise DataError(
            f"keypoints of shape {flat.shape}", place=place, wanted="x, y, score of each landmark in one list"
        )
    return flat.reshape(-1, 3).astype(np.float32)
