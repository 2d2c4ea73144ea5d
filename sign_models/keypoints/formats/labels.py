"""Texts, splits and signers that lie beside the keypoints, in files of their own.

Read wherever one lies in the folder that is read: Uni-Sign's and SLRT's gzip pickles, GloFE's TSV (OpenASL) and CSV
(How2Sign), Kaggle's train.csv, JSON lists, the lexicon index of spoken-to-signed; see docs/formats/labels.md.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Protocol, cast

from sign_models.errors import DataError
from sign_models.keypoints.formats import delimited, elan, subtitles
from sign_models.keypoints.formats.clip import check_characters
from sign_models.keypoints.formats.columns import (
    GROUP,
    ID,
    RECORDING,
    SPLIT,
    TEXT,
    cell,
    first_of,
    normal_name,
    split_by_name,
    times,
)
from sign_models.keypoints.formats.encodings import head_text
from sign_models.keypoints.formats.segments import Segment, Segments, Unit, name_forms, parse_time
from sign_models.keypoints.formats.source import DEFAULT_OPTIONS, ReadOptions, Source
from sign_models.keypoints.sequence import SPLIT_ALIASES

_PROBED_ROWS = 8  # rows by which a file is told
NEVER_LABELS = (".npy", ".npz", ".parquet", ".pose", ".mp4")  # not even opened
_KEYPOINTS = (b"keypoint", b"confidence", b"instances", b"landmark")


@dataclass(frozen=True)
class Label:
    text: str | None = None
    split: str | None = None
    group: str | None = None

    def with_default(self, text: str | None, split: str | None, group: str | None) -> Label:
        """The same, but what the clip's own file tells goes first."""
        return Label(self.text if text is None else text, split or self.split, group or self.group)

    def merged(self, other: Label) -> Label | None:
        """What both tell; None where they contradict each other."""
        mine, theirs = vars(self), vars(other)
        if any(mine[name] and theirs[name] and mine[name] != theirs[name] for name in mine):
            return None
        return Label(**{name: mine[name] or theirs[name] for name in mine})


NO_LABEL = Label()


@dataclass(frozen=True)
class _Timing:
    """The columns of a file that tell times."""

    start: str
    end: str
    unit: Unit | None

    @classmethod
    def of(cls, rows: list[tuple[str, str, Mapping[str, Any]]]) -> _Timing | None:
        """Numbers with a fraction and clock times are seconds where the names tell no unit."""
        found = times(dict.fromkeys(str(name) for _, _, row in rows[:_PROBED_ROWS] for name in row))
        if found is None:
            return None
        start, end, unit = found
        told = [cells for _, _, row in rows if any(cells := (_time_cell(row, start), _time_cell(row, end)))][
            :_PROBED_ROWS
        ]
        if not any(_is_time(a) and _is_time(b) for a, b in told):
            return None  # columns of these names that hold something else
        if unit is None and any(
            re.search(r"[.,:]", _time_cell(row, name)) for _, _, row in rows for name in (start, end)
        ):
            unit = "seconds"
        return cls(start, end, cast("Unit | None", unit))

    def segment(self, row: Mapping[str, Any], given: list[str], label: Label, place: str) -> Segment | None:
        """What a row tells, None where it has no times. Its id is "" where its names are those of its recording.

        Raises:
            DataError: the times are none, or no recording is named.
        """
        cells = _time_cell(row, self.start), _time_cell(row, self.end)
        if not any(cells) or cells == ("-1", "-1"):  # as PHOENIX14T has them
            return None
        try:
            start, end = parse_time(cells[0]), parse_time(cells[1])
        except ValueError:
            start, end = -1.0, -1.0
        if end == -1:  # how WLASL and others write the recording's end
            end = math.inf
        if not 0 <= start < end:
            found = f"{self.start} {cells[0][:20]!r} and {self.end} {cells[1][:20]!r}"
            raise DataError(found, place=place, wanted="a start of 0 or more and a later end", remedy="correct the row")
        names = [value for value in given if value]
        names += [value for name in RECORDING if (value := cell(row, first_of(row, (name,))))]
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
    """A cell of times as text, "" where there is none."""
    value = row.get(name)
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


class HasLabels(Protocol):
    """What a clip's own file says of it: of a KeypointSequence, or of a clip made of it."""

    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def group(self) -> str | None: ...
    @property
    def cut(self) -> tuple[str, int, int, int] | None: ...


@dataclass(frozen=True)
class _Entry:
    """id: as its row has it. names: every form of every name of the row. place: of the row."""

    id: str
    names: frozenset[str]
    label: Label
    place: str


class Labels:
    """What label files say of a clip, found by its id, its path or its bare name.

    files: places of the label files. segments: what is to be cut out of recordings, after `close`.
    options: of texts, tiers and times.
    """

    def __init__(self, options: ReadOptions = DEFAULT_OPTIONS) -> None:
        self.files: set[str] = set()
        self.segments = Segments()
        self.options = options
        self._timed: list[Segment] = []
        self._by_name: dict[str, Label | None] = {}
        self._by_id: dict[str, _Entry] = {}

    def add(self, source: Source) -> list[DataError]:
        """Take in a file if it is one of labels; returned is what is wrong with rows of it, which are left out.

        Raises:
            DataError: the whole file cannot be used.
        """
        if source.path.suffix.lower() == ".eaf":
            self.files.add(source.place)
            segments, problems = elan.segments(source, self.options.tiers)
            self._timed += segments
            return problems
        if source.path.suffix.lower() in subtitles.SUFFIXES:
            self.files.add(source.place)
            segments, problems = subtitles.segments(source)
            self._timed += segments
            return problems
        try:
            rows = _rows(source)
        except DataError:
            self.files.add(source.place)  # it is told as such, and need not be told as one that nobody reads
            raise
        if rows is None:
            return []
        self.files.add(source.place)
        split, told = split_of(source.name), list(rows)
        timing = _Timing.of(told)
        return [error for place, key, row in told if (error := self._add(place, key, row, split, timing))]

    def _add(
        self, place: str, key: str, row: Mapping[str, Any], split: str | None, timing: _Timing | None
    ) -> DataError | None:
        told = {kind: cell(row, first_of(row, names)) for kind, names in (("split", SPLIT), ("group", GROUP))}
        text = next((value for name in TEXT if (value := cell(row, first_of(row, (name,))))), None)
        try:
            check_characters(text, "text", place)
            check_characters(told["group"], "group", place)
            label = Label(text, split_by_name(told["split"], place) or split, told["group"])
        except DataError as error:
            return error
        given = [value for name in ID if (value := cell(row, first_of(row, (name,))))]
        if timing is not None:
            try:
                if segment := timing.segment(row, [key, *given], label, place):
                    self._timed.append(segment)
                    return None
            except DataError as error:
                return error
        return self._register(key or next(iter(given), ""), given, label, place)

    def _register(self, id: str, given: list[str], label: Label, place: str) -> DataError | None:
        """Let a clip be found by its names."""
        names = frozenset(form for name in (id, *given) if name for form in name_forms(name))
        if not names:
            wanted = "a clip's id, or no row"
            return DataError("its id is empty", place=place, wanted=wanted, remedy="name the clip, or remove the row")
        whole = name_forms(id)[0]
        known = self._by_id.get(whole)
        merged = label if known is None else known.label.merged(label)
        if known is not None and merged is None:
            self._by_name.update(dict.fromkeys(known.names | names))
            return DataError(
                f"{id!r} again with {_describe(label)}, after {_describe(known.label)} at {known.place}",
                place=place,
                wanted="each id once",
                remedy="keep one of the two; the clip has none of them now",
            )
        entry = _Entry(id, names | known.names if known else names, merged or label, known.place if known else place)
        self._by_id[whole] = entry
        for form in entry.names:
            # Two clips of one bare name: only the whole path tells them apart.
            held = self._by_name.setdefault(form, entry.label)
            same = held == entry.label or (known is not None and held == known.label)
            self._by_name[form] = entry.label if same else None
        return None

    def close(self, paths: Collection[str] = ()) -> None:
        """After the last file: clips are found by the rows with times too, and `segments` knows what to cut.

        paths: of the source's files, without their endings. A row that names one of them by its path tells nothing of
        another file of the same bare name.
        """
        ids, recordings = Counter(s.id for s in self._timed), Counter(s.recordings[0] for s in self._timed if not s.id)
        segments, whole = [], []
        for s in self._timed:
            span = f"{s.start:g}-{'end' if s.end is None else f'{s.end:g}'}"
            if s.id and ids[s.id] > 1:  # the names are those of recordings
                s = replace(s, id=f"{name_forms(s.id)[0]}/{span}", recordings=(s.id, *s.recordings))
            elif s.id:
                whole.append(s.id)
            else:
                single = recordings[s.recordings[0]] == 1
                s = replace(s, id=s.recordings[0] if single else f"{name_forms(s.recordings[0])[0]}/{span}")
            segments.append(s)
            self._register(s.id, [], Label(s.text, s.split, s.group), s.place)
        self.segments = Segments(segments, whole, self.options.times)
        for entry in self._by_id.values():
            whole_name, *bare = name_forms(entry.id)
            if bare and whole_name in paths:
                self._by_name.update(dict.fromkeys(bare))

    def find(self, id: str) -> Label:
        """What is known of a clip; nothing where no file tells of it."""
        names = name_forms(id) if self._by_name else ()
        found = next((found for form in names if (found := self._by_name.get(form))), NO_LABEL)
        if found.text is None and self.options.texts == "folders":
            return replace(found, text=PurePosixPath(id).parent.name or None)
        return found

    def of(self, clip: HasLabels) -> Label:
        """What is known of a clip, its own file first.

        One that was cut out of a recording, and has neither a signer nor a split, has the recording for its group:
        whoever splits the clips keeps recordings whole then.
        """
        known = self.find(clip.id).with_default(clip.text, clip.split, clip.group)
        if clip.cut and not known.group and not known.split:
            return replace(known, group=clip.cut[0])
        return known

    def unused(self, ids: Iterable[str]) -> list[str]:
        """The ids of the rows that are none of these clips'."""
        known = {form for id in ids for form in name_forms(id)}
        return list(dict.fromkeys(entry.id for entry in self._by_id.values() if not entry.names & known))


def _describe(label: Label) -> str:
    return repr((label.text or "no text")[:40]) + (f" in {label.split}" if label.split else "")


def split_of(name: str) -> str | None:
    """The split that a file's name tells: "labels.train", "how2sign_realigned_val.csv"."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_ALIASES[word] for word in words if word in SPLIT_ALIASES), None)


def _rows(source: Source) -> Iterable[tuple[str, str, Mapping[str, Any]]] | None:
    """(place, key or "", row) of a label file, None where the file is no label file."""
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
        if items and all(isinstance(row, str) for _, row in items):  # {id: text}
            items = [(key, {"id": key, "text": row}) for key, row in items]
    else:
        items = [("", row) for row in tree] if isinstance(tree, list | tuple) else []
    if not items or not all(_is_label(row) for _, row in items[:_PROBED_ROWS]):
        return None
    return _told_rows(items, source.name)


def _told_rows(items: list[tuple[str, Any]], name: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for number, (key, row) in enumerate(items, 1):
        place = f"{name}: row {number}"
        if not isinstance(row, Mapping):
            raise DataError(f"is a {type(row).__name__}", place=place, wanted="an object", remedy="export it again")
        yield place, key, row


def _may_hold_labels(source: Source) -> bool:
    """Whether reading the file is worth it: most files of a corpus are keypoints, and large."""
    head = source.head
    if any(word in head for word in _KEYPOINTS):
        return False
    if source.kind == "json":
        text = head_text(head)
        if re.match(r'\s*\{\s*"[^"]*"\s*:\s*"', text):
            return True
        names = {normal_name(name) for name in re.findall(r'"([^"\\]{1,40})"\s*:', text)}
    else:
        names = {normal_name(name.decode()) for name in re.findall(rb"[A-Za-z][A-Za-z0-9_-]{2,30}", head)}
        names |= {"id"} if b"id" in head else set()
    return bool(names & set(TEXT)) and bool(names & set(ID))


def _is_label(row: Any) -> bool:
    if not isinstance(row, Mapping):
        return False
    return first_of(map(str, row), TEXT) is not None and first_of(map(str, row), ID) is not None
