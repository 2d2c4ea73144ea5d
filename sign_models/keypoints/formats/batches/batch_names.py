"""Names of arrays of clips and of what stands beside them: "X_train", "y_train", "video_ids", "seq_lens"."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sign_models.keypoints.formats.tables.columns import GROUP, ID, SPLIT, SPLIT_WORDS, TEXT, normal_name

_MAX_WORDS = 3  # of a role
_ROLES = {
    "ids": (*ID, "key", "sample_name", "clip_name", "sequence_name", "stem", "basename"),
    "lengths": ("length", "len", "seq_len", "seq_length", "sequence_length", "num_frames", "n_frames", "frame_count",
                "nframes", "clip_length", "video_length", "valid_length", "frame_length"),
    "masks": ("mask", "valid_mask", "attention_mask", "frame_mask", "padding_mask", "key_padding_mask"),
    "classes": ("classes", "class_names", "label_names", "label_map", "vocabulary", "vocab", "actions", "categories"),
    "texts": (*TEXT, "y", "category", "target_text"),
    "splits": SPLIT,
    "groups": GROUP,
    "rates": ("fps", "frame_rate"),
    "confidence": ("confidence", "conf", "score", "keypoint_score", "visibility"),
}  # fmt: skip
_ROLE_OF = {name: role for role, names in reversed(_ROLES.items()) for name in names}
_ROLE_OF = {f"{name}s": role for name, role in _ROLE_OF.items() if not name.endswith("s")} | _ROLE_OF
_ROLE_OF = {name.replace("_", ""): role for name, role in _ROLE_OF.items()} | _ROLE_OF  # "videoids"
# Words that name arrays of clips, and tell nothing of which they are.
_DATA = set(
    "x arr 0 data dataset keypoints keypoint landmarks landmark features feature frames sequences poses pose skeletons "
    "skeleton clips videos samples arrays array points kpts kps input inputs padded joint joints coords all".split()
)
# Words that may name what an array holds as well as ids.
_AMBIGUOUS = {"pose", "poses", "video", "videos", "clip", "clips", "sample", "samples", "path", "file", "files"}


class BatchName(NamedTuple):
    """What the name of an array or file says.

    Attributes:
        rest: Its words, without those of arrays of clips and of roles.
        split: "train", "dev" or "test", or None.
        generic: Whether it names nothing but an array of clips, perhaps of a split.
    """

    rest: frozenset[str]
    split: str | None
    generic: bool


@lru_cache(2**12)
def role_of(name: str) -> str | None:
    """Find what an array beside clips has, by its name.

    Args:
        name: Name of the array, or of a file without its ending.

    Returns:
        A key of _ROLES, or None.
    """
    return _role(name)[0]


def _role(name: str) -> tuple[str | None, frozenset[str]]:
    """Role of a name, and its words."""
    words = normal_name(name).split("_")
    for count in range(min(_MAX_WORDS, len(words)), 0, -1):
        for some in (words[-count:], words[:count]):
            if (role := _ROLE_OF.get("_".join(some))) and not set(some) <= _AMBIGUOUS:
                return role, frozenset(some)
    return None, frozenset()


@lru_cache(2**12)
def name_of_batch(name: str) -> BatchName:
    """Read the name of an array of clips, or of what stands beside one.

    Args:
        name: Name of the array, or of a file without its ending.

    Returns:
        What it says.
    """
    words = set(normal_name(name).split("_")) - {""}
    rest = frozenset(words - _DATA - _role(name)[1])
    split = next((SPLIT_WORDS[word] for word in sorted(rest) if word in SPLIT_WORDS), None)
    return BatchName(rest, split, not rest - SPLIT_WORDS.keys())
