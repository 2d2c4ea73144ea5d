"""Resampling of frames with time stamps to a constant frame rate."""

from __future__ import annotations

import numpy as np

MAX_GAP_S = 0.25  # longest gap between two frames that a landmark is interpolated over


def at_rate(times: np.ndarray, points: np.ndarray, confidence: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Resample frames: linearly between two frames that show a landmark, else from the nearer one.

    Args:
        times: (T,) rising times in seconds.
        points: (T, K, C) landmarks.
        confidence: (T, K). 0: not seen.
        fps: Frames per second of the result, which begins at the first time.

    Returns:
        Points (S, K, C) and confidence (S, K), float32, with S = round(duration * fps) + 1.
    """
    grid = times[0] + np.arange(round((times[-1] - times[0]) * fps) + 1) / fps
    after = np.clip(np.searchsorted(times, grid), 1, max(len(times) - 1, 1)) if len(times) > 1 else np.zeros(1, int)
    before = np.maximum(after - 1, 0)
    gap = times[after] - times[before]
    share = np.clip(np.divide(grid - times[before], gap, out=np.zeros_like(gap), where=gap > 0), 0, 1)
    both = (confidence[before] > 0) & (confidence[after] > 0) & (gap <= MAX_GAP_S)[:, None]
    weight = np.where(both, share[:, None], share[:, None] > 0.5).astype(np.float32)
    # Unseen landmarks may be NaN.
    first, second = (np.where(confidence[i, :, None] > 0, points[i], 0) for i in (before, after))
    resampled = first + weight[..., None] * (second - first)
    scores = confidence[before] + weight * (confidence[after] - confidence[before])
    return resampled.astype(np.float32), scores.astype(np.float32)
