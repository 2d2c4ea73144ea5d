"""The samples of a source, read and normalised in as many processes as help, in a stable order."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sign_models.data.checks import measure
from sign_models.data.corpus import Clip
from sign_models.errors import DataError, ResourceError, SignError
from sign_models.keypoints import formats
from sign_models.keypoints.formats.source import Options as Reading
from sign_models.keypoints.layouts import load_layout, names_of
from sign_models.keypoints.sequence import KeypointSequence

BLOCK = 32  # samples that a reading process hands over at a time
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
                about = path.stat()
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
    source: Path, reading: Reading, group: str = "", begin: int = 0, workers: int = 0, block: int = BLOCK
) -> Iterator[Sample | DataError]:
    """The samples of a source from the `begin`th on, in a stable order, a bad one as the error that it is.

    workers: processes that read blocks of `block` samples in turn; 0: this one reads.
    """
    if not workers:
        for _, make in _from(begin, _made(source, reading)):
            yield prepare(make, group)
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads and connections of MLflow
    ends: list[Connection] = []
    processes = []
    for i in range(workers):
        here, there = context.Pipe(duplex=False)
        task = (there, i, workers, block, source, reading, group, begin)
        processes.append(context.Process(target=_work, args=task, daemon=True, name=f"import-{i}"))
        processes[-1].start()
        there.close()
        ends.append(here)
    try:
        turn = begin // block
        while (samples := _receive(ends[turn % workers], source)) is not None:
            yield from samples
            turn += 1
    finally:
        for end in ends:
            end.close()
        for process in processes:
            process.terminate()
            process.join()


def prepare(make: Callable[[], KeypointSequence], group: str = "") -> Sample | DataError:
    """Read and normalise one clip."""
    try:
        sequence = make()
        clip = Clip.of(sequence)
        clip = replace(clip, group=_group(clip, group, sequence.source))
    except DataError as error:
        return error
    return Sample(clip, sequence.layout, measure(clip.values), sequence.source)


def _group(clip: Clip, group: str, place: str) -> str | None:
    if not group or group in BY_FILE:
        return clip.group
    if group == "id":
        return None
    found = re.search(group, clip.id)
    if not found:
        raise DataError(f"id {clip.id!r} has no group by {group!r}", place=place, wanted="an expression for all ids")
    return found[1] if found.re.groups else found[0]


def _made(source: Path, reading: Reading) -> Iterator[Callable[[], KeypointSequence]]:
    """What reads each sample, unread; a file that is bad as a whole is a sample whose reading fails."""
    layout = reading.layout
    if layout is not None:
        layout = load_layout(layout) if layout.endswith((".yaml", ".yml")) else layout
        names_of(layout)
    bad: list[DataError] = []
    for make in formats._clips(formats._source(source), replace(reading, layout=layout), bad.append):
        while bad:
            yield partial(_fail, bad.pop(0))
        yield make
    while bad:
        yield partial(_fail, bad.pop(0))


def _fail(error: DataError) -> KeypointSequence:
    raise error


def _from(begin: int, items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    return ((number, item) for number, item in enumerate(items) if number >= begin)


def _work(
    end: Connection, mine: int, workers: int, block: int, source: Path, reading: Reading, group: str, begin: int
) -> None:
    """A reading process: hands over every `workers`th block of samples, then None; or the error that ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of the process that writes
    samples: list[Sample | DataError] = []
    try:
        for number, make in _from(begin, _made(source, reading)):
            if number // block % workers == mine:
                samples.append(prepare(make, group))
            if samples and number % block == block - 1:
                end.send(samples)
                samples = []
        if samples:
            end.send(samples)
        end.send(None)
    except SignError as error:
        end.send(error)
    except OSError:  # nobody listens any more
        return


def _receive(end: Connection, source: Path) -> list[Sample | DataError] | None:
    try:
        received = end.recv()
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
