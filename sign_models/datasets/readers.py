"""Reading of keypoint files in other processes, which normalise the samples too.

A source has parts, most of them files. Process i of n reads every nth block of parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sign_models.data.corpus import Clip, in_chunks
from sign_models.data.memory import keep_freed_memory
from sign_models.datasets.checks import measure
from sign_models.errors import DataError
from sign_models.keypoints import formats
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.labels.segments import Segments
from sign_models.keypoints.isolation import Child, ChildDied, as_data_error, at_work
from sign_models.keypoints.sequence import KeypointSequence

BLOCK_PARTS = 16  # parts of a source that a reading process takes at a time


class Sample(NamedTuple):
    """A clip that could be read.

    Attributes:
        clip: The normalised clip.
        layout: Layout of its file.
        measures: (M,) float32, checks.MEASURES.
        place: What an error message names.
    """

    clip: Clip
    layout: str
    measures: np.ndarray
    place: str


class Position(NamedTuple):
    """Where reading goes on.

    Attributes:
        part: Number of a file, or of a folder with the frames of a clip. 0 are the label files.
        sample: Number of a sample in it.
    """

    part: int
    sample: int


START = Position(0, 0)
Found = tuple[Position, KeypointSequence | DataError]
FoundSample = tuple[Position, Sample | DataError]
FatalSamples = dict[int, tuple[int, DataError]]  # part that ended a process -> number of its bad sample, error


def normalised_samples(
    read: Iterable[Found],
) -> Iterator[FoundSample]:
    """Normalise sequences several at a time, which changes no bit of them.

    Args:
        read: Positions and sequences, or what is wrong with them.

    Yields:
        Positions and samples in the same order, or what is wrong with them.
    """
    return chain.from_iterable(_normalised_chunks(read))


def _normalised_chunks(
    read: Iterable[Found],
) -> Iterator[list[FoundSample]]:
    for chunk in in_chunks(read, lambda item: 1 if isinstance(item[1], DataError) else len(item[1])):
        yield list(_normalise_chunk(chunk))


def _normalise_chunk(
    read: list[Found],
) -> Iterator[FoundSample]:
    """Clips and measures of the sequences of a chunk, and its errors, in their order."""
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


def _parts(source: Path, begin: Position) -> Iterator[tuple[int, Source | DataError]]:
    """Parts of a source from `begin` on, numbered from 1. Part 0 are the label files."""
    return (
        (number, part)
        for number, part in enumerate(formats.parts(formats.source_at(source)), 1)
        if number >= begin.part
    )


def _sequences(
    parts: Iterable[tuple[int, Source | DataError]],
    reading: ReadOptions,
    begin: Position,
    segments: Segments,
    fatal: FatalSamples,
) -> Iterator[Found]:
    """What is read of some parts of a source, with the place of each sample, from `begin` on, but for `fatal`."""
    for number, part in parts:
        first = begin.sample if number == begin.part else 0
        if number in fatal:
            bad, error = fatal[number]
            if bad > first:
                yield Position(number, bad), error
            continue
        name, size = "", 0
        if isinstance(part, Source):
            name, size = part.id or part.name, formats.size_of(part)
            at_work(number, name, size)
        made = _readers_of(part, reading, name, size)
        if segments:  # how many samples a recording makes is known when it is read
            found = chain.from_iterable(_segment(make, segments, name, size) for make in made)
            yield from ((Position(number, i), sample) for i, sample in islice(enumerate(found, 1), first, None))
            continue
        for i, make in islice(enumerate(made, 1), first, None):
            try:
                yield Position(number, i), make if isinstance(make, DataError) else make()
            except (DataError, MemoryError) as error:
                yield Position(number, i), as_data_error(error, name, size)


def _segment(
    make: Callable[[], KeypointSequence] | DataError, segments: Segments, name: str, size: int
) -> Iterator[KeypointSequence | DataError]:
    """Segments of a recording by label files, or what is wrong with it."""
    try:
        if isinstance(make, DataError):
            raise make
        yield from segments.split(make())
    except (DataError, MemoryError) as error:
        yield as_data_error(error, name, size)


def _readers_of(
    part: Source | DataError, reading: ReadOptions, name: str, size: int
) -> Iterator[Callable[[], KeypointSequence] | DataError]:
    """Functions that read the samples of a part. A part that is bad as a whole is one bad sample."""
    try:
        if isinstance(part, DataError):
            raise part
        yield from formats.clips(part, reading)
        if not formats.is_read(part):
            yield formats.Unread.from_source(part)
    except (DataError, MemoryError) as error:
        yield as_data_error(error, name, size)


@contextmanager
def reading_processes(
    workers: int, source: Path, reading: ReadOptions, segments: Segments, begin: Position
) -> Iterator[Iterator[FoundSample]]:
    """Read and normalise samples in other processes, which end with the context.

    Args:
        workers: Number of processes. At least one is started.
        source: File or folder of keypoints.
        reading: What the files do not say.
        segments: Segments of recordings that label files name.
        begin: Position of an earlier call after which reading goes on.

    Yields:
        An iterator over positions and samples, or what is wrong with them, in a stable order.
    """
    count = max(1, workers)
    readers = [_Reader(source, reading, segments, mine, count) for mine in range(count)]
    try:
        for reader in readers:
            reader.start(begin)
        yield _round_robin(readers, begin.part // BLOCK_PARTS)
    finally:
        for reader in readers:
            reader.end()


def _round_robin(readers: list[_Reader], block: int) -> Iterator[FoundSample]:
    while (samples := readers[block % len(readers)].receive(block)) is not None:
        yield from samples
        block += not samples


class _Reader:
    """Process that reads every `count`th block of parts from block `mine` on. Restarted where a file ends it."""

    def __init__(self, source: Path, reading: ReadOptions, segments: Segments, mine: int, count: int) -> None:
        self._task = source, reading, segments, mine, count
        self._fatal: FatalSamples = {}
        self._begin = START
        self._child: Child | None = None

    def start(self, begin: Position) -> None:
        self._begin = begin
        self._child = Child(_work, *self._task, begin, self._fatal)

    def receive(self, block: int) -> list[FoundSample] | None:
        """Samples of `block`, an empty list at its end, None after the last block."""
        assert self._child is not None
        try:
            found = self._child.receive()
        except ChildDied as died:
            self._skip_fatal(died, block)
            return self.receive(block)
        if isinstance(found, StopIteration):
            return None
        samples: list[FoundSample] = found
        if samples:
            self._begin = samples[-1][0]
        return samples

    def _skip_fatal(self, died: ChildDied, block: int) -> None:
        """Restart after the file that ended the process. Raises its error where no such file is known."""
        error = died.error()
        number = died.at.key if died.at else None
        if not isinstance(number, int) or number in self._fatal:
            raise error from died
        begin = max(self._begin, Position(block * BLOCK_PARTS, 0))
        self._fatal[number] = (begin.sample + 1 if number == begin.part else 1, error)
        self.start(begin)

    def end(self) -> None:
        if self._child is not None:
            self._child.end()


def _work(
    source: Path, reading: ReadOptions, segments: Segments, mine: int, count: int, begin: Position, fatal: FatalSamples
) -> Iterator[list[FoundSample]]:
    """Body of a reading process: samples, and an empty list after each of its blocks."""
    keep_freed_memory()
    reading = formats.resolve_layout(reading)
    for block, parts in groupby(_parts(source, begin), lambda part: part[0] // BLOCK_PARTS):
        if block % count == mine:
            yield from _normalised_chunks(_sequences(parts, reading, begin, segments, fatal))
            yield []
