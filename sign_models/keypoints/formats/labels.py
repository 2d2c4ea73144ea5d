"""Texts, splits and signers that lie beside the keypoints, in files of their own.

Read wherever one lies in the folder that is read: Uni-Sign's and SLRT's gzip pickles, GloFE's TSV (OpenASL) and CSV
(How2Sign), Kaggle's train.csv, JSON lists, the lexicon index of spoken-to-signed; see docs/formats/labels.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sign_models.errors import DataError
from sign_models.keypoints.formats import delimited
from sign_models.keypoints.formats.clip import SPLITS
from sign_models.keypoints.formats.columns import GROUP, ID, SPLIT, TEXT, cell, first_of, normal, split_named
from sign_models.keypoints.formats.encodings import head_text
from sign_models.keypoints.formats.source import Source

_MEDIA = re.compile(
    r"\.(mp4|m4v|mpe?g|avi|mkv|mov|wmv|flv|webm|pkl|pickle|pose|json|npy|npz|parquet|csv|h5|hdf5|mat|txt|eaf)(\.gz)?$",
    re.IGNORECASE,
)
_SAMPLED = 8  # rows by which a file is told
_NEVER = (".npy", ".npz", ".parquet", ".pose", ".mp4")  # not even opened
_KEYPOINTS = (b"keypoint", b"confidence", b"instances", b"landmark")


@dataclass(frozen=True)
class Label:
    text: str | None = None
    split: str | None = None
    group: str | None = None

    def beside(self, text: str | None, split: str | None, group: str | None) -> Label:
        """The same, but what the clip's own file tells goes first."""
        return Label(self.text if text is None else text, split or self.split, group or self.group)


NOTHING = Label()


@dataclass(frozen=True)
class _Entry:
    """id: as its row has it. names: every form of every name of the row. place: of the row."""

    id: str
    names: frozenset[str]
    label: Label
    place: str


class Labels:
    """What label files say of a clip, found by its id, its path or its bare name.

    files: places of the label files.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._entries: list[_Entry] = []
        self._by_name: dict[str, Label | None] = {}
        self._by_id: dict[str, _Entry] = {}

    def add(self, source: Source) -> list[DataError]:
        """Take in a file if it is one of labels; returned is what is wrong with rows of it, which are left out.

        Raises:
            DataError: the whole file cannot be used.
        """
        try:
            rows = _rows(source)
        except DataError:
            self.files.add(source.place)  # it is told as such, and need not be told as one that nobody reads
            raise
        if rows is None:
            return []
        self.files.add(source.place)
        split = split_of(source.name)
        return [error for place, key, row in rows if (error := self._add(place, key, row, split))]

    def _add(self, place: str, key: str, row: Mapping[str, Any], split: str | None) -> DataError | None:
        told = {kind: cell(row, first_of(row, names)) for kind, names in (("split", SPLIT), ("group", GROUP))}
        text = next((value for name in TEXT if (value := cell(row, first_of(row, (name,))))), None)
        try:
            label = Label(text, split_named(told["split"], place) or split, told["group"])
        except DataError as error:
            return error
        given = [value for name in ID if (value := cell(row, first_of(row, (name,))))]
        id = key or next(iter(given), "")
        names = frozenset(form for name in (id, *given) if name for form in _forms(name))
        if not names:
            wanted = "a clip's id, or no row"
            return DataError("its id is empty", place=place, wanted=wanted, remedy="name the clip, or remove the row")
        whole = _forms(id)[0]
        entry = self._by_id.setdefault(whole, _Entry(id, names, label, place))
        if entry.label != label:
            self._by_name.update(dict.fromkeys(entry.names | names))
            return DataError(
                f"{id!r} again with {_told(label)}, after {_told(entry.label)} at {entry.place}",
                place=place,
                wanted="each id once",
                remedy="keep one of the two; the clip has none of them now",
            )
        self._entries.append(entry)
        for form in names:
            # Two clips of one bare name: only the whole path tells them apart.
            known = self._by_name.setdefault(form, label)
            self._by_name[form] = label if known == label else None
        return None

    def find(self, id: str) -> Label:
        """What is known of a clip; nothing where no file tells of it."""
        forms = _forms(id) if self._by_name else ()
        return next((found for form in forms if (found := self._by_name.get(form))), NOTHING)

    def unused(self, ids: Iterable[str]) -> list[str]:
        """The ids of the rows that are none of these clips'."""
        forms = {form for id in ids for form in _forms(id)}
        return list(dict.fromkeys(entry.id for entry in self._entries if not entry.names & forms))


def _told(label: Label) -> str:
    return repr((label.text or "no text")[:40]) + (f" in {label.split}" if label.split else "")


def split_of(name: str) -> str | None:
    """The split that a file's name tells: "labels.train", "how2sign_realigned_val.csv"."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def _forms(name: str) -> list[str]:
    """The whole path and the bare name, both without the endings of films and keypoint files."""
    bare = re.sub(r"^(\./)+", "", name.strip().replace("\\", "/"))
    while bare != (shorter := _MEDIA.sub("", bare)) and shorter:
        bare = shorter
    return list(dict.fromkeys([bare, PurePosixPath(bare).name or bare]))


def _rows(source: Source) -> Iterable[tuple[str, str, Mapping[str, Any]]] | None:
    """(place, key or "", row) of a label file, None where the file is no label file."""
    if source.name.lower().endswith(_NEVER):
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
    if not items or not all(_is_label(row) for _, row in items[:_SAMPLED]):
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
        names = {normal(name) for name in re.findall(r'"([^"\\]{1,40})"\s*:', text)}
    else:
        names = {normal(name.decode()) for name in re.findall(rb"[A-Za-z][A-Za-z0-9_-]{2,30}", head)}
        names |= {"id"} if b"id" in head else set()
    return bool(names & set(TEXT)) and bool(names & set(ID))


def _is_label(row: Any) -> bool:
    if not isinstance(row, Mapping):
        return False
    return first_of(map(str, row), TEXT) is not None and first_of(map(str, row), ID) is not None
