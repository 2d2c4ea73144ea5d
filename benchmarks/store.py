"""Import and reading of a store: speed, memory, padding, at several sizes; import beside Uni-Sign's own loader.

usage: python -m benchmarks.store [--frames N ...] [--folder DIR] [--peer unisign=DIR] [--peer-frames N]

Clips are generated: 133 landmarks, lengths as in PHOENIX14T (mean 117, 95 % below 208 frames). Each measurement is a
process of its own, so that its peak of resident memory is its own; mapped pages of the store count. The time of an
import, without the report's pictures, is what it takes beyond one of START frames just before it, which is told apart.
A smaller corpus is imported as often as REPEATED frames take. The sizes take turns, --rounds times, there and back; the
median counts. The first and last tenth of the frames, without the checks at the end, are of one import. Reading goes
on, epoch after epoch, until WARM frames are read, out of pages that are held in memory; READS times, the sizes in turn,
of which the median counts. Beside a peer, starting is not counted either.
DIR of the peer: a checkout of github.com/ZechengLi19/Uni-Sign.
"""

from __future__ import annotations

import argparse
import ast
import copy
import ctypes
import json
import os
import pickle
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from sign_models.data.memory import keep_freed_memory
from sign_models.datasets import report
from sign_models.datasets.importing import finish_store, write_samples
from sign_models.datasets.readers import Position, normalised_samples
from sign_models.datasets.samples import Files, read_samples
from sign_models.datasets.store import open_store
from sign_models.datasets.store_writer import StoreWriter
from sign_models.keypoints.formats.files.source import DEFAULT_OPTIONS
from sign_models.keypoints.sequence import KeypointSequence

LAYOUT, LANDMARKS = "coco_wholebody_133", 133
SHAPE, MEAN, SHORTEST, LONGEST = 5.2, 117, 16, 475  # of a gamma distribution with PHOENIX14T's mean and 95th percentile
READERS, READS = 2, 15  # processes; times
BATCH = 32  # clips
START, WARM, REPEATED = 10_000, 10_000_000, 1_000_000  # frames
PEER_LONGEST = 256  # frames; Uni-Sign drops frames of longer clips
WORDS = "der die das regen wind sonne norden süden morgen abend grad meter und im am kommt bleibt stark schwach".split()


def lengths(frames: int, longest: int = LONGEST) -> Iterator[int]:
    rng = np.random.default_rng(0)
    while frames > 0:
        length = int(np.clip(rng.gamma(SHAPE, MEAN / SHAPE), SHORTEST, longest))
        yield length
        frames -= length


def generated(frames: int) -> Iterator[KeypointSequence]:
    """Clips cut out of one long movement, each moved and scaled by amounts of its own: cheap to make, none equal."""
    rng = np.random.default_rng(1)
    steps = rng.normal(0, 1, (4096, LANDMARKS, 2)).astype(np.float32).cumsum(0) / 8
    movement = rng.uniform(100, 400, (1, LANDMARKS, 2)).astype(np.float32) + steps
    confidence = rng.uniform(0.2, 1, (4096, LANDMARKS)).astype(np.float32)
    confidence[confidence < 0.25] = 0
    for i, length in enumerate(lengths(frames)):
        start = int(rng.integers(len(movement) - length))
        part = slice(start, start + length)
        points = movement[part] * np.float32(rng.uniform(0.8, 1.2)) + rng.normal(0, 20, 2).astype(np.float32)
        text = " ".join(WORDS[k] for k in rng.integers(0, len(WORDS), 8))
        yield KeypointSequence(
            f"clip_{i:07}",
            points,
            confidence[part],
            LAYOUT,
            size=(512, 512),
            fps=25.0,
            text=text,
            group=f"signer {i % 9}",
        )


# Measurements, each in a process of its own ---------------------------------------------------------------------------


def measure_import(frames: int, store: Path) -> None:
    """Everything that `-e import` does but reading files and MLflow; making the clips is not counted."""
    least, whole = list[float](), list[float]()
    import_generated(START, store)  # loads libraries
    for _ in range(max(1, REPEATED // frames)):
        least.append(import_generated(START, store)[0])
        seconds, count, tenths = import_generated(frames, store)
        whole.append(seconds)
    spent = (sum(whole) - sum(least)) / len(whole)
    tell(count, time.perf_counter() - spent, least=sum(least) / len(least), first=tenths[0], last=tenths[-1])


def import_generated(frames: int, store: Path) -> tuple[float, int, np.ndarray]:
    """Seconds, frames, and microseconds a frame in each tenth of them."""
    shutil.rmtree(store, ignore_errors=True)
    began, making, writer = time.perf_counter(), 0.0, StoreWriter(store, {"source": "generated"})
    done, marks = 0, [0.0]  # seconds after each tenth of the frames

    def sequences() -> Iterator[tuple[Position, KeypointSequence]]:
        nonlocal making, done
        clips, made = generated(frames), time.perf_counter()
        for i, sequence in enumerate(clips, 1):
            making += time.perf_counter() - made
            yield Position(i, 0), sequence
            made, done = time.perf_counter(), done + len(sequence)
            if done >= len(marks) * frames / 10:
                marks.append(made - began - making)

    write_samples(writer, normalised_samples(sequences()), {})
    with mock.patch.object(report, "figures", return_value={}):  # they take as long for any corpus
        finish_store(writer)
    return time.perf_counter() - began - making, len(writer.frames()), np.diff(marks) * 1e7 / frames


def measure_read(_: int, store: Path, reader: int = 0) -> None:
    """Every `READERS`th batch of an epoch, as half-precision arrays padded to the longest clip."""
    from sign_models.data.sampler import Sampler, bucket

    keep_freed_memory(-1)  # as a training does
    corpus = open_store(store)
    sampler = Sampler(corpus.lengths, np.arange(len(corpus)), BATCH, seed=0)
    print("ready", flush=True)
    sys.stdin.readline()  # the clock starts when all readers are ready
    began, frames, padded, lengths = time.perf_counter(), 0, 0, corpus.lengths
    for step in range(reader, sampler.steps * max(1, WARM // len(corpus.frames)), READERS):
        clips = sampler[step]
        count = lengths[clips]
        steps = np.minimum(np.arange(bucket(count.max())), count[:, None] - 1)
        x = corpus.frames[corpus.offsets[clips][:, None] + steps]
        frames, padded = frames + int(count.sum()), padded + x.shape[0] * x.shape[1]
    tell(frames, began, padded=padded)


def measure_batches(_: int, store: Path) -> None:
    """An epoch of single-precision batches with masks, as evaluation gets them on a CPU."""
    import torch

    from sign_models.data.batching import DeviceCorpus
    from sign_models.data.sampler import Sampler

    torch.set_num_threads(1)
    corpus = open_store(store)
    device_corpus = DeviceCorpus(corpus, torch.device("cpu"))
    sampler, began = Sampler(corpus.lengths, np.arange(len(corpus)), BATCH, seed=0), time.perf_counter()
    frames = sum(int(device_corpus.unaugmented(sampler[step]).lengths.sum()) for step in range(sampler.steps))
    tell(frames, began)


def measure_files(_: int, folder: Path, workers: int) -> None:
    """Read a folder and write a store, without the report."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        began = time.perf_counter()
        writer = StoreWriter(Path(out) / "store", {"source": str(folder)})
        write_samples(writer, read_samples(folder, DEFAULT_OPTIONS, workers=workers), {})
        writer.finish(None)
        tell(len(writer.frames()), began)


def measure_peer(_: int, folder: Path, checkout: Path, share: int, of: int) -> None:
    """Every `of`th clip by Uni-Sign's load_pose alone: unpickling, normalising its parts, tensors."""
    dataset, began = unisign(folder, checkout), time.perf_counter()
    frames = sum(len(dataset.load_pose(f"{clip}.mp4")[0]["body"]) for clip in dataset.list[share::of])
    tell(frames, began)


def measure_loader(_: int, folder: Path, checkout: Path, workers: int) -> None:
    """The loader that its fine_tuning.py makes of that: batches of 16 clips, padded, from `workers` processes."""
    from torch.utils.data import DataLoader

    dataset, began = unisign(folder, checkout), time.perf_counter()
    loader = DataLoader(dataset, 16, num_workers=workers, collate_fn=dataset.collate_fn)
    frames = sum(int(batch["src_length_batch"].sum()) for batch, _ in loader)
    tell(frames, began)


def unisign(folder: Path, checkout: Path) -> Any:
    """Uni-Sign's dataset over our clips, cut out of its datasets.py, which would import its whole training."""
    import torch
    import torch.utils.data
    from torch.nn.utils.rnn import pad_sequence

    torch.set_num_threads(1)
    kept = {"load_part_kp", "crop_scale", "collate_fn", "__getitem__", "__len__", "load_pose"}
    tree = ast.parse((checkout / "datasets.py").read_text())
    parts = [n for n in tree.body if getattr(n, "name", None) in kept | {"Base_Dataset", "S2T_Dataset"}]
    for part in parts:
        if isinstance(part, ast.ClassDef):
            part.body = [n for n in part.body if isinstance(n, ast.FunctionDef) and n.name in kept]
    modules = (np, torch, copy, random, os, pickle)
    names: dict[str, Any] = {m.__name__: m for m in modules} | {"np": np, "Dataset": torch.utils.data}
    names["pad_sequence"] = pad_sequence
    exec(compile(ast.Module(parts, []), "datasets.py", "exec"), names)
    dataset = names["S2T_Dataset"].__new__(names["S2T_Dataset"])
    clips = sorted(path.stem for path in folder.glob("*.pkl"))
    dataset.pose_dir, dataset.max_length, dataset.rgb_support, dataset.list = str(folder), PEER_LONGEST, False, clips
    dataset.raw_data = {clip: {"text": "", "name": clip, "video_path": f"{clip}.mp4"} for clip in clips}
    return dataset


def tell(frames: int, began: float, **more: float) -> None:
    # not ru_maxrss, which begins with what the process that started this one has in memory
    [most] = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    told = {"frames": frames, "seconds": time.perf_counter() - began, "bytes": int(most.split()[1]) * 1024, **more}
    print(json.dumps(told), flush=True)


MEASURES: dict[str, Callable[..., None]] = {
    "import": measure_import, "read": measure_read, "batches": measure_batches, "files": measure_files,
    "peer": measure_peer, "loader": measure_loader,
}  # fmt: skip


def start(name: str, *arguments: object) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "benchmarks.store", "--measure", json.dumps([name, *map(str, arguments)])]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict[str, float]:
    output, _ = process.communicate("\n")
    if process.returncode:
        raise SystemExit(f"a measurement failed: {process.args!r}")
    return json.loads(output.splitlines()[-1])


def child(arguments: list[str]) -> None:
    name, frames, folder, *rest = arguments
    MEASURES[name](int(frames), Path(folder), *(int(value) if value.isdigit() else Path(value) for value in rest))


# The tables -----------------------------------------------------------------------------------------------------------


def sizes(frames: list[int], folder: Path, rounds: int) -> None:
    """Import, then read, corpora of each size."""
    imports: dict[int, list[dict[str, float]]] = {count: [] for count in frames}
    for i in range(rounds):
        for count in frames[:: -1 if i % 2 else 1]:
            imports[count].append(result(start("import", count, folder / f"store-{count}")))
    least = statistics.median(made["least"] for several in imports.values() for made in several)
    print(f"an import of {START:,} frames: {least:.2f} s; import: the median and range of {rounds} in turn")
    print("| frames | import us/frame | range | first, last tenth | MB | read us/frame | MB | frames/s | padding "
          "| batches frames/s, one process |\n|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    reads: dict[int, list[list[dict[str, float]]]] = {count: [] for count in frames}
    with held([file for count in frames for file in (folder / f"store-{count}").glob("*.safetensors")]):
        for i in range(READS):
            for count in frames[:: -1 if i % 2 else 1]:
                reads[count].append(read(folder / f"store-{count}"))
    columns = []
    for count, several in imports.items():
        walls = sorted(made["seconds"] / (made["frames"] - START) * 1e6 for made in several)
        wall, made = statistics.median(walls), max(several, key=lambda made: made["bytes"])
        first, last = (statistics.median(made[name] for made in several) for name in ("first", "last"))
        batches = result(start("batches", count, folder / f"store-{count}"))
        times = (max(r["seconds"] for r in pair) / sum(r["frames"] for r in pair) for pair in reads[count])
        told = [r for pair in reads[count] for r in pair]
        spent, memory = statistics.median(times) * 1e6, max(r["bytes"] for r in told)
        padding = 1 - sum(r["frames"] for r in told) / sum(r["padded"] for r in told)
        columns.append((wall, made["bytes"], spent, memory))
        print(
            f"| {made['frames']:,} | {wall:.2f} | {walls[0]:.2f} - {walls[-1]:.2f} | {first:.2f}, {last:.2f} "
            f"| {made['bytes'] / 1e6:.0f} | {spent:.3f} | {memory / 1e6:.0f} "
            f"| {1e6 / spent:,.0f} | {padding:.2%} "
            f"| {batches['frames'] / batches['seconds']:,.0f} |", flush=True,
        )  # fmt: skip
    if len(columns) > 1:
        names = ("import time", "import memory", "read time", "read memory")
        spread = (max(column) / min(column) - 1 for column in zip(*columns, strict=True))
        print("spread over the sizes: " + ", ".join(f"{n} {s:.1%}" for n, s in zip(names, spread, strict=True)))


@contextmanager
def held(files: list[Path]) -> Iterator[None]:
    """Their pages stay in memory meanwhile: kernels give back what was not read for a while (DAMON), or do so when
    memory ends."""
    libc, mapped = ctypes.CDLL(None, use_errno=True), list[np.ndarray]()
    for path in files:
        mapped.append(np.memmap(path, np.uint8, "r"))
        if libc.mlock(ctypes.c_void_p(mapped[-1].ctypes.data), ctypes.c_size_t(mapped[-1].size)):
            raise SystemExit(f"{path} cannot be held in memory: {os.strerror(ctypes.get_errno())}; see `ulimit -l`")
    yield
    mapped.clear()  # which ends it


def read(store: Path) -> list[dict[str, float]]:
    """What each of READERS processes, which begin together, tells."""
    readers = [start("read", 0, store, i) for i in range(READERS)]
    for reader in readers:
        assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
    return [result(reader) for reader in readers]


def beside(checkout: Path, frames: int, folder: Path, rounds: int) -> None:
    """Uni-Sign's files, read by its loader and imported by us."""
    clips, few = folder / "unisign", folder / "few"
    clips.mkdir()
    few.mkdir()
    rng = np.random.default_rng(2)
    source = generated(frames * 2)
    for i, length in enumerate(lengths(frames, PEER_LONGEST)):
        points = next(source).points.astype(np.float64) / 512
        points = points[rng.integers(0, len(points), length)]
        scores = rng.uniform(0.3, 1, (length, 1, LANDMARKS)).astype(np.float32)
        clip = {"keypoints": [frame[None] for frame in points], "scores": list(scores)}
        (clips / f"clip_{i:06}.pkl").write_bytes(pickle.dumps(clip))
    shutil.copy(clips / "clip_000000.pkl", few)
    os.sync()  # else the disk is at work on these files while the import waits for its own
    files = Files.scan(clips)
    print(f"{files.count} clips of Uni-Sign's layout, {frames:,} frames; frames a second, the best of {rounds} in turn")
    best: dict[tuple[str, int], float] = {}
    for _ in range(rounds):
        for processes in (1, READERS):
            workers = 0 if processes == 1 else processes
            poses = [result(p) for p in [start("peer", 0, clips, checkout, i, processes) for i in range(processes)]]
            loader = result(start("loader", 0, clips, checkout, workers))
            ours, least = (result(start("files", 0, source, workers)) for source in (clips, few))
            rates = {
                "load_pose": sum(p["frames"] for p in poses) / max(p["seconds"] for p in poses),
                "loader": loader["frames"] / loader["seconds"],
                "import": (ours["frames"] - least["frames"]) / (ours["seconds"] - least["seconds"]),
            }
            for name, rate in rates.items():
                best[name, processes] = max(rate, best.get((name, processes), 0))
    print("| processes that read | Uni-Sign's load_pose | its loader | import | times its loader |")
    print("|---|---|---|---|---|")
    for processes in (1, READERS):
        store_lock, theirs, mine = (best[name, processes] for name in ("load_pose", "loader", "import"))
        print(f"| {processes} | {store_lock:,.0f} | {theirs:,.0f} | {mine:,.0f} | {mine / theirs:.1f} |")
    default = files.workers(None) or 1
    times = [f"{best['import', default] / best[name, 1]:.1f} times its {name}" for name in ("load_pose", "loader")]
    print(f"import by default ({default} reading) beside one process of theirs: {', '.join(times)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="*", default=[100_000])
    parser.add_argument("--folder", type=Path, help="where stores are written; removed afterwards")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", help="unisign=DIR")
    parser.add_argument("--peer-frames", type=int, default=200_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        child(json.loads(given.measure))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        if given.peer:
            name, _, checkout = given.peer.partition("=")
            if name != "unisign" or not (Path(checkout) / "datasets.py").is_file():
                parser.error("--peer is unisign=DIR with Uni-Sign's datasets.py in it")
            beside(Path(checkout).resolve(), given.peer_frames, Path(folder), given.rounds)
        if given.frames:
            sizes(given.frames, Path(folder), given.rounds)


if __name__ == "__main__":
    main()
