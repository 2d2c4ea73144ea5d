"""Selection of the signer among the people that an estimator found.

T frames, P people, K landmarks, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.frame_times import MAX_SPAN_RATIO

MAX_PEOPLE = 32  # of a frame. Further ones are ignored


def signer_in_frames(frames: Sequence[tuple[int, Sequence[np.ndarray]]], place: str) -> tuple[np.ndarray, np.ndarray]:
    """Select the signer in numbered frames.

    Args:
        frames: Number of each frame and its people, (K, 3 or 4) each: x, y, z where there is a depth, confidence. A
            missing number is an unseen frame.
        place: What an error message names.

    Returns:
        (T, K, 2 or 3) points and (T, K) confidence, from the first number to the last.

    Raises:
        DataError: A number is repeated, too many are missing, nobody is seen, or people have different landmarks.
    """
    numbers = [number for number, _ in frames]
    first, length = min(numbers), max(numbers) - min(numbers) + 1
    if len(set(numbers)) < len(numbers):
        repeated = next(number for number in numbers if numbers.count(number) > 1)
        wanted = "a number of its own in every frame"
        raise DataError(f"frame {repeated} twice", place=place, wanted=wanted, remedy="export it again")
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
    channels = next(person.shape[1] for _, people in frames for person in people)
    values = np.zeros((length, width, counts.pop(), channels), np.float32)
    for number, people in frames:
        for p, person in enumerate(people[:MAX_PEOPLE]):
            values[number - first, p] = person
    return follow_signer(values[..., :-1], values[..., -1])


def follow_signer(points: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow one person: the largest in the first frame, then the nearest to where that person was last.

    Where nobody is nearer than the length of a body, the largest person is taken.

    Args:
        points: (T, P, K, C), x and y first.
        confidence: (T, P, K).

    Returns:
        (T, K, C) points and (T, K) confidence.
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


def _distance(before: np.ndarray, seen_before: np.ndarray, points: np.ndarray, seen: np.ndarray) -> float:
    both = seen_before & seen
    return float(np.linalg.norm(before[both] - points[both], axis=-1).mean()) if both.any() else np.inf
