"""Long clips as windows that a model can read, split where nobody signs, else where the hands move least.

After WhisperX for speech ("VAD cut and merge", Bain et al. 2023), without its merging, since the models know sentences.
T frames, K landmarks of CANONICAL.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sign_models.keypoints.layouts import PARTS, PLACE

LOW_HAND_Y = 1.2  # shoulder widths below the shoulders. A lower hand hangs or rests in the lap
MIN_REST_FRAMES = 16  # both hands low or unseen. Within real sentences at most 13 (docs/experiments.md)
MARGIN_FRAMES = 8  # of a rest, kept before and after signing
MIN_RAISED_FRAMES = 4  # a hand raised for a shorter time is an error of the detector
MOTION_FRAMES = 9  # over which motion is averaged
BLOCK_FRAMES = 4096  # processed at a time

_HANDS = [np.arange(PARTS[f"{side}_hand"].start, PARTS[f"{side}_hand"].stop) for side in ("left", "right")]
_WRISTS = [
    [PLACE["left_hand.wrist"], PLACE["right_hand.wrist"]],
    [PLACE["body.left_wrist"], PLACE["body.right_wrist"]],
]
_MOVING = np.concatenate([*_HANDS, _WRISTS[1]])


class Window(NamedTuple):
    """A window of a clip.

    Attributes:
        begin: First frame.
        end: Frame after the last.
        signing: False in a rest, where there is nothing to translate.
    """

    begin: int
    end: int
    signing: bool = True


def split_into_windows(clip: Any, longest: int, step: int = 1) -> list[Window]:
    """Split a clip into windows.

    A clip of at most `longest` frames is one window. Of a longer one, rests are windows of their own, which begin and
    end MARGIN_FRAMES from signing. Longer signing is split at the frame of least motion in the second half of what
    fits.

    Args:
        clip: (T, K, 3 or 4) normalised, an array or anything whose slices are arrays.
        longest: Frames of a window at most, or `step` if that is more.
        step: All windows but the last end at a multiple of this many frames.

    Returns:
        Windows in their order, which cover the clip.
    """
    T = len(clip)
    if longest >= T:
        return [Window(0, T)]
    up, motion = _raised_and_motion(clip)
    found: list[Window] = []
    for begin, end, signing in _signing_and_rests(up, step):
        found += _fitting(begin, end, signing, motion, max(step, longest // step * step), step)
    return found


def _raised_and_motion(clip: Any) -> tuple[np.ndarray, np.ndarray]:
    """Whether a hand is raised, and motion of the hands.

    Where a clip shows no hand, the wrists of its body decide.

    Args:
        clip: As in split_into_windows.

    Returns:
        (T,) bool, and (T,) mean movement of hand landmarks from the frame before, in shoulder widths, averaged over
        MOTION_FRAMES.
    """
    T = len(clip)
    up, motion = np.zeros((2, T), bool), np.zeros(T)
    for first in range(0, T, BLOCK_FRAMES):
        before = max(0, first - 1)
        x = np.asarray(clip[before : first + BLOCK_FRAMES]).astype(np.float32)
        now = slice(first, first + BLOCK_FRAMES)
        for place, wrists in enumerate(_WRISTS):
            up[place, now] = ((x[first - before :, wrists, 2] > 0) & (x[first - before :, wrists, 1] < LOW_HAND_Y)).any(
                1
            )
        hands = x[:, _MOVING]
        both_seen = (hands[1:, :, 2] > 0) & (hands[:-1, :, 2] > 0)
        moved = np.hypot(*np.moveaxis(hands[1:, :, :2] - hands[:-1, :, :2], -1, 0)) * both_seen
        motion[before + 1 : first + BLOCK_FRAMES] = moved.sum(1) / np.maximum(1, both_seen.sum(1))
    smooth = np.convolve(
        np.pad(motion, MOTION_FRAMES // 2, mode="edge"), np.full(MOTION_FRAMES, 1 / MOTION_FRAMES), "valid"
    )
    return up[0] if up[0].any() else up[1], smooth


def _signing_and_rests(up: np.ndarray, step: int) -> Iterator[Window]:
    """Alternate windows of signing and rests. A clip in which no hand is ever raised counts as signing."""
    T = len(up)
    signed = [(a, b) for a, b in _runs(up) if b - a >= MIN_RAISED_FRAMES]
    joined: list[list[int]] = []
    for a, b in signed:
        if joined and a - joined[-1][1] < MIN_REST_FRAMES:
            joined[-1][1] = b
        else:
            joined.append([a, b])
    at = 0
    for a, b in joined:
        begin, end = (
            (a - MARGIN_FRAMES) // step * step if a >= MIN_REST_FRAMES else 0,
            -(-(b + MARGIN_FRAMES) // step) * step,
        )
        begin, end = max(at, begin), T if T - b < MIN_REST_FRAMES else min(T, end)
        if begin > at:
            yield Window(at, begin, False)
        yield Window(begin, end)
        at = end
    if at < T:
        yield Window(at, T, bool(not joined))


def _runs(flags: np.ndarray) -> np.ndarray:
    """(N, 2) begin and end of each run of True."""
    return np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]))).reshape(-1, 2)


def _fitting(begin: int, end: int, signing: bool, motion: np.ndarray, longest: int, step: int) -> Iterator[Window]:
    """Split a stretch into windows of at most `longest` frames, at frames of least motion."""
    while end - begin > longest:
        first, last = begin + (longest + 1) // 2, min(begin + longest, end - longest // 4)
        places = np.arange(-(-first // step) * step, last + 1, step)
        cut = int(places[motion[places].argmin()]) if len(places) else begin + longest
        yield Window(begin, cut, signing)
        begin = cut
    yield Window(begin, end, signing)
