"""Subtitles of a recording, WebVTT (`.vtt`) or SubRip (`.srt`). Each cue is a clip with its text.

Source: WebVTT, W3C, https://www.w3.org/TR/webvtt1/. Settings, styles, regions and notes are not read.
"""

from __future__ import annotations

import html
import logging
import re

from sign_models.errors import DataError
from sign_models.keypoints.formats.files.containers import read_text
from sign_models.keypoints.formats.files.source import Source
from sign_models.keypoints.formats.labels.segments import Segment, parse_time

log = logging.getLogger(__name__)

SUFFIXES = (".vtt", ".srt")
_TIMES = re.compile(r"\s*(\S+)\s+-->\s+(\S+)(?:\s.*)?")
_TAG = re.compile(r"<[^>\n]*>")
_LANGUAGE = re.compile(r"\.[a-z]{2,3}(-\w+)*$", re.IGNORECASE)  # ID.en.vtt, ID.pt-BR.vtt, ID.en-orig.vtt
MAX_CUE_LINES = 64


def segments(source: Source) -> tuple[list[Segment], list[DataError]]:
    """Read the cues of a file.

    Args:
        source: The file.

    Returns:
        Segments of the recording, and what is wrong with other cues, which are left out.

    Raises:
        DataError: The file is no text, or has no cue.
    """
    names = tuple(dict.fromkeys((source.id, _LANGUAGE.sub("", source.id))))
    found, problems, empty = list[Segment](), list[DataError](), 0
    for number, (line, text) in enumerate(_cues(read_text(source.path)), 1):
        place = f"{source.name}: cue {number}"
        times = _TIMES.fullmatch(line)
        try:
            start, end = (parse_time(part) for part in times.groups()) if times else (1.0, 0.0)
        except ValueError:
            start, end = 1.0, 0.0
        if not 0 <= start < end:
            wanted = "00:00:01.000 --> 00:00:03.500"
            problems.append(
                DataError(f"its times are {line[:60]!r}", place=place, wanted=wanted, remedy="correct them")
            )
            continue
        if not text:
            empty += 1
            continue
        id = f"{names[-1]}/{start:.3f}-{end:.3f}"
        found.append(Segment(id, names, start, end, "seconds", text, None, None, place))
    if empty:
        log.warning("%s: %d cues without text are left out", source.name, empty)
    if not found and not problems:
        raise DataError("holds no cue", place=source.name, wanted="WebVTT or SubRip", remedy="export it again")
    return found, problems


def _cues(content: str) -> list[tuple[str, str]]:
    """Line of times, and text without tags in one line, of each cue."""
    cues = []
    for block in re.split(r"\n[ \t]*\n", content.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip("\n").split("\n")[:MAX_CUE_LINES]
        at = next((i for i, line in enumerate(lines[:2]) if "-->" in line), None)  # a name may stand before it
        if at is not None:
            text = html.unescape(_TAG.sub("", " ".join(lines[at + 1 :])))
            cues.append((lines[at], " ".join(text.split())))
    return cues
