"""Encodings of text files, by their bytes: UTF-8, UTF-16, GB18030, or Windows-1252, which holds Latin-1's letters.

Bytes of other encodings decode as one of the last two as well, to wrong texts. So these are taken only where the result
looks like a language: common Chinese characters, or the letters of one Western European alphabet.
"""

from __future__ import annotations

import codecs
import logging
import re
import unicodedata

from sign_models.errors import DataError

log = logging.getLogger(__name__)

MIN_NUL_SHARE = 0.3  # of every second byte; UTF-16 of Latin letters has NUL there
MIN_COMMON_SHARE = 0.8  # of the characters beyond ASCII that GB2312 holds too, where a text is Chinese
MIN_FREQUENT_SHARE = 0.15  # of the Chinese characters that are among the most frequent. Korean bytes: 0.01
MAX_FOREIGN_SHARE = 0.5  # of the letters that are beyond ASCII, where a text is of a Western European language
MIN_ALPHABET_SHARE = 0.95  # of the letters beyond ASCII that one alphabet has. The rest are foreign names
# Letters beyond ASCII of the languages that are written in Windows-1252: German, French, Spanish, Portuguese, Italian,
# Dutch, Danish and Norwegian, Swedish and Finnish, Icelandic, Catalan.
_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        "äöüßéèàêç", "àâæçéèêëîïôœùûüÿ", "áéíóúüñªº", "àáâãçéêíóôõúüªº", "àèéìíîòóùúªº",
        "áéíóúàèëïöüäêç", "æøåéèêóòôâàüäö", "åäöéàüáæø", "áðéíóúýþæö", "àçèéíïòóúüªº",
    )
)  # fmt: skip
_BETWEEN_LETTERS = "’‘·\xad–—"  # signs beyond ASCII that words may hold
_FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点"
    "正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿"
    "原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德"
    "资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交"
    "规万取拉格望觉术领共确传师观清今切院让识候带导争运早晚谢请吃喝妈爸吗吧呢喜欢朋友医病雨风雪云晴"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def utf16_of(head: bytes | bytearray) -> str | None:
    """Recognise UTF-16, and UTF-32 with its mark.

    Args:
        head: First bytes of a file.

    Returns:
        Name of the encoding, or None for another one.
    """
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
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
        head = head[: len(head) & ~3]
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


def first_line(text: str) -> tuple[str, str]:
    """Split a text after its first line, whichever of CR LF, LF and CR ends it.

    Args:
        text: The text.

    Returns:
        The line without its end, and the rest.
    """
    line, *rest = re.split(r"\r\n|\r|\n", text, maxsplit=1)
    return line, "".join(rest)


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
    known = "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else utf16_of(data[:4096])
    try:
        return data.decode(known or "utf-8").lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if known:
            raise _unreadable(f"is no readable text ({str(error)[:80]})", place) from error
    name, text = _eight_bit(data, place)
    log.warning("%s: read as %s", place, name)
    return text


def _eight_bit(data: bytes | bytearray, place: str) -> tuple[str, str]:
    for encoding, name, fits in (("gb18030", "GB18030", _is_chinese), ("cp1252", "Windows-1252", _is_western)):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if fits(text):
            return name, text
    raise _unreadable("is text of an encoding that cannot be told", place)


def _is_chinese(text: str) -> bool:
    """Whether what is beyond ASCII is common Chinese."""
    beyond = [c for c in text if ord(c) > 127]
    characters = [c for c in beyond if "\u4e00" <= c <= "\u9fff"]
    # Level 1 of GB2312 (lead bytes B0 to D7), its punctuation and its full-width forms.
    common, frequent = sum(map(_is_common_chinese, beyond)), sum(c in _FREQUENT for c in characters)
    return (
        bool(characters)
        and common >= MIN_COMMON_SHARE * len(beyond)
        and (frequent >= MIN_FREQUENT_SHARE * len(characters))
    )


def _is_western(text: str) -> bool:
    """Whether the letters beyond ASCII are those of one alphabet, and signs beyond ASCII stand between words."""
    if "¤" in text:  # the euro sign of Latin-9
        return False
    letters = [c for c in text.lower() if unicodedata.category(c)[0] == "L"]
    foreign = [c for c in letters if ord(c) > 127]
    if _CONTROLS.search(text) or len(foreign) > MAX_FOREIGN_SHARE * max(1, len(letters)):
        return False
    signs = (i for i, c in enumerate(text) if ord(c) > 127 and not c.isalpha() and c not in _BETWEEN_LETTERS)
    if any(text[i - 1 : i].isalpha() and text[i + 1 : i + 2].isalpha() for i in signs):
        return False
    return any(sum(c in known for c in foreign) >= MIN_ALPHABET_SHARE * len(foreign) for known in _ALPHABETS)


def _is_common_chinese(character: str) -> bool:
    try:
        code = character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return len(code) == 2 and (0xB0 <= code[0] <= 0xD7 or code[0] <= 0xA3)


def _unreadable(found: str, place: str) -> DataError:
    return DataError(found, place=place, wanted="UTF-8", remedy="save it as UTF-8, e.g. with iconv")
