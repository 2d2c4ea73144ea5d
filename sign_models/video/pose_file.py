"""Write `.pose` files with the record of how they were made."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.keypoints.formats.estimators.pose_record import pack_record
from sign_models.keypoints.landmarks import FINGERS, HAND, MEDIAPIPE_POSE, MESH_468
from sign_models.keypoints.sequence import KeypointSequence

LAYOUT, LAYOUT_WITH_FACE = "mediapipe_75", "mediapipe_543"
_ARMS = (
    *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),
    *((f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))),
    *((f"{s}_shoulder", f"{s}_hip") for s in ("left", "right")),
    *((a, b) for a, b in (("nose", "left_eye"), ("nose", "right_eye"), ("mouth_left", "mouth_right"))),
)


def write_pose(path: Path, sequence: KeypointSequence, depth: np.ndarray, record: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all: under a temporary name, then renamed.

    Args:
        path: The file.
        sequence: Of layout mediapipe_75 or mediapipe_543, in pixels, with size and fps.
        depth: (T, K) float32, in pixels.
        record: What formats.estimators.pose_record.read_record gives back; JSON.

    Raises:
        ValueError: The sequence is of another layout, or has no size or fps.
    """
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    if sequence.layout not in (LAYOUT, LAYOUT_WITH_FACE) or sequence.size is None or sequence.fps is None:
        raise ValueError(f"{sequence.id}: layout {sequence.layout}, size {sequence.size}, fps {sequence.fps}")
    body_names = [name.partition(".")[2] for name in MEDIAPIPE_POSE]
    face = [str(i) for i in range(len(MESH_468))] if sequence.layout == LAYOUT_WITH_FACE else []
    components = [
        PoseHeaderComponent(name, [point.upper() for point in points], limbs, [colour] * len(limbs), "XYZC")
        for name, points, limbs, colour in (
            ("POSE_LANDMARKS", body_names, _limbs(body_names, _ARMS), (68, 68, 68)),
            ("FACE_LANDMARKS", face, [], (128, 128, 128)),
            ("LEFT_HAND_LANDMARKS", HAND, _limbs(HAND, _fingers()), (31, 119, 180)),
            ("RIGHT_HAND_LANDMARKS", HAND, _limbs(HAND, _fingers()), (214, 39, 40)),
        )
        if points
    ]
    width, height = (round(side) for side in sequence.size)
    header = PoseHeader(0.2, PoseHeaderDimensions(width, height, 0), components)
    values = np.concatenate([sequence.points, depth[..., None]], -1).astype(np.float32)[:, None]
    confidence = sequence.confidence.astype(np.float32)[:, None]
    values[confidence == 0] = 0
    buffer = io.BytesIO()
    Pose(header, NumPyPoseBody(float(sequence.fps), values, confidence)).write(buffer)
    buffer.write(pack_record(record))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _fingers() -> list[tuple[str, str]]:
    chains = [["wrist", *(name for name in HAND if name.startswith(finger))] for finger in FINGERS]
    return [(a, b) for chain in chains for a, b in itertools.pairwise(chain)]


def _limbs(names: Any, pairs: Any) -> list[tuple[int, int]]:
    return [(names.index(a), names.index(b)) for a, b in pairs]
