"""Read text_data.json: which text belongs to which video. docs/formats/texts.md is its schema."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from sign_models.errors import DataError
from sign_models.keypoints.folders import check_regular
from sign_models.keypoints.formats.tables.columns import GROUP, normal_name
from sign_models.keypoints.sequence import SPLIT_ALIASES
from sign_models.keypoints.trees import check_json, parse_json

MAX_SHOWN = 5  # names in a message
SIGNER = ("group", *GROUP)
FORMS = '{"id": "text", ...} or [{"id": ..., "text": ..., "split": "train|dev|test" where known}, ...]'

SCHEMA, AGAIN = "see docs/formats/texts.md", "copy or export it again"
ADD, ONE = "add texts, or leave the file out to pretrain only", "keep one of them, or rename the other's video"


@dataclass(frozen=True)
class TextRow:
    """The text of one video.

    Attributes:
        id: Id of the video.
        text: Text in NFC, otherwise as the file has it.
        split: "train", "dev", "test" or None.
        signer: Who signs in it, None where the file does not tell.
    """

    id: str
    text: str
    split: str | None = None
    signer: str | None = None


def read_texts(path: Path | str) -> list[TextRow]:
    """Read the texts of videos.

    Args:
        path: JSON file in UTF-8, in one of FORMS.

    Returns:
        Rows in the order of the file.

    Raises:
        DataError: The file cannot be read, is of another form or has no row. Or it has an empty text, an id twice, an
            id in two splits, or an unknown split.
    """
    path = Path(path)
    rows = [_row(entry, place) for entry, place in _entries(_load(path), path.name)]
    if not rows:
        raise DataError("no text in it", place=path.name, wanted=FORMS, remedy=ADD)
    if empty := [row.id for row in rows if not row.text.strip()]:
        raise DataError(
            f"empty texts: {some_names(empty)}",
            place=path.name,
            wanted="a text for each id",
            remedy="take them out; videos without a text still serve pretraining",
        )
    if repeated := [name for name, count in Counter(row.id for row in rows).items() if count > 1]:
        splits = {name: {row.split for row in rows if row.id == name} for name in repeated[:100]}
        if conflicting := [name for name, found in splits.items() if len(found) > 1]:
            raise DataError(
                f"ids in more than one split: {some_names(conflicting)}",
                place=path.name,
                wanted="one split for an id",
                remedy="keep each in one of them",
            )
        raise DataError(
            f"ids given more than once: {some_names(repeated)}",
            place=path.name,
            wanted="one text for an id",
            remedy=ONE,
        )
    return rows


def _load(path: Path) -> Any:
    """Content of a JSON file in UTF-8. DataError where it cannot be read, decoded or parsed."""
    try:
        check_regular(path)
        data = path.read_bytes()
        check_json(data, path.name)
        content = data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})",
            place=str(path),
            wanted="a JSON file",
            remedy="check the path and who may read it",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} is not UTF-8",
            place=path.name,
            wanted="JSON in UTF-8",
            remedy=f"save it as UTF-8, e.g. iconv -f latin1 -t utf-8 {path.name}",
        ) from error
    if not content.strip():
        raise DataError("is empty", place=path.name, wanted=FORMS, remedy=AGAIN)
    try:
        return parse_json(content, partial(_object, path.name))
    except json.JSONDecodeError as error:
        raise DataError(
            f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}",
            place=path.name,
            wanted=FORMS,
            remedy=AGAIN,
        ) from error
    except (ValueError, MemoryError) as error:  # nested too deep, or a number of thousands of digits
        raise DataError(f"is not JSON: {error}"[:200], place=path.name, wanted=FORMS, remedy=AGAIN) from error


def _object(place: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated keys, of which `json` would silently keep the last."""
    if repeated := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise DataError(
            f"keys given more than once: {some_names(repeated)}", place=place, wanted="one text for an id", remedy=ONE
        )
    return dict(pairs)


def _entries(data: Any, name: str) -> list[tuple[dict[str, Any], str]]:
    """Both forms as objects with "id" and "text", each with the place that errors name."""
    if isinstance(data, dict):
        return [({"id": key, "text": text}, f"{name}: {key!r}") for key, text in data.items()]
    if not isinstance(data, list):
        raise DataError(f"holds {_kind(data)}", place=name, wanted=FORMS, remedy=SCHEMA)
    for number, entry in enumerate(data, 1):
        if not isinstance(entry, dict):
            raise DataError(f"is {_kind(entry)}", place=f"{name}: entry {number}", wanted=FORMS, remedy=SCHEMA)
    return [(entry, f"{name}: entry {number}") for number, entry in enumerate(data, 1)]


def _row(entry: dict[str, Any], place: str) -> TextRow:
    """One entry of a list as a row. DataError where its id, text or split is none."""
    for key in ("id", "text"):
        if key not in entry:
            near = get_close_matches(key, entry, 1) or list(entry)[:5]
            raise DataError(f"has no {key!r}, but {some_names(near)}", place=place, wanted=FORMS, remedy=SCHEMA)
    name, text = entry["id"], entry["text"]
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name:
        raise DataError(
            f"its id is {_kind(name)}",
            place=place,
            wanted="an id: a string, not empty",
            remedy="give it the id of its video",
        )
    if not isinstance(text, str):
        raise DataError(f"the text of {name!r} is {_kind(text)}", place=place, wanted=FORMS, remedy=SCHEMA)
    if any("\ud800" <= letter <= "\udfff" for letter in name + text):
        raise DataError(
            f"{name!r} holds half of a surrogate pair",
            place=place,
            wanted="valid Unicode",
            remedy="write the file anew from its source",
        )
    split = _split(entry.get("split"), place)
    return TextRow(name, unicodedata.normalize("NFC", text), split, _signer(entry, place))


def _split(value: Any, place: str) -> str | None:
    """The split by its name here, such as "dev" for "validation". DataError for another word."""
    if value is None:
        return None
    if isinstance(value, str) and value in SPLIT_ALIASES:
        return SPLIT_ALIASES[value]
    near = get_close_matches(value.lower(), SPLIT_ALIASES, 1) if isinstance(value, str) else []
    raise DataError(
        f"split {value!r}",
        place=place,
        wanted="train, dev (or val, valid, validation) or test",
        remedy=f"did you mean {near[0]!r}?" if near else "leave it out where there is none",
    )


def _signer(entry: dict[str, Any], place: str) -> str | None:
    """Who signs, by any of the names that tables have for it. DataError where that is no name or two of them differ."""
    found = {key: value for key, value in entry.items() if normal_name(key) in SIGNER and value not in (None, "")}
    for key, value in found.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise DataError(f"its {key} is {_kind(value)}", place=place, wanted="a name or a number", remedy=SCHEMA)
    names = {str(value) for value in found.values()}
    if len(names) > 1:
        told = ", ".join(f"{key} {value!r}" for key, value in found.items())
        raise DataError(f"has two signers: {told}", place=place, wanted="one signer a video", remedy="keep one of them")
    return names.pop() if names else None


def signer_of(id: str, own: str | None, named: str | None, place: str) -> str | None:
    """Join what a clip's own file and the texts say of its signer.

    Args:
        id: Of the clip.
        own: Group of the clip by its file.
        named: Signer by the texts.
        place: Path of the texts, for the message.

    Returns:
        The signer, None where neither tells.

    Raises:
        DataError: They differ.
    """
    if own and named and own != named:
        raise DataError(
            f"{id!r} is by two signers: {own!r} in its own file and {named!r} in the texts",
            place=place,
            wanted="one signer a video",
            remedy="make the two agree, or leave one of them out",
        )
    return own or named


def _kind(value: Any) -> str:
    if value == "":
        return "an empty string"
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def some_names(names: Iterable[str]) -> str:
    """List names in a message: the first ones, and how many more there are.

    Args:
        names: All names.

    Returns:
        The list as text, each name quoted.
    """
    names = list(names)
    shown = ", ".join(map(repr, names[:MAX_SHOWN]))
    return shown if len(names) <= MAX_SHOWN else f"{shown} and {len(names) - MAX_SHOWN} more"
