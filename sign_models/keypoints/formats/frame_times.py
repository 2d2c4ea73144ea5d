"""Times of frames: frame numbers and timestamps. A frame that is missing between two others is an unseen frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.columns import FRAME, first_of, is_time, time_unit

MAX_SPAN_RATIO = 4  # frames that a clip may span for each that it has
_SECOND = {"seconds": 1.0, "ms": 1e3, "us": 1e6}
_NUMBERS = (*FRAME, *(f"{name}s" for name in FRAME), "frame_indices", "frame_idxs")


def time_field(names: Iterable[str]) -> str | None:
    """Find the frame numbers, else the timestamps, among names.

    Args:
        names: Columns of a table, or fields of a record.

    Returns:
        The name, or None.
    """
    known = [str(name) for name in names]
    return first_of(known, _NUMBERS) or next(filter(is_time, known), None)


def from_stamps(stamps: np.ndarray, name: str = "") -> tuple[np.ndarray, float] | None:
    """Number frames by their timestamps.

    Args:
        stamps: (T,) times, in a unit that the name tells, or else their steps: seconds below 1, milliseconds below
            1,000, microseconds.
        name: Name of the column.

    Returns:
        (T,) int64 numbers from 0, and frames per second. None where the times do not increase.
    """
    steps = np.diff(np.asarray(stamps, np.float64))
    if not len(steps) or not (np.isfinite(steps) & (steps > 0)).all():
        return None
    step = float(np.median(steps))
    second = _SECOND.get(time_unit(name) or "", 1.0 if step < 1 else 1e3 if step < 1e3 else 1e6)
    # Step by step, so that a frame rate that is not constant adds up to no gap.
    numbers = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(steps / step)))])
    return numbers.astype(np.int64), round(second / step, 3)


def of_record(record: Mapping[str, Any], frames: int, place: str) -> tuple[np.ndarray, float | None] | None:
    """Read the times of the frames of a record.

    Args:
        record: Fields by name.
        frames: Number of its frames.
        place: What an error message names.

    Returns:
        (T,) int64 increasing numbers from 0, and frames per second where timestamps tell them. None without times.

    Raises:
        DataError: The frame numbers are no increasing whole numbers, or too far apart.
    """
    name = time_field(record)
    if name is None or not isinstance(record[name], list | tuple | np.ndarray):
        return None
    try:
        values = np.asarray(record[name], np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        return None
    if is_time(name):
        found = from_stamps(values, name) if len(values) == frames else None
        if found is not None:
            check_span(0, int(found[0][-1]), frames, place)
        return found
    whole = len(values) == frames and bool((np.isfinite(values) & (values == np.floor(values))).all())
    if not whole or not (np.diff(values) > 0).all():
        raise DataError(
            f"{name} that are no {frames} increasing whole numbers",
            place=place,
            wanted="the number of each frame",
            remedy="correct them, or leave them out if no frame is missing",
        )
    check_span(int(values[0]), int(values[-1]), frames, place)
    return (values - values[0]).astype(np.int64), None


def check_span(first: int, last: int, frames: int, place: str) -> None:
    """Check that frame numbers are not too far apart.

    Args:
        first: Number of the first frame.
        last: Number of the last frame.
        frames: Frames that there are.
        place: What an error message names.

    Raises:
        DataError: The clip would be mostly of unseen frames.
    """
    if last - first + 1 > MAX_SPAN_RATIO * frames:
        raise DataError(
            f"{frames} frames between {first} and {last}",
            place=place,
            wanted=f"one in {MAX_SPAN_RATIO} at least",
            remedy="number the frames one by one",
        )


def spread(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Put frames at their numbers. Frames between them are zeros, which is unseen.

    Args:
        values: (T, ...) of each frame.
        numbers: (T,) increasing, from 0.

    Returns:
        (max(numbers) + 1, ...) in the type of values.
    """
    if numbers[-1] + 1 == len(values):
        return values
    whole = np.zeros((int(numbers[-1]) + 1, *values.shape[1:]), values.dtype)
    whole[numbers] = values
    return whole
