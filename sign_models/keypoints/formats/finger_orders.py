"""The order of the joints in hands of 21 landmarks, told by the lengths between neighbours.

In units of the size of the hand, the lengths from the wrist to the fingers and along them are much the same in all
real clips, whatever the hand does: the thumb begins near the wrist, the palm is long, and fingers grow shorter to the
tip. An order that explains them clearly better than the given one is told.

F frames, H hands.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np

from sign_models.keypoints.landmarks import HAND

MAX_FRAMES = 6  # of a clip that are looked at
MIN_FRAMES = 3  # in which a hand is seen as a whole
MAX_MISFIT = 0.2  # mean difference from LENGTHS of an order that explains a hand
MIN_TIMES_BETTER = 1.3
# A hand whose given order misfits more is in no order that is known. Of 4,023 real clips at most 0.56, and 0.63 where a
# picture twice as high as it is wide is squeezed to a square.
MIN_UNKNOWN_MISFIT = 0.65
UNKNOWN = "no order of fingers that is known"
# Medians of real clips of both hands, finger by finger from the wrist to the tip, thumb first: the mean of 870 hands of
# sixteen people's webcams and of 1,200 hands of another three's.
LENGTHS = np.array(
    [
        0.75, 0.76, 0.58, 0.46,
        1.79, 0.75, 0.45, 0.36,
        1.58, 0.78, 0.48, 0.38,
        1.43, 0.73, 0.46, 0.37,
        1.36, 0.60, 0.35, 0.31,
    ]
)  # fmt: skip
_FINGERS, _JOINTS = 5, 4


def _orders() -> dict[str, list[int]]:
    """Places of the joints of HAND in each order, the usual one first, under ""."""
    found = {}
    for last, little, tip, across in product((False, True), repeat=4):
        fingers = range(_FINGERS)[::-1] if little else range(_FINGERS)
        joints = range(_JOINTS)[::-1] if tip else range(_JOINTS)
        places = [(f, j) for j in joints for f in fingers] if across else [(f, j) for f in fingers for j in joints]
        words = (
            (last, "the wrist last"),
            (little, "the little finger first"),
            (tip, "tips first"),
            (across, "joint by joint"),
        )
        name = ", ".join(word for is_so, word in words if is_so)
        order = [1 + _JOINTS * f + j for f, j in places]
        found[f"hands with {name}" if name else ""] = [*order, 0] if last else [0, *order]
    return found


ORDERS = _orders()


@lru_cache(1)
def _bones() -> np.ndarray:
    """(orders, 20) for each of LENGTHS the place among all pairs of landmarks of a hand, in hands of each of ORDERS."""
    found = []
    for order in ORDERS.values():
        at = [order.index(joint) for joint in range(len(HAND))]
        found.append([at[j - 1 if (j - 1) % _JOINTS else 0] * len(HAND) + at[j] for j in range(1, len(HAND))])
    return np.array(found)


def better_order(points: np.ndarray, confidence: np.ndarray, names: tuple[str, ...]) -> str | None:
    """Find the order of the joints in the hands of a clip, if it is clearly not the given one.

    Args:
        points: (T, K, 2).
        confidence: (T, K).
        names: Landmarks in the given order, whose hands have that of HAND.

    Returns:
        One of ORDERS; UNKNOWN where none explains the hands at all; None where the given order may be right.
    """
    lengths = [found for begin in _hands(names) if (found := _lengths(points, confidence, begin)) is not None]
    if not lengths:
        return None
    misfits = np.abs(np.mean(lengths, 0)[_bones()] - LENGTHS).mean(1)
    best = int(misfits.argmin())
    if misfits[best] <= MAX_MISFIT:
        return list(ORDERS)[best] if misfits[0] >= MIN_TIMES_BETTER * misfits[best] else None
    return UNKNOWN if misfits[0] >= MIN_UNKNOWN_MISFIT else None


@lru_cache(2**6)
def _hands(names: tuple[str, ...]) -> tuple[int, ...]:
    """Where the hands of a layout begin that have the joints of HAND in its order."""

    def begins() -> Iterator[int]:
        for side in ("left_hand", "right_hand"):
            whole = tuple(f"{side}.{joint}" for joint in HAND)
            if whole[0] in names and names[(at := names.index(whole[0])) : at + len(whole)] == whole:
                yield at

    return tuple(begins())


def _lengths(points: np.ndarray, confidence: np.ndarray, begin: int) -> np.ndarray | None:
    """(21 * 21,) mean distances between the landmarks of a hand in units of its size. None where it is not seen."""
    place = slice(begin, begin + len(HAND))
    seen = np.flatnonzero(confidence[:, place].min(1) > 0)
    if len(seen) < MIN_FRAMES:
        return None
    hand = points[seen[:: -(-len(seen) // MAX_FRAMES)], place].astype(np.float64)
    x, y = hand[..., 0], hand[..., 1]
    squares = (x[:, :, None] - x[:, None]) ** 2 + (y[:, :, None] - y[:, None]) ** 2
    spread = squares.mean((1, 2), keepdims=True) / 2  # of the landmarks about their middle, in every order
    if not 0 < spread.min() <= spread.max() < np.inf:
        return None
    return np.asarray(np.sqrt(squares / spread).mean(0)).ravel()
