"""From the arrays of a file to a KeypointSequence, or to a DataError that says what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import plausible
from sign_models.keypoints.formats.source import Options
from sign_models.keypoints.layouts import layout_of, names_of
from sign_models.keypoints.sequence import RENAMED_UNITS, KeypointSequence, Unit
from sign_models.keypoints.trees import check_tree

SPLITS = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test"}

_SIDE = re.compile(r"(left|right)[_ -]?hand|hand[_ -]?(left|right)", re.IGNORECASE)
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
Clip = Callable[[], KeypointSequence]  # reads one clip; raises DataError

MAX_SCORE = 1.1  # detectors overshoot 1 a little (MMPose: 1.07); a third channel beyond this is a depth
MIN_FPS, MAX_FPS = 0.01, 10_000
MAX_ID = 1024  # characters
MAX_SIDE = 1e6  # pixels
MIN_PERCENT, MAX_PERCENT = 10.0, 255.0  # a score's scale ends at 100 or 255; a depth in metres below 10
PIXELS = 10.0  # coordinates beyond this are pixels, whatever the picture
BEYOND = 0.05  # share of the points that must be, so that a few failures of the detector decide nothing
UNIT_FRAMES = 32  # of a clip that its unit is told from
LEFT = 0.1  # share of the points that may lie left of a picture; of a centred body about half do


def clip(
    id: str,
    keypoints: Any,
    options: Options,
    *,
    source: str,
    confidence: Any = None,
    layout: str | None = None,
    unit: Unit | None = None,
    size: tuple[float, float] | None = None,
    fps: Any = None,
    text: Any = None,
    split: Any = None,
    group: Any = None,
    nan: int = 0,
) -> KeypointSequence:
    """One checked clip.

    keypoints (T, K, C): C is x, y | x, y, confidence | x, y, z | x, y, z, confidence. confidence (T, K), where it is
    kept apart. nan: landmarks at NaN that the caller has made unseen. What the file says (layout, unit, size, fps)
    goes before `options`, except for the layout's name. Raises DataError.
    """
    apart = confidence is not None
    check_id(id, source)
    for what, told in (("text", text), ("split", split), ("group", group)):
        check_characters(told, what, source)
    points, confidence, unseen = channels(keypoints, confidence, source)
    count = points.shape[1]
    name = options.layout or (_told_by_count(count, id, source) if layout is None else layout)
    if (wanted := len(names_of(name, place=source))) != count:
        raise DataError(
            f"{count} landmarks a frame",
            place=source,
            wanted=f"the {wanted} of layout {name!r}",
            remedy="leave the layout out to have it told by the count, or name another",
        )
    seen = confidence > 0
    if not seen.any():
        raise DataError(
            f"no landmark is seen in any of its {len(points)} frames",
            place=source,
            wanted="confidence above 0 somewhere",
            remedy="leave the clip out, or have `-e import -P on_bad_sample=reject` do so",
        )
    finite = -np.inf < points.min() and points.max() < np.inf  # quick, and true of nearly all clips
    if not finite and not np.isfinite(points[seen]).all():
        frame, landmark = np.argwhere(seen & ~np.isfinite(points).all(-1))[0]
        raise DataError(
            f"NaN or Inf at frame {frame}, landmark {landmark}, which has confidence {confidence[frame, landmark]:g}",
            place=source,
            wanted="numbers wherever a landmark is seen",
            remedy="give unseen landmarks confidence 0, or have `-e import -P on_bad_sample=reject` do so",
        )
    fitting: tuple[str, ...] | None = None
    if layout is None and options.layout is None:
        plausible.check_axes(points, confidence, name, source)
        fitting = plausible.check(points, confidence, name, source)
    return KeypointSequence(
        id=id,
        points=points,
        confidence=confidence,
        layout=name,
        unit=_unit(unit, source) or options.unit or unit_of([(points, seen)]),
        size=_size(size, source) or options.size,
        fps=_rate(fps, source) or options.fps,
        text=_string(text, "text", source),
        split=SPLITS.get(named, named) if (named := _string(split, "split", source)) else None,
        group=_string(group, "group", source),
        source=source,
        nan=nan + unseen,
        fitting=fitting,
        depth=_depth(np.asarray(keypoints), seen, apart),
    )


def _depth(array: np.ndarray, seen: np.ndarray, apart: bool) -> np.ndarray | None:
    """The depth among the channels of an array that `channels` has taken; None where all that is seen (T, K) has the
    same, which tells nothing.

    apart: whether the confidence is kept apart.
    """
    if array.shape[2] != 4 and not (array.shape[2] == 3 and (apart or not _scored(array))):
        return None
    depth = _float32(array[..., 2])
    known = depth[seen]
    return depth if known.min() < known.max() else None


def _scored(array: np.ndarray) -> bool:
    """Whether the last of three channels is a confidence."""
    return is_score(array[..., 2][~np.isnan(array[..., :2]).any(-1)])


def check_id(id: str, source: str) -> None:
    """DataError where an id is empty, longer than MAX_ID, or holds control characters or halves of surrogate pairs."""
    check_characters(id, "id", source)
    if not 0 < len(id) <= MAX_ID:
        wanted = f"1 to {MAX_ID:,}, as a file's name has"
        raise DataError(f"its id has {len(id):,} characters", place=source[:MAX_ID], wanted=wanted, remedy="rename it")


def check_characters(value: Any, what: str, source: str) -> None:
    """DataError where a text cannot be written in UTF-8, or an id or a name holds control characters such as NUL."""
    if not isinstance(value, str):
        return
    unwritable = _CONTROLS if what != "text" else _UNWRITABLE
    if found := unwritable.search(value):
        raise DataError(
            f"its {what} holds the character {found[0]!a}",
            place=source[:MAX_ID],
            wanted="characters that UTF-8 can write, and none that controls a terminal",
            remedy=f"write the {what} anew",
        )


def _told_by_count(count: int, id: str, source: str) -> str:
    """The layout of that many landmarks; of one hand, the side that the clip's path or file names."""
    name = layout_of(count, place=source)
    if name in ("right_hand_21", "left_hand_21"):
        sides = {(a or b).lower() for a, b in _SIDE.findall(f"{id} {source}")}
        return f"{sides.pop()}_hand_21" if len(sides) == 1 else name
    return name


def channels(keypoints: Any, confidence: Any, source: str) -> tuple[np.ndarray, np.ndarray, int]:
    """(T, K, 2) points and (T, K) confidence, float32, out of the channels of a file; how many landmarks are NaN.

    A landmark at NaN gets coordinates of 0 and a confidence of 0; it is counted where its own confidence is another.

    Three channels are x, y, confidence where the third lies within 0 and MAX_SCORE everywhere, else x, y, z. Without a
    confidence, a landmark at exactly 0, 0 is unseen: that is how estimators write what they did not find.
    """
    array = as_numbers(keypoints, source)
    if array.ndim != 3 or array.shape[2] not in (2, 3, 4):
        raise DataError(
            f"keypoints of shape {array.shape}",
            place=source,
            wanted="(frames, landmarks, 2 to 4): x, y | x, y, confidence | x, y, z | x, y, z, confidence",
            remedy="reshape or transpose the array before saving it",
        )
    if not len(array):
        raise DataError("has no frames", place=source, wanted="at least one", remedy="leave the clip out")
    points = _float32(array[..., :2])
    lost = np.isnan(points).any(-1)  # how pandas and MediaPipe's users write what was not found
    if confidence is not None:
        sure = _float32(as_numbers(confidence, source))
        if sure.shape == (*points.shape[:2], 1):
            sure = sure[..., 0]
        if sure.shape != points.shape[:2]:
            raise DataError(
                f"confidence of shape {sure.shape}",
                place=source,
                wanted=f"{points.shape[:2]}, as keypoints",
                remedy="leave it out, or save one number a landmark and frame",
            )
    elif array.shape[2] == 4 or (array.shape[2] == 3 and _scored(array)):
        sure = _float32(array[..., -1])
    else:
        if array.shape[2] == 3:
            _refuse_percent(array[..., 2][~lost], source)
        sure = (array != 0).any(-1).astype(np.float32)
    unseen = 0
    if lost.any():
        unseen = int(np.count_nonzero(lost & (sure != 0)))
        points, sure = np.where(lost[..., None], np.float32(0), points), np.where(lost, np.float32(0), sure)
    low, high = (sure.min(), sure.max()) if sure.size else (0.0, 0.0)  # NaN where any is
    if np.isnan(low) or (confidence is None and np.isnan(array[..., 2:][~lost]).any()):
        raise DataError(
            "NaN among the confidences or depths",
            place=source,
            wanted="0 to 1, 0 where a landmark is unseen",
            remedy="set the confidence of unseen landmarks to 0, or have `-e import -P on_bad_sample=reject` do so",
        )
    if not 0 <= low <= high <= MAX_SCORE:
        raise DataError(
            f"confidence from {low:g} to {high:g}",
            place=source,
            wanted="0 (unseen) to 1",
            remedy="divide the scores by their maximum, or set unseen landmarks to 0",
        )
    return points, sure if high <= 1 else np.minimum(sure, 1), unseen


def _refuse_percent(channel: np.ndarray, source: str) -> None:
    """DataError where a third channel is neither a confidence of 0 to 1 nor clearly a depth, which has both signs."""
    low, high = (channel.min(), channel.max()) if channel.size else (0, 0)
    if low >= 0 and MIN_PERCENT < high <= MAX_PERCENT:
        raise DataError(
            f"a third channel from {low:g} to {high:g}, which may be a confidence in percent or a depth",
            place=source,
            wanted="a confidence of 0 to 1, or x, y, z and a confidence",
            remedy="divide a confidence by its maximum, such as 100; give a depth a fourth channel with the confidence",
        )


def _float32(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.float32:
        return array
    with np.errstate(over="ignore"):  # what is too large becomes Inf, which is refused where it is seen
        return array.astype(np.float32, copy=False)


def is_score(channel: np.ndarray) -> bool:
    return bool(channel.size == 0 or (channel.min() >= 0 and channel.max() <= MAX_SCORE))


def as_numbers(values: Any, source: str) -> np.ndarray:
    """An array of numbers, also out of nested lists. DataError on ragged lists, strings and objects."""
    if isinstance(values, list | tuple):
        check_tree(values, source, numbers=True)  # numpy would make an array of strings as long as the longest
    try:
        array = np.asarray(values)
        if array.dtype == object:
            array = np.asarray(values, np.float32)
    except (ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise DataError(
            f"keypoints that are no regular array ({str(error)[:80]})",
            place=source,
            wanted="(frames, landmarks, channels)",
            remedy="give every frame the same landmarks, the unseen ones with confidence 0",
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"keypoints of type {array.dtype}", place=source, wanted="numbers", remedy="save it again as float32"
        )
    return array


def unit_of(clips: Iterable[tuple[np.ndarray, np.ndarray]]) -> Unit:
    """The unit that the seen points of some clips are in, told from their range.

    Pixels: one point in twenty is beyond PIXELS. Fractions of a picture: hardly an x is negative. Else a centred body.
    """
    counted = beyond = left = 0
    for points, seen in clips:
        step = -(-len(points) // UNIT_FRAMES)
        points, seen = points[::step], seen[::step]
        if points.size and points.min() >= 0 and points.max() <= PIXELS:  # in most pictures; no NaN is
            counted += int(np.count_nonzero(seen))
            continue
        x, y = points[..., 0], points[..., 1]
        usable = seen & np.isfinite(x) & np.isfinite(y)
        counted += int(np.count_nonzero(usable))
        beyond += int(np.count_nonzero(usable & ((np.abs(x) > PIXELS) | (np.abs(y) > PIXELS))))
        left += int(np.count_nonzero(usable & (x < 0)))
    if not counted or beyond > BEYOND * counted:
        return "pixel"
    return "normalized" if left <= LEFT * counted else "centered"


def _unit(unit: Any, source: str) -> Unit | None:
    for known in get_args(Unit):
        if isinstance(unit, str) and unit == known:
            return known
    if unit is None:
        return None
    wanted, new = ", ".join(get_args(Unit)), RENAMED_UNITS.get(unit) if isinstance(unit, str) else None
    remedy = f"write {new}" if new else "leave it out to have it told"
    raise DataError(f"the unit {unit!r:.40}, which is unknown", place=source, wanted=wanted, remedy=remedy)


def _size(size: Any, source: str) -> tuple[float, float] | None:
    if size is None:
        return None
    try:
        width, height = (float(side) for side in size)
    except (TypeError, ValueError, OverflowError):
        width = height = 0.0
    if not (0 < width < MAX_SIDE and 0 < height < MAX_SIDE):
        raise DataError(
            "a size that is no width and height",
            place=source,
            wanted="pixels, such as (640, 480)",
            remedy="leave it out where it is unknown",
        )
    return width, height


def _rate(fps: Any, source: str) -> float | None:
    if fps is None:
        return None
    if not isinstance(fps, int | float) or not (fps == 0 or MIN_FPS <= fps <= MAX_FPS):
        raise DataError(
            "a frame rate that is no number of frames a second",
            place=source,
            wanted=f"a number such as 25, from {MIN_FPS:g} to {MAX_FPS:,}",
            remedy="leave it out where it is unknown",
        )
    return float(fps) or None


def _string(value: Any, what: str, source: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    raise DataError(
        f"a {what} that is a {type(value).__name__}",
        place=source,
        wanted="a string",
        remedy="leave it out where there is none",
    )
