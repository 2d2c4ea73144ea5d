"""Texts with times as captions and annotations: SubRip, WebVTT, ELAN and JSON."""

from __future__ import annotations

import json
import mimetypes
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sign_models.errors import DataError

MAX_LINES, MAX_LINE_CHARACTERS = 2, 42
UNSURE = "[unsure]"
MIN_SHOWN_S, MAX_SHOWN_S = 1.0, 7.0
WIDE = ((0x1100, 0x115F), (0x2E80, 0xA4CF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE30, 0xFE6F), (0xFF00, 0xFF60))
EAF_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


@dataclass(frozen=True)
class Segment:
    """A text with its time.

    Attributes:
        start: Seconds.
        end: Seconds.
        text: The text.
        confidence: In [0, 1]. None: not known.
        n_best: Other texts, best first.
        unsure: The text is not to be relied on. Where it was rejected it is "", and the first of n_best what it was.
    """

    start: float
    end: float
    text: str
    confidence: float | None = None
    n_best: tuple[str, ...] = ()
    unsure: bool = False


def marked(segments: Sequence[Segment]) -> list[Segment]:
    """Segments for captions: one whose text was rejected reads "[unsure]", since somebody signs there.

    Args:
        segments: In order.

    Returns:
        The same, with that text.
    """
    return [replace(s, text=UNSURE) if s.unsure and not s.text else s for s in segments]


def check_segments(segments: Sequence[Segment]) -> None:
    """Check the times of segments.

    Args:
        segments: In order.

    Raises:
        DataError: Times run backwards, overlap, or are no times; or a confidence is out of range.
    """
    last = 0.0
    for number, segment in enumerate(segments, 1):
        if not 0 <= segment.start < segment.end < float("inf"):
            found = f"from {segment.start} to {segment.end} s"
            raise DataError(found, place=f"segment {number}", wanted="a start of 0 or more, before the end")
        if segment.start < last - 1e-6:  # sums of times round
            found = f"starts at {segment.start:g} s, before the last one's end at {last:g} s"
            raise DataError(found, place=f"segment {number}", wanted="segments one after the other")
        if segment.confidence is not None and not 0 <= segment.confidence <= 1:
            raise DataError(f"confidence {segment.confidence}", place=f"segment {number}", wanted="0 to 1")
        last = segment.end


def cues(segments: Sequence[Segment]) -> list[tuple[float, float, list[str]]]:
    """Divide texts into captions, by the usual rules for subtitles.

    A caption has at most two lines of 42 characters (wide ones, such as Chinese, count twice), for 1 to 7 s. A longer
    text becomes several captions that share its time by their length. A short one stays longer, but never into the next
    segment's time: where segments follow closely, one can be shorter than 1 s. A segment without text has no caption.

    Args:
        segments: In order.

    Returns:
        Start and end in seconds, and lines, of each caption.

    Raises:
        DataError: As check_segments().
    """
    check_segments(segments)
    made: list[tuple[float, float, list[str]]] = []
    for number, segment in enumerate(segments):
        lines = wrap(segment.text)
        blocks = [lines[i : i + MAX_LINES] for i in range(0, len(lines), MAX_LINES)]
        if not blocks:
            continue
        limit = segments[number + 1].start if number + 1 < len(segments) else float("inf")
        end = min(max(segment.end, segment.start + MIN_SHOWN_S * len(blocks)), limit)
        sizes = [sum(map(_width, block)) for block in blocks]
        start = segment.start
        for i, block in enumerate(blocks):
            part = (end - segment.start) * sizes[i] / sum(sizes)
            stop = end if i == len(blocks) - 1 else start + part
            made.append((start, min(stop, start + MAX_SHOWN_S), block))
            start = stop
    return made


def wrap(text: str) -> list[str]:
    """Break a text into lines of at most 42 characters.

    Lines are broken at spaces; within a word only where it is longer than a line, or where the script has no spaces.
    Two lines are made about equally long.

    Args:
        text: The text.

    Returns:
        Its lines.
    """
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    lines = list(_fill(clean, MAX_LINE_CHARACTERS))
    if len(lines) == 2:  # balance: the narrowest width that still gives two lines
        for width in range(_width(clean) // 2, MAX_LINE_CHARACTERS):
            if len(narrow := list(_fill(clean, width))) == 2:
                return narrow
    return lines


def _fill(text: str, width: int) -> Iterator[str]:
    line = ""
    for piece in _pieces(text, width):
        if line and _width(line + piece.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += piece if line else piece.lstrip()
    if line.strip():
        yield line.rstrip()


def _pieces(text: str, width: int) -> Iterator[str]:
    """What may not be broken: words with the space behind, single wide characters, parts of too long words."""
    piece = ""
    for character in text:
        wide = _width(character) == 2
        if piece and (piece.endswith(" ") or wide or _width(piece[-1]) == 2 or _width(piece) >= width):
            if character != " ":
                yield piece
                piece = ""
        piece += character
    if piece:
        yield piece


def _width(text: str) -> int:
    return sum(2 if any(a <= ord(c) <= b for a, b in WIDE) or ord(c) >= 0x20000 else 1 for c in text)


def to_srt(segments: Sequence[Segment]) -> str:
    """Write SubRip (https://www.matroska.org/technical/subtitles.html).

    Args:
        segments: In order.

    Returns:
        The file's text.

    Raises:
        DataError: As check_segments().
    """
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n" + "\n".join(lines) + "\n\n"
        for number, (start, end, lines) in enumerate(cues(segments), 1)
    )


def to_vtt(segments: Sequence[Segment]) -> str:
    """Write WebVTT (https://www.w3.org/TR/webvtt1/).

    Args:
        segments: In order.

    Returns:
        The file's text.

    Raises:
        DataError: As check_segments().
    """
    escaped = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
    return "WEBVTT\n\n" + "".join(
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n" + "\n".join(line.translate(escaped) for line in lines) + "\n\n"
        for start, end, lines in cues(segments)
    )


def to_json(segments: Sequence[Segment], source: str = "") -> str:
    """Write {"source", "segments": [{"start", "end", "text", "confidence", "n_best"}]}.

    Segments that are unsure say so too.

    Args:
        segments: In order.
        source: What was translated.

    Returns:
        The file's text: times in seconds, texts unbroken.

    Raises:
        DataError: As check_segments().
    """
    check_segments(segments)
    told = [{name: value for name, value in asdict(s).items() if name != "unsure" or value} for s in segments]
    return json.dumps({"source": source, "segments": told}, ensure_ascii=False, indent=1) + "\n"


def to_eaf(segments: Sequence[Segment], video: Path | None = None, *, when: datetime | None = None) -> str:
    """Write ELAN's annotation format 3.0: a tier "sentence", and a tier "confidence" that hangs on it.

    Args:
        segments: In order.
        video: Linked by its name, so that both files can be moved together. None: no link.
        when: Date of the document. None: now.

    Returns:
        The file's text.

    Raises:
        DataError: As check_segments().
    """
    check_segments(segments)
    date = (when or datetime.now(UTC)).isoformat(timespec="seconds")
    root = ET.Element("ANNOTATION_DOCUMENT", AUTHOR="", DATE=date, FORMAT="3.0", VERSION="3.0")
    root.set("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
    root.set("xsi:noNamespaceSchemaLocation", EAF_SCHEMA)
    header = ET.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if video is not None:
        mime = mimetypes.guess_type(video.name)[0] or "video/*"
        local = f"./{video.name}"
        ET.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=local, MIME_TYPE=mime, RELATIVE_MEDIA_URL=local)
    known = [n for n, segment in enumerate(segments) if segment.confidence is not None]
    last = ET.SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId")
    last.text = str(len(segments) + len(known))
    order = ET.SubElement(root, "TIME_ORDER")
    slots = [round(at * 1000) for segment in segments for at in (segment.start, segment.end)]
    for n, value in enumerate(slots, 1):
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{n}", TIME_VALUE=str(value))
    tier = ET.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="sentence", TIER_ID="sentence")
    for n, segment in enumerate(segments):
        slot = {"TIME_SLOT_REF1": f"ts{2 * n + 1}", "TIME_SLOT_REF2": f"ts{2 * n + 2}"}
        holder = ET.SubElement(tier, "ANNOTATION")
        annotation = ET.SubElement(holder, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{n + 1}", **slot})
        ET.SubElement(annotation, "ANNOTATION_VALUE").text = _xml_text(segment.text)
    tier = ET.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="value", PARENT_REF="sentence", TIER_ID="confidence")
    for i, n in enumerate(known, len(segments) + 1):
        holder = ET.SubElement(tier, "ANNOTATION")
        annotation = ET.SubElement(holder, "REF_ANNOTATION", ANNOTATION_ID=f"a{i}", ANNOTATION_REF=f"a{n + 1}")
        ET.SubElement(annotation, "ANNOTATION_VALUE").text = f"{segments[n].confidence:.2f}"
    graphic = {"GRAPHIC_REFERENCES": "false"}
    ET.SubElement(root, "LINGUISTIC_TYPE", {"LINGUISTIC_TYPE_ID": "sentence", "TIME_ALIGNABLE": "true", **graphic})
    kind = {"LINGUISTIC_TYPE_ID": "value", "TIME_ALIGNABLE": "false", "CONSTRAINTS": "Symbolic_Association"}
    ET.SubElement(root, "LINGUISTIC_TYPE", kind | graphic)
    rule = "1-1 association with a parent annotation"
    ET.SubElement(root, "CONSTRAINT", DESCRIPTION=rule, STEREOTYPE="Symbolic_Association")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml_text(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return "".join(
        c for c in text if c in "\t\n" or (c >= " " and not 0xD800 <= ord(c) <= 0xDFFF and c not in "\ufffe\uffff")
    )


def _clock(seconds: float, point: str) -> str:
    """Format seconds as HH:MM:SS.mmm, with `point` in place of the dot."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
