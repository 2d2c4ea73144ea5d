"""Damage files of every format and read them: only DataError may come out, in time and in little memory.

usage: python -m benchmarks.fuzz_formats [--files N] [--seed N] [FOLDER ...]

The files are those that the tests generate, and whatever readable lies in the FOLDERs. Each is damaged by flipped bits,
overwritten numbers, cut and repeated pieces; gzip and zip files also inside. A worker process reads them, so that a
crash, a hang or an appetite for memory is seen from outside and told with the number that brings the file back.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

from sign_models.errors import DataError
from sign_models.keypoints.formats import detect, read_here, source_at
from sign_models.keypoints.formats.files.source import ReadOptions
from sign_models.keypoints.normalise import normalise
from tests.keypoints.file_examples import EXAMPLES

SECONDS = 5.0  # of the processor's time that reading one file may take
WAITING = 120  # times as many seconds by the clock, on a machine that is busy with other things
MEBIBYTES = 512  # that reading one file may take
BATCH = 250  # files a worker process
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF)


@dataclass
class Outcome:
    """What came of the damaged files: read, refused, and what must not be (by kind, with the numbers of the files)."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds
    memory: float = 0.0  # mebibytes beyond what a worker has at its start


@dataclass(frozen=True)
class Base:
    """A readable file or folder, and the file in it that is damaged."""

    format: str
    path: Path
    victim: Path


def bases(folder: Path, others: list[Path]) -> list[Base]:
    """The generated examples, written below `folder`, and the readable files below the others."""
    found = []
    for name, example in EXAMPLES.items():
        place = folder / name.replace(" ", "_")
        place.mkdir(parents=True)
        path = example.write(place)
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        found += [Base(name, path, victim) for victim in files[:3]]
    for other in others:
        for path in sorted(p for p in other.rglob("*") if p.is_file()):
            try:
                found.append(Base(detect(path), path, path))
            except DataError:
                continue  # a licence, a note
    return found


def pick(found: list[Base], number: int) -> Base:
    """The formats take turns, however many files there are of each."""
    formats = sorted({base.format for base in found})
    turn, format = divmod(number, len(formats))
    files = [base for base in found if base.format == formats[format]]
    return files[turn % len(files)]


def damage(data: bytes, chance: random.Random) -> bytes:
    """One wound or a few; files inside gzip and zip are damaged there half of the time."""
    if data[:2] == b"\x1f\x8b" and chance.random() < 0.5:
        return gzip.compress(damage(gzip.decompress(data), chance), 1)
    if data[:4] == b"PK\x03\x04" and chance.random() < 0.5:
        return _damage_member(data, chance)
    wounded = bytearray(data)
    # Headers are short: half of the wounds go there.
    reach = len(wounded) if chance.random() < 0.5 else min(len(wounded), 1024)
    for _ in range(chance.choice((1, 1, 1, 2, 6))):
        if not wounded:
            break
        at = chance.randrange(max(1, min(reach, len(wounded))))
        match chance.randrange(9):
            case 0:
                wounded[at] ^= 1 << chance.randrange(8)
            case 1:
                wounded[at] = chance.randrange(256)
            case 2:
                width, form = chance.choice(((1, "<B"), (2, "<H"), (4, "<I"), (8, "<Q"), (4, ">I")))
                number = chance.choice(_NUMBERS) & (256**width - 1)
                wounded[at : at + width] = struct.pack(form, number)
            case 3:
                del wounded[at:]
            case 4:
                del wounded[at : at + chance.randint(1, 64)]
            case 5:
                wounded[at:at] = wounded[at : at + chance.randint(1, 64)] * chance.randint(1, 9)
            case 6:
                wounded[at:at] = chance.randbytes(chance.randint(1, 16))
            case 7:
                text = chance.choice(
                    (b"NaN", b"-1", b"1e999", b"null", b"[]", b"{}", b'"', b"\n", b"99999999999", b",")
                )
                wounded[at : at + len(text)] = text
            case 8:  # another number, which keeps text readable
                digits = [i for i in range(at, min(at + 200, len(wounded))) if 48 <= wounded[i] <= 57]
                if digits:
                    wounded[chance.choice(digits)] = chance.choice(b"0123456789-.")
    return bytes(wounded)


def _damage_member(data: bytes, chance: random.Random) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        for name in names:
            body = old.read(name)
            new.writestr(name, damage(body, chance) if name == names[0] else body)
    return out.getvalue()


def _read_one(path: Path) -> str:
    """In this process, which the runner watches: `read` would ask another one."""
    try:
        for found in read_here(source_at(path), ReadOptions()):
            if isinstance(found, DataError):
                return "refused"
            normalise(found)
    except DataError:
        return "refused"
    return "read"


def _work(numbers: list[int], found: list[Base], seed: int, scratch: Path, pipe: Connection) -> None:
    """Damage and read the files of these numbers; tell each one before it is read, and what came of it."""
    warnings.simplefilter("ignore")
    for base in {base.format: base for base in found}.values():
        _read_one(base.path)  # what the libraries take once is not the files' doing
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        base = pick(found, number)
        copy = scratch / f"{os.getpid()}"
        path = _copy(base, copy, damage(base.victim.read_bytes(), random.Random(f"{seed}:{number}")))
        pipe.send((number, None, 0.0, 0.0))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # not caught: a hang ends the worker
        signal.setitimer(signal.ITIMER_REAL, WAITING * SECONDS)
        began = time.process_time()
        try:
            came = _read_one(path)
        except BaseException as error:  # every kind of failure is what this looks for
            came = f"{type(error).__name__}: {error}"[:200]
        seconds = time.process_time() - began
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024
        pipe.send((number, came, seconds, grown))
        shutil.rmtree(copy)


def _copy(base: Base, folder: Path, data: bytes) -> Path:
    """The base beside its siblings, with the victim's bytes replaced; returns the path to read."""
    root = base.path if base.path.is_dir() else base.path.parent
    if base.path.is_dir():
        shutil.copytree(root, folder)
    else:
        folder.mkdir()
    (folder / base.victim.relative_to(root)).write_bytes(data)
    return folder if base.path.is_dir() else folder / base.path.name


def run(files: int, seed: int, others: list[Path]) -> Outcome:
    outcome = Outcome()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found = bases(scratch / "examples", others)
        waiting = list(range(files))
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            receiver, sender = context.Pipe(duplex=False)
            worker = context.Process(target=_work, args=(batch, found, seed, scratch, sender))
            worker.start()
            sender.close()
            last = _collect(receiver, found, outcome)
            worker.join()
            if worker.exitcode:
                # It died over `last`; the rest of its batch is still to do.
                hang = -worker.exitcode in (signal.SIGPROF, signal.SIGALRM)
                kind = "hang" if hang else f"died of signal {-worker.exitcode}"
                outcome.failures.append(f"{kind}: file {last} ({pick(found, last).victim.name})")
                waiting = [number for number in batch if number > last] + waiting
    return outcome


def _collect(pipe: Connection, found: list[Base], outcome: Outcome) -> int:
    last = -1
    while True:
        try:
            number, came, seconds, grown = pipe.recv()
        except EOFError:
            return last
        last = number
        if came is None:
            continue
        base = pick(found, number)
        outcome.counts[f"{base.format}: {came if came in ('read', 'refused') else 'FAILED'}"] += 1
        outcome.slowest = max(outcome.slowest, seconds)
        outcome.memory = max(outcome.memory, grown)
        if came not in ("read", "refused"):
            outcome.failures.append(f"{came}: file {number} ({base.format}, {base.victim.name})")
        if grown > MEBIBYTES:
            outcome.failures.append(f"{grown:.0f} MiB: file {number} ({base.format}, {base.victim.name})")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folders", nargs="*", type=Path, help="folders of more files to damage")
    arguments.add_argument("--files", type=int, default=20_000, help="how many damaged files to read")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    began = time.perf_counter()
    outcome = run(given.files, given.seed, given.folders)
    for name in sorted({key.rpartition(": ")[0] for key in outcome.counts}):
        print(f"{name:18s} read {outcome.counts[f'{name}: read']:6d}  refused {outcome.counts[f'{name}: refused']:6d}")
    print(
        f"{sum(outcome.counts.values())} damaged files in {time.perf_counter() - began:.0f} s; slowest "
        f"{outcome.slowest:.2f} s of {SECONDS:g}; most memory {outcome.memory:.0f} MiB of {MEBIBYTES}; "
        f"{len(outcome.failures)} failures"
    )
    for failure in outcome.failures[:50]:
        print("  ", failure)
    raise SystemExit(bool(outcome.failures))


if __name__ == "__main__":
    main()
