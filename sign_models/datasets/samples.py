"""The samples of a source, read and normalised in as many processes as help, in a stable order."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sign_models.data.corpus import Clip, nfc, together
from sign_models.data.memory import keep_freed_memory
from sign_models.datasets.checks import measure
from sign_models.datasets.handover import hand_over, take, widen
from sign_models.errors import DataError, ResourceError, SignError
from sign_models.keypoints import formats
from sign_models.keypoints.formats.labels import Labels
from sign_models.keypoints.formats.segments import Segments
from sign_models.keypoints.formats.source import Options as Reading
from sign_models.keypoints.formats.source import Source
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
    turn; 0: this one reads. labels: filled with what the label files say. A file that nobody reads is a formats.Unread.
    DataError where no file is of a known kind.
    """
    root = formats.source_at(source)
    formats.loaded(reading)  # refuses an unknown layout before any process starts
    bad: list[DataError] = []
    with _read_by(workers, source, reading, begin) as read_with:
        labels = formats.labels_of(root, bad.append, Labels(reading) if labels is None else labels)
        read = read_with(labels.segments)  # the processes have been starting meanwhile
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


def prepared(
    read: Iterable[tuple[Place, KeypointSequence | DataError]],
) -> Iterator[tuple[Place, Sample | DataError]]:
    """Samples of what was read, in its order, normalised several at a time, which changes no bit of them."""
    return chain.from_iterable(_prepared_together(read))


def _prepared_together(
    read: Iterable[tuple[Place, KeypointSequence | DataError]],
) -> Iterator[list[tuple[Place, Sample | DataError]]]:
    for group in together(read, lambda placed: 1 if isinstance(placed[1], DataError) else len(placed[1])):
        yield list(_prepare(group))


def _prepare(read: list[tuple[Place, KeypointSequence | DataError]]) -> Iterator[tuple[Place, Sample | DataError]]:
    sequences = [sequence for _, sequence in read if isinstance(sequence, KeypointSequence)]
    clips = Clip.of(sequences)
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


def _sequences(
    parts: Iterable[tuple[int, Source | DataError]], reading: Reading, begin: Place, segments: Segments
) -> Iterator[tuple[Place, KeypointSequence | DataError]]:
    for number, part in parts:
        first = begin.sample if number == begin.part else 0
        made = _of_part(part, reading)
        if segments:  # how many samples a recording makes is known when it is read
            found = chain.from_iterable(_cut(make, segments) for make in made)
            yield from ((Place(number, i), sample) for i, sample in islice(enumerate(found, 1), first, None))
            continue
        for i, make in islice(enumerate(made, 1), first, None):
            try:
                yield Place(number, i), make if isinstance(make, DataError) else make()
            except DataError as error:
                yield Place(number, i), error


def _cut(
    make: Callable[[], KeypointSequence] | DataError, segments: Segments
) -> Iterator[KeypointSequence | DataError]:
    """The samples that label files tell in a recording, or what is wrong with it."""
    try:
        if isinstance(make, DataError):
            raise make
        yield from segments.cut(make())
    except DataError as error:
        yield error


def _of_part(part: Source | DataError, reading: Reading) -> Iterator[Callable[[], KeypointSequence] | DataError]:
    """What reads each sample, unread; a part that is bad as a whole is one bad sample."""
    try:
        if isinstance(part, DataError):
            raise part
        yield from formats.clips(part, reading)
        if not formats.is_read(part):
            yield formats.Unread.of(part)
    except DataError as error:
        yield error


@contextmanager
def _read_by(workers: int, source: Path, reading: Reading, begin: Place) -> Iterator[ReadWith]:
    """What reads the samples, once it is told what to cut, by `workers` processes beside this one, if any."""
    keep_freed_memory()
    if not workers:
        yield lambda cuts: prepared(_sequences(_parts(source, begin), formats.loaded(reading), begin, cuts))
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads and connections of MLflow
    ends: list[Connection] = []
    orders: list[Connection] = []
    processes = []
    for i in range(workers):
        here, there = context.Pipe(duplex=False)
        ordered, order = context.Pipe(duplex=False)
        widen(there)
        task = (there, ordered, source, reading, begin, i, workers)
        processes.append(context.Process(target=_work, args=task, daemon=True, name=f"import-{i}"))
        processes[-1].start()
        there.close()
        ordered.close()
        ends.append(here)
        orders.append(order)

    def read_with(segments: Segments) -> Iterator[tuple[Place, Sample | DataError]]:
        for order in orders:
            with suppress(OSError):  # of a process that died, which is told when it is read
                order.send(segments)
        return _in_turn(ends, source, begin.part // BLOCK)

    try:
        yield read_with
    finally:
        for end in [*ends, *orders]:
            end.close()
        for process in processes:
            process.terminate()
            process.join()


def _in_turn(ends: list[Connection], source: Path, block: int) -> Iterator[tuple[Place, Sample | DataError]]:
    while (samples := _receive(ends[block % len(ends)], source)) is not None:
        yield from samples
        block += not samples


def _work(
    end: Connection, orders: Connection, source: Path, reading: Reading, begin: Place, mine: int, workers: int
) -> None:
    """A reading process: hands over samples, an empty list after each of its blocks, then None; or what ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of the process that writes
    keep_freed_memory()
    try:
        segments = orders.recv()
        reading = formats.loaded(reading)
        for block, parts in groupby(_parts(source, begin), lambda part: part[0] // BLOCK):
            if block % workers == mine:
                for samples in _prepared_together(_sequences(parts, reading, begin, segments)):
                    hand_over(end, samples)
                hand_over(end, [])
        hand_over(end, None)
    except SignError as error:
        hand_over(end, error)
    except (OSError, EOFError):  # nobody listens any more
        return


def _receive(end: Connection, source: Path) -> list[tuple[Place, Sample | DataError]] | None:
    try:
        received = take(end)
    except EOFError as error:
        raise ResourceError(
            "a process that read it died",
            place=str(source),
            wanted="memory for every reading process",
            remedy="start the same import again with --workers 0: it goes on where it was",
        ) from error
    if isinstance(received, SignError):
        raise received
    return received
