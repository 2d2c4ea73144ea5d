"""Folders of OpenPose's JSON files, one a frame: NAME_000000000012_keypoints.json. One folder may hold several clips.

{"version": 1.3, "people": [{"pose_keypoints_2d": [x, y, c, ...], "face_keypoints_2d", "hand_left_keypoints_2d",
"hand_right_keypoints_2d"}]}; see doc/02_output.md of OpenPose. Versions before 1.2 leave out "_2d".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, make_sequence
from sign_models.keypoints.formats.estimators import numbered
from sign_models.keypoints.formats.estimators.people import MAX_PEOPLE, signer_in_frames
from sign_models.keypoints.formats.files.containers import read_json
from sign_models.keypoints.formats.files.source import NUMBERED, ReadOptions, Source
from sign_models.keypoints.landmarks import (
    FACE_70,
    HALPE_BODY,
    HAND,
    LEFT_HAND,
    OPENPOSE_BODY_18,
    OPENPOSE_BODY_25,
    RIGHT_HAND,
)
from sign_models.keypoints.layouts import name_of
from sign_models.keypoints.sequence import KeypointSequence

PARTS = ("pose", "face", "hand_left", "hand_right")  # in the order of LAYOUTS["openpose_137"]
COUNTS = {"face": len(FACE_70), "hand_left": len(HAND), "hand_right": len(HAND)}
BODIES = {
    len(OPENPOSE_BODY_25): "openpose_137",
    len(OPENPOSE_BODY_18): "openpose_130",
    len(HALPE_BODY): name_of(HALPE_BODY + FACE_70 + LEFT_HAND + RIGHT_HAND),  # AlphaPose's in OpenPose's format
}


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a folder has files of frames, or a JSON file is a frame with people.

    Raises:
        DataError: The file is broken.
    """
    if source.is_folder and (named := [p.name for p in source.files if p.name.endswith("_keypoints.json")]):
        return any(map(NUMBERED.fullmatch, named))
    return _is_frame(source.first_frame)


def _is_frame(tree: Any) -> bool:
    return isinstance(tree, Mapping) and isinstance(tree.get("people"), list | dict) and "version" in tree


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read the frames of each clip in a folder.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    for frames in numbered.clips(source):
        yield partial(_read, frames, options)


def _read(frames: numbered.FrameFiles, options: ReadOptions) -> KeypointSequence:
    people = [(number, _people(path)) for number, path in frames.files]
    counts = {len(person["pose"]) for _, persons in people for person in persons}
    if len(counts) > 1 or not counts <= set(BODIES):
        found = f"bodies of {', '.join(map(str, sorted(counts)))} points"
        raise DataError(found, place=frames.place, wanted=" or ".join(map(str, BODIES)), remedy="use BODY_25 or COCO")
    whole = [
        (number, [np.concatenate([person[part] for part in PARTS]) for person in persons]) for number, persons in people
    ]
    points, confidence = signer_in_frames(whole, frames.place)
    return make_sequence(
        frames.id, points, options, source=frames.place, confidence=confidence, layout=BODIES[counts.pop()]
    )


def _people(path: Path) -> list[dict[str, np.ndarray]]:
    """The people of one frame: (n, 3) x, y, confidence of each part."""
    tree = read_json(path)
    if not _is_frame(tree):
        raise DataError("is no frame of OpenPose", place=path.name, wanted='{"version", "people": [...]}')
    people = tree["people"]
    # The Korean AI-Hub corpus holds one person as an object.
    people = [people] if isinstance(people, dict) else people
    return [_person(person, path.name) for person in people[:MAX_PEOPLE]]


def _person(person: Any, place: str) -> dict[str, np.ndarray]:
    if not isinstance(person, Mapping):
        raise DataError(f"a person that is a {type(person).__name__}", place=place, wanted='{"pose_keypoints_2d": ...}')
    parts = {}
    for part in PARTS:
        numbers = person.get(f"{part}_keypoints_2d", person.get(f"{part}_keypoints"))
        try:
            # A part that was not looked for is left out, or empty.
            array = np.array(numbers or np.zeros(3 * COUNTS.get(part, 0)), np.float32).reshape(-1, 3)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(f"its {part} is no list of numbers", place=place, wanted="x, y, confidence, ...") from error
        if len(array) != COUNTS.get(part, len(array)) or (part == "pose" and not len(array)):
            raise DataError(f"{len(array)} points of {part}", place=place, wanted=str(COUNTS.get(part, [*BODIES])))
        parts[part] = array
    return parts
