"""Times a stage's training between its own reports, and lets others run in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks import roofline
from benchmarks.recorder import Unkept
from sign_models.data.batching import Sampler
from sign_models.training import Progress


class Alternating(Unkept):
    """A training.Recorder that times the steps between two reports, and lets others run in between."""

    def __init__(self, device: torch.device, warm: int, others: Sequence[Callable[[int], float]] = ()) -> None:
        """others: called with the round's number between two reports, each gives its rate."""
        self.device, self.warm, self.others = device, warm, others
        self.seconds: list[float] = []  # a measured round
        self.steps: list[range] = []  # of each of them
        self.rates: list[list[float]] = []  # of the others, a row a round
        self._round, self._began, self._next = 0, 0.0, 0

    def metrics(self, values: dict[str, float], step: int) -> None:
        if "train.loss" not in values:
            return
        roofline.wait(self.device)
        if self._round > self.warm:
            self.seconds.append(time.perf_counter() - self._began)
            self.steps.append(range(self._next, step + 1))
        self.between()
        rates = [other(self._round) for other in self.others]
        if self._round >= self.warm:
            self.rates.append(rates)
        self._round += 1
        roofline.wait(self.device)
        self._began, self._next = time.perf_counter(), step + 1

    def between(self) -> None:
        """Called between two reports."""

    def frames(self, sampler: Sampler, longest: int, progress: Progress) -> list[float]:
        """Real frames of each measured round, from the lengths of its clips and what training made of them on
        average."""
        clips = [np.minimum(sampler.lengths[sampler[step]], longest).sum() for step in range(progress.step)]
        kept = progress.frames / sum(clips)
        return [kept * sum(clips[step] for step in steps) for steps in self.steps]


class Idle(Alternating):
    """Tells also which share of the time between two reports the GPU ran no kernel and no copy."""

    def __init__(self, device: torch.device, warm: int) -> None:
        super().__init__(device, warm)
        self.idle: list[float] = []
        self._profiler: torch.profiler.profile | None = None

    def between(self) -> None:
        if self._profiler is not None:
            self._profiler.__exit__(None, None, None)
            self.idle.append(idle_share(self._profiler))
        self._profiler = None
        if self._round >= self.warm:
            self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
            self._profiler.__enter__()


def idle_share(profiler: torch.profiler.profile) -> float:
    """From the first kernel to the last."""
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = profiler.profiler.kineto_results.events()
    spans = sorted((e.start_ns(), e.end_ns()) for e in events if e.device_type() == torch.autograd.DeviceType.CUDA)
    busy, reached = 0, spans[0][0]
    for start, end in spans:
        busy += max(0, end - max(start, reached))
        reached = max(reached, end)
    return 1 - busy / (reached - spans[0][0])
