"""Times a stage's training between its own reports, and lets others run in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from unittest import mock

import numpy as np
import torch

from benchmarks import roofline
from benchmarks.metric_logger import Unkept
from sign_models.data.sampler import Sampler
from sign_models.training.task import Progress


def stored_frames(sampler: Sampler, longest: int, steps: range) -> int:
    """Frames of the clips of these steps, before training leaves some out."""
    return sum(int(np.minimum(sampler.lengths[sampler[step]], longest).sum()) for step in steps)


class Alternating(Unkept):
    """A training.MetricLogger that times the steps between two reports, and lets others run in between."""

    def __init__(
        self, device: torch.device, rounds: Sequence[int], others: Sequence[Callable[[int], float]] = ()
    ) -> None:
        """rounds: which of them count, from 1 on (Bench.counted). others: called with the round's number between two
        reports, each gives its rate."""
        self.device, self.rounds, self.others = device, rounds, others
        self.whole: list[float] = []  # seconds of all rounds, counted or not
        self.seconds: list[float] = []  # a measured round
        self.steps: list[range] = []  # of each of them
        self.rates: list[list[float]] = []  # of the others, a row a round
        self._round, self._began, self._next = 0, time.perf_counter(), 0

    def metrics(self, values: dict[str, float], step: int) -> None:
        if "train/loss" not in values:
            return
        roofline.wait(self.device)
        self.whole.append(time.perf_counter() - self._began)
        if self._round in self.rounds:
            self.seconds.append(self.whole[-1])
            self.steps.append(range(self._next, step + 1))
        self.between()
        self._round += 1
        if self._round == self.rounds[0]:  # others too begin with a round that does not count
            for other in self.others:
                other(0)
        if self._round in self.rounds:
            self.rates.append([other(self._round) for other in self.others])
        roofline.wait(self.device)
        self._began, self._next = time.perf_counter(), step + 1

    def between(self) -> None:
        """Called between two reports."""

    def frames(self, sampler: Sampler, longest: int, progress: Progress) -> list[float]:
        """Real frames of each measured round, from the lengths of its clips and what training made of them on
        average."""
        kept = progress.frames / stored_frames(sampler, longest, range(progress.step))
        return [kept * stored_frames(sampler, longest, steps) for steps in self.steps]


class Idle(Alternating):
    """Tells also which share of the time between two reports the GPU ran none of the steps that it had recorded.

    To be used as a context around the training: it times the replays of graphs.
    """

    def __init__(self, device: torch.device, rounds: Sequence[int]) -> None:
        super().__init__(device, rounds)
        self.idle: list[float] = []
        self._replays: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        replay = torch.cuda.CUDAGraph.replay

        def timed(graph: torch.cuda.CUDAGraph) -> None:
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            replay(graph)
            ended.record()
            self._replays.append((began, ended))

        self._patch = mock.patch.object(torch.cuda.CUDAGraph, "replay", timed)

    def __enter__(self) -> Idle:
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()

    def between(self) -> None:
        if self._round in self.rounds:
            busy = sum(began.elapsed_time(ended) for began, ended in self._replays)
            self.idle.append(1 - busy / (1000 * self.seconds[-1]))
        self._replays = []
