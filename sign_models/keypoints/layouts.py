"""Layouts of landmarks. Only this file and `landmarks` contain landmark indices.

A layout is a tuple of names of `landmarks` in the order of its file. `CANONICAL` is the layout of the models, and
`to_canonical` maps to it by name. T frames, K landmarks of a layout, C landmarks of CANONICAL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.landmarks import (
    COCO_BODY,
    COCO_BODY_18,
    COCO_FEET,
    FACE_68,
    FACE_70,
    FINGERS,
    HALPE_BODY,
    HUMAN36M_BODY,
    IGNORED,
    ISHARAH_LIPS,
    KINECT_BODY_25,
    LEFT_HAND,
    MEDIAPIPE_POSE,
    MEDIAPIPE_WORLD,
    MESH_468,
    MESH_478,
    MESH_CONTOURS,
    MESH_NAMES,
    OPENPOSE_135_BODY,
    OPENPOSE_BODY_8,
    OPENPOSE_BODY_18,
    OPENPOSE_BODY_25,
    RIGHT_HAND,
    SAPIENS_308,
    SKELS_BODY,
    mesh,
    prefixed,
    split,
)

_HANDS = LEFT_HAND + RIGHT_HAND
_HAND_PARTS = ("left_hand", "right_hand")

LAYOUTS: dict[str, tuple[str, ...]] = {
    "mediapipe_75": MEDIAPIPE_POSE + _HANDS,
    "mediapipe_178": prefixed(
        "body",
        split(
            "left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip right_hip",
        ),
    )
    + mesh(MESH_CONTOURS)
    + _HANDS,
    "mediapipe_543": MEDIAPIPE_POSE + MESH_468 + _HANDS,
    "mediapipe_553": MEDIAPIPE_POSE + MESH_478 + _HANDS,
    "mediapipe_576": MEDIAPIPE_POSE + MESH_468 + _HANDS + MEDIAPIPE_WORLD,
    "mediapipe_586": MEDIAPIPE_POSE + MESH_478 + _HANDS + MEDIAPIPE_WORLD,
    "mediapipe_pose_33": MEDIAPIPE_POSE,
    "coco_17": COCO_BODY,
    "coco_wholebody_133": COCO_BODY + COCO_FEET + FACE_68 + _HANDS,
    "halpe_26": HALPE_BODY,
    "halpe_136": HALPE_BODY + FACE_68 + _HANDS,
    "openpose_8_hands_50": OPENPOSE_BODY_8 + _HANDS,
    "openpose_18": OPENPOSE_BODY_18,
    "openpose_25": OPENPOSE_BODY_25,
    "openpose_18_hands_60": OPENPOSE_BODY_18 + _HANDS,
    "openpose_25_hands_67": OPENPOSE_BODY_25 + _HANDS,
    # What rtmlib writes when asked for OpenPose's order.
    "rtmlib_134": OPENPOSE_BODY_18 + COCO_FEET + FACE_68 + _HANDS,
    "openpose_130": OPENPOSE_BODY_18 + FACE_70 + _HANDS,
    "openpose_135": OPENPOSE_135_BODY + LEFT_HAND[1:] + RIGHT_HAND[1:] + FACE_70,
    "openpose_137": OPENPOSE_BODY_25 + FACE_70 + _HANDS,
    # How2Sign as GloFE loads it: the face comes last.
    "glofe_137": OPENPOSE_BODY_25 + _HANDS + FACE_70,
    # The joints of .skels files: OpenPose's upper body and hands after lifting, which swapped the names of the sides.
    "skels_50": SKELS_BODY + RIGHT_HAND + LEFT_HAND,
    "sapiens_308": SAPIENS_308,
    # Hands, lips and the upper body, MediaPipe's, as Isharah's pickles have them.
    "isharah_86": RIGHT_HAND + LEFT_HAND + ISHARAH_LIPS + MEDIAPIPE_POSE[:25],
    "human36m_17": HUMAN36M_BODY,
    "coco_18": COCO_BODY_18,
    "coco_18_hands_60": COCO_BODY_18 + _HANDS,
    "kinect_25": KINECT_BODY_25,
    # MediaPipe's pose without the legs.
    "mediapipe_pose_25": MEDIAPIPE_POSE[:25],
    "mediapipe_67": MEDIAPIPE_POSE[:25] + _HANDS,
    "hands_42": _HANDS,
    "right_hand_21": RIGHT_HAND,
    "left_hand_21": LEFT_HAND,
}

_BODY = tuple(n for n in COCO_BODY if not n.endswith(("knee", "ankle")))
_FACE = prefixed("face", MESH_NAMES.values())
CANONICAL: tuple[str, ...] = _BODY + LEFT_HAND + RIGHT_HAND + _FACE
LAYOUTS["canonical"] = CANONICAL


def _part(name: str) -> slice:
    places = [i for i, n in enumerate(CANONICAL) if n.startswith(name + ".")]
    return slice(places[0], places[-1] + 1)


PARTS: dict[str, slice] = {name: _part(name) for name in ("body", "left_hand", "right_hand", "face")}
PLACE: dict[str, int] = {name: i for i, name in enumerate(CANONICAL)}


def mirrored(name: str) -> str:
    """Name the landmark on the other side of the body, such as "body.right_eye" for "body.left_eye".

    Args:
        name: Name of a landmark.

    Returns:
        Name of its counterpart, the same for a landmark in the middle.
    """
    swap = {"left": "right", "right": "left"}
    return ".".join("_".join(swap.get(word, word) for word in part.split("_")) for part in name.split("."))


MIRROR: np.ndarray = np.array([PLACE[mirrored(name)] for name in CANONICAL])
MIRROR.flags.writeable = False


def _bones() -> tuple[tuple[int, int], ...]:
    chains = [
        split("body.left_ear body.left_eye body.nose body.right_eye body.right_ear"),
        split("body.left_wrist body.left_elbow body.left_shoulder"),
        split("body.right_wrist body.right_elbow body.right_shoulder"),
        split("body.left_shoulder body.right_shoulder"),
        split("body.left_shoulder body.left_hip body.right_hip body.right_shoulder"),
    ]
    for hand in _HAND_PARTS:
        chains += [(f"{hand}.wrist", *(n for n in CANONICAL if n.startswith(f"{hand}.{f}"))) for f in FINGERS]
    jaw = [f"right_jaw_{i}" for i in (0, 2, 4, 6)] + ["chin"] + [f"left_jaw_{i}" for i in (6, 4, 2, 0)]
    lips = split("mouth_right mouth_upper_right mouth_upper mouth_upper_left mouth_left mouth_lower mouth_right")
    lids = split("mouth_right mouth_inner_upper mouth_left mouth_inner_lower mouth_right")
    chains += [prefixed("face", chain) for chain in (jaw, lips, lids)]
    for side in ("left", "right"):
        chains.append(prefixed("face", [f"{side}_brow_{i}" for i in (0, 2, 4)]))
        chains.append(prefixed("face", [f"{side}_eye_{i}" for i in split("outer upper inner lower outer")]))
    return tuple((PLACE[a], PLACE[b]) for chain in chains for a, b in pairwise(chain))


BONES: tuple[tuple[int, int], ...] = _bones()


def _substitutes() -> dict[str, list[tuple[str, str]]]:
    """Substitutes of a canonical landmark that a layout lacks: pairs whose mean is taken. A pair may repeat one."""
    found = {"body.nose": [("face.nose_tip",) * 2], "face.nose_tip": [("body.nose",) * 2]}
    for side in ("left", "right"):
        found[f"body.{side}_eye"] = [
            (f"body.{side}_eye_inner", f"body.{side}_eye_outer"),
            (f"face.{side}_eye_inner", f"face.{side}_eye_outer"),
        ]
        found[f"body.{side}_ear"] = [(f"face.{side}_jaw_0",) * 2]
        found[f"body.{side}_wrist"] = [(f"{side}_hand.wrist",) * 2]
        found[f"face.mouth_{side}"] = [(f"body.mouth_{side}",) * 2]
        for corner in ("inner", "outer"):
            found[f"face.{side}_eye_{corner}"] = [(f"body.{side}_eye_{corner}",) * 2]
        for lid in ("upper", "lower"):
            found[f"face.{side}_eye_{lid}"] = [(f"face.{side}_eye_{lid}_0", f"face.{side}_eye_{lid}_1")]
    return found


SUBSTITUTES = _substitutes()
KNOWN_NAMES = frozenset(name for names in LAYOUTS.values() for name in names)

_NAME_BY_LANDMARKS = {names: name for name, names in LAYOUTS.items()}


class DescribedLayout(str):
    """Name of a layout that a file describes, derived from its landmarks.

    The name carries the landmarks, so that no registry grows in a server that sees many layouts in many threads.

    Attributes:
        names: Landmarks in their order.
    """

    names: tuple[str, ...]

    def __new__(cls, names: tuple[str, ...]) -> DescribedLayout:
        """Name the layout of these landmarks.

        Args:
            names: Landmarks in their order.

        Returns:
            The name.
        """
        name = super().__new__(cls, f"custom:{len(names)}:{hashlib.sha256(' '.join(names).encode()).hexdigest()[:16]}")
        name.names = names
        return name

    def __getnewargs__(self) -> tuple[Any]:
        return (self.names,)


@lru_cache(256)
def sources_of(layout: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Map a layout to the canonical landmarks.

    Args:
        layout: Names of its landmarks.

    Returns:
        source: (C,) index in the layout, or the first of two whose mean is taken. averaged: (A,) canonical landmarks
        that are means. partner: (A,) second index of each. absent: (C,) bool, canonical landmarks without a source.
    """
    place = {name: i for i, name in enumerate(layout)}
    pairs = []
    for name in CANONICAL:
        part, landmark = name.split(".")
        options = [(name, name), *SUBSTITUTES.get(name, [])]
        if landmark == "wrist" and part in _HAND_PARTS and f"{part}.thumb_tip" in place:
            options.append((f"body.{part.removesuffix('_hand')}_wrist",) * 2)  # this hand starts at the thumb
        pairs.append(next(((place[a], place[b]) for a, b in options if a in place and b in place), (-1, -1)))
    first, second = np.array(pairs).T
    averaged = np.flatnonzero(first != second)
    return np.maximum(first, 0), averaged, second[averaged], first < 0


def to_canonical(points: np.ndarray, confidence: np.ndarray, layout: str) -> tuple[np.ndarray, np.ndarray]:
    """Map a clip to the canonical landmarks.

    A landmark without a source in the layout gets confidence 0. A mean of two gets the lower of their confidences.

    Args:
        points: (T, K, 2).
        confidence: (T, K).
        layout: Name of the layout.

    Returns:
        (T, C, 2) points and (T, C) confidence, float32.

    Raises:
        DataError: The layout is unknown.
    """
    return batch_to_canonical([points], [confidence], layout)


def batch_to_canonical(
    points: Sequence[np.ndarray], confidence: Sequence[np.ndarray], layout: str
) -> tuple[np.ndarray, np.ndarray]:
    """Map several clips of one layout to the canonical landmarks, as to_canonical does.

    Args:
        points: (T, K, 2) of each clip.
        confidence: (T, K) of each clip.
        layout: Name of the layout.

    Returns:
        (F, C, 2) points and (F, C) confidence, float32, of F concatenated frames.

    Raises:
        DataError: The layout is unknown.
    """
    source, averaged, partner, absent = sources_of(names_of(layout))
    # A landmark is one complex number x + iy, because numpy is slow at axes of length 2.
    planes = [np.ascontiguousarray(of_clip, np.float32).view(np.complex64)[..., 0] for of_clip in points]
    scores = [np.asarray(of_clip, np.float32) for of_clip in confidence]
    mapped, mapped_scores = _columns(planes, source), _columns(scores, source)
    if len(averaged):
        mapped[:, averaged] = (mapped[:, averaged] + _columns(planes, partner)) * np.float32(0.5)
        mapped_scores[:, averaged] = np.minimum(mapped_scores[:, averaged], _columns(scores, partner))
    if absent.any():
        mapped_scores[:, absent] = 0
    seen = mapped_scores > 0
    if not seen.all():
        np.putmask(mapped, ~seen, 0)
    return mapped.view(np.float32).reshape(*mapped.shape, 2), mapped_scores


def depth_to_canonical(depth: np.ndarray, layout: str) -> np.ndarray:
    """Map depth to the canonical landmarks, as to_canonical maps points.

    Args:
        depth: (T, K).
        layout: Name of the layout.

    Returns:
        (T, C) float32. Landmarks without a source have any value.
    """
    source, averaged, partner, _ = sources_of(names_of(layout))
    depth = np.asarray(depth, np.float32)
    mapped = depth[:, source]
    mapped[:, averaged] = (mapped[:, averaged] + depth[:, partner]) * np.float32(0.5)
    return mapped


def _columns(arrays: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    """Columns `places` of concatenated arrays (T, K)."""
    out, end = np.empty((sum(map(len, arrays)), len(places)), arrays[0].dtype), 0
    for array in arrays:
        begin, end = end, end + len(array)
        array.take(places, 1, out=out[begin:end], mode="clip")  # numpy copies twice in its other modes
    return out


def names_of(layout: str, *, place: str = "") -> tuple[str, ...]:
    """Look up the landmarks of a layout.

    Args:
        layout: Name in LAYOUTS, or a DescribedLayout.
        place: What an error message names.

    Returns:
        Names of the landmarks in their order.

    Raises:
        DataError: The layout is unknown. The message names the most similar one.
    """
    if not isinstance(layout, str):
        raise DataError(
            f"a layout that is a {type(layout).__name__}",
            place=place,
            wanted="a layout's name",
            remedy="leave it out to have it told by the count of landmarks",
        )
    if isinstance(layout, DescribedLayout):
        return layout.names
    if layout not in LAYOUTS:
        near = get_close_matches(layout, LAYOUTS, 1, 0.3)
        raise DataError(
            f"unknown layout {layout[:60]!r}",
            place=place,
            wanted="one of " + ", ".join(sorted(LAYOUTS)) + ", or a YAML file of landmark names",
            remedy=f"did you mean {near[0]!r}?" if near else "see docs/formats/layouts.md",
        )
    return LAYOUTS[layout]


# Layouts that are not chosen by their count, since a more frequent layout has the same one.
_NOT_BY_COUNT = (
    "left_hand_21", "glofe_137", "skels_50", "human36m_17", "coco_18", "coco_18_hands_60", "kinect_25",
    "mediapipe_pose_25", "mediapipe_67",
)  # fmt: skip
BY_COUNT: dict[int, str] = {len(names): name for name, names in LAYOUTS.items() if name not in _NOT_BY_COUNT}


def layout_of(count: int, *, place: str = "") -> str:
    """Choose a layout by its count of landmarks. 21 are taken for a right hand.

    Args:
        count: Landmarks of a frame.
        place: What an error message names.

    Returns:
        Name of the layout.

    Raises:
        DataError: No layout has that count. The message lists the known counts.
    """
    if count not in BY_COUNT:
        known = ", ".join(f"{n} ({BY_COUNT[n]})" for n in sorted(BY_COUNT))
        raise DataError(
            f"{count} landmarks a frame fit no known layout",
            place=place,
            wanted=f"a count of {known}",
            remedy="name the layout, or describe it in a YAML file of landmark names (docs/formats/layouts.md)",
        )
    return BY_COUNT[count]


def name_of(names: Iterable[str]) -> str:
    """Name the layout of a list of landmarks.

    Args:
        names: Landmarks in their order. Unknown ones count as "_".

    Returns:
        Name in LAYOUTS, or a DescribedLayout.
    """
    names = tuple(name if name in KNOWN_NAMES else IGNORED for name in names)
    return _NAME_BY_LANDMARKS.get(names) or DescribedLayout(names)
