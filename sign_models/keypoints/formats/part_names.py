"""Names of the parts of a body in keys, files, folders and columns: "leftHandLandmarks", "main_gauche", "左手"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

PARTS = ("pose", "face", "left_hand", "right_hand")  # in the order of concatenation
HANDS = PARTS[2:]
_FILLERS = frozenset(  # words in the names of parts that tell nothing of the part
    "landmark landmarks lm lms keypoint keypoints kp kps kpt kpts point points pt pts joint joints coord coords "
    "coordinates array arr list data 2d 3d xy xyz xyzc raw mediapipe mp holistic result results np seq frames norm "
    "normalized kp2d kp3d upper whole detected punkte".split()
)
_LEFT = (
    "left lft gauche linke linker links izquierda izquierdo izq esquerda esquerdo sinistra sinistro sx левая "
    "левой левый lewa lewej venstre vanster sol 左 왼쪽 왼"
).split()
_RIGHT = (
    "right rgt droite droit rechte rechter rechts derecha derecho der direita direito destra destro dx правая "
    "правой правый prawa prawej hoyre hojre hoger sag 右 오른쪽 오른"
).split()
_HAND = "hand main mano mao fingers finger palm рука кисть руки dlon reka el 手 손".split()
_BODY = (
    "pose poses body bodies skeleton skel torso corps koerper korper cuerpo corpo lichaam kropp тело 身体 몸".split()
)
_FACE = "face faces facial visage gesicht cara rosto viso volto gezicht лицо 脸 面部 얼굴".split()


def _plain(text: str) -> str:
    """In lower case without accents."""
    letters = (c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", "".join(letters))  # Korean syllables were taken apart


_KINDS = {_plain(word): part for part, words in (("pose", _BODY), ("face", _FACE)) for word in words}
_SIDES = {_plain(word): side for side, words in (("left", _LEFT), ("right", _RIGHT)) for word in words}
_ANY_SIDE = "|".join(sorted(_SIDES, key=len, reverse=True))
_HAND_WORD = re.compile(rf"({_ANY_SIDE}|l|r)?({'|'.join(map(_plain, _HAND))}|h)s?({_ANY_SIDE}|l|r)?")
_COUNTS = {21, 33, 17, 18, 25, 26, 68, 70, 468, 478}  # landmarks of parts, which names may end in
_WINDOW = 3  # words of a part within the name of a file


class PartName(NamedTuple):
    """What a name says.

    Attributes:
        part: One of PARTS.
        bare: Whether it names a side without a hand: "left".
    """

    part: str
    bare: bool


def part_of(name: str) -> str | None:
    """Find the part in the name of a key or folder, such as "left_hand" in "leftHandLandmarks".

    Args:
        name: The name.

    Returns:
        One of PARTS, or None.
    """
    found = parsed(name)
    return found.part if found else None


@lru_cache(2**14)
def parsed(name: str) -> PartName | None:
    """Read a name that is nothing but a part's.

    Args:
        name: The name.

    Returns:
        The part, or None where a word of the name says something else.
    """
    words = [word for word in _words(name) if word not in _FILLERS]
    sides, kinds, hand = set[str](), set[str](), False
    for word in words:
        for tail in ("landmarks", "keypoints", "kps"):
            word = word.removesuffix(tail)
        if found := _HAND_WORD.fullmatch(word):
            hand = True
            sides |= {_side(side) for side in (found[1], found[3]) if side}
        elif word in _KINDS:
            kinds.add(_KINDS[word])
        elif word in _SIDES or (word in ("l", "r") and len(words) > 1):
            sides.add(_side(word))
        elif word:
            return None
    if len(sides) == 1 and (hand or not kinds):  # "left_hand_pose" is a hand
        return PartName(f"{sides.pop()}_hand", not hand)
    if len(kinds) == 1 and not hand and not sides:
        return PartName(kinds.pop(), False)
    return None


def is_hand_without_side(name: str) -> bool:
    """Recognise the name of a hand that does not tell which: "hand0", "dominant_hand".

    Args:
        name: The name of a key.

    Returns:
        Whether it names a hand and nothing else, and no side.
    """
    words = [re.sub(r"\d+$", "", word) for word in _words(name)]
    words = [word for word in words if word and word not in _FILLERS]
    rest = {word for word in words if word not in ("dominant", "nondominant", "non", "other", "first", "second")}
    return bool(rest) and all((found := _HAND_WORD.fullmatch(word)) and not (found[1] or found[3]) for word in rest)


def side_of(path: str) -> str | None:
    """Find the side of a hand in a path.

    Args:
        path: Path of a file or folder, or the id of a clip.

    Returns:
        "left" or "right" where one of them is named with a hand, or alone as a folder or file, also with a number. None
        where none or both are, or only a name such as "turn_left" has one.
    """
    sides = set[str]()
    for name in re.split(r"[/\\:]", path):
        words = re.split(r"[\s._-]+", re.sub(r"\.(npy|npz|json|pkl|pickle|csv|h5|hdf5|parquet|pose)\b", "", name))
        told = [word for word in words if word and not word.isdecimal()]
        for count in range(1, _WINDOW + 1):
            for start in range(len(told) - count + 1):
                found = parsed("_".join(told[start : start + count]))
                if found and found.part in HANDS and (not found.bare or len(told) == count):
                    sides.add(found.part.removesuffix("_hand"))
    return sides.pop() if len(sides) == 1 else None


def _side(word: str) -> str:
    return {"l": "left", "r": "right"}.get(word) or _SIDES[word]


def _words(name: str) -> list[str]:
    """Words in lower case without accents and without counts of landmarks."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[a-z])(?=[23][dD])", "_", name)
    words = re.split(r"[\W_]+", _plain(spaced))
    counted = [re.fullmatch(r"([^\W\d]{2,})(\d+)", word) for word in words]
    return [
        found[1] if found and int(found[2]) in _COUNTS else word
        for word, found in zip(words, counted, strict=True)
        if word
    ]


def is_generic(name: str) -> bool:
    """Tell names of arrays that name no clip: "landmarks", "kp_xyz", "pose".

    Args:
        name: The name.

    Returns:
        Whether it says nothing, or only a part.
    """
    words = set(_words(name))
    return (bool(words) and words <= _FILLERS) or parsed(name) is not None


def names_no_clip(name: str) -> bool:
    """Tell names that two arrays of one clip may have: "raw" and "normalized", "pose" and "pose_world".

    Args:
        name: The name of an array.

    Returns:
        Whether it says nothing of the clip, nor of a hand, after which signs may be called ("left").
    """
    rest = "_".join(word for word in _words(name) if word != "world")
    found = parsed(rest)
    return not rest or (is_generic(rest) and not (found and found.part in HANDS))


def are_named(names: Iterable[str]) -> bool:
    """Recognise the parts of a clip.

    Args:
        names: Names of keys.

    Returns:
        Whether they name several parts, with a hand among them.
    """
    named = {part for name in names if (part := part_of(name))}
    return len(named) > 1 and bool(named & set(HANDS))
