"""Synthetic clips of a waving signer, for the input example of a registered model. They show no real person."""

from __future__ import annotations

import numpy as np

from sign_models.keypoints.layouts import CANONICAL, PARTS
from sign_models.keypoints.sequence import KeypointSequence, from_canonical

EXAMPLE_FRAMES = (16, 24)  # of the two clips
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_JOINTS = ("cmc", "mcp", "pip", "ip", "dip", "tip")
# In shoulder widths from the middle of the shoulders, y down, on the signer's left.
_BODY = {
    "nose": (0.0, -0.6),
    "eye": (0.1, -0.7),
    "ear": (0.2, -0.65),
    "shoulder": (0.5, 0.0),
    "elbow": (0.8, 0.7),
    "wrist": (0.4, 0.6),
    "hip": (0.33, 1.4),
}


def example_clips() -> list[KeypointSequence]:
    """Make two short clips of the canonical landmarks, the same on every machine.

    Returns:
        Clips of EXAMPLE_FRAMES frames, in which hands and wrists move.
    """
    still = np.array([_place(name) for name in CANONICAL])
    face = np.linspace(0, 2 * np.pi, PARTS["face"].stop - PARTS["face"].start, endpoint=False)
    still[PARTS["face"]] = np.stack([0.2 * np.sin(face), -0.6 + 0.25 * np.cos(face)], 1)
    moving = np.array(["hand" in name or "wrist" in name for name in CANONICAL])
    side = np.array([-1.0 if "right" in name else 1.0 for name in CANONICAL])
    clips = []
    for number, frames in enumerate(EXAMPLE_FRAMES):
        time = np.arange(frames)[:, None] / 5 + number
        offset = np.stack([0.3 * np.sin(2 * time) * side, 0.3 * np.cos(3 * time) + 0 * side], -1) * moving[:, None]
        points = np.concatenate([still + offset, np.ones((frames, len(CANONICAL), 1))], -1)
        clips.append(from_canonical(f"example {number}", points))
    return clips


def _place(name: str) -> tuple[float, float]:
    part, landmark = name.split(".")
    side = -1 if "right" in name else 1
    if part == "face":
        return 0.0, 0.0  # placed together, on an oval
    if part == "body" or landmark == "wrist":
        x, y = _BODY[landmark.removeprefix("left_").removeprefix("right_")]
        return side * x, y
    finger, joint = _FINGERS.index(landmark.partition("_")[0]), _JOINTS.index(landmark.rpartition("_")[2])
    return side * (0.28 + 0.06 * finger), 0.32 - 0.05 * joint
