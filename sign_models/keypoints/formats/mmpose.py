"""MMPose's and RTMPose's predictions: one JSON file a video, as the MMPose inferencer and demo scripts write them.

[{"frame_id": 0, "instances": [{"keypoints": [[x, y], ...], "keypoint_scores": [...], ...}, ...]}, ...], bare or under
"instance_info" beside "meta_info"; or a list of frames that are lists of instances. Source: mmpose/apis/inferencers of
open-mmlab/mmpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import Clip, as_numbers, clip
from sign_models.keypoints.formats.people import follow
from sign_models.keypoints.formats.source import Options, Source
from sign_models.keypoints.sequence import KeypointSequence

MAX_PEOPLE = 32  # of one frame, the first ones
GAPS = 4  # frames that a clip may span for each frame that it has


def detect(source: Source) -> bool:
    return source.kind == "json" and _frames(source.tree) is not None


def read(source: Source, options: Options) -> Iterator[Clip]:
    yield partial(_read, source, options)


def _frames(tree: Any) -> list[Any] | None:
    """The list of frames, each a list of instances or an object with it, or None where the tree is something else."""
    frames = tree.get("instance_info") if isinstance(tree, Mapping) else tree
    if not isinstance(frames, list) or not frames:
        return None
    if all(isinstance(frame, dict) and isinstance(frame.get("instances"), list) for frame in frames):
        return frames
    persons = [person for frame in frames if isinstance(frame, list) for person in frame[:1]]
    if persons and all(isinstance(frame, list) for frame in frames) and all(map(_is_person, persons)):
        return frames
    return None


def _in_time(frames: list[Any], place: str) -> list[list[Any]]:
    """The instances of every frame from the first to the last, none where the file leaves a frame out."""
    if not isinstance(frames[0], dict):
        return frames
    numbers = [frame.get("frame_id") for frame in frames]
    known = [number for number in numbers if isinstance(number, int)]
    if not known:
        return [frame["instances"] for frame in frames]
    if len(known) < len(numbers) or len(set(known)) < len(known):
        found = "a frame_id twice" if len(known) == len(numbers) else "frames without a frame_id beside others with one"
        raise DataError(found, place=place, wanted="a frame_id of its own in every frame", remedy="export it again")
    length = max(known) - min(known) + 1
    if length > GAPS * len(known):
        found = f"{len(known)} frames between {min(known)} and {max(known)}"
        raise DataError(found, place=place, wanted=f"one in {GAPS} at least", remedy="number the frames one by one")
    whole: list[list[Any]] = [[] for _ in range(length)]
    for frame, number in zip(frames, known, strict=True):
        whole[number - min(known)] = frame["instances"]
    return whole


def _is_person(person: Any) -> bool:
    return isinstance(person, dict) and "keypoints" in person and "keypoint_scores" in person


def _read(source: Source, options: Options) -> KeypointSequence:
    place = source.name
    frames = _in_time(_frames(source.tree) or [], place)
    people = [
        [_person(person, f"{place}: frame {i}") for person in frame[:MAX_PEOPLE]] for i, frame in enumerate(frames)
    ]
    counts = {len(person) for persons in people for person in persons}
    if len(counts) != 1:
        found = f"people of {', '.join(map(str, sorted(counts)))} landmarks" if counts else "nobody in any frame"
        raise DataError(found, place=place, wanted="people with the same landmarks", remedy="leave the clip out")
    values = np.zeros((len(people), max(map(len, people)), counts.pop(), 3), np.float32)
    for t, persons in enumerate(people):
        for p, person in enumerate(persons):
            values[t, p] = person
    points, confidence = follow(values[..., :2], values[..., 2])
    return clip(source.id, points, options, source=place, confidence=confidence)


def _person(person: Any, place: str) -> np.ndarray:
    """(K, 3) x, y, confidence."""
    if not _is_person(person):
        raise DataError("an instance without keypoints", place=place, wanted='"keypoints" and "keypoint_scores"')
    points = as_numbers(person["keypoints"], place)
    scores = as_numbers(person["keypoint_scores"], place)
    if points.ndim != 2 or points.shape[1] not in (2, 3) or scores.shape != points.shape[:1]:
        found = f"keypoints of shape {points.shape} with scores of shape {scores.shape}"
        raise DataError(found, place=place, wanted="(K, 2) and (K,)")
    return np.column_stack([points[:, :2], scores]).astype(np.float32)
