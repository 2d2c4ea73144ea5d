"""A clip longer than a model reads at once, as windows: cut where nobody signs, else where the hands are stillest.

What WhisperX does to speech ("VAD cut and merge", Bain et al. 2023), without its merging: our models know sentences.
All lengths are in frames, as the models know time.

T frames, K landmarks of CANONICAL.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sign_models.keypoints.layouts import PARTS, PLACE

LOW = 1.2  # shoulder widths below the shoulders: a hand that is lower hangs or lies in the lap
REST = 16  # both hands low or unseen for as long: a rest; within real sentences 13 at most (docs/experiments.md)
MARGIN = 8  # of a rest that stays on either side of what is signed
SLIP = 4  # a hand up for a shorter time is the detector's
SPAN = 9  # motion is averaged over as many
BLOCK = 4096  # frames looked at together

_HANDS = [np.arange(PARTS[f"{side}_hand"].start, PARTS[f"{side}_hand"].stop) for side in ("left", "right")]
_WRISTS = [
    [PLACE["left_hand.wrist"], PLACE["right_hand.wrist"]],
    [PLACE["body.left_wrist"], PLACE["body.right_wrist"]],
]
_MOVING = np.concatenate([*_HANDS, _WRISTS[1]])


class Window(NamedTuple):
    """Frames begin to end, end not included. signing: False in a rest, where there is nothing to translate."""

    begin: int
    end: int
    signing: bool = True


def windows(clip: Any, longest: int, step: int = 1) -> list[Window]:
    """clip (T, K, 3), normalised: an array, or what gives slices of one -> windows of at most `longest` frames (or
    `step`, if that is more), in order, which together are the clip. All but the last end at a multiple of `step`.

    A clip of at most `longest` frames is one window. A longer one is cut out of its rests, MARGIN frames before the
    hands rise and after they fall; what is signed without a rest for longer, at the frame of least motion in the second
    half of what fits.
    """
    T = len(clip)
    if longest >= T:
        return [Window(0, T)]
    up, motion = _hands(clip)
    found: list[Window] = []
    for begin, end, signing in _turns(up, step):
        found += _fitting(begin, end, signing, motion, max(step, longest // step * step), step)
    return found


def _hands(clip: Any) -> tuple[np.ndarray, np.ndarray]:
    """-> whether a hand is up (T,), and how far the hands move from the frame before, shoulder widths, averaged over
    SPAN frames (T,). Where a clip shows no hand, the wrists of its body say whether one is up."""
    T = len(clip)
    up, motion = np.zeros((2, T), bool), np.zeros(T)
    for first in range(0, T, BLOCK):
        before = max(0, first - 1)
        x = np.asarray(clip[before : first + BLOCK]).astype(np.float32)
        now = slice(first, first + BLOCK)
        for place, wrists in enumerate(_WRISTS):
            up[place, now] = ((x[first - before :, wrists, 2] > 0) & (x[first - before :, wrists, 1] < LOW)).any(1)
        hands = x[:, _MOVING]
        twice = (hands[1:, :, 2] > 0) & (hands[:-1, :, 2] > 0)
        moved = np.hypot(*np.moveaxis(hands[1:, :, :2] - hands[:-1, :, :2], -1, 0)) * twice
        motion[before + 1 : first + BLOCK] = moved.sum(1) / np.maximum(1, twice.sum(1))
    smooth = np.convolve(np.pad(motion, SPAN // 2, mode="edge"), np.full(SPAN, 1 / SPAN), "valid")
    return up[0] if up[0].any() else up[1], smooth


def _turns(up: np.ndarray, step: int) -> Iterator[Window]:
    """What is signed and what is rest, in turn. A clip in which no hand is ever up is signed, for all we know."""
    T = len(up)
    signed = [(a, b) for a, b in _runs(up) if b - a >= SLIP]
    joined: list[list[int]] = []
    for a, b in signed:
        if joined and a - joined[-1][1] < REST:
            joined[-1][1] = b
        else:
            joined.append([a, b])
    at = 0
    for a, b in joined:
        begin, end = (a - MARGIN) // step * step if a >= REST else 0, -(-(b + MARGIN) // step) * step
        begin, end = max(at, begin), T if T - b < REST else min(T, end)
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
    """Windows of at most `longest` frames."""
    while end - begin > longest:
        first, last = begin + (longest + 1) // 2, min(begin + longest, end - longest // 4)
        places = np.arange(-(-first // step) * step, last + 1, step)
        cut = int(places[motion[places].argmin()]) if len(places) else begin + longest
        yield Window(begin, cut, signing)
        begin = cut
    yield Window(begin, end, signing)
