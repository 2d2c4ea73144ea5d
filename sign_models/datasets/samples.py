"""The samples of a source, read and normalised in as many processes as help, in a stable order."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sign_models.data.corpus import Clip, in_chunks, nfc
from sign_models.data.memory import keep_freed_memory
from sign_models.datasets.checks import measure
from sign_models.errors import DataError
from sign_models.keypoints import formats
from sign_models.keypoints.formats.labels import Labels
from sign_models.keypoints.formats.segments import Segments
from sign_models.keypoints.formats.source import Options as Reading
from sign_models.keypoints.formats.source import Source
from sign_models.keypoints.isolation import Child, Died, at_work, isolated, told
from sign_models.keypoints.sequence import KeypointSequence

BLOCK = 16  # parts of a source, most of them files, that a reading process takes at a time
WORKERS = 4  # reading processes at most; one process writes
SMALL = 128  # files of a source that one process reads as fast
LARGE = 2**26  # bytes: every process would read such a file whole
BY_FILE = ("signer", "video")  # groups that the files themselves tell


class Sample(NamedTuple):
    """A clip that could be read. layout: of its file. measures: checks.MEASURES. place: what an error message names."""

    clip: Clip
    layout: str
    measures: np.ndarray
    place: str


class Place(NamedTuple):
    """Where reading goes on: sample `sample` of part `part`. A part is a file, or a folder of a clip's frames."""

    part: int
    sample: int


BEGIN = Place(0, 0)
ReadWith = Callable[[Segments], Iterator[tuple[Place, Sample | DataError]]]


@dataclass(frozen=True)
class Files:
    """The files of a source: sha256 over their names, sizes and times, how many, bytes of the largest."""

    sha256: str
    count: int
    largest: int

    @classmethod
    def of(cls, source: Path) -> Files:
        if not source.exists():
            raise DataError("does not exist", place=str(source), wanted="a file or folder of keypoints")
        digest, count, largest = hashlib.sha256(), 0, 0
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                about = path.stat() if path.exists() else path.lstat()  # a link may lead nowhere
                place = path.relative_to(source).as_posix()
                digest.update(f"{place}\0{about.st_size}\0{about.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
                count, largest = count + 1, max(largest, about.st_size)
        if source.is_file():
            about = source.stat()
            digest.update(f"{about.st_size}\0{about.st_mtime_ns}".encode())
            count, largest = 1, about.st_size
        return cls(digest.hexdigest(), count, largest)

    def workers(self, asked: int | None) -> int:
        """Reading processes; 0: none beside this one."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        few = self.count < SMALL or self.largest > LARGE or cores == 1
        return asked if asked is not None else 0 if few else min(cores, WORKERS)


def read_samples(
    source: Path,
    reading: Reading,
    group: str = "",
    begin: Place = BEGIN,
    workers: int = 0,
    labels: Labels | None = None,
) -> Iterator[tuple[Place, Sample | DataError]]:
    """The samples of a source from `begin` on, in a stable order, a bad one as the error that it is.

    Each comes with the place where reading goes on after it. workers: processes that read blocks of BLOCK parts in
    turn; at least one does, so that no file can end this process. labels: filled with what the label files say. A file
    that nobody reads is a formats.Unread. DataError where no file is of a known kind.
    """
    root = formats.source_at(source)
    formats.loaded(reading)  # refuses an unknown layout before any process starts
    keep_freed_memory()
    labels = Labels(reading) if labels is None else labels
    bad = _read_labels(root, labels)
    with _read_by(workers, source, reading, labels.segments, begin) as read:
        found = begin > BEGIN or bool(bad)
        for i, error in enumerate(bad, 1):
            if begin < (place := Place(0, i)):
                yield place, error
        for place, sample in read:
            if isinstance(sample, formats.Unread):
                if sample.file not in labels.files:
                    yield place, sample
                continue
            found = True
            yield place, sample if isinstance(sample, DataError) else _labelled(sample, labels, group)
    if not found:
        raise formats.unknown(root)


def _read_labels(root: Source, labels: Labels) -> list[DataError]:
    """Fill `labels` in another process. What is wrong with label files."""
    dead: formats.Dead = {}
    while True:
        try:
            for read, bad in isolated(_labels_and_errors, root, labels, dead):
                vars(labels).update(vars(read))
                return list(bad)
        except Died as died:
            error = died.error()
            if died.at is None or died.at.key in dead:
                raise error from died
            dead[died.at.key] = error


def _labels_and_errors(root: Source, labels: Labels, dead: formats.Dead) -> Iterator[tuple[Labels, list[DataError]]]:
    bad: list[DataError] = []
    yield formats.labels_of(root, bad.append, labels, dead), bad


def prepared(
    read: Iterable[tuple[Place, KeypointSequence | DataError]],
) -> Iterator[tuple[Place, Sample | DataError]]:
    """Samples of what was read, in its order, normalised several at a time, which changes no bit of them."""
    return chain.from_iterable(_prepared_together(read))


def _prepared_together(
    read: Iterable[tuple[Place, KeypointSequence | DataError]],
) -> Iterator[list[tuple[Place, Sample | DataError]]]:
    for group in in_chunks(read, lambda placed: 1 if isinstance(placed[1], DataError) else len(placed[1])):
        yield list(_prepare(group))


def _prepare(read: list[tuple[Place, KeypointSequence | DataError]]) -> Iterator[tuple[Place, Sample | DataError]]:
    sequences = [sequence for _, sequence in read if isinstance(sequence, KeypointSequence)]
    clips = Clip.normalised(sequences)
    good = [clip.values for clip in clips if isinstance(clip, Clip)]
    measures, both = iter(measure(good) if good else ()), zip(clips, sequences, strict=True)
    for place, sample in read:
        if isinstance(sample, DataError):
            yield place, sample
            continue
        clip, sequence = next(both)
        if isinstance(clip, DataError):
            yield place, clip
        else:
            yield place, Sample(clip, str(sequence.layout), next(measures), sequence.source)


def _labelled(sample: Sample, labels: Labels, group: str) -> Sample | DataError:
    clip, known = sample.clip, labels.of(sample.clip)
    if not group and (known.text, known.split, known.group) == (clip.text, clip.split, clip.group):
        return sample
    try:
        found = _group(clip.id, known.group, group, sample.place)
    except DataError as error:
        return error
    return sample._replace(clip=replace(clip, text=nfc(known.text), split=known.split, group=found))


def _group(id: str, told: str | None, group: str, place: str) -> str | None:
    """What clips share a group by; told: by the files."""
    if not group or group in BY_FILE:
        return told
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


def _parts(source: Path, begin: Place) -> Iterator[tuple[int, Source | DataError]]:
    """The parts of a source by number, which counts from 1: part 0 are the label files."""
    return (
        (number, part)
        for number, part in enumerate(formats.parts(formats.source_at(source)), 1)
        if number >= begin.part
    )


Dead = dict[int, tuple[int, DataError]]  # number of a part that ended a process -> number of its bad sample, its error


def _sequences(
    parts: Iterable[tuple[int, Source | DataError]], reading: Reading, begin: Place, segments: Segments, dead: Dead
) -> Iterator[tuple[Place, KeypointSequence | DataError]]:
    for number, part in parts:
        first = begin.sample if number == begin.part else 0
        if number in dead:
            bad, error = dead[number]
            if bad > first:
                yield Place(number, bad), error
            continue
        name, size = "", 0
        if isinstance(part, Source):
            name, size = part.id or part.name, formats.size_of(part)
            at_work(number, name, size)
        made = _of_part(part, reading, name, size)
        if segments:  # how many samples a recording makes is known when it is read
            found = chain.from_iterable(_cut(make, segments, name, size) for make in made)
            yield from ((Place(number, i), sample) for i, sample in islice(enumerate(found, 1), first, None))
            continue
        for i, make in islice(enumerate(made, 1), first, None):
            try:
                yield Place(number, i), make if isinstance(make, DataError) else make()
            except (DataError, MemoryError) as error:
                yield Place(number, i), told(error, name, size)


def _cut(
    make: Callable[[], KeypointSequence] | DataError, segments: Segments, name: str, size: int
) -> Iterator[KeypointSequence | DataError]:
    """The samples that label files tell in a recording, or what is wrong with it."""
    try:
        if isinstance(make, DataError):
            raise make
        yield from segments.cut(make())
    except (DataError, MemoryError) as error:
        yield told(error, name, size)


def _of_part(
    part: Source | DataError, reading: Reading, name: str, size: int
) -> Iterator[Callable[[], KeypointSequence] | DataError]:
    """What reads each sample, unread; a part that is bad as a whole is one bad sample."""
    try:
        if isinstance(part, DataError):
            raise part
        yield from formats.clips(part, reading)
        if not formats.is_read(part):
            yield formats.Unread.of(part)
    except (DataError, MemoryError) as error:
        yield told(error, name, size)


@contextmanager
def _read_by(
    workers: int, source: Path, reading: Reading, segments: Segments, begin: Place
) -> Iterator[Iterator[tuple[Place, Sample | DataError]]]:
    """The samples, read by `workers` processes beside this one, at least one."""
    count = max(1, workers)
    readers = [_Reader(source, reading, segments, mine, count) for mine in range(count)]
    try:
        for reader in readers:
            reader.start(begin)
        yield _in_turn(readers, begin.part // BLOCK)
    finally:
        for reader in readers:
            reader.end()


def _in_turn(readers: list[_Reader], block: int) -> Iterator[tuple[Place, Sample | DataError]]:
    while (samples := readers[block % len(readers)].receive(block)) is not None:
        yield from samples
        block += not samples


class _Reader:
    """A reading process that reads every `count`th block of parts from `mine` on; started anew where a file ends it."""

    def __init__(self, source: Path, reading: Reading, segments: Segments, mine: int, count: int) -> None:
        self._task = source, reading, segments, mine, count
        self._dead: Dead = {}
        self._begin = BEGIN
        self._child: Child | None = None

    def start(self, begin: Place) -> None:
        self._begin = begin
        self._child = Child(_work, *self._task, begin, self._dead)

    def receive(self, block: int) -> list[tuple[Place, Sample | DataError]] | None:
        """Samples of `block`, an empty list at its end, None after the last block."""
        assert self._child is not None
        try:
            found = self._child.receive()
        except Died as died:
            self._bury(died, block)
            return self.receive(block)
        if isinstance(found, StopIteration):
            return None
        samples: list[tuple[Place, Sample | DataError]] = found
        if samples:
            self._begin = samples[-1][0]
        return samples

    def _bury(self, died: Died, block: int) -> None:
        """Go on behind the file that ended the process. Its error is raised where that is of no use."""
        error = died.error()
        number = died.at.key if died.at else None
        if not isinstance(number, int) or number in self._dead:
            raise error from died
        begin = max(self._begin, Place(block * BLOCK, 0))
        self._dead[number] = (begin.sample + 1 if number == begin.part else 1, error)
        self.start(begin)

    def end(self) -> None:
        if self._child is not None:
            self._child.end()


def _work(
    source: Path, reading: Reading, segments: Segments, mine: int, count: int, begin: Place, dead: Dead
) -> Iterator[list[tuple[Place, Sample | DataError]]]:
    """In a reading process: samples, an empty list after each of its blocks."""
    keep_freed_memory()
    reading = formats.loaded(reading)
    for block, parts in groupby(_parts(source, begin), lambda part: part[0] // BLOCK):
        if block % count == mine:
            yield from _prepared_together(_sequences(parts, reading, begin, segments, dead))
            yield []
