"""Parts of a clip in nested mappings: {"hands": {"left": ...}}, {"pose": {"keypoints": ...}}, {part: {id: array}}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sign_models.keypoints.formats.files.containers import Npz
from sign_models.keypoints.formats.part_names import are_named, is_generic, is_hand_without_side, part_of

MAX_PARTS = 16  # keys of a clip that are looked at
_CONFIDENCE = "conf|confidences?|scores?|keypoint_scores|vis|visibility"
_CONFIDENCE_NAME = re.compile(rf"(?:(.+?)[_ .-]*)?(?:{_CONFIDENCE})", re.IGNORECASE)


def arranged(tree: Any) -> Any:
    """Arrange a tree that may hold parts.

    Args:
        tree: Content of a file.

    Returns:
        The parts of a clip in one mapping, or such mappings by id. Any other tree as it is.
    """
    if not isinstance(tree, Mapping) or isinstance(tree, Npz) or not 1 < len(tree) <= MAX_PARTS:
        return tree
    if are_named(map(str, tree)) and all(isinstance(tree[name], Mapping) and part_of(str(name)) for name in tree):
        ids = dict.fromkeys(id for part in tree for id in tree[part])
        if not any(is_generic(str(id)) or _CONFIDENCE_NAME.fullmatch(str(id)) for id in ids):
            return {id: {part: tree[part][id] for part in tree if id in tree[part]} for id in ids}
    return flat(tree)


def flat(tree: Any) -> Any:
    """Bring the parts of a clip to one level.

    Args:
        tree: Mapping with parts, or another value.

    Returns:
        The mapping with names such as "hands_left", without parts that are None. Another value as it is.
    """
    if not isinstance(tree, Mapping) or isinstance(tree, Npz) or len(tree) > MAX_PARTS:
        return tree
    found: dict[Any, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and (part_of(str(name)) or is_hand_without_side(str(name))):
            for inner in value:
                generic = is_generic(str(inner)) and not part_of(str(inner))
                found[name if generic else f"{name}_{inner}"] = value[inner]
        elif value is not None or part_of(str(name)) is None:
            found[name] = value
    return found


def confidence_of(name: str) -> str | None:
    """Find the part whose confidence an array has.

    Args:
        name: Name of the array, such as "pose_conf".

    Returns:
        One of PARTS, or None.
    """
    found = _CONFIDENCE_NAME.fullmatch(name)
    return part_of(found[1]) if found and found[1] else None
