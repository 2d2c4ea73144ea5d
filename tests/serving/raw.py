"""Frames as a browser sends them, of the generated signer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sign_models.keypoints.landmarks import MEDIAPIPE_POSE
from sign_models.serving.frames import FRAME_FLOATS
from tests.keypoints.signer import pixels

SIZE = (640.0, 480.0)
B = len(MEDIAPIPE_POSE)
HANDS = [slice(B, B + 21), slice(B + 21, B + 42)]
SHOULDER_WIDTH = SIZE[1] / 4


def rows(up: Sequence[bool], fps: float = 25.0, start: float = 0.0, seed: int = 0) -> np.ndarray:
    """(T, FRAME_FLOATS) float32: both hands up where `up` says so, else hanging beside the hips."""
    points = pixels("mediapipe_75", len(up), seed, SIZE)
    down = ~np.asarray(up, bool)
    moving = np.r_[15:23, B : B + 42]  # wrists and fingers of the body, and the hands
    points[np.ix_(down, moving, np.array([1]))] += 1.6 * SHOULDER_WIDTH
    points /= SIZE
    made = np.zeros((len(up), FRAME_FLOATS), np.float32)
    made[:, 0] = start + np.arange(len(up)) / fps
    made[:, 1] = 1
    body = np.concatenate([points[:, :B], np.zeros((len(up), B, 1)), np.full((len(up), B, 1), 0.9)], -1)
    made[:, 2 : 2 + 4 * B] = body.reshape(len(up), -1)
    for side, hand in enumerate(HANDS):
        first = 2 + 4 * B + 64 * side
        made[:, first] = 1 + side
        landmarks = np.concatenate([points[:, hand], np.zeros((len(up), 21, 1))], -1)
        made[:, first + 1 : first + 64] = landmarks.reshape(len(up), -1)
    return made
