"""Frames that come when they come, brought to a constant frame rate."""

from __future__ import annotations

import numpy as np

MAX_GAP_S = 0.25  # between two frames that a landmark is interpolated over; longer ones show nothing of the way


def at_rate(times: np.ndarray, points: np.ndarray, confidence: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """The frames at `fps`, from the first time on: linear between two that show a landmark, else the nearer one.

    Args:
        times: (T,) seconds, growing.
        points: (T, K, C). confidence: (T, K); 0 means not seen.
        fps: Frames a second.
    Returns:
        points (S, K, C) and confidence (S, K), float32, with S = round(duration * fps) + 1.
    """
    grid = times[0] + np.arange(round((times[-1] - times[0]) * fps) + 1) / fps
    after = np.clip(np.searchsorted(times, grid), 1, max(len(times) - 1, 1)) if len(times) > 1 else np.zeros(1, int)
    before = np.maximum(after - 1, 0)
    gap = times[after] - times[before]
    share = np.clip(np.divide(grid - times[before], gap, out=np.zeros_like(gap), where=gap > 0), 0, 1)
    both = (confidence[before] > 0) & (confidence[after] > 0) & (gap <= MAX_GAP_S)[:, None]
    weight = np.where(both, share[:, None], share[:, None] > 0.5).astype(np.float32)
    # What is not seen may be anything, also not a number.
    first, second = (np.where(confidence[i, :, None] > 0, points[i], 0) for i in (before, after))
    made = first + weight[..., None] * (second - first)
    sure = confidence[before] + weight * (confidence[after] - confidence[before])
    return made.astype(np.float32), sure.astype(np.float32)
