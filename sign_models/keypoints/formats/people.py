"""One signer out of the people that an estimator found."""

from __future__ import annotations

import numpy as np


def follow(points: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, P, K, 2) and (T, P, K) -> (T, K, 2) and (T, K): the same person in every frame.

    The largest in the first frame; then the one nearest to where the last was seen, or the largest where nobody is
    nearer than a body's length.
    """
    frames, people = confidence.shape[:2]
    if people == 1:
        return points[:, 0], confidence[:, 0]
    chosen = np.zeros(frames, np.intp)
    seen = confidence > 0
    last: tuple[np.ndarray, np.ndarray] | None = None
    for t in range(frames):
        present = np.flatnonzero(seen[t].any(1))
        if not len(present):
            continue
        if len(present) == 1:
            chosen[t] = present[0]
        else:
            sizes = np.array([_size(points[t, p][seen[t, p]]) for p in present])
            chosen[t] = present[sizes.argmax()]
            if last is not None:
                distances = np.array([_distance(*last, points[t, p], seen[t, p]) for p in present])
                if distances.min() < sizes[distances.argmin()]:
                    chosen[t] = present[distances.argmin()]
        last = points[t, chosen[t]], seen[t, chosen[t]]
    every = np.arange(frames)
    return points[every, chosen], confidence[every, chosen]


def _size(points: np.ndarray) -> float:
    return float(np.ptp(points, axis=0).max())


def _distance(before: np.ndarray, held: np.ndarray, points: np.ndarray, seen: np.ndarray) -> float:
    both = held & seen
    return float(np.linalg.norm(before[both] - points[both], axis=-1).mean()) if both.any() else np.inf
