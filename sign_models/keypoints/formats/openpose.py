"""Folders of OpenPose's JSON files, one a frame: NAME_000000000012_keypoints.json. One folder may hold several clips.

{"version": 1.3, "people": [{"pose_keypoints_2d": [x, y, c, ...], "face_keypoints_2d", "hand_left_keypoints_2d",
"hand_right_keypoints_2d"}]}; see doc/02_output.md of OpenPose. Versions before 1.2 leave out "_2d".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import Clip, clip
from sign_models.keypoints.formats.people import follow
from sign_models.keypoints.formats.source import Options, Source, read_json
from sign_models.keypoints.landmarks import (
    FACE_70,
    HALPE_BODY,
    HAND,
    LEFT_HAND,
    OPENPOSE_BODY_18,
    OPENPOSE_BODY_25,
    RIGHT_HAND,
)
from sign_models.keypoints.layouts import name_of, names_of
from sign_models.keypoints.sequence import KeypointSequence

FRAME = re.compile(r"(?P<clip>.*?)[_.]?(?P<number>\d{1,15})(_keypoints)?\.json")
PARTS = ("pose", "face", "hand_left", "hand_right")  # in the order of LAYOUTS["openpose_137"]
COUNTS = {"face": len(FACE_70), "hand_left": len(HAND), "hand_right": len(HAND)}
BODIES = {
    len(OPENPOSE_BODY_25): "openpose_137",
    len(OPENPOSE_BODY_18): "openpose_130",
    len(HALPE_BODY): name_of(HALPE_BODY + FACE_70 + LEFT_HAND + RIGHT_HAND),  # AlphaPose's in OpenPose's format
}
MAX_PEOPLE = 32  # of one frame, the first ones
GAPS = 4  # frames that a clip may span for each file that it has


def detect(source: Source) -> bool:
    if source.kind == "json":
        return isinstance(source.tree, Mapping) and _is_frame(source.tree)
    if not source.is_folder:
        return False
    first = next(iter(sorted(path for path in source.path.glob("*.json") if FRAME.fullmatch(path.name))), None)
    return first is not None and (first.stem.endswith("_keypoints") or _is_frame(read_json(first)))


def _is_frame(tree: Any) -> bool:
    return isinstance(tree, Mapping) and isinstance(tree.get("people"), list | dict) and "version" in tree


def read(source: Source, options: Options) -> Iterator[Clip]:
    if source.kind == "json":
        yield partial(_read, [(0, source.path)], source.id, source.name, options)
        return
    named = ((FRAME.fullmatch(path.name), path) for path in source.path.iterdir())
    frames = sorted((found["clip"], int(found["number"]), path) for found, path in named if found)
    groups = [(name, [(number, path) for _, number, path in group]) for name, group in groupby(frames, lambda f: f[0])]
    if len(groups) == 1:  # a folder that holds one clip is the clip; How2Sign names its files after their folder
        yield partial(_read, groups[0][1], source.id or groups[0][0] or source.name, source.name, options)
        return
    for name, numbered in groups:
        id = "/".join(filter(None, (source.id, name)))
        yield partial(_read, numbered, id, f"{source.name}/{name}", options)


def _read(frames: list[tuple[int, Path]], id: str, place: str, options: Options) -> KeypointSequence:
    first, last = frames[0][0], frames[-1][0]
    length = last - first + 1
    if length > GAPS * len(frames):
        found = f"{len(frames)} files for the frames {first} to {last}"
        raise DataError(found, place=place, wanted=f"one for every {GAPS} frames at least", remedy="rename the files")
    people = [(number - first, _people(path)) for number, path in frames]
    counts = {person["pose"].shape[0] for _, persons in people for person in persons}
    if len(counts) > 1 or not counts <= set(BODIES):
        found = f"bodies of {', '.join(map(str, sorted(counts)))} points"
        raise DataError(found, place=place, wanted=" or ".join(map(str, BODIES)), remedy="use BODY_25 or COCO")
    layout = BODIES[counts.pop()] if counts else "openpose_137"
    width = max((len(persons) for _, persons in people), default=1) or 1
    values = np.zeros((length, width, len(names_of(layout)), 3), np.float32)
    for number, persons in people:
        for p, person in enumerate(persons):
            values[number, p] = np.concatenate([person[part] for part in PARTS])
    points, confidence = follow(values[..., :2], values[..., 2])
    return clip(id, points, options, source=place, confidence=confidence, layout=layout)


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
