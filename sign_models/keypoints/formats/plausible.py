"""Plausibility of a layout that was chosen by the count of landmarks: heads above shoulders, hands at wrists.

Medians over frames are checked, so that a few failures of the detector decide nothing.
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

MAX_FRAME_STEP = 1.5  # movement of a landmark between frames, as a share of its distance to the next landmark
MIN_TIMES_NEARER = (
    3  # another order fits clearly better if it brings the farther hand so many times nearer to its wrist
)
MIN_FRAMES = 3  # with both landmarks of a check
MAX_HAND_TO_OTHER = (
    0.5  # ratio of a hand's distances to the other wrist and to its own, below which it is at the wrong arm
)
MAX_WRIST_GAP = 0.5  # distance of a hand's wrist from the body's, as a share of the height above the hips


def check(points: np.ndarray, confidence: np.ndarray, layout: str, place: str) -> tuple[str, ...]:
    """Compare a layout with where the landmarks of a clip are. A contradiction is logged.

    A single clip decides nothing, since detectors put a hand at the other wrist in some clips (Doubts).

    Args:
        points: (T, K, 2), y down.
        confidence: (T, K).
        layout: Name of the layout, chosen by the count of landmarks.
        place: What messages name.

    Returns:
        Orders of landmarks that fit clearly better, the best first: they contradict nothing, and the hands are much
        nearer to the body's wrists.

    Raises:
        DataError: The array is (landmarks, frames, channels), whose frames were taken for landmarks.
    """
    _check_axes(points, confidence, layout, place)
    names = names_of(layout)
    wrong = _wrong(points, confidence, names)
    if not wrong:
        return ()
    fitting = [(o, order) for o, order in _others(layout, names) if _wrong(points, confidence, order) == ""]
    message = f"{len(names)} landmarks, taken for layout {layout!r}, but {wrong}"
    if fitting:
        better = "; or ".join(name for name, _ in fitting[:3])
        log.warning("%s: %s; what fits: %s; name the layout (--layout)", place, message, better)
    else:
        log.warning("%s: %s, and no order that we know fits; name the layout if it is right", place, message)
    own = _gaps(points, confidence, names)
    found = [
        (max(gaps), name) for name, order in fitting if len(gaps := _gaps(points, confidence, order)) >= len(own) > 0
    ]
    return tuple(name for gap, name in sorted(found) if gap * MIN_TIMES_NEARER < max(own))


def _check_axes(points: np.ndarray, confidence: np.ndarray, layout: str, place: str) -> None:
    """Refuse an array of (landmarks, frames, channels), whose frames were taken for landmarks.

    Neighbouring landmarks differ less than consecutive frames then, and T is the count of a layout too.
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


def _gaps(points: np.ndarray, confidence: np.ndarray, names: tuple[str, ...]) -> list[float]:
    """Median distance of each hand's wrist from the body's, of hands that are seen."""
    found = []
    for side in ("left", "right"):
        if {wrists := f"{side}_hand.wrist", arm := f"body.{side}_wrist"} <= set(names):
            hand, body = names.index(wrists), names.index(arm)
            both = (confidence[:, hand] > 0) & (confidence[:, body] > 0)
            if both.sum() >= min(MIN_FRAMES, len(points)):
                found.append(float(np.median(np.hypot(*(points[both, hand] - points[both, body]).T))))
    return found


class Doubts:
    """Counts the clips of a source whose layout was chosen by the count, and those that another order fits better."""

    def __init__(self) -> None:
        """Start without clips."""
        self._clips: Counter[str] = Counter()
        self._fitting: dict[str, Counter[str]] = {}
        self._frames: dict[str, set[int]] = {}
        self._all = self._single = 0

    def add(self, layout: str, frames: int, fitting: Sequence[str] | None) -> None:
        """Count a clip.

        Args:
            layout: Its layout.
            frames: Its length.
            fitting: Result of plausible.check. None: the layout was named, and the clip does not count.
        """
        self._all += 1
        self._single += frames == 1
        if fitting is not None:
            self._clips[layout] += 1
            self._frames.setdefault(layout, set()).add(frames)
            self._fitting.setdefault(layout, Counter()).update(fitting)

    def check(self, place: str) -> None:
        """Check the layouts of all clips.

        Args:
            place: What an error message names.

        Raises:
            DataError: Another order fits most clips of a layout clearly better, or clips look like the parts of others.
        """
        self._check_parts(place)
        if self._single > 1 and 2 * self._single > self._all:
            found = f"{self._single} of {self._all} clips have one frame"
            log.warning("%s: %s: put frames that are one clip in one array or folder", place, found)
        if hands := self._clips["right_hand_21"]:
            log.warning("%s: %d clips of one hand are taken for the right one; name the layout if not", place, hands)
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

    def _check_parts(self, place: str) -> None:
        """DataError where clips of one hand are as long as clips of a body without hands: parts under other names."""
        for hand in {"left_hand_21", "right_hand_21", "hands_42"} & self._frames.keys():
            for body, frames in self._frames.items():
                if frames == self._frames[hand] and not any("hand" in name for name in names_of(body)):
                    raise DataError(
                        f"{self._clips[hand]} clips of hands, as long as {self._clips[body]} of {body}: they may be "
                        "the parts of one clip each",
                        place=place,
                        wanted="parts named pose, left_hand, right_hand, face",
                        remedy="rename keys, files or folders (docs/formats/parts.md); clips of their own import apart",
                    )


def _others(layout: str, names: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Layouts of the same count, and the parts of this one in every other order."""
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
    """What contradicts this order of landmarks, or ""."""
    place = {name: i for i, name in enumerate(names)}

    def between(a: str, b: str) -> np.ndarray | None:
        """Median of b - a (2,), None if they are seldom seen together."""
        if a not in place or b not in place:
            return None
        both = (confidence[:, place[a]] > 0) & (confidence[:, place[b]] > 0)
        if both.sum() < min(MIN_FRAMES, len(points)):
            return None
        return _median(points[both, place[b]] - points[both, place[a]])

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


def _median(values: np.ndarray) -> np.ndarray:
    """Median (C,) of (N, C). np.median takes ten times as long for the few frames of a clip."""
    ordered, count = np.sort(values, axis=0), len(values)
    return np.asarray((ordered[(count - 1) // 2] + ordered[count // 2]) / 2)
