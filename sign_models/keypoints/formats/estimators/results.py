"""MediaPipe's results in JSON, of Tasks and Holistic, in the spelling of Python and JavaScript; and similar frames.

A file is a clip: [frame, ...], {"frames": [frame, ...], "fps"?, "text"?} or {"0": frame, "4": frame}; or a folder holds
a frame a file. A frame is {"poseLandmarks": landmarks, "leftHandLandmarks", "rightHandLandmarks", "faceLandmarks"},
{"landmarks": [landmarks, ...], "handedness"?}, or {"keypoints": [[x, y, score], ...]} in a layout chosen by the count.
Landmarks are [{"x", "y", "z", "visibility"}, ...], or a list of these, one a person, or [[x, y, ...], ...]. A frame
number or a timestamp in a frame is its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, is_score, make_sequence
from sign_models.keypoints.formats.estimators import numbered
from sign_models.keypoints.formats.estimators.people import MAX_PEOPLE, signer_in_frames
from sign_models.keypoints.formats.files.containers import read_json
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.frame_times import Times, of_frames
from sign_models.keypoints.formats.part_names import PARTS, are_named, part_of
from sign_models.keypoints.formats.parts import LANDMARKS
from sign_models.keypoints.formats.tables.columns import FRAME_KEY, GROUP, SPLIT, TEXT, first_of, normal_name
from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE
from sign_models.keypoints.layouts import name_of
from sign_models.keypoints.sequence import KeypointSequence

FRAMES = ("frames", "results", "data", "poses", "landmarks", "sequence", "detections")
KEYPOINTS = ("keypoints", "landmarks", "points", "joints", "pose", "keypoint")
HANDS = ("hands", "hand", "hand_landmarks", "handlandmarks", "multi_hand_landmarks", "multihandlandmarks")
SIDES = ("handedness", "handednesses", "multi_handedness", "multihandedness")
_PROBED_FRAMES = 16
_POSE_NAMES = tuple(name.removeprefix("body.") for name in MEDIAPIPE_POSE)
_WRISTS = tuple(MEDIAPIPE_POSE.index(f"body.{side}_wrist") for side in ("left", "right"))
Frame = dict[str, list[np.ndarray]]  # (K, 4) x, y, z, score of each person, by part, or "all" for a whole layout


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a JSON file has frames of landmarks, a pickle a list of frames in parts, or a folder has such files.

    Raises:
        DataError: The file is broken.
    """
    if source.kind == "json" and _frames(source.tree) is not None:
        return True
    if source.kind == "pickle" and isinstance(source.tree, list) and source.tree:
        some = source.tree[:_PROBED_FRAMES]
        named = all(isinstance(frame, Mapping) and are_named(map(str, frame)) for frame in some)
        return named and _frames(source.tree) is not None
    return isinstance(source.first_frame, Mapping) and _is_frame(source.first_frame)


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read a file, or the frames of each clip in a folder.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    if not source.is_folder and (frames := _frames(source.tree)) is not None:
        yield partial(_read, frames, source.tree, source.id, source.name, options)
        return
    for pictures in numbered.clips(source):
        yield partial(_read_files, pictures, options)


def _read_files(pictures: numbered.FrameFiles, options: ReadOptions) -> KeypointSequence:
    frames = [(number, read_json(path)) for number, path in pictures.files]
    return _read(frames, {}, pictures.id, pictures.place, options)


def _frames(tree: Any) -> list[tuple[int | None, Any]] | None:
    """Number, or None without one, and content of every frame. None if the tree is something else."""
    if isinstance(tree, Mapping):
        keys = [FRAME_KEY.fullmatch(str(key)) for key in tree]
        if keys and all(keys) and len({key["before"] for key in keys if key}) == 1:
            numbered_frames = zip(keys, tree.values(), strict=True)
            found: list[tuple[int | None, Any]] = [(int(key["number"]), frame) for key, frame in numbered_frames if key]
            return found if any(_is_frame(frame, bare=True) for _, frame in found[:_PROBED_FRAMES]) else None
        held = next(
            (tree[name] for name in tree if normal_name(name) in FRAMES and isinstance(tree[name], list | dict)), None
        )
        if isinstance(held, Mapping):
            return _frames(held)
        tree = held
    if not isinstance(tree, list) or not any(map(_is_frame, tree[:_PROBED_FRAMES])):
        return None
    return [(None, frame) for frame in tree]


def _is_frame(frame: Any, bare: bool = False) -> bool:
    """Whether a value has landmarks of one image. `bare`: a list of landmarks counts too."""
    if isinstance(frame, Mapping):
        return any(_sets(frame[name]) for name in frame if _kind(name)) and not {"people", "instances"} & set(frame)
    return bare and isinstance(frame, list) and bool(frame) and _is_point(frame[0])


def _kind(name: Any) -> str | None:
    """What a key of a frame holds: a part, "hands" or "all". None for no landmarks."""
    word = normal_name(name)
    if word in HANDS:
        return "hands"
    if "world" in word:
        return None
    return "all" if word in KEYPOINTS else part_of(str(name))


def _sets(value: Any) -> list[Any]:
    """Landmarks of each person or hand, as lists of points. Numbers in lists of lists are frames and not people."""
    if isinstance(value, Mapping):
        value = _in_order(value) or value.get("landmark", value.get("landmarks"))
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list) or not value:
        return []
    if _is_point(value[0]):
        return [value]
    return [found for one in value[:MAX_PEOPLE] for found in _sets(one) if isinstance(found[0], Mapping)]


def _in_order(points: Mapping[str, Any]) -> list[Any] | None:
    """Points by name or number, {"NOSE": point, ...} or {"0": point, ...}, in their order. None for another mapping."""
    if not points or not all(map(_is_point, points.values())):
        return None
    keys = {str(key).lower(): key for key in points}
    numbers = [str(number) for number in range(len(points))]
    order = next((names for names in (_POSE_NAMES, HAND, numbers) if set(names) == set(keys)), None)
    return [points[keys[name]] for name in order] if order else None


def _is_point(point: Any) -> bool:
    if isinstance(point, Mapping):
        return isinstance(point.get("x"), int | float) and isinstance(point.get("y"), int | float)
    return isinstance(point, list) and 2 <= len(point) <= 4 and all(isinstance(v, int | float) for v in point)


def _array(points: list[Any], scored: bool, place: str) -> np.ndarray:
    """Convert points to (K, 4) x, y, z, score. The score is NaN where the third of three numbers may be one.

    `scored`: whether scores are used, since those of hands are always 0.
    """
    fields: list[str] = []
    if isinstance(points[0], Mapping):
        scores = [name for name in ("visibility", "score", "confidence") if name in points[0]] if scored else []
        fields = ["x", "y", *(["z"] if isinstance(points[0].get("z"), int | float) else []), *scores[:1]]
        points = [[one.get(name) for name in fields] if isinstance(one, Mapping) else one for one in points]
    array = as_numbers(points, place)
    if array.ndim != 2 or array.shape[1] not in (2, 3, 4):
        raise DataError(
            f"landmarks of shape {array.shape}", place=place, wanted="(K, 2 to 4)", remedy="export it again"
        )
    seen = (array[:, :2] != 0).any(1).astype(np.float64)
    has_z = "z" in fields if fields else array.shape[1] > 2
    depth, last = array[:, 2] if has_z else np.zeros(len(array)), array[:, -1]
    if not fields:
        score = (seen, np.full(len(array), np.nan), last)[array.shape[1] - 2]  # NaN: _tell_thirds will tell
    else:
        score = last if fields[-1] not in "xyz" and last.any() else seen
    return np.column_stack([array[:, :2], depth, score]).astype(np.float32)


def _tell_thirds(frames: list[Frame]) -> None:
    """Where landmarks have three numbers and no names, tell by all frames of a part whether the third is a score."""
    for part in {part for frame in frames for part in frame}:
        unknown = [array for frame in frames for array in frame.get(part, ()) if np.isnan(array[:, 3]).any()]
        thirds = np.concatenate([array[:, 2] for array in unknown]) if unknown else np.zeros(0)
        if thirds.any() and is_score(thirds):
            for array in unknown:
                array[:, 3], array[:, 2] = array[:, 2], 0
        for array in unknown:
            unseen = np.isnan(array[:, 3])
            array[unseen, 3] = (array[unseen, :2] != 0).any(1)


def _frame(frame: Any, place: str) -> Frame:
    found: Frame = {}
    if frame is None or frame == []:
        return found
    if isinstance(frame, list):
        frame = {"keypoints": frame}
    if not isinstance(frame, Mapping):
        raise DataError(f"is a {type(frame).__name__}", place=place, wanted="an object with landmarks")
    for name in frame:
        kind = _kind(name)
        sets = _sets(frame[name]) if kind else []
        if kind and not sets and _holds_something(frame[name]):
            wanted = 'a list of points, {"x": ..., "y": ...} or [x, y, ...], or null where nothing was found'
            raise DataError(f"{str(name)[:40]!r} holds no list of points", place=place, wanted=wanted)
        arrays = [_array(points, kind in ("pose", "all"), f"{place}: {name}") for points in sets]
        if kind == "all" and arrays and len(arrays[0]) == len(MEDIAPIPE_POSE):
            kind = "pose"
        if kind == "all" and (sides := _sides(frame)):
            kind = "hands"
        if kind == "hands":
            found.setdefault("hands", []).extend(arrays)
        elif kind and arrays:
            found.setdefault(kind, []).extend(arrays)
    if hands := found.pop("hands", None):
        nested = [frame[name] for name in frame if _kind(name) == "hands" and isinstance(frame[name], Mapping)]
        sides = _sides(frame) or next(map(_sides, nested), [])
        for side, hand in _placed(hands, sides, next(iter(found.get("pose", [])), None), place):
            found.setdefault(f"{side}_hand", []).append(hand)
    return found


def _holds_something(value: Any) -> bool:
    """Whether a value has any number in it: what was not found is null, empty, or lists of these."""
    if isinstance(value, Mapping):
        return any(map(_holds_something, value.values()))
    if isinstance(value, list | np.ndarray):
        return any(map(_holds_something, value))
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _sides(frame: Mapping[str, Any]) -> list[str]:
    """Side of each hand as the frame states it: "left" or "right"."""
    stated = next((frame[name] for name in frame if normal_name(name) in SIDES), None)
    found = []
    for one in stated if isinstance(stated, list) else ():
        while isinstance(one, list) and one:
            one = one[0]
        if isinstance(one, Mapping):
            inner = next((one[name] for name in one if normal_name(name) in ("classification", "categories")), None)
            one = inner[0] if isinstance(inner, list) and inner and isinstance(inner[0], Mapping) else one
            one = next((one[n] for n in one if normal_name(n) in ("categoryname", "category_name", "label")), "")
        found.append(str(one).strip().lower())
    return found


def _placed(
    hands: list[np.ndarray], sides: list[str], pose: np.ndarray | None, place: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Side and landmarks of each hand: by the nearer wrist of the body, else as the frame states it.

    MediaPipe names the sides as if the image were mirrored, so that the body is more reliable.
    """
    names = ("left", "right")
    if pose is not None and len(pose) > max(_WRISTS):
        gaps = np.array([[np.hypot(*(hand[0, :2] - pose[wrist, :2])) for wrist in _WRISTS] for hand in hands])
        for _ in range(min(len(hands), 2)):
            h, s = divmod(int(np.argmin(gaps)), 2)
            yield names[s], hands[h]
            gaps[h], gaps[:, s] = np.inf, np.inf
        return
    if len(sides) != len(hands) or not set(sides) <= set(names):
        found = f"{len(hands)} hands called {', '.join(map(repr, sides)) or 'nothing'}"
        raise DataError(
            found, place=place, wanted="Left or Right for each, or a body beside them", remedy="export handedness too"
        )
    yield from dict(zip(reversed(sides), reversed(hands), strict=True)).items()  # of two of one side the first


def _read(
    frames: Sequence[tuple[int | None, Any]], tree: Any, id: str, place: str, options: ReadOptions
) -> KeypointSequence:
    found = [_frame(frame, f"{place}: frame {i}") for i, (_, frame) in enumerate(frames)]
    _tell_thirds(found)
    numbers, fps = _times(frames, tree, place)
    layout, sizes = _layout(found, place)
    people = []
    for number, frame in zip(numbers.tolist(), found, strict=True):
        count = max((len(sets) for sets in frame.values()), default=0)
        people.append((number, [_person(frame, sizes, p) for p in range(count)]))
    points, confidence = signer_in_frames(people, place)
    metadata = _metadata(tree)
    rate = metadata.pop("fps", None) or fps
    return make_sequence(id, points, options, source=place, confidence=confidence, layout=layout, fps=rate, **metadata)


def _layout(frames: list[Frame], place: str) -> tuple[str | None, dict[str, int]]:
    """Layout of the parts that any frame has, or None if it is chosen by the count, and landmarks of each part."""
    counts: dict[str, set[int]] = {}
    for frame in frames:
        for part, sets in frame.items():
            counts.setdefault(part, set()).update(map(len, sets))
    if not counts:
        raise DataError("nobody in any frame", place=place, wanted="landmarks somewhere", remedy="leave the clip out")
    for part, several in counts.items():
        known = LANDMARKS.get(part, several)
        if len(several) > 1 or not several <= set(known):
            found = f"{' or '.join(map(str, sorted(several)))} landmarks of {part}"
            raise DataError(found, place=place, wanted=f"one of {', '.join(map(str, sorted(known)))}")
    sizes = {part: counts[part].pop() for part in (*PARTS, "all") if part in counts}
    if "all" in sizes:
        if len(sizes) > 1:
            raise DataError(
                f"landmarks beside {', '.join(sizes)}", place=place, wanted="the parts of a body, or all in one"
            )
        return None, sizes
    return name_of(name for part, size in sizes.items() for name in LANDMARKS[part][size]), sizes


def _person(frame: Frame, sizes: dict[str, int], p: int) -> np.ndarray:
    """Landmarks (K, 4) of a person. Parts that were not found are unseen."""
    found = {part: sets[p] for part, sets in frame.items() if p < len(sets)}
    return np.concatenate([found.get(part, np.zeros((size, 4), np.float32)) for part, size in sizes.items()])


def _times(frames: Sequence[tuple[int | None, Any]], tree: Any, place: str) -> Times:
    """Number of each frame by its key, its own number, timestamp or picture, or by its order."""
    keys = [number for number, _ in frames if number is not None]
    if len(keys) == len(frames):
        return Times(np.array(keys), None)
    beside = {name: tree[name] for name in tree if normal_name(name) not in FRAMES} if isinstance(tree, Mapping) else {}
    return of_frames([frame for _, frame in frames], place, beside)


def _value(frame: Any, names: Sequence[str]) -> Any:
    if not isinstance(frame, Mapping):
        return None
    column = first_of(map(str, frame), names)
    return frame.get(column) if column else None


def _metadata(tree: Any) -> dict[str, Any]:
    """Metadata of a file besides the frames, as arguments of make_sequence."""
    if not isinstance(tree, Mapping):
        return {}
    found = {field: _value(tree, names) for field, names in (("text", TEXT), ("split", SPLIT), ("group", GROUP))}
    metadata: dict[str, Any] = {f: value for f, value in found.items() if isinstance(value, str) and value.strip()}
    meta = next((tree[name] for name in ("metadata", "meta", "info") if isinstance(tree.get(name), Mapping)), tree)
    for about in (tree, meta):
        if isinstance(about.get("fps"), int | float) and about["fps"]:
            metadata["fps"] = about["fps"]
        if all(isinstance(about.get(side), int | float) and about[side] > 0 for side in ("width", "height")):
            metadata["size"] = (about["width"], about["height"])
    return metadata
