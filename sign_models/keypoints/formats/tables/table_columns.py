"""Names of the columns in tables of MediaPipe's landmarks: part, landmark and axis, in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from sign_models.keypoints.formats.part_names import part_of
from sign_models.keypoints.formats.tables.columns import FRAME, first_of, name_key
from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE, MESH_478

# The order of LAYOUTS["mediapipe_553"].
TYPES = {"pose": len(MEDIAPIPE_POSE), "face": len(MESH_478), "left_hand": len(HAND), "right_hand": len(HAND)}
OFFSETS = dict(zip(TYPES, accumulate(TYPES.values(), initial=0), strict=False))
# Columns of a table with a row for each landmark.
LONG = frozenset(["frame", "type", "landmark_index", "x", "y"])
LONG_COLUMNS = LONG | {"z", "visibility", "confidence", "score"}
_AXES = {axis: axis for axis in "xyz"} | dict.fromkeys(
    ("v", "c", "vis", "visibility", "conf", "confidence", "score", "likelihood"), "c"
)
_POSE = {name.removeprefix("body."): i for i, name in enumerate(MEDIAPIPE_POSE)}
_HAND = {name: i for i, name in enumerate(HAND)}
_IGNORED = set("landmark landmarks lm point points pt kp kpt keypoint joint idx mp coord".split())
COUNTED = re.compile(r"([xyzvc])(\d{1,4})")
NAMED = re.compile(r"((?:body|face|left_hand|right_hand)\.\w+)_([xyc])")
_FRAME_KEYS = frozenset(map(name_key, FRAME))
# Names of the columns in tables with a row for each landmark. The first is ours.
_LONG = {
    "type": ("type", "part", "kind", "landmark_type", "body_part", "component"),
    "landmark_index": ("landmark_index", "landmark_id", "landmark_idx", "landmark", "index", "id", "point", "joint"),
}


class Cell(NamedTuple):
    """A column of a table with a row for each frame.

    Attributes:
        part: Part of the landmark.
        place: Index of the landmark in the part.
        axis: "x", "y", "z" or "c".
    """

    part: str
    place: int
    axis: str


@lru_cache(2**13)
def cell_of(name: str) -> Cell | None:
    """Find part, landmark and axis in the name of a column.

    Args:
        name: Such as "x_pose_0", "pose_0_x", "left_hand_WRIST_y" or "LEFT_SHOULDER_x".

    Returns:
        The cell, or None for a column of another meaning.
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", _spaced(name).lower()) if word and word not in _IGNORED]
    if len(words) < 2:
        return None
    for axis, rest in ((words[-1], words[:-1]), (words[0], words[1:]), (words[-2], [*words[:-2], words[-1]])):
        if axis in _AXES and (found := _landmark(rest)):
            return Cell(*found, _AXES[axis])
    return None


def _spaced(name: str) -> str:
    """A name with underscores between its words and numbers."""
    return re.sub(r"(?<=[a-z])(?=[A-Z]\w)|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", "_", name)


def _landmark(words: list[str]) -> tuple[str, int] | None:
    """Part and index of the landmark that words name."""
    name = "_".join(words)
    if name in _POSE:
        return "pose", _POSE[name]
    for count in range(1, len(words)):
        part, rest = part_of("_".join(words[:count])), "_".join(words[count:])
        if part is None:
            continue
        if rest.isdecimal():
            return (part, int(rest)) if len(rest) <= 4 else None
        known = _POSE if part == "pose" else _HAND if part != "face" else {}
        if rest in known:
            return part, known[rest]
    return None


def renamed(names: Sequence[str]) -> list[str]:
    """Rename columns that have different names in different tables: frame, type, landmark_index.

    Args:
        names: Columns of a table.

    Returns:
        The renamed columns.
    """
    found = [_plain(name) for name in names]
    if {"x", "y"} <= set(found):
        for name, synonyms in _LONG.items():
            if name not in found:
                column = first_of(found, synonyms)
                if column is not None and ("type" in found or name == "type"):
                    found[found.index(column)] = name
    return found


def landmark_column(names: Sequence[str]) -> str | None:
    """Find the column with the index of the landmark in a table with a row a landmark.

    Args:
        names: Columns of a table.

    Returns:
        The column, or None.
    """
    return first_of(names, _LONG["landmark_index"])


@lru_cache(2**13)
def _plain(name: str) -> str:
    """Name of a column without spaces and quotes. Frame numbers and axes have one form."""
    name = name.strip().strip('"\ufeff')
    if name_key(name) in _FRAME_KEYS:
        return "frame"
    words = [word for word in re.findall(r"[a-z]+|\d+", _spaced(name).lower()) if word not in _IGNORED]
    if len(words) == 2 and words[0].isdecimal():
        words.reverse()
    if len(words) == 2 and words[0] in _AXES and words[1].isdecimal() and not re.search(r"[^\w\s\[\](){}.-]", name):
        return f"{_AXES[words[0]]}{words[1]}"  # of x_0, 0_x, x[0], kp0_x, joint_0_x, ...
    return name.lower() if re.fullmatch(r"[XYZVC]", name) else name


@lru_cache(2**13)
def is_landmark(name: str) -> bool:
    """Tell columns of landmarks from others.

    Args:
        name: Name of a column, as a table has it or renamed.

    Returns:
        Whether it is a coordinate or score of a landmark.
    """
    plain = _plain(name)
    return bool(COUNTED.fullmatch(plain) or NAMED.fullmatch(plain) or cell_of(plain))
