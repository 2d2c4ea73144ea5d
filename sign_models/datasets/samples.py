"""Samples of keypoint files, read and normalised by several processes, in a stable order."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sign_models.data.corpus import nfc
from sign_models.data.memory import keep_freed_memory
from sign_models.datasets.readers import START, FoundSample, Position, Sample, reading_processes
from sign_models.errors import DataError
from sign_models.keypoints import formats
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.labels import Labels
from sign_models.keypoints.isolation import ChildDied, isolated

MAX_WORKERS = 4  # reading processes. One more process writes
MIN_PARALLEL_FILES = 128  # fewer files are read as fast by one process
MAX_PARALLEL_FILE_BYTES = 2**26  # every process would read a larger file whole
FILE_GROUPS = ("signer", "video")  # groups that the files themselves name


@dataclass(frozen=True)
class Files:
    """The files of a source.

    Attributes:
        sha256: Hash of their names, sizes and times of change.
        count: Number of files.
        largest: Size of the largest, in bytes.
    """

    sha256: str
    count: int
    largest: int

    @classmethod
    def scan(cls, source: Path) -> Files:
        """List the files of a source without reading them.

        Args:
            source: File or folder.

        Returns:
            What is known of them.

        Raises:
            DataError: The source does not exist.
        """
        if not source.exists():
            raise DataError("does not exist", place=str(source), wanted="a file or folder of keypoints")
        digest, count, largest = hashlib.sha256(), 0, 0
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                status = path.stat() if path.exists() else path.lstat()  # a link may lead nowhere
                name = path.relative_to(source).as_posix()
                digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
                count, largest = count + 1, max(largest, status.st_size)
        if source.is_file():
            status = source.stat()
            digest.update(f"{status.st_size}\0{status.st_mtime_ns}".encode())
            count, largest = 1, status.st_size
        return cls(digest.hexdigest(), count, largest)

    def workers(self, asked: int | None) -> int:
        """Choose the number of reading processes.

        Args:
            asked: Number that the user asked for. None: as many as help.

        Returns:
            The number. 0: one is enough.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        few = self.count < MIN_PARALLEL_FILES or self.largest > MAX_PARALLEL_FILE_BYTES or cores == 1
        return asked if asked is not None else 0 if few else min(cores, MAX_WORKERS)


def read_samples(
    source: Path,
    reading: ReadOptions,
    group: str = "",
    begin: Position = START,
    workers: int = 0,
    labels: Labels | None = None,
) -> Iterator[FoundSample]:
    """Read the samples of a source in a stable order.

    Reading is done in other processes, so that no file can end this one. Several processes read blocks of parts in
    turn.

    Args:
        source: File or folder of keypoints.
        reading: What the files do not say.
        group: As in import_corpus.
        begin: Position of an earlier call after which reading goes on.
        workers: ReadOptions processes. At least one is started.
        labels: Filled with what label files say.

    Yields:
        The position at which reading goes on, and the sample before it, or what is wrong with it. A file that no reader
        knows is a formats.Unread.

    Raises:
        DataError: No file is of a known kind, or the layout is unknown.
    """
    root = formats.source_at(source)
    formats.resolve_layout(reading)  # refuses an unknown layout before any process starts
    keep_freed_memory()
    labels = Labels(reading) if labels is None else labels
    bad = _read_labels(root, labels)
    with reading_processes(workers, source, reading, labels.segments, begin) as read:
        found = begin > START or bool(bad)
        for i, error in enumerate(bad, 1):
            if begin < (place := Position(0, i)):
                yield place, error
        for place, sample in read:
            if isinstance(sample, formats.Unread):
                if sample.file not in labels.files:
                    yield place, sample
                continue
            found = True
            yield place, sample if isinstance(sample, DataError) else _apply_labels(sample, labels, group)
    if not found:
        raise formats.unknown_error(root)


def _read_labels(root: Source, labels: Labels) -> list[DataError]:
    """Fill `labels` in another process. Returns what is wrong with label files."""
    dead: formats.FatalFiles = {}
    while True:
        try:
            for read, bad in isolated(_labels_and_errors, root, labels, dead):
                vars(labels).update(vars(read))
                return list(bad)
        except ChildDied as died:
            error = died.error()
            if died.at is None or died.at.key in dead:
                raise error from died
            dead[died.at.key] = error


def _labels_and_errors(
    root: Source, labels: Labels, dead: formats.FatalFiles
) -> Iterator[tuple[Labels, list[DataError]]]:
    bad: list[DataError] = []
    yield formats.labels_of(root, bad.append, labels, dead), bad


def _apply_labels(sample: Sample, labels: Labels, group: str) -> Sample | DataError:
    clip, known = sample.clip, labels.of(sample.clip)
    if not group and (known.text, known.split, known.group) == (clip.text, clip.split, clip.group):
        return sample
    try:
        found = _group_of(clip.id, known.group, group, sample.place)
    except DataError as error:
        return error
    return sample._replace(clip=replace(clip, text=nfc(known.text), split=known.split, group=found))


def _group_of(id: str, named: str | None, group: str, place: str) -> str | None:
    """Group of a clip. `named` is the group that the files name."""
    if not group or group in FILE_GROUPS:
        return named
    if group == "id":
        return None
    found = re.search(group, id)
    if not found:
        raise DataError(
            f"id {id!r} has no group by {group!r}",
            place=place,
            wanted="an expression that finds a group in every id",
            remedy="correct it, or group by id",
        )
    return found[1] if found.re.groups else found[0]
