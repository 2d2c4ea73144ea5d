"""What a stage brings to the training loop, and what the loop knows of a training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sign_models.data.batching import BatchPlan, DeviceCorpus, Sampler

ALL = slice(None)  # clips of a step


class MetricLogger(Protocol):
    """Where a training reports to. sign_models.tracking has the one that writes to MLflow."""

    def metrics(self, values: dict[str, float], step: int) -> None: ...

    def figure(self, name: str, figure: Any) -> None: ...

    def checkpoint(self, folder: Path, step: int, best: bool) -> None: ...

    def restore(self) -> Path | None:
        """Folder of the last whole checkpoint of an interrupted training, or None."""
        ...

    def log(self, message: str) -> None: ...


class Group(NamedTuple):
    """Parameters, their share of the learning rate, and the share of training before which they stay as they are."""

    parameters: list[nn.Parameter]
    share: float = 1.0
    start: float = 0.0


class Objective(Protocol):
    """What a stage minimises: a module.

    prepare(batch): the batch with what is drawn once for it, as masks. weights(batch): (W,) what its losses are
    averages over (tokens, clips), of a prepared batch. forward(batch, totals): a dict of scalars, "loss" among them:
    sums over the batch, prepared or not, divided by `totals` (W,). None: by its own weights, as all clips there are.
    """

    def prepare(self, batch: Any) -> Any: ...

    def weights(self, batch: Any) -> Tensor: ...

    def __call__(self, batch: Any, totals: Tensor | None = None) -> dict[str, Tensor]: ...


class Task(Protocol):
    """What a stage brings to the loop.

    objective: an Objective. evaluate() calls it, in the first process only.
    clips(step): the clips of a step. micro_batches(step): slices of them that are computed one after another, for
    their memory; the same in every process. plan_batch(step, part, micro_batch): what the host draws for
    clips(step)[micro_batch][part]. batch(plan): the same clips as the objective wants them, made on the device, and
    their real frames (a scalar tensor).
    recordable: whether batch() does without the host. epoch_steps: steps a pass over the training clips.
    evaluate(objective): metrics on the validation split; "score" among them, higher is better.
    facts: what is to be said of the data, by name: what was held out, cut or left out.
    tolerance: what a score may fall by for no other reason than chance.
    """

    objective: Any
    sampler: Sampler
    tolerance: float
    facts: dict[str, str]

    @property
    def epoch_steps(self) -> int: ...

    @property
    def recordable(self) -> bool: ...

    def clips(self, step: int) -> np.ndarray: ...

    def micro_batches(self, step: int) -> list[slice]: ...

    def plan_batch(self, step: int, part: slice, micro_batch: slice = ALL) -> BatchPlan: ...

    def batch(self, plan: BatchPlan) -> tuple[Any, Tensor]: ...

    def evaluate(self, objective: Any) -> dict[str, float]: ...

    def groups(self) -> Iterable[Group]: ...

    def advance(self, averaged: Any, done: float) -> None:
        """Called after each evaluation, with the share of training that is done: a task may make new data."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What advance() made, for checkpoints."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None: ...

    def migrate(self, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """A weight of a checkpoint, or an optimizer's moment of it, in the shape that the weight has now."""
        ...


class FixedTask:
    """The rest of a Task that trains on the clips of its sampler from beginning to end."""

    sampler: Sampler
    frames: DeviceCorpus
    facts: dict[str, str]
    tolerance = 0.0

    @property
    def recordable(self) -> bool:
        return self.frames.recordable

    @property
    def epoch_steps(self) -> int:
        return self.sampler.steps

    def clips(self, step: int) -> np.ndarray:
        return self.sampler[step]

    def micro_batches(self, step: int) -> list[slice]:
        """All at once: their clips are windows of a length that memory was chosen for."""
        return [slice(0, len(self.clips(step)))]

    def advance(self, averaged: Any, done: float) -> None:
        return

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        return

    def migrate(self, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        return tensor


@dataclass
class Progress:
    """What a checkpoint knows beside weights."""

    step: int = 0
    best_step: int = -1
    best_score: float = -math.inf
    best_metrics: dict[str, float] = field(default_factory=dict)
    highest_score: float = -math.inf
    without_better: int = 0
    parts: int = 1  # micro-batches a step; grows when memory ends
    seconds: float = 0.0
    frames: int = 0

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0
