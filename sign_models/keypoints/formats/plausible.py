"""Whether a layout that only the count of landmarks tells can be the right one: heads above shoulders, hands at wrists.

Checked by medians over the frames where both landmarks are seen, so that a few failures of the detector decide nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.layouts import BY_COUNT, LAYOUTS, names_of

log = logging.getLogger(__name__)

MAX_FRAME_STEP = 1.5  # a landmark's way from frame to frame, as a share of its distance to the next landmark
MIN_TIMES_NEARER = 3  # by which another order puts the farther hand nearer to its wrist, to fit clearly better
MIN_FRAMES = 3  # in which both landmarks of a check are seen
MAX_HAND_TO_OTHER = 0.5  # a hand this much nearer to the other body wrist than to its own is at the wrong arm
MAX_WRIST_GAP = 0.5  # of the body's height above the hips: from a hand's wrist to the body's


def check(points: np.ndarray, confidence: np.ndarray, layout: str, place: str) -> tuple[str, ...]:
    """Hold a layout told by its count alone against where the landmarks are.

    Args:
        points: (T, K, 2), y down. confidence: (T, K).
        layout: its name. place: what messages name.

    Returns:
        The orders that fit clearly better, the best first: they contradict nothing and put the hands nearer to the
        body's wrists by far. One clip decides nothing, see `Doubts`: detectors put a hand at the other wrist in some.
    """
    names = names_of(layout)
    wrong = _wrong(points, confidence, names)
    if not wrong:
        return ()
    fitting = [(o, order) for o, order in _others(layout, names) if _wrong(points, confidence, order) == ""]
    message = f"{len(names)} landmarks, taken for layout {layout!r}, but {wrong}"
    if fitting:
        told = "; or ".join(name for name, _ in fitting[:3])
        log.warning("%s: %s; what fits: %s; name the layout (--layout)", place, message, told)
    else:
        log.warning("%s: %s, and no order that we know fits; name the layout if it is right", place, message)
    own = _gaps(points, confidence, names)
    found = [
        (max(gaps), name) for name, order in fitting if len(gaps := _gaps(points, confidence, order)) >= len(own) > 0
    ]
    return tuple(name for gap, name in sorted(found) if gap * MIN_TIMES_NEARER < max(own))


def _gaps(points: np.ndarray, confidence: np.ndarray, names: tuple[str, ...]) -> list[float]:
    """The distance of each hand's wrist from the body's, the median over the frames that have both."""
    found = []
    for side in ("left", "right"):
        if {wrists := f"{side}_hand.wrist", arm := f"body.{side}_wrist"} <= set(names):
            hand, body = names.index(wrists), names.index(arm)
            both = (confidence[:, hand] > 0) & (confidence[:, body] > 0)
            if both.sum() >= min(MIN_FRAMES, len(points)):
                found.append(float(np.median(np.hypot(*(points[both, hand] - points[both, body]).T))))
    return found


class Doubts:
    """Of the clips of a source whose layout only the count tells: how many another order fits clearly better."""

    def __init__(self) -> None:
        self._clips: Counter[str] = Counter()
        self._fitting: dict[str, Counter[str]] = {}

    def add(self, layout: str, fitting: Sequence[str] | None) -> None:
        """fitting: what `check` returned, None where the layout was named."""
        if fitting is not None:
            self._clips[layout] += 1
            self._fitting.setdefault(layout, Counter()).update(fitting)

    def check(self, place: str) -> None:
        """Raises:
        DataError: another order fits most of the clips of a layout.
        """
        for layout, fitting in self._fitting.items():
            most = [name for name, count in fitting.most_common(3) if count * 2 > self._clips[layout]]
            if most:
                raise DataError(
                    f"{fitting[most[0]]} of {self._clips[layout]} clips, taken for layout {layout!r} by their count of "
                    f"landmarks, fit {'; or '.join(most)} clearly better: their hands are at their wrists then",
                    place=place,
                    wanted="the layout that the files have",
                    remedy=f"give --layout: a name or a YAML file (docs/formats/layouts.md); {layout} if it is right",
                )


def check_axes(points: np.ndarray, confidence: np.ndarray, layout: str, place: str) -> None:
    """Refuse an array of (landmarks, frames, channels), whose count of frames is taken for one of landmarks.

    Args:
        points: (T, K, 2). confidence: (T, K).
        layout: its name, told by K. place: what messages name.

    Raises:
        DataError: T is the count of a layout too, and landmarks differ less from one to the next than frames do.
    """
    if len(points) not in BY_COUNT:
        return
    seen = confidence > 0
    between_frames = np.abs(np.diff(points, axis=0)).sum(-1)[seen[1:] & seen[:-1]]
    between_landmarks = np.abs(np.diff(points, axis=1)).sum(-1)[seen[:, 1:] & seen[:, :-1]]
    if not between_frames.size or not between_landmarks.size:
        return
    if np.median(between_frames) > MAX_FRAME_STEP * np.median(between_landmarks):
        raise DataError(
            f"{len(points)} frames of {points.shape[1]} landmarks ({layout}), in which a landmark moves further from "
            "frame to frame than it is away from the next landmark",
            place=place,
            wanted="(frames, landmarks, channels)",
            remedy="transpose the array if it is (landmarks, frames, channels), or name the layout if it is right",
        )


def _others(layout: str, names: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Layouts of the same count, and this one's parts in every other order."""
    known = [(f"layout {n!r}", order) for n, order in LAYOUTS.items() if len(order) == len(names) and n != layout]
    blocks: dict[str, tuple[str, ...]] = {}
    for name in names:
        part = name.partition(".")[0]
        blocks[part] = (*blocks.get(part, ()), name)
    if 1 < len(blocks) <= 4 and tuple(n for block in blocks.values() for n in block) == names:
        for order in permutations(blocks):
            if order != tuple(blocks):
                known.append((f"the order {', '.join(order)}", tuple(n for part in order for n in blocks[part])))
    return known


def _wrong(points: np.ndarray, confidence: np.ndarray, names: tuple[str, ...]) -> str:
    """What contradicts the order of these names; "" where nothing does."""
    place = {name: i for i, name in enumerate(names)}

    def between(a: str, b: str) -> np.ndarray | None:
        """Medians of b - a (2,), None where they are seldom seen together."""
        if a not in place or b not in place:
            return None
        both = (confidence[:, place[a]] > 0) & (confidence[:, place[b]] > 0)
        if both.sum() < min(MIN_FRAMES, len(points)):
            return None
        return np.median(points[both, place[b]] - points[both, place[a]], axis=0)

    heights = [abs(d[1]) for s in ("left", "right") if (d := between("body.nose", f"body.{s}_shoulder")) is not None]
    for side in ("left", "right"):
        for head in ("nose", f"{side}_eye"):
            if (down := between(f"body.{head}", f"body.{side}_shoulder")) is not None and down[1] < 0:
                return f"the {side} shoulder is above the {head.replace('_', ' ')}"
    for side, other in (("left", "right"), ("right", "left")):
        own, far = (between(f"{side}_hand.wrist", f"body.{arm}_wrist") for arm in (side, other))
        if own is None or far is None:
            continue
        gap, across = float(np.hypot(*own)), float(np.hypot(*far))
        if across < MAX_HAND_TO_OTHER * gap:
            return f"the {side} hand is at the {other} wrist"
        if heights and gap > MAX_WRIST_GAP * 4 * max(heights):
            return f"the {side} hand is far from the {side} wrist"
    return ""
