"""Names of the columns of tables and label files: ids, texts, splits, signers, times and frame numbers.

Names are compared by their letters and digits: "Video ID", "video_id" and "VideoID" are one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

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
)
_START = {"start", "begin", "onset", "from", "tmin", "anfang", "beginn", "von"}
_END = {"end", "stop", "offset", "to", "until", "tmax", "ende", "bis"}
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
}
SPLIT = ("split", "subset", "partition", "set")
GROUP = ("signer", "signer_id", "participant_id", "participant", "speaker", "speaker_id", "subject", "infered_signer")
FRAME = tuple("frame frame_id frame_index frame_idx frame_number frame_no frame_num frameid framenumber".split())
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


def first_of(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """Find a column by its possible names.

    Args:
        names: Columns as they are written.
        wanted: Known names, the preferred first.

    Returns:
        The column as it is written, or None.
    """
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(name_key(name), name)
    return next((by_name[key] for key in map(name_key, wanted) if key in by_name), None)


def times(names: Iterable[str]) -> tuple[str, str, str | None] | None:
    """Find the columns of times.

    A corrected pair ("START_REALIGNED") is preferred, then seconds, milliseconds, an unknown unit, and frames.

    Args:
        names: Columns as they are written.

    Returns:
        Columns of start and end, and their unit or None. None without such columns.
    """
    found: dict[tuple[bool, str | None], dict[str, str]] = {}
    for name in names:
        words = [word for word in re.split(r"[_()\[\]]+", normal_name(name)) if word]
        sides = [side for side, known in (("start", _START), ("end", _END)) if known & set(words)]
        unit = next((unit for unit, known in _UNITS.items() if known & set(words)), None)
        rest = set(words) - _START - _END - _BESIDE_TIMES - set().union(*_UNITS.values())
        if len(sides) == 1 and not rest:
            found.setdefault(("realigned" in words, unit), {}).setdefault(sides[0], name)
    order = ("seconds", "ms", None, "frames")
    pairs = [key for key, pair in found.items() if len(pair) == 2]
    if not pairs:
        return None
    best = min(pairs, key=lambda key: (not key[0], order.index(key[1])))
    return found[best]["start"], found[best]["end"], best[1]


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
