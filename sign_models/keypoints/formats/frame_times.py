"""Times of frames: frame numbers, timestamps, names of pictures. A frame that is missing between two is unseen.

What a file has for each frame beside the landmarks is searched for times. A known name decides; then the form of the
values does. Values that count and leave out numbers under an unknown name are a question to the user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clock import looks_like_clock, seconds_of
from sign_models.keypoints.formats.tables.columns import FRAME, first_of, is_time, time_unit

MAX_SPAN_RATIO = 4  # frames that a clip may span for each that it has
MIN_EVEN_FRAMES = 5  # of a clip in which even steps of values under an unknown name tell times
MAX_STEP_ERROR = 0.1  # of such a step from a multiple of the usual one
_SECOND = {"seconds": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_NUMBERS = (*FRAME, *(f"{name}s" for name in FRAME), "frame_indices", "frame_idxs", "frame_inds", "frame_list")
_PICTURE = re.compile(r".*?(?P<number>\d{1,15})(?:_keypoints)?\.(jpe?g|png|bmp|tiff?|webp|gif|json|npy)", re.IGNORECASE)
_COUNTED = re.compile(r"(?P<before>\D*)(?P<number>\d{1,15})")  # "12", "frame_12"


class Times(NamedTuple):
    """Times of the frames of a clip.

    Attributes:
        numbers: (T,) int64 increasing numbers from 0.
        fps: Frames per second where timestamps tell them, else None.
    """

    numbers: np.ndarray
    fps: float | None


def time_field(names: Iterable[str]) -> str | None:
    """Find the frame numbers, else the timestamps, among names.

    Args:
        names: Columns of a table, or fields of a record.

    Returns:
        The name, or None.
    """
    known = [str(name) for name in names]
    return first_of(known, _NUMBERS) or next(filter(is_time, known), None)


def from_stamps(stamps: np.ndarray, name: str = "") -> Times | None:
    """Number frames by their timestamps.

    Args:
        stamps: (T,) times, in a unit that the name tells, or else their steps: seconds below 1, frames at 1,
            milliseconds below 1,000, microseconds below 1,000,000, nanoseconds.
        name: Name of the column.

    Returns:
        The times. None where they do not increase.
    """
    steps = np.diff(np.asarray(stamps, np.float64))
    if not len(steps) or not (np.isfinite(steps) & (steps > 0)).all():
        return None
    step = float(np.median(steps))
    # Step by step, so that a frame rate that is not constant adds up to no gap.
    numbers = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(steps / step)))]).astype(np.int64)
    unit = time_unit(name) or ("seconds" if step < 1 else "ms" if step < 1e3 else "us" if step < 1e6 else "ns")
    counts = time_unit(name) is None and step == 1
    return Times(numbers, None if counts else round(_SECOND[unit] / step, 3))


def of_fields(fields: Mapping[str, Any], frames: int, place: str) -> Times | None:
    """Read the times of the frames of a clip from what stands beside its landmarks.

    Args:
        fields: By name: a sequence with a value a frame, or anything else, which is ignored.
        frames: Number of frames.
        place: What an error message names.

    Returns:
        The times. None where nothing tells them, so that the frames follow each other.

    Raises:
        DataError: Frame numbers or timestamps cannot be used, or values under an unknown name leave out frames.
    """
    columns = {str(name): found for name, value in fields.items() if (found := _values(value)) is not None}
    if (name := first_of(columns, _NUMBERS)) is not None:
        return _numbered(name, columns[name], frames, place)
    stamped = {name: values for name, values in columns.items() if is_time(name) and name != "t"}
    for name, values in stamped.items():
        if len(values) != frames:
            raise _unusable(name, f"{len(values)} values for {frames} frames", place)
    columns = {name: values for name, values in columns.items() if len(values) == frames}
    return _stamped(columns, place) or _told_by_form(columns, place)


def of_frames(frames: Sequence[Any], place: str, beside: Mapping[str, Any] | None = None) -> Times:
    """Read the times of frames that are objects, each with a number, a timestamp or the name of its picture.

    Args:
        frames: The frames in any order, mappings or other values.
        place: What an error message names.
        beside: What the file has beside the frames, as for of_fields.

    Returns:
        The times; `numbers` are those of the file, in its order, and the order of the frames where nothing tells them.

    Raises:
        DataError: As of_fields, or only some frames have a number or timestamp.
    """
    names = dict.fromkeys(
        str(name) for frame in frames if isinstance(frame, Mapping) for name in frame if _is_scalar(frame[name])
    )
    fields = {name: [frame.get(name) if isinstance(frame, Mapping) else None for frame in frames] for name in names}
    if (name := time_field(fields)) is not None and any(value is None for value in fields[name]):
        found = "frames with a number or a timestamp beside others without one"
        raise DataError(found, place=place, wanted="one in every frame", remedy="export it again")
    if (name := first_of(fields, _NUMBERS)) is not None:
        return Times(_whole(name, fields[name], place), None)
    return of_fields({**(beside or {}), **fields}, len(frames), place) or Times(np.arange(len(frames)), None)


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


# Columns --------------------------------------------------------------------------------------------------------------


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | np.number) and not isinstance(value, bool)


def _values(value: Any) -> np.ndarray | list[Any] | None:
    """A column of numbers or texts, None for anything else."""
    if isinstance(value, np.ndarray):
        value = value[:, 0] if value.ndim == 2 and value.shape[1] == 1 else value
        if value.ndim != 1 or not len(value) or value.dtype.kind not in "iufUS":
            return None
        return [_text(one) for one in value.tolist()] if value.dtype.kind in "US" else value
    if not isinstance(value, list | tuple) or not value or not all(v is None or _is_scalar(v) for v in value):
        return None
    return list(value)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _floats(values: np.ndarray | list[Any]) -> np.ndarray | None:
    """(T,) float64 of numbers or of texts that are numbers, NaN where there is none. None for other texts."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    try:
        return np.array([np.nan if v in (None, "") else _float(v) for v in values], np.float64)
    except (ValueError, OverflowError):
        return None


def _float(value: Any) -> float:
    return float(value.strip().replace(",", ".")) if isinstance(value, str) else float(value)


def _is_constant(values: np.ndarray | list[Any]) -> bool:
    return all(value == values[0] for value in values[1:])


def _whole(name: str, values: Any, place: str) -> np.ndarray:
    """(T,) int64 frame numbers, also of texts such as "000012" or "frame_12.jpg"."""
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) == len(values):
        found = [_PICTURE.fullmatch(text.strip()) or _COUNTED.fullmatch(text.strip()) for text in texts]
        values = [int(one["number"]) if one else np.nan for one in found]
    numbers = _floats(values)
    if numbers is None or not (np.isfinite(numbers) & (numbers == np.floor(numbers)) & (abs(numbers) < 2**53)).all():
        raise _unusable(name, "no whole numbers", place)
    return numbers.astype(np.int64)


def _numbered(name: str, values: Any, frames: int, place: str) -> Times:
    try:
        numbers = _whole(name, values, place)
    except DataError:
        numbers = np.empty(0, np.int64)
    if len(numbers) != frames or not (np.diff(numbers) > 0).all():
        raise DataError(
            f"{name} that are no {frames} increasing whole numbers",
            place=place,
            wanted="the number of each frame",
            remedy="correct them, or leave them out if no frame is missing",
        )
    return _checked(Times(numbers - numbers[0], None), place)


def _stamped(columns: Mapping[str, Any], place: str) -> Times | None:
    """Times by the columns that are called so. One that stays the same is the time of the recording."""
    unusable = None
    for name, values in columns.items():
        if not is_time(name) or _is_constant(values):
            continue
        stamps, unit = _stamps(values, name)
        if stamps is not None and (found := from_stamps(stamps, unit)) is not None:
            return _checked(found, place)
        if stamps is None:
            bad = next((v for v in values if isinstance(v, str) and seconds_of([v]) is None), values[0])
            unusable = unusable or _unusable(name, f"{str(bad)[:40]!r}, no time that can be read", place)
        else:
            unusable = unusable or _unusable(name, "times that do not increase from frame to frame", place)
    if unusable:
        raise unusable
    return None


def _stamps(values: np.ndarray | list[Any], name: str) -> tuple[np.ndarray | None, str]:
    """Times as numbers, and the name that tells their unit."""
    numbers = _floats(values)
    if numbers is not None:
        return numbers, name
    seconds = seconds_of(map(str, values))
    return (None if seconds is None else np.array(seconds)), "seconds"


def _told_by_form(columns: Mapping[str, Any], place: str) -> Times | None:
    """Times by columns of an unknown name: clock times, or pictures with a number."""
    for name, values in columns.items():
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) < len(values) or _is_constant(texts):
            continue
        if pictures := [found for text in texts if (found := _PICTURE.fullmatch(text.strip()))]:
            numbers = np.array([int(found["number"]) for found in pictures])
            if len(numbers) == len(texts) and (np.diff(numbers) > 0).all():
                return _checked(Times(numbers - numbers[0], None), place)
        seconds = seconds_of(texts)
        if seconds is None and not all(map(looks_like_clock, texts)):
            continue
        times = None if seconds is None else from_stamps(np.array(seconds), "seconds")
        if times is None:
            raise _unusable(name, "what looks like times, and none that increase", place)
        return _checked(times, place)
    for name, values in columns.items():
        _check_counter(name, _counted(values), place)
    return None


def _counted(values: np.ndarray | list[Any]) -> np.ndarray | None:
    """Numbers, or those at the end of texts that are else the same: "frame_12"."""
    numbers = _floats(values)
    if numbers is not None:
        return numbers
    found = [_COUNTED.fullmatch(value.strip()) if isinstance(value, str) else None for value in values]
    if not all(found) or len({one["before"] for one in found if one}) > 1:
        return None
    return np.array([float(one["number"]) for one in found if one])


def _check_counter(name: str, values: np.ndarray | None, place: str) -> None:
    """DataError where values count the frames and leave some out."""
    if values is None or len(values) < 2:
        return
    steps = np.diff(values)
    if not np.isfinite(steps).all() or steps.min() <= 0:
        return
    multiples = steps / np.median(steps)
    even = len(values) >= MIN_EVEN_FRAMES and (abs(multiples - np.round(multiples)) <= MAX_STEP_ERROR).all()
    whole = (values == np.floor(values)).all()
    if (whole and steps.min() == 1 < steps.max()) or (even and np.round(multiples.max()) > 1):
        raise DataError(
            f"{name!r} counts the frames and leaves some out, and nothing is known to tell the time",
            place=place,
            wanted="a name such as frame or timestamp where frames are missing",
            remedy=f"rename {name!r} to frame or timestamp if it numbers the frames, else remove it",
        )


def _checked(times: Times, place: str) -> Times:
    check_span(0, int(times.numbers[-1]), len(times.numbers), place)
    return times


def _unusable(name: str, found: str, place: str) -> DataError:
    return DataError(
        f"{name!r} holds {found}",
        place=place,
        wanted="a frame number or a time of each frame, which increases",
        remedy=f"correct it; or rename or remove {name!r} if it is no time of frames",
    )
