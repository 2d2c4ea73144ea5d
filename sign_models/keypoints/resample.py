"""Resampling of frames in time: clips to another frame rate, frames with time stamps to a constant one.

T frames of a clip, S frames of what it becomes, K landmarks, C channels: x, y, confidence and, with depth, depth.
"""

from __future__ import annotations

import numpy as np

MAX_GAP_S = 0.25  # longest gap between two frames that a landmark is interpolated over
MIN_FPS = 1 / MAX_GAP_S  # a clip with fewer frames a second is a series of pictures and has no motion to resample
MAX_FPS = 240  # that a model may read
MAX_RATE_DIFFERENCE = 0.01  # as a share: 29.97 and 30 frames a second count as the same
CHUNK_FRAMES = 4096  # resampled at a time, so that memory does not grow with the clip


def frame_step(own: float | None, fps: float | None) -> float:
    """How far apart in a clip the frames are that it is resampled to.

    Args:
        own: Frames a second of the clip, None where unknown.
        fps: Frames a second wanted, None for the clip's own.

    Returns:
        Distance in frames of the clip. 1.0: the clip is taken as it is, since a rate is unknown, the two are the same,
        or the clip's is below MIN_FPS.
    """
    if own is None or fps is None or own < MIN_FPS or abs(own / fps - 1) <= MAX_RATE_DIFFERENCE:
        return 1.0
    return own / fps


def resampled_length(frames: int, step: float) -> int:
    """Count the frames that a clip is resampled to.

    Args:
        frames: Frames of the clip, T.
        step: Of frame_step().

    Returns:
        S: from the first to the last frame, as far as whole steps go, to the nearest.
    """
    return frames if step == 1 or not frames else round((frames - 1) / step) + 1


def own_span(begin: int, end: int, frames: int, step: float) -> tuple[int, int]:
    """Find the frames of a clip behind a span of what it was resampled to.

    Args:
        begin: First frame of the span.
        end: Frame after its last one.
        frames: Frames of the clip, T.
        step: Of frame_step().

    Returns:
        First frame of the clip, and the frame after the last one. Spans that meet meet there too, and the span of all
        frames is the whole clip.
    """
    if step == 1:
        return begin, end
    last = end >= resampled_length(frames, step)
    return min(round(begin * step), frames), frames if last else min(round(end * step), frames)


def resampling_index(frames: int, step: float, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the frames of a clip that resampled frames are interpolated from.

    Args:
        frames: Frames of the clip, T.
        step: Of frame_step().
        begin: First resampled frame wanted.
        end: Resampled frame after the last one wanted.

    Returns:
        (S,) int64 the frame before each, and (S,) float32 how far on to the next frame each is, in [0, 1).
    """
    at = np.minimum(np.arange(begin, end) * step, frames - 1)
    first = np.floor(at + 1e-9).astype(np.int64)
    return first, np.maximum(at - first, 0).astype(np.float32)


def interpolate_frames(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Interpolate between frames, linearly where both show a landmark, else as the nearer one has it, seen or not.

    Args:
        first: (S, K, C) the frames before.
        second: (S, K, C) the frames after.
        share: (S,) float32 how far on each is, in [0, 1).

    Returns:
        (S, K, C) float32.
    """
    first, second = first.astype(np.float32), second.astype(np.float32)
    weight = _weights(first[..., 2], second[..., 2], share, True)[..., None]
    out: np.ndarray = first + weight * (second - first)
    if out.shape[-1] > 3:  # depth is known of some landmarks only, and 0 of the others
        known = (first[..., 3:] != 0) & (second[..., 3:] != 0)
        out[..., 3:] = np.where(known, out[..., 3:], np.where(weight > 0.5, second[..., 3:], first[..., 3:]))
    return out


def resample(clip: np.ndarray, step: float) -> np.ndarray:
    """Resample a clip.

    Args:
        clip: (T, K, C) of any float type, 0 where a landmark is not seen.
        step: Of frame_step().

    Returns:
        (S, K, C) of the same type; the clip itself where the step is 1.
    """
    if step == 1 or not len(clip):
        return clip
    out = np.empty((resampled_length(len(clip), step), *clip.shape[1:]), clip.dtype)
    for begin in range(0, len(out), CHUNK_FRAMES):
        part = out[begin : begin + CHUNK_FRAMES]
        first, share = resampling_index(len(clip), step, begin, begin + len(part))
        part[:] = interpolate_frames(clip[first], clip[np.minimum(first + 1, len(clip) - 1)], share)
    return out


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
    weight = _weights(confidence[before], confidence[after], share, (gap <= MAX_GAP_S)[:, None])
    # Unseen landmarks may be NaN.
    first, second = (np.where(confidence[i, :, None] > 0, points[i], 0) for i in (before, after))
    resampled = first + weight[..., None] * (second - first)
    scores = confidence[before] + weight * (confidence[after] - confidence[before])
    return resampled.astype(np.float32), scores.astype(np.float32)


def _weights(first: np.ndarray, second: np.ndarray, share: np.ndarray, near: np.ndarray | bool) -> np.ndarray:
    """Weight (S, K) float32 of the later frame: `share` (S,) where both are seen and near, else 0 or 1 for the nearer.

    first, second: (S, K) confidence.
    """
    both = (first > 0) & (second > 0) & near
    return np.where(both, share[:, None], share[:, None] > 0.5).astype(np.float32)
