"""AlphaPose's results and annotations of COCO: one JSON file with an object a person and picture.

[{"image_id": "12.jpg", "category_id": 1, "keypoints": [x, y, score, ...], "score": 2.9, "box"?, "idx"?}, ...]. The
layout is told by the count: Halpe-26, Halpe-136 and others. A picture in which nobody was found is left out. COCO has
them under "annotations", and the names of all pictures under "images". Source: write_json in
alphapose/utils/pPose_nms.py of MVIG-SJTU/AlphaPose, whose OpenPose form `openpose` reads.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, make_sequence
from sign_models.keypoints.formats.estimators.people import signer_in_frames
from sign_models.keypoints.formats.files.source import ReadOptions, Source
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
    if isinstance(tree, Mapping) and isinstance(tree.get("annotations"), list) and isinstance(tree.get("images"), list):
        some = tree["annotations"][:_PROBED_RESULTS]
        return bool(some) and all(_is_result(one, _FIELDS - {"score"}) for one in some)
    return isinstance(tree, list) and bool(tree) and all(map(_is_result, tree[:_PROBED_RESULTS]))


def _is_result(result: Any, fields: Collection[str] = _FIELDS) -> bool:
    return isinstance(result, Mapping) and set(result) >= set(fields)


def _results(tree: Any, place: str) -> Iterator[tuple[Any, Any]]:
    """Name of each picture and keypoints of each person in it, None where nobody was found."""
    if isinstance(tree, list):
        for result in tree:
            if not _is_result(result):
                raise DataError("an object that is no result", place=place, wanted=", ".join(sorted(_FIELDS)))
            yield result["image_id"], result["keypoints"]
        return
    names = {}
    for image in tree["images"]:
        if not isinstance(image, Mapping) or not isinstance(image.get("id"), str | int) or "file_name" not in image:
            raise DataError("an image without id or name", place=place, wanted='{"id": ..., "file_name": ...}')
        names[image["id"]] = image["file_name"]
        yield image["file_name"], None
    for one in tree["annotations"]:
        if not _is_result(one, _FIELDS - {"score"}) or one["image_id"] not in names:
            raise DataError("an annotation without a picture", place=place, wanted="image_id of one of the images")
        keypoints = one["keypoints"]
        if isinstance(keypoints, list) and all(score in (0, 1, 2) for score in keypoints[2::3]):
            keypoints = [v / 2 if i % 3 == 2 else v for i, v in enumerate(keypoints)]  # 1: hidden, 2: seen
        yield names[one["image_id"]], keypoints


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Group the results of a file into clips by the names of their images.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    clips: dict[str, dict[int, list[Any]]] = {}
    for picture, keypoints in _results(source.tree, source.name):
        name, number = _named(picture, source.name)
        people = clips.setdefault(name, {}).setdefault(number, [])
        people += [] if keypoints is None else [keypoints]
    whole = source.id.removesuffix(f"/{FILE}")
    for name, frames in clips.items():
        id = whole if len(clips) == 1 else "/".join(filter(None, (whole, name)))
        yield partial(_read, frames, id, source.name, options)


def _named(picture: Any, place: str) -> tuple[str, int]:
    """The clip and the frame number that the name of a picture tells: "a_012.jpg" -> ("a", 12)."""
    found = _IMAGE.fullmatch(str(picture).replace("\\", "/"))
    if not found:
        named = f"a picture named {str(picture)[:40]!r}"
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
