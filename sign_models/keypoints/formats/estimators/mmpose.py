"""MMPose's, RTMPose's and Sapiens' predictions: a JSON file a video, or a folder with one a picture.

A video: [{"frame_id": 0, "instances": [{"keypoints": [[x, y], ...], "keypoint_scores": [...], ...}, ...]}, ...], bare
or under "instance_info" beside "meta_info"; or a list of frames that are lists of instances. A picture: a list of
instances, bare (MMPose) or under "instance_info" (Sapiens). Sources: mmpose/apis/inferencers of open-mmlab/mmpose,
lite/demo/vis_pose.py of facebookresearch/sapiens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, is_score, make_sequence
from sign_models.keypoints.formats.estimators import numbered
from sign_models.keypoints.formats.estimators.people import signer_in_frames
from sign_models.keypoints.formats.files.containers import read_json
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.frame_times import of_frames
from sign_models.keypoints.sequence import KeypointSequence


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a JSON file has instances of a video or of an image.

    Raises:
        DataError: The file is broken.
    """
    if source.kind == "json" and _frames(source.tree) is not None:
        return True
    return bool(_instances(source.first_frame))


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read a video, or the images of each clip in a folder.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    if not source.is_folder and _frames(source.tree) is not None:
        yield partial(_read_video, source, options)
        return
    for frames in numbered.clips(source):
        yield partial(_read_files, frames, options)


def _frames(tree: Any) -> list[Any] | None:
    """The list of frames, each a list of instances or an object with it, or None where the tree is something else."""
    frames = tree.get("instance_info", tree.get("predictions")) if isinstance(tree, Mapping) else tree
    if not isinstance(frames, list) or not frames:
        return None
    if all(isinstance(frame, dict) and isinstance(frame.get("predictions"), list) for frame in frames):
        # What MMPose's inferencer returns for each picture: {"predictions": [its people], "visualization": ...}.
        people = [one[0] if (one := frame["predictions"]) and isinstance(one[0], list) else one for frame in frames]
        frames = [{"instances": persons} for persons in people]
    if all(isinstance(frame, dict) and isinstance(frame.get("instances"), list) for frame in frames):
        some = [one for frame in frames for one in frame["instances"][:1]]
        return frames if not some or any(isinstance(one, dict) and "keypoints" in one for one in some) else None
    persons = [person for frame in frames if isinstance(frame, list) for person in frame[:1]]
    if persons and all(isinstance(frame, list) for frame in frames) and all(map(_is_person, persons)):
        return frames
    return None


def _instances(tree: Any) -> list[Any] | None:
    """The people of one picture, None where the tree is something else."""
    tree = tree.get("instance_info") if isinstance(tree, Mapping) else tree
    if isinstance(tree, list) and len(tree) == 1 and isinstance(tree[0], list):
        tree = tree[0]
    return (
        tree
        if isinstance(tree, list) and all(_is_person(one) and _is_one_frame(one["keypoints"]) for one in tree)
        else None
    )


def _is_one_frame(keypoints: Any) -> bool:
    """Whether they are one frame's: (K, 2), not (T, K, 2) as in a record of a clip."""
    first = keypoints[0] if isinstance(keypoints, list) and keypoints else None
    return isinstance(first, list) and bool(first) and isinstance(first[0], int | float)


def _is_person(person: Any) -> bool:
    return isinstance(person, dict) and "keypoints" in person and "keypoint_scores" in person


def _read_video(source: Source, options: ReadOptions) -> KeypointSequence:
    place, frames = source.name, _frames(source.tree) or []
    times = of_frames(frames, place)
    people = [frame["instances"] if isinstance(frame, dict) else frame for frame in frames]
    whole = [
        (number, [_person(person, f"{place}: frame {number}") for person in persons])
        for number, persons in zip(times.numbers.tolist(), people, strict=True)
    ]
    points, confidence = signer_in_frames(whole, place)
    return make_sequence(source.id, points, options, source=place, confidence=confidence, fps=times.fps)


def _read_files(frames: numbered.FrameFiles, options: ReadOptions) -> KeypointSequence:
    whole = []
    for number, path in frames.files:
        people = _instances(read_json(path))
        if people is None:
            wanted = 'a list of objects with "keypoints" and "keypoint_scores"'
            raise DataError("holds no people of a picture", place=f"{frames.place}: {path.name}", wanted=wanted)
        whole.append((number, [_person(person, f"{frames.place}: {path.name}") for person in people]))
    points, confidence = signer_in_frames(whole, frames.place)
    return make_sequence(frames.id, points, options, source=frames.place, confidence=confidence)


def _person(person: Any, place: str) -> np.ndarray:
    """(K, 3) x, y, confidence."""
    if not isinstance(person, dict) or "keypoints" not in person:
        raise DataError("an instance without keypoints", place=place, wanted='"keypoints" and "keypoint_scores"')
    points = as_numbers(person["keypoints"], place)
    if "keypoint_scores" not in person:  # as COCO has them: x, y, score, one after another
        points = points.reshape(-1, 3) if points.ndim == 1 and points.size % 3 == 0 else points
        if points.ndim != 2 or points.shape[1] != 3 or not is_score(points[:, 2]):
            found = f"keypoints of shape {points.shape} without scores"
            raise DataError(found, place=place, wanted='(K, 3) x, y, score, or "keypoint_scores" beside them')
    scores = as_numbers(person["keypoint_scores"], place) if "keypoint_scores" in person else points[:, 2]
    if points.ndim != 2 or points.shape[1] not in (2, 3) or scores.shape != points.shape[:1]:
        found = f"keypoints of shape {points.shape} with scores of shape {scores.shape}"
        raise DataError(found, place=place, wanted="(K, 2) and (K,)")
    return np.column_stack([points[:, :2], scores]).astype(np.float32)
