"""What the rows of benchmarks/speed.py share: corpora, parameters, peers and their rates."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmarks import roofline
from benchmarks.figures import Figure
from benchmarks.generated import stored
from benchmarks.peers import LONGEST, MSKA, Batch, Peer, UniSign
from benchmarks.roofline import Ceiling
from sign_models.data.corpus import Corpus
from sign_models.data.sampler import Sampler
from sign_models.params import load
from sign_models.params.schema import PipelineParams
from sign_models.training.cuda_graphs import SYNCHRONISED_FIRST, Shapes, shapes_of
from sign_models.training.loop import LOG_STEPS
from sign_models.training.task import Task

ROOT = Path(__file__).resolve().parents[1]
COUNTED = 8  # clips whose work is counted
TOKENS, BEAMS = 32, 4
PEER_FRAMES = {"cuda": 2**14, "cpu": 2**10}  # at most in a peer's batch: more of them are no faster
PEER_STEPS = {"cuda": 3, "cpu": 1}  # a round
BATCH = "512"  # clips a temporal step on a GPU: what a card is given that has the memory
WARM = 25  # reports after the first that are not counted where the clock is not ours to stop; see Bench.counted
MOST_ROUNDS = 400  # in which as many rounds must be found as are wanted


class Skipped(Exception):
    """A row that this machine or this command cannot measure."""


class Bench:
    """What the rows share."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given, self.folder, self.rounds = given, folder, given.rounds
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.preset = given.preset if given.preset is not None else "base" if self.device.type == "cuda" else ""
        self.peers = {name: Path(path).resolve() for name, path in (p.split("=", 1) for p in given.peer)}
        self._stores: dict[tuple[int, ...], Corpus] = {}

    @cached_property
    def ceiling(self) -> Ceiling:
        return roofline.ceiling(self.device)

    @property
    def asked(self) -> dict[str, str]:
        """Parameters beside the preset's."""
        larger = {"temporal.training.batch_size": BATCH} if self.device.type == "cuda" else {}
        return larger | dict(pair.split("=", 1) for pair in self.given.set)

    def params(self, **sets: object) -> PipelineParams:
        """Names with __ for dots."""
        own = {name.replace("__", "."): str(value) for name, value in sets.items()}
        return load.resolve(None, self.preset, None, self.asked | own)

    def command(self, stage: str, *options: str, **sets: object) -> list[str]:
        asked = self.asked | {name.replace("__", "."): str(value) for name, value in sets.items()}
        own = [f"--{name}={value}" for name, value in asked.items() if name.startswith(f"{stage}.")]
        return ["-m", f"entrypoints.{stage}", f"--preset={self.preset}", *own, *options]

    def counted(self, task: Task, rounds: int) -> list[int]:
        """The first `rounds` reports after the very first in which a GPU records nothing: all shapes of their steps
        have come twice before. A CPU records nothing."""
        found, seen = list[int](), Counter[Shapes]()
        for place in range(MOST_ROUNDS):
            steps = range(place * LOG_STEPS, (place + 1) * LOG_STEPS)
            shapes = [shapes_of(task.plan_batch(step, slice(0, len(task.clips(step))))) for step in steps]
            if place and (self.device.type != "cuda" or all(seen[shape] > 1 for shape in shapes)):
                found.append(place)
            if len(found) == rounds:
                return found
            seen.update(shapes if place else shapes[SYNCHRONISED_FIRST:])  # of several processes none is before
        raise Skipped(f"{len(found)} of {MOST_ROUNDS} reports are without a new shape")

    def training(self, stage: str, reports: int, **sets: object) -> PipelineParams:
        """As long as so many reports take."""
        once = {"steps": LOG_STEPS * reports, "evaluations": 1, "checkpoint_minutes": 1e6}
        return self.params(**{f"{stage}__training__{name}": value for name, value in once.items()}, **sets)

    @property
    def warm(self) -> int:
        return WARM if self.device.type == "cuda" else 0

    def corpus(self, lengths: Sequence[int]) -> Corpus:
        if tuple(lengths) not in self._stores:
            self._stores[tuple(lengths)] = stored(self.folder / f"store-{len(self._stores)}", lengths)
        return self._stores[tuple(lengths)]

    def encoders(self) -> list[Peer]:
        made: dict[str, Callable[[], Peer]] = {
            "unisign": lambda: UniSign(self.peers["unisign"], self.device, whole=False),
            "mska": lambda: MSKA(self.peers["mska"], self.device),
        }
        return [made[name]() for name in self.peers]

    def batches(self, peer: Peer, corpus: Corpus, size: int, count: int) -> list[tuple[int, Batch]]:
        """Real frames and batch: clips of like length of this corpus, as ours come, `size` of them at most."""
        lengths = np.minimum(corpus.lengths, LONGEST.get(peer.key, corpus.lengths.max()))
        size = max(1, min(size, PEER_FRAMES[self.device.type] // int(np.median(lengths))))
        sampler = Sampler(corpus.lengths, np.arange(len(corpus)), size, seed=0)
        chosen = [lengths[sampler[step]].tolist() for step in range(count)]
        return [(sum(n), peer.batch(n, [corpus.texts[0] or ""] * len(n))) for n in chosen]

    def rate(self, peer: Peer, corpus: Corpus, size: int) -> Callable[[int], float]:
        """Frames a second of the peer's training, in rounds; before the first it has trained on each of its batches."""
        steps = PEER_STEPS[self.device.type]
        batches = self.batches(peer, corpus, size, steps * 4)
        known = False

        def run(place: int) -> float:
            nonlocal known
            if not known:
                known = bool([peer.step(batch) for _, batch in batches])
            turn = [batches[(place * steps + i) % len(batches)] for i in range(steps)]
            spent = roofline.seconds(lambda: [peer.step(batch) for _, batch in turn], self.device)
            return sum(frames for frames, _ in turn) / spent

        return run


def beside(name: str, ours: Sequence[float], peers: Sequence[Peer], rates: list[list[float]], unit: str,
            goals: dict[str, float]) -> Iterator[Figure]:  # fmt: skip
    """The peers' own figures, and the ratios of neighbours."""
    for place, peer in enumerate(peers):
        theirs = [row[place] for row in rates][: len(ours)]
        yield Figure(f"{name}.{peer.key}", tuple(theirs), unit, about=peer.name)
        ratios = tuple(a / b for a, b in zip(ours, theirs, strict=True))
        yield Figure(f"{name}.times_{peer.key}", ratios, "times", goals.get(peer.key), about=peer.name)


def weights(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f} M weights"


def run(arguments: Sequence[str], folder: Path) -> float:
    """Wall time of a Python of this environment, in `folder`."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PATH": path}
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began
