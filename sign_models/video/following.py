"""Which of the people in a picture is the signer, and whose hands are whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, get_args

import numpy as np

from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE

Person = Literal["nearest", "largest", "left", "right"]
PEOPLE_RULES: tuple[Person, ...] = get_args(Person)
MAX_LOST_S = 1.0  # for so long a lost signer is waited for before somebody else is followed
MAX_WRIST_DISTANCE_SHOULDER_WIDTHS = 0.75  # of a hand's wrist from the body's; farther ones are somebody else's hands
LABEL_PENALTY_SHOULDER_WIDTHS = 0.15  # for a hand that the model calls the other one: decides where hands touch

SHOULDERS = [MEDIAPIPE_POSE.index(f"body.{side}_shoulder") for side in ("left", "right")]
HIPS = [MEDIAPIPE_POSE.index(f"body.{side}_hip") for side in ("left", "right")]
WRISTS = [MEDIAPIPE_POSE.index(f"body.{side}_wrist") for side in ("left", "right")]
SIDES = ("left", "right")
BODY, HANDS = slice(0, len(MEDIAPIPE_POSE)), len(MEDIAPIPE_POSE)  # places of the layout mediapipe_75
K = len(MEDIAPIPE_POSE) + 2 * len(HAND)


@dataclass(frozen=True)
class Detected:
    """What one frame shows, in pixels of the picture.

    Attributes:
        bodies: (33, 4) each: x, y, depth from the hips, visibility in [0, 1].
        hands: (21, 3) each: x, y, depth from the wrist.
        labels: "left" or "right" for each hand, as the person's own.
    """

    bodies: list[np.ndarray]
    hands: list[np.ndarray]
    labels: list[str]


def shoulder_width(body: np.ndarray) -> float:
    """Width of a body's shoulders. Of a signer seen from the side, half the height of the trunk where that is more.

    Args:
        body: (33, >= 2), in pixels.

    Returns:
        Pixels.
    """
    shoulders, hips = body[SHOULDERS, :2], body[HIPS, :2]
    trunk = float(np.linalg.norm(shoulders.mean(0) - hips.mean(0)))
    return max(float(np.linalg.norm(shoulders[0] - shoulders[1])), trunk / 2)


class Follower:
    """Chooses one body a frame: the first by a rule, then the nearest to where the last was."""

    def __init__(self, rule: Person = "nearest") -> None:
        """Follow nobody yet.

        Args:
            rule: "left" and "right" are sides of the picture; "nearest" and "largest" start with the largest body.
        """
        self.rule = rule
        self._last: tuple[np.ndarray, float, float] | None = None  # centre, shoulder width, time

    def choose(self, bodies: Sequence[np.ndarray], time_s: float) -> int | None:
        """Choose the signer.

        Args:
            bodies: (33, >= 2) each, in pixels.
            time_s: Of the frame, in seconds.

        Returns:
            Index of the body. None: the signer is not among them.
        """
        if self._last is not None and time_s - self._last[2] > MAX_LOST_S:
            self._last = None
        if not bodies:
            return None
        centres = np.array([body[SHOULDERS, :2].mean(0) for body in bodies])
        widths = np.array([shoulder_width(body) for body in bodies])
        if self._last is None:
            ranking = {"left": -centres[:, 0], "right": centres[:, 0]}.get(self.rule, widths)
            chosen = int(np.argmax(ranking))
        else:
            distances = np.linalg.norm(centres - self._last[0], axis=1)
            chosen = int(np.argmin(distances))
            # Farther than two shoulder widths from one frame to the next is another person.
            if distances[chosen] > 2 * max(self._last[1], widths[chosen]):
                return None
        self._last = centres[chosen], float(widths[chosen]), time_s
        return chosen


def assign_hands(
    body: np.ndarray | None, hands: Sequence[np.ndarray], labels: Sequence[str]
) -> tuple[int | None, int | None]:
    """Find the signer's own hands among those of a frame.

    Args:
        body: (33, >= 2) in pixels. None: there is none, and the labels decide.
        hands: (21, >= 2) in pixels, the wrist first.
        labels: "left" or "right" for each hand, as the model calls it.

    Returns:
        Indices of the left and of the right hand. None: it is not seen.
    """
    if body is None:
        first = [next((i for i, label in enumerate(labels) if label == side), None) for side in SIDES]
        return first[0], first[1]
    width = max(shoulder_width(body), 1.0)
    costs = np.array(
        [
            [
                float(np.linalg.norm(hand[0, :2] - body[wrist, :2])) / width
                + (LABEL_PENALTY_SHOULDER_WIDTHS if label != side else 0.0)
                for side, wrist in zip(SIDES, WRISTS, strict=True)
            ]
            for hand, label in zip(hands, labels, strict=True)
        ]
    ).reshape(-1, 2)
    limit = MAX_WRIST_DISTANCE_SHOULDER_WIDTHS
    best, chosen = 2 * limit, (None, None)
    for pair in permutations([*range(len(hands)), None, None], 2):
        cost = sum(limit if i is None else float(costs[i, side]) for side, i in enumerate(pair))
        if cost < best:
            best, chosen = cost, pair
    return chosen


def signer_values(detected: Detected, follower: Follower, time_s: float) -> np.ndarray:
    """Landmarks of the signer in one frame.

    Args:
        detected: What the frame shows.
        follower: Chooses the signer.
        time_s: Of the frame, in seconds.

    Returns:
        (75, 4): x, y, depth and confidence. A hand has no confidence of its own: 1 where it is found.
    """
    values = np.zeros((K, 4), np.float32)
    chosen = follower.choose(detected.bodies, time_s)
    body = None if chosen is None else detected.bodies[chosen]
    if body is None and detected.bodies:
        return values  # somebody else's
    if body is not None:
        values[BODY] = body
    for side, hand in enumerate(assign_hands(body, detected.hands, detected.labels)):
        if hand is not None:
            start = HANDS + side * len(HAND)
            values[start : start + len(HAND), :3] = detected.hands[hand]
            values[start : start + len(HAND), 3] = 1.0
    return values
