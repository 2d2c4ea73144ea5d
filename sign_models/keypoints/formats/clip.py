"""Checks of the arrays of a file, which make a KeypointSequence or raise a DataError.

T frames, K landmarks, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import frame_times, plausible
from sign_models.keypoints.formats.files.source import ReadOptions
from sign_models.keypoints.formats.metadata import checked_rate, checked_size, checked_string, checked_unit, unit_of
from sign_models.keypoints.formats.part_names import side_of
from sign_models.keypoints.layouts import layout_of, names_of
from sign_models.keypoints.sequence import SPLIT_ALIASES, KeypointSequence, Unit
from sign_models.keypoints.trees import check_tree

_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
ClipReader = Callable[[], KeypointSequence]  # reads one clip, or raises DataError

MAX_SCORE = 1.1  # detectors exceed 1 a little (MMPose: 1.07). A third channel beyond this is depth
MAX_ID = 1024  # characters
MIN_PERCENT, MAX_PERCENT = 10.0, 255.0  # a score may end at 100 or 255, a depth in metres is below 10


def make_sequence(  # noqa: PLR0913 - all that any format states of a clip, each by its name
    id: str,
    keypoints: Any,
    options: ReadOptions,
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
    beside: Mapping[str, Any] | None = None,
) -> KeypointSequence:
    """Make a sequence of what a file holds for a clip. What the file states goes before `options`, but for the layout.

    Args:
        id: Id of the clip.
        keypoints: (T, K, 2 to 4): x, y | x, y, confidence | x, y, z | x, y, z, confidence.
        options: What the user says about files that do not say it.
        source: What an error message names.
        confidence: (T, K), where the file has it in another array.
        layout: Name of the layout. None: chosen by the count of landmarks.
        unit: Unit of the points. None: inferred from their range.
        size: Size of the images in pixels.
        fps: Frames per second.
        text: Text of the clip.
        split: Name of a split.
        group: Signer or source video.
        nan: Landmarks that were NaN and that the caller has made unseen.
        beside: What else the file has for the clip. Where it tells frames' times, missing ones become unseen frames.

    Returns:
        The sequence.

    Raises:
        DataError: Shapes, values or metadata make no clip.
    """
    labels = _checked_labels(id, text, split, group, source)
    array, confidence, told = _at_their_times(as_numbers(keypoints, source), confidence, beside, source)
    points, scores, depth, unseen = split_channels(array, confidence, source)
    name = _choose_layout(options.layout, layout, points.shape[1], id, source)
    seen = _check_visible(points, scores, source)
    fitting = plausible.check(points, scores, name, source) if layout is None and options.layout is None else None
    return KeypointSequence(
        **labels,
        points=points,
        confidence=scores,
        layout=name,
        unit=checked_unit(unit, source) or options.unit or unit_of([(points, seen)]),
        size=checked_size(size, source) or options.size,
        fps=checked_rate(fps, source) or checked_rate(told, source) or options.fps,
        source=source,
        nan=nan + unseen,
        fitting=fitting,
        depth=depth if depth is not None and depth[seen].min() < depth[seen].max() else None,  # flat: no depth
    )


def _at_their_times(
    array: np.ndarray, confidence: Any, beside: Mapping[str, Any] | None, source: str
) -> tuple[np.ndarray, Any, float | None]:
    """Keypoints and confidence with unseen frames between those that have a number or time; frames per second."""
    if not beside or array.ndim != 3 or not len(array):
        return array, confidence, None
    if (times := frame_times.of_fields(beside, len(array), source)) is None:
        return array, confidence, None
    scores = None if confidence is None else as_numbers(confidence, source)
    if scores is not None and len(scores) == len(array):
        scores = frame_times.spread(scores, times.numbers)
    return frame_times.spread(array, times.numbers), scores, times.fps


def _check_visible(points: np.ndarray, confidence: np.ndarray, source: str) -> np.ndarray:
    """Which landmarks are seen, (T, K) bool. DataError where none is, or a seen one has no finite coordinates."""
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
    return seen


def _checked_labels(id: str, text: Any, split: Any, group: Any, source: str) -> dict[str, Any]:
    """Id, text, split and group of a clip; a split has its name here, such as "dev" where a file says "validation".

    DataError for characters that check_characters() refuses, and an id that is empty or longer than MAX_ID.
    """
    check_characters(id, "id", source)
    if not 0 < len(id) <= MAX_ID:
        wanted = f"1 to {MAX_ID:,}, as a file's name has"
        raise DataError(f"its id has {len(id):,} characters", place=source[:MAX_ID], wanted=wanted, remedy="rename it")
    labels = {"text": text, "split": split, "group": group}
    for what, value in labels.items():
        check_characters(value, what, source)
    found = {what: checked_string(value, what, source) for what, value in labels.items()}
    named = found["split"]
    return {"id": id, **found, "split": SPLIT_ALIASES.get(named, named) if named else None}


def check_characters(value: Any, what: str, source: str) -> None:
    """Check the characters of a text, an id or a name.

    Args:
        value: The text. Other values are not checked.
        what: What it is, such as "text" or "id".
        source: What an error message names.

    Raises:
        DataError: A text cannot be written in UTF-8, or an id or name has control characters.
    """
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


def _choose_layout(asked: str | None, stated: str | None, count: int, id: str, source: str) -> str:
    """The user's layout, else the file's, else the one of as many landmarks. DataError where it has another count."""
    name = asked or (_layout_by_count(count, id, source) if stated is None else stated)
    if (wanted := len(names_of(name, place=source))) != count:
        raise DataError(
            f"{count} landmarks a frame",
            place=source,
            wanted=f"the {wanted} of layout {name!r}",
            remedy="leave the layout out to have it told by the count, or name another",
        )
    return name


def _layout_by_count(count: int, id: str, source: str) -> str:
    """Layout by the count of landmarks. The side of a hand is taken from the path of the clip."""
    name = layout_of(count, place=source)
    if name in ("right_hand_21", "left_hand_21"):
        side = side_of(id) or side_of(source)
        return f"{side}_hand_21" if side else name
    return name


def split_channels(
    array: np.ndarray, confidence: Any, source: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, int]:
    """Split the channels of a file into points, confidence and depth.

    Three channels are x, y, confidence if the third is within 0 and MAX_SCORE everywhere, else x, y, z. Without a
    confidence, a landmark at exactly 0, 0 or -1, -1 is unseen, as estimators write it. A landmark at NaN gets
    coordinates and confidence 0.

    Args:
        array: (T, K, 2 to 4).
        confidence: (T, K) in another array, or None.
        source: What an error message names.

    Returns:
        (T, K, 2) points, (T, K) confidence and (T, K) depth or None, float32; and how many landmarks are NaN without
        confidence 0.

    Raises:
        DataError: Shapes or values make no clip.
    """
    if array.ndim != 3 or array.shape[2] not in (2, 3, 4):
        raise DataError(
            f"keypoints of shape {array.shape}",
            place=source,
            wanted="(frames, landmarks, 2 to 4): x, y | x, y, confidence | x, y, z | x, y, z, confidence",
            remedy="put the frames of a clip in one array"
            if array.ndim == 2 and array.shape[1] in (2, 3, 4)
            else "reshape or transpose the array before saving it",
        )
    if not len(array):
        raise DataError("has no frames", place=source, wanted="at least one", remedy="leave the clip out")
    points, C = _float32(array[..., :2]), array.shape[2]
    points_whole = not (points.size and np.isnan(points.min()))  # quick, and true of nearly all clips
    # As pandas and scripts for MediaPipe write what was not found.
    lost = np.zeros(points.shape[:2], bool) if points_whole else np.isnan(points).any(-1)
    third = (array[..., 2] if points_whole else array[..., 2][~lost]) if C == 3 and confidence is None else None
    scored = third is not None and is_score(third)
    if confidence is not None:
        scores = _separate_confidence(confidence, points.shape[:2], source)
    elif C == 4 or scored:
        scores = _float32(array[..., -1])
    else:
        if third is not None:
            _refuse_percent(third, source)
        scores = ((array != 0).any(-1) & (points != -1).any(-1)).astype(np.float32)
    depth, unseen = (None if C == 2 or scored else _float32(array[..., 2])), 0
    if not points_whole:
        unseen = int(np.count_nonzero(lost & (scores != 0)))
        points, scores = np.where(lost[..., None], np.float32(0), points), np.where(lost, np.float32(0), scores)
    low, high = (scores.min(), scores.max()) if scores.size else (0.0, 0.0)  # NaN where any is
    others = array[..., 2:] if points_whole else array[..., 2:][~lost]
    other_nan = confidence is None and others.size > 0 and bool(np.isnan(others.min()))
    _check_scores(low, high, np.isnan(low) or other_nan, source)
    return points, scores if high <= 1 else np.minimum(scores, 1), depth, unseen


def _check_scores(low: float, high: float, has_nan: bool, source: str) -> None:
    """Refuse NaN among confidences or depths, and confidences (from `low` to `high`) that are none."""
    if has_nan:
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


def _separate_confidence(confidence: Any, shape: tuple[int, ...], source: str) -> np.ndarray:
    scores = _float32(as_numbers(confidence, source))
    if scores.shape == (*shape, 1):
        scores = scores[..., 0]
    if scores.shape != shape:
        raise DataError(
            f"confidence of shape {scores.shape}",
            place=source,
            wanted=f"{shape}, as keypoints",
            remedy="leave it out, or save one number a landmark and frame",
        )
    return scores


def _refuse_percent(channel: np.ndarray, source: str) -> None:
    """DataError for a third channel that may be a confidence in percent. A depth has both signs."""
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
    """Tell a confidence from a depth.

    Args:
        channel: Values of any shape.

    Returns:
        Whether all values can be confidences.
    """
    return bool(channel.size == 0 or (channel.min() >= 0 and channel.max() <= MAX_SCORE))


def _with_unseen_frames(frames: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    """Frames (K, C) with NaN for those that are None or empty, in which nothing was found."""
    lost = [frame is None or (isinstance(frame, list | np.ndarray) and not len(frame)) for frame in frames]
    whole = frames[lost.index(False)] if any(lost) and not all(lost) else None
    if not isinstance(whole, list | np.ndarray) or not all(isinstance(row, list | np.ndarray) for row in whole[:1]):
        return frames
    unseen = [[np.nan] * len(row) for row in whole]
    return [unseen if is_lost else frame for frame, is_lost in zip(frames, lost, strict=True)]


def as_numbers(values: Any, source: str) -> np.ndarray:
    """Convert values of a file to an array of numbers.

    Args:
        values: Array or nested lists.
        source: What an error message names.

    Returns:
        The array.

    Raises:
        DataError: Lists are ragged, too large, or of strings or objects.
    """
    if isinstance(values, list | tuple):
        values = _with_unseen_frames(values)
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
