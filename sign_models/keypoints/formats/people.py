"""One signer out of the people that an estimator found, in frames that their numbers put in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sign_models.errors import DataError

MAX_PEOPLE = 32  # of one frame, the first ones
MAX_SPAN_RATIO = 4  # frames that a clip may span for each frame that it has


def signer_in_frames(frames: Sequence[tuple[int, Sequence[np.ndarray]]], place: str) -> tuple[np.ndarray, np.ndarray]:
    """The signer's (T, K, 2) points and (T, K) confidence, from the first frame number to the last.

    Args:
        frames: (number, people), each person (K, 3): x, y, confidence. A number that is missing is an unseen frame.
        place: what an error message names.

    Raises:
        DataError: a number twice, too many missing, nobody in any frame, or people of different landmarks.
    """
    numbers = [number for number, _ in frames]
    first, length = min(numbers), max(numbers) - min(numbers) + 1
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        wanted = "a number of its own in every frame"
        raise DataError(f"frame {twice} twice", place=place, wanted=wanted, remedy="export it again")
    if length > MAX_SPAN_RATIO * len(numbers):
        found = f"{len(numbers)} frames between {first} and {max(numbers)}"
        raise DataError(
            found, place=place, wanted=f"one in {MAX_SPAN_RATIO} at least", remedy="number the frames one by one"
        )
    counts = {len(person) for _, people in frames for person in people[:MAX_PEOPLE]}
    if len(counts) != 1:
        found = f"people of {', '.join(map(str, sorted(counts)))} landmarks" if counts else "nobody in any frame"
        raise DataError(found, place=place, wanted="people with the same landmarks", remedy="leave the clip out")
    width = min(max(len(people) for _, people in frames), MAX_PEOPLE)
    values = np.zeros((length, width, counts.pop(), 3), np.float32)
    for number, people in frames:
        for p, person in enumerate(people[:MAX_PEOPLE]):
            values[number - first, p] = person
    return follow_signer(values[..., :2], values[..., 2])


def follow_signer(points: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, P, K, C) and (T, P, K) -> (T, K, C) and (T, K): the same person in every frame, told by x and y.

    The largest in the first frame; then the one nearest to where the last was seen, or the largest where nobody is
    nearer than a body's length.
    """
    frames, people = confidence.shape[:2]
    if people == 1:
        return points[:, 0], confidence[:, 0]
    chosen = np.zeros(frames, np.intp)
    seen, plane = confidence > 0, points[..., :2]
    last: tuple[np.ndarray, np.ndarray] | None = None
    for t in range(frames):
        present = np.flatnonzero(seen[t].any(1))
        if not len(present):
            continue
        if len(present) == 1:
            chosen[t] = present[0]
        else:
            sizes = np.array([_size(plane[t, p][seen[t, p]]) for p in present])
            chosen[t] = present[sizes.argmax()]
            if last is not None:
                distances = np.array([_distance(*last, plane[t, p], seen[t, p]) for p in present])
                if distances.min() < sizes[distances.argmin()]:
                    chosen[t] = present[distances.argmin()]
        last = plane[t, chosen[t]], seen[t, chosen[t]]
    every = np.arange(frames)
    return points[every, chosen], confidence[every, chosen]


def _size(points: np.ndarray) -> float:
    return float(np.ptp(points, axis=0).max())


def _distance(before: np.ndarray, held: np.ndarray, points: np.ndarray, seen: np.ndarray) -> float:
    both = held & seen
    return float(np.linalg.norm(before[both] - points[both], axis=-1).mean()) if both.any() else np.inf
