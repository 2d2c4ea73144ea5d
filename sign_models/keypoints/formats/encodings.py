"""Encodings of text files, by their bytes: UTF-8, UTF-16, GB18030, Windows-1252 or Latin-1."""

from __future__ import annotations

import codecs
import logging
import re
import unicodedata

from sign_models.errors import DataError

log = logging.getLogger(__name__)

_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
MIN_NUL_SHARE = 0.3  # of every second byte; UTF-16 of Latin letters has NUL there
MIN_COMMON_SHARE = 0.8  # of the characters beyond ASCII that GB2312 holds too, where a text is Chinese
MAX_FOREIGN_SHARE = 0.5  # of the letters that are beyond ASCII, where a text is of a Western European language
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def utf16_of(head: bytes | bytearray) -> str | None:
    """Recognise UTF-16.

    Args:
        head: First bytes of a file.

    Returns:
        Name of the encoding, or None for another one.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[: len(head) & ~1][::2], head[1::2]
    if len(odd) < 4:
        return None
    if odd.count(0) > MIN_NUL_SHARE * len(odd) and not even.count(0):
        return "utf-16-le"
    if even.count(0) > MIN_NUL_SHARE * len(even) and not odd.count(0):
        return "utf-16-be"
    return None


def is_text(head: bytes) -> bool:
    """Tell text from other files.

    Args:
        head: First bytes of the file.

    Returns:
        Whether they can be text of any of the encodings: they have no control characters.
    """
    if encoding := utf16_of(head):
        head = head[: len(head) & ~1]
        return not _CONTROLS.search(head.decode(encoding, errors="ignore"))
    return bool(head) and not _CONTROLS.search(head.decode("latin-1"))


def head_text(head: bytes) -> str:
    """Decode the first bytes of a file.

    Args:
        head: First bytes of the file.

    Returns:
        The text. Its last character may be missing.
    """
    if encoding := utf16_of(head):
        return head.decode(encoding, errors="ignore").lstrip("\ufeff")
    return head.decode("utf-8-sig", errors="replace")


def decode(data: bytes | bytearray, place: str) -> str:
    """Decode a whole file. An encoding other than UTF-8 or UTF-16 is logged.

    Args:
        data: Content of the file.
        place: What messages name.

    Returns:
        The text.

    Raises:
        DataError: The encoding is unknown or ambiguous.
    """
    known = next((name for bom, name in _BOMS.items() if data.startswith(bom)), None) or utf16_of(data[:4096])
    try:
        return data.decode(known or "utf-8").lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if known:
            raise _unreadable(f"is no readable text ({str(error)[:80]})", place) from error
    name, text = _eight_bit(data, place)
    log.warning("%s: read as %s", place, name)
    return text


def _eight_bit(data: bytes | bytearray, place: str) -> tuple[str, str]:
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    beyond = [c for c in text if ord(c) > 127]
    if beyond:
        # Level 1 of GB2312 (lead bytes B0 to D7), its punctuation and its full-width forms.
        common = sum(_is_common_chinese(c) for c in beyond)
        if common >= MIN_COMMON_SHARE * len(beyond):
            return "GB18030", text
    for name in ("cp1252", "latin-1"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        letters = [c for c in text if unicodedata.category(c)[0] == "L"]
        foreign = sum(ord(c) > 127 for c in letters)
        if _CONTROLS.search(text) or foreign > MAX_FOREIGN_SHARE * max(1, len(letters)):
            break
        return {"cp1252": "Windows-1252", "latin-1": "Latin-1"}[name], text
    raise _unreadable("is text of an encoding that cannot be told", place)


def _is_common_chinese(character: str) -> bool:
    try:
        code = character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return len(code) == 2 and (0xB0 <= code[0] <= 0xD7 or code[0] <= 0xA3)


def _unreadable(found: str, place: str) -> DataError:
    return DataError(found, place=place, wanted="UTF-8", remedy="save it as UTF-8, e.g. with iconv")
