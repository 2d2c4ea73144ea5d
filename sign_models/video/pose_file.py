"""`.pose` files with the record of how they were made.

The record is JSON behind the poses, then its length (uint32, little-endian) and MAGIC. Version 0.2 of the format counts
its frames, so that readers stop before it.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.landmarks import FINGERS, HAND, MEDIAPIPE_POSE
from sign_models.keypoints.sequence import KeypointSequence

MAGIC = b"SIGNREC1"
MAX_RECORD_BYTES = 2**20
LAYOUT = "mediapipe_75"
_ARMS = (
    *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),
    *((f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))),
    *((f"{s}_shoulder", f"{s}_hip") for s in ("left", "right")),
    *((a, b) for a, b in (("nose", "left_eye"), ("nose", "right_eye"), ("mouth_left", "mouth_right"))),
)


def write_pose(path: Path, sequence: KeypointSequence, depth: np.ndarray, record: Mapping[str, Any]) -> None:
    """A whole file or none: written under a hidden name, then renamed.

    Args:
        sequence: of the layout mediapipe_75, in pixels, with size and fps.
        depth: (T, 75) float32, in pixels.
        record: what read_record() gives back; JSON.
    """
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    if sequence.layout != LAYOUT or sequence.size is None or sequence.fps is None:
        raise ValueError(f"{sequence.id}: layout {sequence.layout}, size {sequence.size}, fps {sequence.fps}")
    body_names = [name.partition(".")[2] for name in MEDIAPIPE_POSE]
    components = [
        PoseHeaderComponent(name, [point.upper() for point in points], limbs, [colour] * len(limbs), "XYZC")
        for name, points, limbs, colour in (
            ("POSE_LANDMARKS", body_names, _limbs(body_names, _ARMS), (68, 68, 68)),
            ("LEFT_HAND_LANDMARKS", HAND, _limbs(HAND, _fingers()), (31, 119, 180)),
            ("RIGHT_HAND_LANDMARKS", HAND, _limbs(HAND, _fingers()), (214, 39, 40)),
        )
    ]
    width, height = (round(side) for side in sequence.size)
    header = PoseHeader(0.2, PoseHeaderDimensions(width, height, 0), components)
    values = np.concatenate([sequence.points, depth[..., None]], -1).astype(np.float32)[:, None]
    confidence = sequence.confidence.astype(np.float32)[:, None]
    values[confidence == 0] = 0
    buffer = io.BytesIO()
    Pose(header, NumPyPoseBody(float(sequence.fps), values, confidence)).write(buffer)
    text = json.dumps(dict(record), sort_keys=True).encode()
    buffer.write(text + struct.pack("<I", len(text)) + MAGIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of a `.pose` file; None where it has none, as files of other programs. DataError where damaged."""
    tail = struct.calcsize("<I") + len(MAGIC)
    size = path.stat().st_size
    if size < tail:
        return None
    with path.open("rb") as file:
        file.seek(size - tail)
        length, magic = struct.unpack(f"<I{len(MAGIC)}s", file.read(tail))
        if magic != MAGIC:
            return None
        if length > min(MAX_RECORD_BYTES, size - tail):
            raise _damaged(path)
        file.seek(size - tail - length)
        try:
            record = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise _damaged(path) from error
    if not isinstance(record, dict):
        raise _damaged(path)
    return record


def _damaged(path: Path) -> DataError:
    return DataError("its record is damaged", place=path.name, wanted="a whole file", remedy="extract it again")


def _fingers() -> list[tuple[str, str]]:
    chains = [["wrist", *(name for name in HAND if name.startswith(finger))] for finger in FINGERS]
    return [(a, b) for chain in chains for a, b in zip(chain, chain[1:], strict=False)]


def _limbs(names: Any, pairs: Any) -> list[tuple[int, int]]:
    return [(names.index(a), names.index(b)) for a, b in pairs]
