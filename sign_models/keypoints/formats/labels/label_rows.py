"""Rows of label files, and the labels and times in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sign_models.errors import DataError
from sign_models.keypoints.formats.files.encodings import head_text
from sign_models.keypoints.formats.files.source import Source
from sign_models.keypoints.formats.labels.segments import Segment, Unit, name_forms, parse_time
from sign_models.keypoints.formats.tables import delimited
from sign_models.keypoints.formats.tables.columns import (
    GROUP,
    RECORDING,
    SPLIT,
    SPLIT_WORDS,
    TEXT,
    cell,
    columns_of,
    first_of,
    name_key,
    names_a_clip,
    times,
)
from sign_models.keypoints.sequence import SPLIT_ALIASES

_PROBED_ROWS = 8  # by which a file is recognised
NEVER_LABELS = (".npy", ".npz", ".parquet", ".pose", ".mp4")  # not even opened
_FRAMES_CLOCK = re.compile(r"\d{1,2}:\d{1,2}:\d{1,2}[:;]\d{1,3}")  # as editors of films write times
_HOLDERS = ("segments", "sentences", "annotations", "cues", "subtitles", "captions", "data")
_KEYPOINTS = (b"keypoint", b"confidence", b"instances", b"landmark")


@dataclass(frozen=True)
class Label:
    """What a label file says of a clip.

    Attributes:
        text: Text, or None.
        split: "train", "dev", "test", or None.
        group: Signer or source video, or None.
    """

    text: str | None = None
    split: str | None = None
    group: str | None = None

    def with_default(self, text: str | None, split: str | None, group: str | None) -> Label:
        """Combine the label with what the clip's own file says, which goes first, but for the number of a class.

        Args:
            text: Text of the file, or None.
            split: Split of the file, or None.
            group: Group of the file, or None.

        Returns:
            The combined label.
        """
        number = text is not None and text.isdecimal() and self.text and not self.text.isdecimal()
        return Label(self.text if text is None or number else text, split or self.split, group or self.group)

    def merged(self, other: Label) -> Label | None:
        """Combine two labels of a clip.

        Args:
            other: The other label.

        Returns:
            The combined label, or None if they contradict each other.
        """
        mine, theirs = vars(self), vars(other)
        if any(mine[name] and theirs[name] and mine[name] != theirs[name] for name in mine):
            return None
        return Label(**{name: mine[name] or theirs[name] for name in mine})


@dataclass(frozen=True)
class Timing:
    """The columns of times in a label file.

    Attributes:
        start: Column of the start.
        end: Column of the end.
        unit: Unit of both, None where unknown.
        lasts: Whether `end` has durations.
    """

    start: str
    end: str
    unit: Unit | None
    lasts: bool = False

    @classmethod
    def of(cls, rows: list[tuple[str, str, Mapping[str, Any]]]) -> Timing | None:
        """Find the columns of times. Fractions and clock times are seconds if the names state no unit.

        Args:
            rows: Place, key and cells of each row.

        Returns:
            The columns, or None without times.
        """
        found = times(dict.fromkeys(str(name) for _, _, row in rows[:_PROBED_ROWS] for name in row))
        if found is None:
            return None
        start, end, unit, lasts = found
        probed = [cells for _, _, row in rows if any(cells := (_time_cell(row, start), _time_cell(row, end)))][
            :_PROBED_ROWS
        ]
        if odd := next((pair for pair in probed if any(map(_FRAMES_CLOCK.fullmatch, pair))), None):
            raise DataError(
                f"{start} {odd[0]!r} and {end} {odd[1]!r}, whose last part may be frames",
                place=rows[0][0].partition(":")[0],
                wanted="seconds with a fraction, such as 0:00:01.48",
                remedy="divide the frames by the frame rate",
            )
        if not any(_is_time(a) and _is_time(b) for a, b in probed):
            return None  # columns of these names that hold something else
        if unit is None and any(
            re.search(r"[.,:a-zµ]", _time_cell(row, name)) for _, _, row in rows for name in (start, end)
        ):
            unit = "seconds"
        return cls(start, end, cast("Unit | None", unit), lasts)

    def segment(self, row: Mapping[str, Any], given: list[str], label: Label, place: str) -> Segment | None:
        """Read the segment of a row.

        Args:
            row: Its cells.
            given: Its names.
            label: Its label.
            place: What an error message names.

        Returns:
            The segment, or None without times. Its id is "" if the row only names its recording.

        Raises:
            DataError: The times are invalid, or no recording is named.
        """
        cells = _time_cell(row, self.start), _time_cell(row, self.end)
        if not any(cells) or cells == ("-1", "-1"):  # as PHOENIX14T has them
            return None
        try:
            if self.unit in ("ms", "frames") and any(re.search(r"[:a-zµ]", time) for time in cells):
                raise ValueError("a time in seconds in a column of another unit")
            start, end = parse_time(cells[0]), parse_time(cells[1])
            end += start if self.lasts else 0
        except ValueError:
            start, end = -1.0, -1.0
        if end == -1:  # end of the recording, as WLASL writes it
            end = math.inf
        if self.unit == "frames" and start <= 1 and end == math.inf:  # the whole recording, whose first frame is 0 or 1
            return None
        if not 0 <= start < end:
            found = f"{self.start} {cells[0][:20]!r} and {self.end} {cells[1][:20]!r}"
            raise DataError(found, place=place, wanted="a start of 0 or more and a later end", remedy="correct the row")
        names = [value for value in given if value]
        names += [value for column in columns_of(tuple(row), RECORDING) if (value := cell(row, column))]
        distinct = list({name_forms(name)[-1]: name for name in reversed(names)}.values())[::-1]
        if not distinct:
            raise DataError("its id is empty", place=place, wanted="a recording's name", remedy="name it")
        id, recordings = (distinct[0], distinct[1:]) if len(distinct) > 1 else ("", distinct)
        last = None if end == math.inf else end
        return Segment(id, tuple(recordings), start, last, self.unit, label.text, label.split, label.group, place)


def _is_time(cell: str) -> bool:
    try:
        return parse_time(cell) > -2
    except ValueError:
        return False


def _time_cell(row: Mapping[str, Any], name: str) -> str:
    """A cell of times as text, "" without one."""
    value = row.get(name)
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def split_of(name: str) -> str | None:
    """Find a split in the name of a file, such as "labels.train" or "how2sign_realigned_val.csv".

    Args:
        name: Name of the file.

    Returns:
        "train", "dev", "test", or None.
    """
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_ALIASES[word] for word in words if word in SPLIT_ALIASES), None)


def label_rows(source: Source) -> Iterable[tuple[str, str, Mapping[str, Any]]] | None:
    """Read a label file.

    Args:
        source: Any file.

    Returns:
        Place, key or "", and cells of each row. None if the file is no label file.

    Raises:
        DataError: The file is a broken label file.
    """
    if source.name.lower().endswith(NEVER_LABELS):
        return None
    if source.kind == "text":
        table = delimited.rows(source)
        return None if table is None else ((place, "", row) for place, row in table)
    if source.kind not in ("pickle", "json") or not _may_hold_labels(source):
        return None
    tree = source.tree
    if isinstance(tree, Mapping):
        items = [(str(key), row) for key, row in tree.items()]
        if _is_label_of_file(tree):
            items = [(source.id, tree)]
        elif items and all(isinstance(row, str) for _, row in items):  # {id: text}
            items = [(key, {"id": key, "text": row}) for key, row in items]
        items = (
            _listed(tree, source.id)
            or _in_columns(tree)
            or [
                (key, {"id": key, **row} if isinstance(row, Mapping) and not _is_label(row) else row)
                for key, row in items
            ]
        )
    else:
        items = [("", row) for entry in tree for row in _of_gloss(entry)] if isinstance(tree, list | tuple) else []
    if not items or not all(_is_label(row) for _, row in items[:_PROBED_ROWS]):
        return None
    return _checked_rows(items, source.name)


def _is_label_of_file(tree: Mapping[Any, Any]) -> bool:
    """Whether an object is the label of the clip that its file is named after: {"text": ..., "signer": ...}."""
    known = {name_key(name) for name in (*TEXT, *SPLIT, *GROUP, "fps", "language", "duration")}
    return (
        first_of(map(str, tree), TEXT) is not None
        and all(isinstance(value, str | int | float) for value in tree.values())
        and all(name_key(name) in known for name in tree)
    )


def _in_columns(tree: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Rows of {"id": [...], "text": [...]}, or of what pandas writes: {"id": {"0": ...}, "text": {"0": ...}}."""
    if not _is_label(tree) or not all(isinstance(column, list | Mapping) for column in tree.values()):
        return []
    columns = {name: list(c.values()) if isinstance(c, Mapping) else c for name, c in tree.items()}
    if len({len(column) for column in columns.values()}) > 1:
        return []
    return [("", dict(zip(columns, cells, strict=True))) for cells in zip(*columns.values(), strict=True)]


def _listed(tree: Mapping[Any, Any], id: str) -> list[tuple[str, Any]]:
    """Rows of {"annotations": [row, ...]}, {"train": [row, ...]} or {recording: [row with times, ...]}.

    `id` is that of the file, which names the recording of {"segments": [row with times, ...]}.
    """
    lists = {key: rows for key, rows in tree.items() if isinstance(rows, list) and rows}
    found = []
    for key, rows in lists.items():
        word = str(key).lower()
        if _is_segment(rows[0]) and word not in SPLIT_WORDS and (word in _HOLDERS or not _is_label(rows[0])):
            known = {"recording": id if word in _HOLDERS else key}
            rows = [_without_id(row) for row in rows]
        elif _is_label(rows[0]):
            known = {"split": key} if word in SPLIT_WORDS else {}
        else:
            continue
        found += [("", {**known, **row} if isinstance(row, Mapping) else row) for row in rows]
    return found


def _of_gloss(entry: Any) -> list[Any]:
    """Rows of {"gloss": ..., "instances": [row, ...]}, as WLASL lists them; else the entry itself."""
    rows = entry.get("instances") if isinstance(entry, Mapping) and not _is_label(entry) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        return [entry]
    return [{**{name: value for name, value in entry.items() if value is not rows}, **row} for row in rows]


def _checked_rows(items: list[tuple[str, Any]], name: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for number, (key, row) in enumerate(items, 1):
        place = f"{name}: row {number}"
        if not isinstance(row, Mapping):
            raise DataError(f"is a {type(row).__name__}", place=place, wanted="an object", remedy="export it again")
        yield place, key, row


def _may_hold_labels(source: Source) -> bool:
    """Whether a file may be a label file by its first bytes. Most files of a corpus are keypoints, and large."""
    head = source.head
    if any(word in head for word in _KEYPOINTS) and b'"gloss"' not in head:
        return False
    if source.kind == "json":
        text = head_text(head)
        if re.match(r'\s*\{\s*"[^"]*"\s*:\s*"', text):
            return True
        names = re.findall(r'"([^"\\]{1,40})"\s*:', text)
        if re.match(r'\s*\{\s*"[^"]*"\s*:\s*\{\s*"[^"]*"\s*:\s*["\d]', text):  # rows by id
            return first_of(names, TEXT) is not None
    else:
        names = [name.decode() for name in re.findall(rb"[A-Za-z][A-Za-z0-9_-]{2,30}", head)]
        names += ["id"] if b"id" in head else []
    return first_of(names, TEXT) is not None and (names_a_clip(names) or times(names) is not None)


def _is_label(row: Any) -> bool:
    if not isinstance(row, Mapping):
        return False
    return first_of(map(str, row), TEXT) is not None and names_a_clip(map(str, row))


def _is_segment(row: Any) -> bool:
    """Whether a row has a text and times, and names nothing but its own number."""
    names = tuple(map(str, _without_id(row))) if isinstance(row, Mapping) else ()
    return first_of(names, TEXT) is not None and times(names) is not None and not names_a_clip(names)


def _without_id(row: Any) -> Any:
    return {name: row[name] for name in row if name != "id"} if isinstance(row, Mapping) else row
