"""Plausibility of a layout that was chosen by the count of landmarks: heads, arms and hands are where they belong.

Medians over frames are checked, so that a few failures of the detector decide nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import finger_orders
from sign_models.keypoints.formats.layout_orders import orders_beside
from sign_models.keypoints.layouts import BY_COUNT, names_of

log = logging.getLogger(__name__)

MAX_FRAME_STEP = 1.5  # movement of a landmark between frames, as a share of its distance to the next landmark
MIN_TIMES_NEARER = 3  # another order fits clearly better if it brings a hand so many times nearer to its wrist
MIN_FRAMES = 3  # with both landmarks of a check
MAX_FRAMES = 32  # of a clip that are looked at
MAX_HAND_TO_OTHER = 0.5  # ratio of a hand's distances to the other wrist and to its own: below, it is at the wrong arm
# In units of the body: the width of the shoulders or the height of the head above them, whichever is more.
MAX_ARM = 2.5  # from the shoulder to the elbow, from the elbow to the wrist. Of 600 real clips at most 1.8
MAX_WRIST_GAP = 0.6  # from a hand's wrist to the body's. Of these clips at most 0.47
MAX_USUAL_GAP = 0.3  # beyond it, other orders are tried
NO_ORDER = "no order of landmarks that is known"
MIN_UNKNOWN_CLIPS, MIN_UNKNOWN_SHARE = 5, 0.9  # of a layout that no known order fits: then it is refused
# Movement of landmarks from frame to frame, as a share of their distance from the middle, of a tracked body. Of 4,023
# real clips at most 0.21. Noise is in no order.
MAX_MOVEMENT = 0.3
_SIDES = ("left", "right")


def _pairs() -> dict[str, tuple[str, str]]:
    """Pairs of landmarks whose distances are checked."""
    found = {
        "shoulders": ("body.right_shoulder", "body.left_shoulder"),
        "hands": ("left_hand.wrist", "right_hand.wrist"),
    }
    for side, other in zip(_SIDES, _SIDES[::-1], strict=True):
        body, hand = f"body.{side}_", f"{side}_hand.wrist"
        for head in ("body.nose", f"{body}eye", "face.nose_tip"):
            found[f"{side} {head}"] = (head, f"{body}shoulder")
        found[f"{side} hip"] = (f"{body}shoulder", f"{body}hip")
        found[f"{side} upper arm"] = (f"{body}shoulder", f"{body}elbow")
        found[f"{side} forearm"] = (f"{body}elbow", f"{body}wrist")
        found[f"{side} gap"] = (hand, f"{body}wrist")
        found[f"{side} other gap"] = (hand, f"body.{other}_wrist")
    return found


_PAIRS = _pairs()


class Found(NamedTuple):
    """How far apart two landmarks are.

    Attributes:
        x: Median of the distance to the right.
        y: Median of the distance down.
        length: Median distance.
    """

    x: float
    y: float
    length: float


@lru_cache(2**10)
def _places(names: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Keys of the pairs that an order has, and the places of both landmarks, (P,) each."""
    place = {name: i for i, name in enumerate(names)}
    keys = tuple(key for key, (a, b) in _PAIRS.items() if a in place and b in place)
    ends = np.array([[place[name] for name in _PAIRS[key]] for key in keys], np.int64).reshape(-1, 2)
    return keys, ends[:, 0], ends[:, 1]


def _measured(points: np.ndarray, confidence: np.ndarray, names: tuple[str, ...]) -> dict[str, Found]:
    """How far apart the pairs are that an order has and that are seen together."""
    keys, first, second = _places(names)
    both = (confidence[:, first] > 0) & (confidence[:, second] > 0)
    counts = both.sum(0)
    steps = points[:, second] - points[:, first]
    values = np.concatenate([steps, np.hypot(steps[..., 0], steps[..., 1])[..., None]], -1)
    ordered = np.sort(np.where(both[..., None], values, np.inf), axis=0)
    columns = np.arange(len(keys))
    low, high = np.maximum(counts - 1, 0) // 2, np.minimum(counts // 2, len(points) - 1)
    medians = (ordered[low, columns] + ordered[high, columns]) / 2
    enough = min(MIN_FRAMES, len(points))
    return {
        key: Found(*median)
        for key, median, count in zip(keys, medians.tolist(), counts.tolist(), strict=True)
        if count >= enough
    }


def check(points: np.ndarray, confidence: np.ndarray, layout: str, place: str) -> tuple[str, ...]:
    """Compare a layout with where the landmarks of a clip are. A contradiction is logged.

    A single clip decides nothing, since detectors put a hand at the other wrist in some clips (Doubts).

    Args:
        points: (T, K, 2), y down.
        confidence: (T, K).
        layout: Name of the layout, chosen by the count of landmarks.
        place: What messages name.

    Returns:
        Orders of landmarks that fit clearly better, the best first: they contradict nothing, and where only the hands
        speak against this order, those are much nearer to the body's wrists. NO_ORDER or finger_orders.UNKNOWN where
        head, trunk, arms or fingers of a tracked body contradict this order and all others.

    Raises:
        DataError: The array is (landmarks, frames, channels), whose frames were taken for landmarks.
    """
    _check_axes(points, confidence, layout, place)
    step, whole = -(-len(points) // MAX_FRAMES), (points, confidence)
    points, confidence = points[::step], confidence[::step]
    names = names_of(layout)
    own = _measured(points, confidence, names)
    wrong, gap, body = _wrong(own), max(_gaps(own), default=0.0), _size(own)
    lost = not body and not wrong and "body.left_shoulder" in names
    if not (wrong or lost or gap > MAX_USUAL_GAP * body):
        return check_fingers(*whole, layout, place)
    by_hands = not lost and (not wrong or "hand is" in wrong)
    fitting: list[tuple[float, str]] = []
    better: list[tuple[float, str]] = []
    for order in orders_beside(layout):
        found = _measured(order.turn(points), confidence, order.names)
        if _wrong(found) or (lost and not _size(found)):
            continue
        fitting.append((max(_gaps(found), default=0.0), order.name))
        if not by_hands or _is_nearer(found, own):
            better.append(fitting[-1])
    named = [name for _, name in sorted(better or fitting, key=lambda one: one[0])]
    if wrong and named:
        told = f"but {wrong}; what fits: {'; or '.join(named[:3])}; name the layout (--layout)"
        log.warning("%s: %d landmarks, taken for layout %r, %s", place, len(names), layout, told)
    elif wrong:
        told = f"but {wrong}, and no order that we know fits; name the layout if it is right"
        log.warning("%s: %d landmarks, taken for layout %r, %s", place, len(names), layout, told)
        return (NO_ORDER,) if not by_hands and _is_tracked(*whole) else ()
    return tuple(named) if better else ()


def check_fingers(points: np.ndarray, confidence: np.ndarray, layout: str, place: str) -> tuple[str, ...]:
    """Compare the order of the joints in hands with their lengths. A contradiction is logged.

    Args:
        points: (T, K, 2).
        confidence: (T, K).
        layout: Name of the layout, chosen by the count of landmarks.
        place: What messages name.

    Returns:
        The order that fits clearly better, or finger_orders.UNKNOWN. () where this one may be right.
    """
    found = finger_orders.better_order(points, confidence, names_of(layout))
    if found is None or (found == finger_orders.UNKNOWN and not _is_tracked(points, confidence)):
        return ()
    told = "but the lengths of the fingers fit %s; name the layout (--layout)"
    log.warning(f"%s: %d landmarks, taken for layout %r, {told}", place, points.shape[1], layout, found)
    return (found,)


def _is_tracked(points: np.ndarray, confidence: np.ndarray) -> bool:
    """Whether landmarks move as those of a body do, in any order, and are no noise."""
    seen = confidence > 0
    moved = np.abs(np.diff(points, axis=0)).sum(-1)[seen[1:] & seen[:-1]]
    counts = np.maximum(seen.sum(1), 1)[:, None, None]
    middle = np.where(seen[..., None], points, 0).sum(1, keepdims=True) / counts
    spread = np.abs(points - middle).sum(-1)[seen]
    return bool(moved.size) and bool(np.median(moved) < MAX_MOVEMENT * np.median(spread))


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


def contradiction(points: np.ndarray, confidence: np.ndarray, layout: str) -> str:
    """Find what contradicts a layout in a clip.

    Args:
        points: (T, K, 2), y down.
        confidence: (T, K).
        layout: Name of the layout.

    Returns:
        What is where it cannot be, or "".
    """
    return _wrong(_sampled(points, confidence, layout))


def fits_better(usual: np.ndarray, other: np.ndarray, layout: str) -> bool:
    """Tell whether landmarks that are read in another way fit their layout clearly better.

    Args:
        usual: (T, K, 4) x, y, z, confidence as they are usually read, which something contradicts. All 0: not at all.
        other: (T, K, 4) as they are read in another way.
        layout: Name of the layout.

    Returns:
        Whether nothing contradicts the other way; where only the hands speak against the usual one, as in `check`.
    """
    own, found = (_sampled(array[..., :2], array[..., 3], layout) for array in (usual, other))
    return not _wrong(found) and bool(found) and ("hand is" not in _wrong(own) or _is_nearer(found, own))


def _sampled(points: np.ndarray, confidence: np.ndarray, layout: str) -> dict[str, Found]:
    step = -(-len(points) // MAX_FRAMES)
    return _measured(points[::step], confidence[::step], names_of(layout))


def _is_nearer(found: dict[str, Found], own: dict[str, Found]) -> bool:
    """Whether the hands are much nearer to their wrists than in the given order."""
    gaps, usual = _gaps(found), _gaps(own)
    return max(gaps, default=0.0) * MIN_TIMES_NEARER < max(usual, default=0.0) and len(gaps) >= len(usual)


def _wrong(found: dict[str, Found]) -> str:
    """What contradicts an order of landmarks, or ""."""
    for side in _SIDES:
        for head in ("body.nose", f"body.{side}_eye", "face.nose_tip"):
            if (down := found.get(f"{side} {head}")) and down.y < 0:
                return f"the {side} shoulder is above the {head.partition('.')[2].replace('_', ' ')}"
        if (down := found.get(f"{side} hip")) and down.y < 0:
            return f"the {side} hip is above the {side} shoulder"
    body = _size(found)
    for side in _SIDES:
        for arm, ends in (("upper arm", ("shoulder", "elbow")), ("forearm", ("elbow", "wrist"))):
            if body and (length := found.get(f"{side} {arm}")) and length.length > MAX_ARM * body:
                return f"the {side} {ends[1]} is far from the {side} {ends[0]}"
    if (across := found.get("shoulders")) and across.x < -across.length / 2:
        return "the shoulders are at each other's sides"
    if "shoulders" not in found and (across := found.get("hands")) and across.x > across.length / 2:
        return "the hands are at each other's sides"
    for side, other in zip(_SIDES, _SIDES[::-1], strict=True):
        own, far = found.get(f"{side} gap"), found.get(f"{side} other gap")
        if own and far and np.hypot(far.x, far.y) < MAX_HAND_TO_OTHER * np.hypot(own.x, own.y):
            return f"the {side} hand is at the {other} wrist"
        if own and body and own.length > MAX_WRIST_GAP * body:
            return f"the {side} hand is far from the {side} wrist"
    return ""


def _size(found: dict[str, Found]) -> float:
    """Width of the shoulders or height of the head above them, whichever is more."""
    heads = [one.y for key, one in found.items() if key.endswith(("nose", "eye", "nose_tip"))]
    return max([found["shoulders"].length, *heads]) if "shoulders" in found else 0.0


def _gaps(found: dict[str, Found]) -> list[float]:
    """Distance of each hand's wrist from the body's, of hands that are seen."""
    return [found[key].length for side in _SIDES if (key := f"{side} gap") in found]


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
            clips = self._clips[layout]
            for unknown in (NO_ORDER, finger_orders.UNKNOWN):
                if (count := fitting[unknown]) >= max(MIN_UNKNOWN_CLIPS, MIN_UNKNOWN_SHARE * clips):
                    raise DataError(
                        f"{count} of {clips} clips, taken for layout {layout!r} by their count, fit {unknown}",
                        place=place,
                        wanted="the layout that the files have",
                        remedy="give --layout: a YAML file with the names of the landmarks in their order "
                        f"(docs/formats/layouts.md); {layout} if it is right",
                    )
            known = {name: count for name, count in fitting.items() if name not in (NO_ORDER, finger_orders.UNKNOWN)}
            most = [name for name, count in Counter(known).most_common(3) if count * 2 > clips]
            if most:
                raise DataError(
                    f"{fitting[most[0]]} of {self._clips[layout]} clips, taken for layout {layout!r} by their count of "
                    f"landmarks, fit {'; or '.join(most)} clearly better: head, arms and hands are in place then",
                    place=place,
                    wanted="the layout that the files have",
                    remedy=f"give --layout: a name or a YAML file (docs/formats/layouts.md); {layout} if it is right. "
                    "Axes that are exchanged or turned have to be mended in the files",
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
