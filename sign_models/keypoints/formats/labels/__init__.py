"""Label files: texts, splits and signers of clips.

They are read wherever they are in a folder of keypoints: Uni-Sign's and SLRT's gzip pickles, GloFE's TSV (OpenASL) and
CSV (How2Sign), Kaggle's train.csv, JSON lists, the lexicon index of spoken-to-signed (docs/formats/labels.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Protocol

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import check_characters
from sign_models.keypoints.formats.files.source import DEFAULT_OPTIONS, ReadOptions, Source
from sign_models.keypoints.formats.labels import elan, subtitles
from sign_models.keypoints.formats.labels.label_rows import Label, Timing, label_rows, split_of
from sign_models.keypoints.formats.labels.segments import Segment, Segments, name_forms
from sign_models.keypoints.formats.tables import delimited
from sign_models.keypoints.formats.tables.columns import (
    GROUP,
    ID,
    SPLIT,
    TEXT,
    cell,
    check_texts,
    columns_of,
    first_of,
    split_by_name,
    text_cell,
)

NO_LABEL = Label()


class HasLabels(Protocol):
    """A clip with metadata: a KeypointSequence, or a clip made of one."""

    @property
    def id(self) -> str:
        """As in KeypointSequence."""
        ...

    @property
    def text(self) -> str | None:
        """As in KeypointSequence."""
        ...

    @property
    def split(self) -> str | None:
        """As in KeypointSequence."""
        ...

    @property
    def group(self) -> str | None:
        """As in KeypointSequence."""
        ...

    @property
    def cut(self) -> tuple[str, int, int, int] | None:
        """As in KeypointSequence."""
        ...


@dataclass(frozen=True)
class _Entry:
    """The label of a row.

    Attributes:
        id: As the row has it.
        names: All forms of all names of the row.
        label: The label.
        place: What an error message names.
    """

    id: str
    names: frozenset[str]
    label: Label
    place: str


class Labels:
    """The labels of all clips, found by id, path or bare name.

    Attributes:
        files: Paths of the label files.
        segments: Segments of recordings, after `close`.
        pairs: Place, id, text and split of the rows of tables without a header, by file. `close` tells whether they are
            labels.
        options: What the user says about texts, tiers and times.
    """

    def __init__(self, options: ReadOptions = DEFAULT_OPTIONS) -> None:
        """Start without labels.

        Args:
            options: What the user says about texts, tiers and times.
        """
        self.files: set[str] = set()
        self.segments = Segments()
        self.options = options
        self.pairs: dict[str, list[tuple[str, str, str, str | None]]] = {}
        self._timed: list[Segment] = []
        self._by_name: dict[str, Label | None] = {}
        self._by_id: dict[str, _Entry] = {}

    def add(self, source: Source) -> list[DataError]:
        """Read a file if it is a label file.

        Args:
            source: Any file.

        Returns:
            What is wrong with rows of it, which are left out.

        Raises:
            DataError: The whole file cannot be used.
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
            rows = label_rows(source)
        except DataError:
            self.files.add(source.place)  # so that it is not reported as an unknown file too
            raise
        if rows is None:
            if source.kind == "text" and (pairs := delimited.pairs(source)):
                self.pairs[source.place] = [(*pair, split_of(source.name)) for pair in pairs]
            return []
        self.files.add(source.place)
        split, entries = split_of(source.name), list(rows)
        if entries:
            check_texts(map(str, entries[0][2]), source.name)
        timing = Timing.of(entries)
        return [error for place, key, row in entries if (error := self._add(place, key, row, split, timing))]

    def _add(
        self, place: str, key: str, row: Mapping[str, Any], split: str | None, timing: Timing | None
    ) -> DataError | None:
        """Keep what a row says under its key. Returns the error where its characters are refused."""
        names = tuple(row)
        known = {kind: cell(row, first_of(names, columns)) for kind, columns in (("split", SPLIT), ("group", GROUP))}
        text = next((value for column in columns_of(names, TEXT) if (value := text_cell(row, column))), None)
        try:
            check_characters(text, "text", place)
            check_characters(known["group"], "group", place)
            label = Label(text, split_by_name(known["split"], place) or split, known["group"])
        except DataError as error:
            return error
        given = [value for column in columns_of(names, ID) if (value := cell(row, column))]
        if timing is not None:
            try:
                if segment := timing.segment(row, [key, *given], label, place):
                    self._timed.append(segment)
                    return None
            except DataError as error:
                return error
        return self._register(key or next(iter(given), ""), given, label, place)

    def _register(self, id: str, given: list[str], label: Label, place: str) -> DataError | None:
        """Enter a label under the names of its clip. Returns what is wrong with it."""
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
            # Of two clips with one bare name, only the whole path is used.
            entered = self._by_name.setdefault(form, entry.label)
            same = entered == entry.label or (known is not None and entered == known.label)
            self._by_name[form] = entry.label if same else None
        return None

    def close(self, paths: Collection[str] = ()) -> list[DataError]:
        """Finish after the last file: enter the rows with times and those of `pairs`, and make `segments`.

        Args:
            paths: Paths of the files of the source, without suffixes. A row that names one of them does not apply to
                another file of the same bare name.

        Returns:
            What is wrong with rows, which are left out.
        """
        problems = self._enter_pairs({form for path in paths for form in name_forms(path)}) if self.pairs else []
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
        return problems

    def _enter_pairs(self, names: Collection[str]) -> list[DataError]:
        """Enter the rows of tables without a header, at least half of which name files of the source."""
        problems = []
        for place, rows in self.pairs.items():
            known = sum(any(form in names for form in name_forms(id)) for _, id, _, _ in rows)
            if 2 * known >= len(rows) or place == self.options.labels:
                self.files.add(place)
                labelled = ((where, id, Label(text or None, split)) for where, id, text, split in rows)
                problems += [error for where, id, label in labelled if (error := self._register(id, [], label, where))]
        return problems

    def find(self, id: str) -> Label:
        """Find the label of a clip by its id.

        Args:
            id: Id of the clip.

        Returns:
            The label, empty if no file has one.
        """
        names = name_forms(id) if self._by_name else ()
        found = next((found for form in names if (found := self._by_name.get(form))), NO_LABEL)
        if found.text is None and self.options.texts == "folders":
            return replace(found, text=PurePosixPath(id).parent.name or None)
        return found

    def of(self, clip: HasLabels) -> Label:
        """Combine what its own file and the label files say of a clip.

        The group of a clip from a recording, without signer and split, is the recording. So recordings are not divided
        between splits.

        Args:
            clip: The clip.

        Returns:
            The combined label.
        """
        known = self.find(clip.id).with_default(clip.text, clip.split, clip.group)
        if clip.cut and not known.group and not known.split:
            return replace(known, group=clip.cut[0])
        return known

    def unused(self, ids: Iterable[str]) -> list[str]:
        """Find labels without a clip.

        Args:
            ids: Ids of all clips.

        Returns:
            Ids of the rows that no clip has.
        """
        known = {form for id in ids for form in name_forms(id)}
        return list(dict.fromkeys(entry.id for entry in self._by_id.values() if not entry.names & known))


def _describe(label: Label) -> str:
    return repr((label.text or "no text")[:40]) + (f" in {label.split}" if label.split else "")
