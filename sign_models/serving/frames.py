"""Frames as a browser sends them, and the clip that they become: the same signer and landmarks as in an extraction.

A frame is FRAME_FLOATS float32 numbers, little-endian, as MediaPipe Tasks answers them: the time in seconds; 1 where a
body was found, else 0; 33 landmarks of x, y, depth, visibility; then for each of two hands 0 (not found), 1 (left) or 2
(right), and 21 landmarks of x, y, depth. x and y are fractions of the picture's width and height, depth of its width.
"""

from __future__ import annotations

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE
from sign_models.keypoints.resample import at_rate
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.video.following import SIDES, Detected, Follower, signer_values
from sign_models.video.pose_file import LAYOUT

_B, _H = 4 * len(MEDIAPIPE_POSE), 1 + 3 * len(HAND)
FRAME_FLOATS = 2 + _B + 2 * _H
FRAME_BYTES = 4 * FRAME_FLOATS
MAX_TIME_S = 86_400.0
MAX_FRACTION = 100.0  # of the picture's sides; MediaPipe guesses landmarks outside of it
MAX_SIDE_PIXELS = 2**14


class FrameReader:
    """Reads the frames of one clip or stream."""

    def __init__(self, size: tuple[float, float]) -> None:
        """Start a clip or stream.

        Args:
            size: (width, height) of the pictures in pixels.

        Raises:
            DataError: A side is out of range.
        """
        if not all(1 <= side <= MAX_SIDE_PIXELS for side in size):
            found = f"pictures of {size[0]:g} x {size[1]:g}"
            raise DataError(found, place="size", wanted=f"1 to {MAX_SIDE_PIXELS} pixels a side")
        self.size = size
        self._follower = Follower()
        self._last = -1.0

    def read(self, data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Read frames.

        Args:
            data: Whole frames.

        Returns:
            Times (T,) in seconds; the signer's landmarks (T, 75, 4) in pixels: x, y, depth, confidence.

        Raises:
            DataError: The bytes are no whole frames, hold numbers out of range, or times that do not grow.
        """
        if not data or len(data) % FRAME_BYTES:
            raise DataError(f"{len(data)} bytes", place="frames", wanted=f"whole frames of {FRAME_BYTES} bytes each")
        rows = np.frombuffer(data, "<f4").reshape(-1, FRAME_FLOATS)
        times = rows[:, 0].astype(np.float64)
        if not (np.abs(rows[:, 1:]) <= MAX_FRACTION).all() or not (np.abs(times) <= MAX_TIME_S).all():  # nor NaN
            raise DataError("numbers out of range", place="frames", wanted="fractions of the picture, and seconds")
        if not (np.diff(times, prepend=self._last) > 0).all():
            raise DataError("times that do not grow", place="frames", wanted="frames in their order, from 0 s on")
        self._last = float(times[-1])
        seen = [self._detected(row) for row in rows]
        values = [signer_values(found, self._follower, time) for found, time in zip(seen, times, strict=True)]
        return times, np.stack(values)

    def _detected(self, row: np.ndarray) -> Detected:
        """Body and hands of a row, in pixels."""
        width, height = self.size
        scale = np.array([width, height, width], np.float32)
        body = row[2 : 2 + _B].reshape(-1, 4) * np.append(scale, np.float32(1))
        body[:, 3] = body[:, 3].clip(0, 1)
        hands, labels = [], []
        for hand in row[2 + _B :].reshape(2, _H):
            if hand[0] > 0:
                hands.append(hand[1:].reshape(-1, 3) * scale)
                labels.append(SIDES[int(hand[0] > 1)])
        return Detected([body] if row[1] > 0 else [], hands, labels)


def clip_of_frames(
    times: np.ndarray, values: np.ndarray, size: tuple[float, float], fps: float, extractor: str | None
) -> KeypointSequence:
    """Make a clip at a constant frame rate of what a FrameReader read.

    Args:
        times: (T,) seconds.
        values: (T, 75, 4) landmarks in pixels.
        size: (width, height) of the pictures in pixels.
        fps: Frames a second of the clip: training's, since a model has no other sense of time.
        extractor: As in KeypointSequence.

    Returns:
        The clip.

    Raises:
        DataError: No frame shows a landmark.
    """
    points, confidence = at_rate(times, values[..., :3], values[..., 3], fps)
    if not (confidence > 0).any():
        remedy = "step back until head, shoulders and hands are in the picture"
        raise DataError("nobody is seen", place="clip", wanted="one person", remedy=remedy)
    return KeypointSequence(
        "clip",
        points[..., :2],
        confidence,
        LAYOUT,
        size=size,
        fps=fps,
        extractor=extractor,
        source="clip",
        depth=points[..., 2],
    )
