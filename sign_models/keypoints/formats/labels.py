"""Texts, splits and signers that lie beside the keypoints, in files of their own.

Read wherever one lies in the folder that is read: Uni-Sign's and SLRT's gzip pickles, GloFE's TSV (OpenASL) and CSV
(How2Sign), Kaggle's train.csv, JSON lists, the lexicon index of spoken-to-signed; see docs/formats/labels.md.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import SPLITS
from sign_models.keypoints.formats.source import Source, lines

# What the field calls the same thing, most particular first.
NAME = (
    "id",
    "name",
    "video_name",
    "vid",
    "SENTENCE_NAME",
    "sequence_id",
    "path",
    "video_path",
    "video",
    "pose",
    "file",
)
TEXT = ("text", "raw-text", "SENTENCE", "sentence", "translation", "phrase", "sign", "words")
GROUP = ("signer", "signer_id", "participant_id", "speaker")
SPLIT = ("split",)
_MEDIA = re.compile(r"\.(mp4|avi|mkv|mov|webm|pkl|pickle|pose|json|npy|npz|parquet|csv)$", re.IGNORECASE)
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


class Labels:
    """What label files say of a clip, found by its id, its path or its bare name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Label | None] = {}

    def add(self, source: Source) -> bool:
        """Take in a file if it is one of labels; False if it is not."""
        rows = _rows(source)
        if rows is None:
            return False
        split = split_of(source.name)
        for key, row in rows:
            label = Label(_first(row, TEXT), SPLITS.get(str(_first(row, SPLIT)), split), _first(row, GROUP))
            names = {key, *(str(row[field]) for field in NAME if isinstance(row.get(field), str | int))}
            for form in {form for name in names if name for form in _forms(name)}:
                # Two clips of one bare name: only the whole path tells them apart.
                known = self._by_name.setdefault(form, label)
                self._by_name[form] = label if known == label else None
        return True

    def find(self, id: str) -> Label:
        """What is known of a clip; nothing where no file tells of it."""
        forms = _forms(id) if self._by_name else ()
        return next((found for form in forms if (found := self._by_name.get(form))), NOTHING)


def split_of(name: str) -> str | None:
    """The split that a file's name tells: "labels.train", "how2sign_realigned_val.csv"."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def _first(row: Mapping[str, Any], names: Iterable[str]) -> str | None:
    value = next((row[name] for name in names if row.get(name) is not None), None)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _forms(name: str) -> list[str]:
    """The whole path and the bare name, both without a film's or a keypoint file's ending."""
    bare = _MEDIA.sub("", name)
    return list(dict.fromkeys([bare, PurePosixPath(bare).name or bare]))


def _rows(source: Source) -> Iterator[tuple[str, Mapping[str, Any]]] | None:
    """(key or "", row) of a label file, None where the file is no label file."""
    if source.name.lower().endswith(_NEVER):
        return None
    if source.kind == "text":
        return _table(source)
    if source.kind not in ("pickle", "json") or not _may_hold_labels(source.head):
        return None
    tree = source.tree
    if isinstance(tree, Mapping):
        items = [(str(key), row) for key, row in tree.items()]
    else:
        items = [("", row) for row in tree] if isinstance(tree, list | tuple) else []
    if not items or not all(_is_label(row) for _, row in items[:_SAMPLED]):
        return None
    return ((key, row) for key, row in items if isinstance(row, Mapping))


def _may_hold_labels(head: bytes) -> bool:
    """Whether reading the file is worth it: most files of a corpus are keypoints, and large."""
    return not any(word in head for word in _KEYPOINTS) and any(name.encode() in head for name in TEXT)


def _is_label(row: Any) -> bool:
    return isinstance(row, Mapping) and any(name in row for name in TEXT) and any(name in row for name in NAME)


def _table(source: Source) -> Iterator[tuple[str, Mapping[str, Any]]] | None:
    first = source.head.decode("utf-8", errors="replace").partition("\n")[0]
    # How2Sign's .csv files are separated by tabs.
    delimiter = "\t" if "\t" in first else ";" if first.count(";") > first.count(",") else ","
    columns = {name.strip().strip('"\ufeff') for name in first.split(delimiter)}
    if "frame" in columns or not (columns & set(TEXT) and columns & set(NAME)):
        return None
    return _table_rows(source, delimiter)


def _table_rows(source: Source, delimiter: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    text = lines(source.path)
    try:
        # Tab-separated sentences hold lone quotation marks.
        if delimiter == "\t":
            rows = csv.DictReader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        else:
            rows = csv.DictReader(text, delimiter=delimiter)
        yield from (("", row) for row in rows)
    except csv.Error as error:
        raise DataError(f"is no readable table ({error})", place=source.name, wanted="CSV or TSV") from error
