"""Names of the columns of tables and label files: ids, texts, splits, signers, times and frame numbers.

Names are compared by their letters and digits: "Video ID", "video_id" and "VideoID" are one name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sign_models.errors import DataError
from sign_models.keypoints.sequence import SPLIT_ALIASES

# The most specific first. `path` and the following may name more than one clip.
ID = tuple(
    "id clip_id clip sentence_name sequence_id sample_id sample "
    "utterance_id segment_id segment_name uid uuid frame_dir "
    "name vid video_name video_id video_path path video_file video filename file_name file_path file pose "
    "keypoints_path datei dateiname index_name".split()
)
TEXT = tuple(
    "text raw_text sentence translation phrase caption transcript transcription german english deutsch target "
    "spoken spoken_text sign label_text words word label_word char label_char gloss glosses label class class_name "
    "annotation orth en tr".split()
)


def _without_accents(text: str) -> str:
    letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", "".join(letters))


_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff]")  # of scripts without spaces
_TEXT_WORDS = set(
    "text sentence translation phrase caption transcript transcription gloss glosses word words label sign".split()
)
_ID_WORDS = set("id name file filename path clip video sample utterance segment sequence datei dateiname".split())
# Words beside these that tell nothing: languages, and what is done to texts.
_QUALIFIERS = set(
    "en de fr es pt it nl zh ja ko ru tr pl ar english german french spanish portuguese italian dutch chinese japanese "
    "korean russian turkish polish arabic deutsch englisch raw clean target full original spoken written name".split()
)
_SYNONYMS = {
    _without_accents(word): known
    for known, words in {
        "text": "texte texto testo tekst текст 文本 텍스트 テキスト subtitle subtitles untertitel meaning bedeutung",
        "sentence": "satz frase oracion zin предложение 句子 문장 文 sentences",
        "translation": "ubersetzung uebersetzung traduccion traduction traducao traduzione vertaling перевод 翻译 번역",
        "word": "wort mot palabra palavra parola woord слово 单词 단어",
        "file": "fichier archivo fichero arquivo bestand файл 文件 파일 ファイル",
        "filename": "文件名 파일명 ファイル名",
        "name": "nom nombre nome naam имя 名称 이름 名前 stem basename",
        "id": "item 编号",
        "utterance": "utt",
        "segment": "seg",
    }.items()
    for word in words.split()
} | {"uttid": "utterance", "cid": "clip"}
# Columns with the recording of rows with times, if no column of ID has it.
RECORDING = (
    "recording",
    "recording_id",
    "recording_name",
    "session",
    "session_id",
    "yid",
    "youtube_id",
    "url_id",
    "media",
    "episode",
    "episode_id",
)
_START = {"start", "begin", "onset", "from", "tmin", "anfang", "beginn", "von", "debut", "inicio", "inizio"}
_END = {"end", "stop", "offset", "to", "until", "tmax", "ende", "bis", "fin", "fine", "fim"}
_DURATION = {"duration", "dur", "dauer", "duree"}
_UNITS = {
    "seconds": {"s", "sec", "secs", "second", "seconds", "ss.msec", "hh:mm:ss.ms", "hh:mm:ss"},
    "ms": {"ms", "msec", "msecs", "millis", "millisecond", "milliseconds"},
    "frames": {"frame", "frames", "f", "fr"},
}
_BESIDE_TIMES = {
    "time",
    "times",
    "timestamp",
    "realigned",
    "aligned",
    "video",
    "clip",
    "segment",
    "sentence",
    "idx",
    "t",
    "at",
}
SPLIT = ("split", "subset", "partition", "set")
GROUP = ("signer", "signer_id", "participant_id", "participant", "speaker", "speaker_id", "subject", "infered_signer")
FRAME = tuple("frame frame_id frame_index frame_idx frame_number frame_no frame_num frameid framenumber".split())
# A key of a frame: 12, "frame_12", "0012.jpg".
FRAME_KEY = re.compile(
    r"(?P<before>(frame|img|image|pic|picture|f|t)?[_ -]?)(?P<number>\d{1,15})(\.(jpe?g|png))?", re.IGNORECASE
)
SPLIT_WORDS = SPLIT_ALIASES | {
    "training": "train", "devel": "dev", "development": "dev", "validate": "dev", "testing": "test",
}  # fmt: skip


def normal_name(name: Any) -> str:
    """Split a name into words: "Video Name", "VIDEO-NAME" and "videoName" are "video_name".

    Args:
        name: Name of a column.

    Returns:
        The normalised name.
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name).strip().strip("\ufeff\"'"))
    return re.sub(r"[\s_-]+", "_", spaced.lower())


def name_key(name: Any) -> str:
    """Reduce a name to what is compared.

    Args:
        name: Name of a column.

    Returns:
        Its letters and digits, in lower case.
    """
    return re.sub(r"[\W_]+", "", str(name).lower())


@lru_cache(2**12)
def known_key(name: str) -> str | None:
    """Find the known name of a column of texts or ids that says the same in other words or another language.

    Args:
        name: Its name, such as "English translation", "text_de", "Übersetzung" or "utt_id".

    Returns:
        Key of a name of TEXT or ID, or None.
    """
    words = [_SYNONYMS.get(word, word) for word in re.split(r"[\W_]+", _without_accents(normal_name(name))) if word]
    core = [word for word in TEXT if word in words and word in _TEXT_WORDS]
    if core and not set(words) - _TEXT_WORDS - _QUALIFIERS:
        return core[0] if core[0] != "text" or len(core) < 2 else core[1]
    if words and set(words) <= _ID_WORDS:
        return name_key("_".join(words)) if "_".join(words) in ID else "name"
    return None


@lru_cache(2**10)
def columns_of(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Find all columns of a kind.

    Args:
        names: Columns as they are written.
        wanted: Known names, the preferred first.

    Returns:
        The columns as they are written, in the order of `wanted`.
    """
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(name_key(name), name)
    for name in names:
        if (key := known_key(name)) is not None:
            by_name.setdefault(key, name)
    return tuple(dict.fromkeys(by_name[key] for key in map(name_key, wanted) if key in by_name))


def first_of(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """Find a column by its possible names.

    Args:
        names: Columns as they are written.
        wanted: Known names, the preferred first.

    Returns:
        The column as it is written, or None.
    """
    return next(iter(columns_of(tuple(names), tuple(wanted))), None)


def is_known(name: str) -> bool:
    """Tell known columns from words of a sentence.

    Args:
        name: Name of a column.

    Returns:
        Whether it is one of a label file.
    """
    return name_key(name) in _KEYS or known_key(name) is not None


def check_texts(names: Iterable[str], place: str) -> None:
    """Check that one column has the texts.

    Args:
        names: Columns as they are written.
        place: What an error message names.

    Raises:
        DataError: Several may, such as "text_de" and "text_en".
    """
    names = tuple(names)
    found = columns_of(names, TEXT)
    if not found or name_key(found[0]) in map(name_key, TEXT):
        return
    same = [name for name in names if known_key(name) == known_key(found[0])]
    if len(same) > 1:
        raise DataError(
            f"{len(same)} columns may hold the texts: {', '.join(same)}",
            place=place,
            wanted="one",
            remedy="rename it to text, or remove the others",
        )


class TimeColumns(NamedTuple):
    """The columns of times in a label file.

    Attributes:
        start: Column of the start.
        end: Column of the end, or of the duration.
        unit: "seconds", "ms", "frames" or None, where the names do not tell it.
        lasts: Whether `end` has durations.
    """

    start: str
    end: str
    unit: str | None
    lasts: bool


def times(names: Iterable[str]) -> TimeColumns | None:
    """Find the columns of times.

    A corrected pair ("START_REALIGNED") is preferred, then seconds, milliseconds, an unknown unit, and frames; an end
    before a duration.

    Args:
        names: Columns as they are written.

    Returns:
        The columns, or None without a start and an end.
    """
    found: dict[tuple[bool, str | None], dict[str, str]] = {}
    for name in names:
        words = {word for word in re.split(r"[_()\[\]]+", _without_accents(normal_name(name))) if word}
        sides = [side for side, known in (("start", _START), ("end", _END), ("lasts", _DURATION)) if known & words]
        unit = next((unit for unit, known in _UNITS.items() if known & words), None)
        rest = words - _START - _END - _DURATION - _BESIDE_TIMES - set().union(*_UNITS.values())
        if len(sides) == 1 and not rest:
            found.setdefault(("realigned" in words, unit), {}).setdefault(sides[0], name)
    order = ("seconds", "ms", None, "frames")
    pairs = [key for key, pair in found.items() if "start" in pair and len(pair) > 1]
    if not pairs:
        return None
    best = min(pairs, key=lambda key: ("end" not in found[key], not key[0], order.index(key[1])))
    pair = found[best]
    return TimeColumns(pair["start"], pair.get("end") or pair["lasts"], best[1], "end" not in pair)


def names_a_clip(names: Iterable[str]) -> bool:
    """Tell whether columns name clips.

    Args:
        names: Columns as they are written.

    Returns:
        Whether there is an id, or a recording with times.
    """
    names = tuple(names)
    return first_of(names, ID) is not None or (first_of(names, RECORDING) is not None and times(names) is not None)


_TIME_WORDS = {"time", "times", "timestamp", "timestamps", "stamp", "stamps", "ts", "pts", "t"}
_BESIDE_STAMPS = {"frame", "video", "image", "at", "in"}
_STAMP_UNITS = {
    "seconds": _UNITS["seconds"],
    "ms": _UNITS["ms"],
    "us": {"us", "usec", "micros", "microsecond", "microseconds"},
}


def _stamp_words(name: Any) -> set[str]:
    return {word for word in re.split(r"[_()\[\].]+", normal_name(name)) if word}


def is_time(name: Any) -> bool:
    """Tell whether a column has the time of each frame.

    Args:
        name: Its name, such as "timestamp", "time_ms", "frameTime" or "seconds".

    Returns:
        Whether all its words are those of times.
    """
    words = _stamp_words(name)
    units = set().union(*_STAMP_UNITS.values())
    return bool(words & (_TIME_WORDS | units)) and words <= _TIME_WORDS | units | _BESIDE_STAMPS


def time_unit(name: Any) -> str | None:
    """Find the unit in the name of a column of times.

    Args:
        name: Its name.

    Returns:
        "seconds", "ms" or "us", or None.
    """
    words = _stamp_words(name)
    return next((unit for unit, known in _STAMP_UNITS.items() if known & words), None)


def cell(row: Mapping[str, Any], column: str | None) -> str | None:
    """Read a cell as text.

    Args:
        row: Cells by column.
        column: The column, or None.

    Returns:
        The text. None if the cell is empty, missing or neither text nor a whole number.
    """
    value = row.get(column) if column is not None else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) if str(value).strip() else None


def text_cell(row: Mapping[str, Any], column: str) -> str | None:
    """Read a cell as text, also one that lists words or characters, as CSL-Daily has them.

    Args:
        row: Cells by column.
        column: The column.

    Returns:
        The text, with spaces between words where none of them is Chinese or Japanese. None as `cell`.
    """
    value = row.get(column)
    if not isinstance(value, list | tuple) or not value or not all(isinstance(word, str) for word in value):
        return cell(row, column)
    return ("" if _IDEOGRAPH.search("".join(value)) else " ").join(value).strip() or None


def split_by_name(value: str | None, place: str) -> str | None:
    """Read the name of a split.

    Args:
        value: Content of a cell, or None.
        place: What an error message names.

    Returns:
        "train", "dev", "test", or None for an empty cell.

    Raises:
        DataError: The value is no name of a split.
    """
    if value is None or not value.strip():
        return None
    found = SPLIT_WORDS.get(value.strip().lower())
    if found is None:
        wanted = "train, dev (or val, valid, validation) or test"
        raise DataError(f"split {value[:40]!r}", place=place, wanted=wanted, remedy="correct it, or empty the cell")
    return found


_KEYS = {name_key(name) for name in (*ID, *TEXT, *RECORDING, *SPLIT, *GROUP, *FRAME, *_START, *_END)}
