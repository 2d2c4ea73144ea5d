"""Which program and model files found the keypoints of a clip, as one line of text.

`NAME VERSION WHAT=SHA256 ...`, e.g. `mediapipe-tasks 1.2.3 hand=<64 digits> pose=<64 digits>`. It stands in the record
of a `.pose` file, in a corpus's digest and in a registered model. None means that a clip's file does not tell it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from sign_models.errors import DataError
from sign_models.keypoints.sequence import KeypointSequence

FORM = re.compile(r"[\w.-]{1,64} [\w.+-]{1,64}(?: \w{1,32}=[0-9a-f]{64}){0,8}")
UNKNOWN = "files that name no extractor"


def extractor_line(name: str, version: str, models: Mapping[str, str]) -> str:
    """The line of a program and its models.

    Args:
        name, version: Of the program, without spaces.
        models: What a model finds -> the SHA-256 of its file, in hexadecimal.
    Raises:
        ValueError: These make no line of this form.
    """
    line = " ".join([name, version, *(f"{what}={sha256}" for what, sha256 in sorted(models.items()))])
    if not FORM.fullmatch(line):
        raise ValueError(f"no extractor: {line[:200]!r}")
    return line


def short_name(extractor: str | None) -> str:
    """For a person to read: the checksums by their first eight digits."""
    if extractor is None:
        return UNKNOWN
    name, version, *models = extractor.split(" ")
    told = ", ".join(f"{what} {sha256[:8]}" for what, _, sha256 in (model.partition("=") for model in models))
    return f"{name} {version}" + (f" ({told})" if told else "")


def same_extractor(a: str | None, b: str | None) -> bool:
    """Whether both name one program and the same model files; versions of the program may differ."""
    return _key(a) == _key(b)


def _key(extractor: str | None) -> object:
    if extractor is None:
        return None
    name, _, *models = extractor.split(" ")
    return name, frozenset(models)


def difference(clips: Mapping[str | None, int], trained: Collection[str | None], *, strict: bool = False) -> str:
    """What is to be said where clips come from other extractors than training's; "" where they do not.

    Args:
        clips: Extractor -> how many clips come from it.
        trained: The extractors of the clips that a model was trained on.
        strict: Whether what is not known counts as another extractor.
    """
    known = set(map(_key, trained or (None,)))
    other = {e: n for e, n in clips.items() if _key(e) not in known or (strict and e is None)}
    if not other:
        return ""
    found = ", ".join(f"{n} from {short_name(e)}" for e, n in other.items())
    wanted = ", ".join(sorted({short_name(e) for e in trained or (None,)}))
    return f"{sum(other.values())} of {sum(clips.values())} clips: {found}; the model was trained on {wanted}"


def check_extractor(clip: KeypointSequence, trained: Collection[str | None], *, strict: bool = False) -> str:
    """What is to be said of a clip that comes from another extractor than training's; "" where it does not.

    Args:
        trained: The extractors of the clips that a model was trained on.
        strict: Refuse such a clip, and one whose extractor is not known.
    Raises:
        DataError: A clip is refused.
    """
    found = difference({clip.extractor: 1}, trained, strict=strict)
    if found and strict:
        remedy = "extract the clip with training's extractor, or leave out strict_extractor"
        raise DataError(found, place=clip.source or clip.id, remedy=remedy)
    return found
