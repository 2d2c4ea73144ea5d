"""Metadata of clips in files: unit, size of the images, frame rate, texts; checked, or inferred from the points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast, get_args

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.sequence import RENAMED_UNITS, Unit

MIN_FPS, MAX_FPS = 0.01, 10_000
MAX_IMAGE_SIDE = 1e6  # pixels
MIN_PIXELS = 10.0  # larger coordinates are pixels
MIN_PIXEL_SHARE = 0.05  # of the points beyond MIN_PIXELS, so that a few failures of the detector decide nothing
UNIT_FRAMES = 32  # of a clip from which its unit is inferred
MAX_LEFT_SHARE = 0.1  # of the points left of an image. Of a centred body about half are


def unit_of(clips: Iterable[tuple[np.ndarray, np.ndarray]]) -> Unit:
    """Infer the unit of points from their range.

    Args:
        clips: Points (T, K, 2), and which are seen (T, K), of some clips of a file.

    Returns:
        "pixel" if more than MIN_PIXEL_SHARE of the points are beyond MIN_PIXELS. "normalized" if at most MAX_LEFT_SHARE
        have a negative x. Else "centered".
    """
    counted = beyond = left = 0
    for points, seen in clips:
        step = -(-len(points) // UNIT_FRAMES)
        points, seen = points[::step], seen[::step]
        if points.size and points.min() >= 0 and points.max() <= MIN_PIXELS:  # as of most clips. Not for NaN
            counted += int(np.count_nonzero(seen))
            continue
        x, y = points[..., 0], points[..., 1]
        usable = seen & np.isfinite(x) & np.isfinite(y)
        counted += int(np.count_nonzero(usable))
        beyond += int(np.count_nonzero(usable & ((np.abs(x) > MIN_PIXELS) | (np.abs(y) > MIN_PIXELS))))
        left += int(np.count_nonzero(usable & (x < 0)))
    if not counted or beyond > MIN_PIXEL_SHARE * counted:
        return "pixel"
    return "normalized" if left <= MAX_LEFT_SHARE * counted else "centered"


def checked_unit(unit: Any, source: str) -> Unit | None:
    """Check a unit.

    Args:
        unit: Value of a file, or None.
        source: What an error message names.

    Returns:
        The unit, or None.

    Raises:
        DataError: The unit is unknown. The message gives the new name of an old one.
    """
    if isinstance(unit, str) and unit in get_args(Unit):
        return cast(Unit, str(unit))
    if unit is None:
        return None
    wanted, new = ", ".join(get_args(Unit)), RENAMED_UNITS.get(unit) if isinstance(unit, str) else None
    remedy = f"write {new}" if new else "leave it out to have it told"
    raise DataError(f"the unit {unit!r:.40}, which is unknown", place=source, wanted=wanted, remedy=remedy)


def checked_size(size: Any, source: str) -> tuple[float, float] | None:
    """Check the size of images.

    Args:
        size: Value of a file, or None.
        source: What an error message names.

    Returns:
        Width and height in pixels, or None.

    Raises:
        DataError: The value is no width and height.
    """
    if size is None:
        return None
    try:
        width, height = (float(side) for side in size)
    except (TypeError, ValueError, OverflowError):
        width = height = 0.0
    if not (0 < width < MAX_IMAGE_SIDE and 0 < height < MAX_IMAGE_SIDE):
        raise DataError(
            "a size that is no width and height",
            place=source,
            wanted="pixels, such as (640, 480)",
            remedy="leave it out where it is unknown",
        )
    return width, height


def checked_rate(fps: Any, source: str) -> float | None:
    """Check a frame rate.

    Args:
        fps: Value of a file, or None.
        source: What an error message names.

    Returns:
        Frames per second, or None where unknown or 0.

    Raises:
        DataError: The value is no frame rate.
    """
    if fps is None:
        return None
    if isinstance(fps, np.ndarray | np.generic) and fps.size == 1:
        fps = fps.item()
    if not isinstance(fps, int | float) or not (fps == 0 or MIN_FPS <= fps <= MAX_FPS):
        raise DataError(
            "a frame rate that is no number of frames a second",
            place=source,
            wanted=f"a number such as 25, from {MIN_FPS:g} to {MAX_FPS:,}",
            remedy="leave it out where it is unknown",
        )
    return float(fps) or None


def checked_string(value: Any, what: str, source: str) -> str | None:
    """Check a text, split or group.

    Args:
        value: Value of a file, or None.
        what: What it is, such as "text".
        source: What an error message names.

    Returns:
        The value as a string, or None.

    Raises:
        DataError: The value is neither a string nor a whole number.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return str(value)
    raise DataError(
        f"a {what} that is a {type(value).__name__}",
        place=source,
        wanted="a string",
        remedy="leave it out where there is none",
    )
