"""Extractors: the program and model files that found the keypoints of a clip, as a line of text.

The form is `NAME VERSION WHAT=SHA256 ...`, e.g. `mediapipe-tasks 1.2.3 hand=<64 digits> pose=<64 digits>`. The line is
in the record of a `.pose` file, in the digest of a corpus and in a registered model. None: the file does not say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from sign_models.errors import DataError
from sign_models.keypoints.sequence import KeypointSequence

FORM = re.compile(r"[\w.-]{1,64} [\w.+-]{1,64}(?: \w{1,32}=[0-9a-f]{64}){0,8}")
UNKNOWN = "files that name no extractor"


def extractor_line(name: str, version: str, models: Mapping[str, str]) -> str:
    """Write the line of an extractor.

    Args:
        name: Name of the program, without spaces.
        version: Version of the program, without spaces.
        models: SHA-256 of each model's file in hexadecimal, by what the model finds.

    Returns:
        The line.

    Raises:
        ValueError: The line would not have the form.
    """
    line = " ".join([name, version, *(f"{what}={sha256}" for what, sha256 in sorted(models.items()))])
    if not FORM.fullmatch(line):
        raise ValueError(f"no extractor: {line[:200]!r}")
    return line


def short_name(extractor: str | None) -> str:
    """Shorten an extractor for people: only the first eight digits of each checksum.

    Args:
        extractor: Line of an extractor, or None.

    Returns:
        The short form.
    """
    if extractor is None:
        return UNKNOWN
    name, version, *models = extractor.split(" ")
    files = ", ".join(f"{what} {sha256[:8]}" for what, _, sha256 in (model.partition("=") for model in models))
    return f"{name} {version}" + (f" ({files})" if files else "")


def finds_faces(extractors: Collection[str | None]) -> bool:
    """Tell whether clips were extracted with a face model.

    Args:
        extractors: Their extractors' lines.

    Returns:
        Whether one of them names a model for faces.
    """
    return any(" face=" in line for line in extractors if line)


def same_extractor(a: str | None, b: str | None) -> bool:
    """Compare two extractors. Versions of the program may differ.

    Args:
        a: Line of an extractor, or None.
        b: Another one.

    Returns:
        Whether they are one program with the same model files.
    """
    return _key(a) == _key(b)


def _key(extractor: str | None) -> object:
    if extractor is None:
        return None
    name, _, *models = extractor.split(" ")
    return name, frozenset(models)


def difference(clips: Mapping[str | None, int], trained: Collection[str | None], *, strict: bool = False) -> str:
    """Describe clips of other extractors than those of training.

    Args:
        clips: Number of clips by extractor.
        trained: Extractors of the clips that a model was trained on.
        strict: Whether an unknown extractor counts as another one.

    Returns:
        A warning, or "" without such clips.
    """
    known = set(map(_key, trained or (None,)))
    other = {e: n for e, n in clips.items() if _key(e) not in known or (strict and e is None)}
    if not other:
        return ""
    found = ", ".join(f"{n} from {short_name(e)}" for e, n in other.items())
    wanted = ", ".join(sorted({short_name(e) for e in trained or (None,)}))
    return f"{sum(other.values())} of {sum(clips.values())} clips: {found}; the model was trained on {wanted}"


def check_extractor(clip: KeypointSequence, trained: Collection[str | None], *, strict: bool = False) -> str:
    """Compare the extractor of a clip with those of training.

    Args:
        clip: The clip.
        trained: Extractors of the clips that a model was trained on.
        strict: Whether to refuse a clip of another or an unknown extractor.

    Returns:
        A warning, or "" without a difference.

    Raises:
        DataError: The clip is refused.
    """
    found = difference({clip.extractor: 1}, trained, strict=strict)
    if found and strict:
        remedy = "extract the clip with training's extractor, or leave out strict_extractor"
        raise DataError(found, place=clip.source or clip.id, remedy=remedy)
    return found
