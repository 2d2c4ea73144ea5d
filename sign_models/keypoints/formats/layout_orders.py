"""Other orders in which landmarks of a count may be: other layouts, and parts, sides or axes exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np

from sign_models.keypoints.landmarks import HAND
from sign_models.keypoints.layouts import LAYOUTS, mirrored, names_of

MAX_PARTS = 5  # of a layout whose parts are tried in every order
_HANDS = ("left_hand", "right_hand")
_FEET = ("big_toe", "small_toe", "heel")  # which may stand apart from the body
# Places of the joints of HAND in other orders of a hand.
_HAND_ORDERS = {
    "hands whose wrist comes last": [*range(1, 21), 0],
    "hands whose fingers begin at the tip and whose wrist comes last": [
        *(1 + 4 * finger + joint for finger in range(5) for joint in (3, 2, 1, 0)), 0,
    ],
}  # fmt: skip


class Order(NamedTuple):
    """Another order of landmarks, or another meaning of their coordinates.

    Attributes:
        name: What a message calls it.
        names: Landmarks in their order.
        turned: "" | "up": y points up | "swapped": y comes first.
    """

    name: str
    names: tuple[str, ...]
    turned: str = ""

    def turn(self, points: np.ndarray) -> np.ndarray:
        """Give points their usual axes.

        Args:
            points: (..., 2) in this meaning.

        Returns:
            (..., 2) x to the right and y down.
        """
        if self.turned == "up":
            return np.asarray(points * np.array([1, -1], points.dtype))
        return points[..., ::-1] if self.turned == "swapped" else points


@lru_cache(2**6)
def orders_beside(layout: str) -> tuple[Order, ...]:
    """List the orders that a clip of a layout's count may be in beside the layout's own.

    Args:
        layout: Name of a layout.

    Returns:
        Other layouts first, then rearranged parts, hands, sides, and axes.
    """
    names = names_of(layout)
    known = [Order(f"layout {n!r}", order) for n, order in LAYOUTS.items() if len(order) == len(names) and n != layout]
    for whole in (names, *(order.names for order in known)):
        known += [Order(f"the order {', '.join(order)}", found) for order, found in _rearranged(whole)]
    for name, places in _HAND_ORDERS.items():
        known.append(Order(name, _with_hands(names, [HAND[i] for i in places])))
    known.append(Order("left and right exchanged (or x mirrored)", tuple(map(mirrored, names))))
    different = {order.names: order for order in reversed(known) if order.names != names}
    turned = [Order("y pointing up", names, "up"), Order("y before x", names, "swapped")]
    return (*reversed(different.values()), *turned)


def _rearranged(names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Every order of the parts of a layout, and the landmarks in it. Nothing where its parts are mixed."""
    blocks: dict[str, tuple[str, ...]] = {}
    feet = _FEET if any(name.endswith("toe") for name in names) else ()
    for name in names:
        part = "feet" if name.endswith(feet) else name.partition(".")[0]
        blocks[part] = (*blocks.get(part, ()), name)
    if 1 < len(blocks) <= MAX_PARTS and tuple(n for block in blocks.values() for n in block) == names:
        for order in permutations(blocks):
            yield order, tuple(n for part in order for n in blocks[part])


def _with_hands(names: tuple[str, ...], joints: Sequence[str]) -> tuple[str, ...]:
    """An order in which each hand of 21 has its joints in another order."""
    found = list(names)
    for hand in _HANDS:
        places = [i for i, name in enumerate(names) if name.startswith(f"{hand}.")]
        if len(places) == len(joints):
            for place, joint in zip(places, joints, strict=True):
                found[place] = f"{hand}.{joint}"
    return tuple(found)
