"""What a stage gives to the training loop, and what the loop knows of a training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sign_models.data.batching import BatchPlan, DeviceCorpus
from sign_models.data.sampler import Sampler

ALL = slice(None)  # clips of a step


class MetricLogger(Protocol):
    """Where a training reports to. sign_models.tracking has the one that writes to MLflow."""

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Record metrics.

        Args:
            values: Value by name, with its group, as in "train/loss".
            step: Training step, from 0.
        """

    def figure(self, name: str, figure: Any) -> None:
        """Record a figure.

        Args:
            name: Path of the artifact.
            figure: A matplotlib figure.
        """

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        """Keep a checkpoint.

        Args:
            folder: With the files, which are gone after the call.
            step: Steps taken.
            best: Whether its weights are the best so far.
        """

    def restore(self) -> Path | None:
        """Find the last whole checkpoint of an interrupted training.

        Returns:
            Its folder. None: there is none.
        """
        ...

    def log(self, message: str) -> None:
        """Log a message.

        Args:
            message: A line for the user.
        """


class Group(NamedTuple):
    """Parameters with a learning rate of their own.

    Attributes:
        parameters: The parameters.
        share: Share of the learning rate.
        start: Share of the training before which they are not changed.
    """

    parameters: list[nn.Parameter]
    share: float = 1.0
    start: float = 0.0


class Objective(Protocol):
    """What a stage minimises: a module."""

    def prepare(self, batch: Any) -> Any:
        """Draw what is drawn once for a batch, such as masks.

        Args:
            batch: A batch of Task.batch().

        Returns:
            The batch as weights() and the call take it.
        """

    def weights(self, batch: Any) -> Tensor:
        """What the losses are averages over, such as tokens and clips.

        Args:
            batch: A prepared batch.

        Returns:
            (W,) float32.
        """

    def __call__(self, batch: Any, totals: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            batch: Prepared or not.
            totals: (W,), what to divide by. None: the batch's own weights.

        Returns:
            Scalars by name, "loss" among them: sums over the batch, divided by `totals`.
        """


class Task(Protocol):
    """What a stage gives to the loop.

    Attributes:
        objective: An Objective. evaluate() calls it in rank 0 only.
        sampler: Which clips make a step.
        tolerance: What a score may fall by for no other reason than chance.
        facts: What the log and the run should say of the data, by name: what was held out, cut or left out.
    """

    objective: Any
    sampler: Sampler
    tolerance: float
    facts: dict[str, str]

    @property
    def epoch_steps(self) -> int:
        """Steps of a pass over the training clips."""

    @property
    def recordable(self) -> bool:
        """Whether batch() works without the host, so that a GPU can capture a step."""

    def clips(self, step: int) -> np.ndarray:
        """Clips of a step.

        Args:
            step: From 0.

        Returns:
            (B,) places in the corpus.
        """

    def micro_batches(self, step: int) -> list[slice]:
        """Slices of a step's clips that are computed one after another, for their memory.

        Args:
            step: From 0.

        Returns:
            The slices, the same in every process.
        """

    def plan_batch(self, step: int, part: slice, micro_batch: slice = ALL) -> BatchPlan:
        """Draw on the host what makes a batch.

        Args:
            step: From 0.
            part: Which clips of the micro-batch.
            micro_batch: Which clips of the step.

        Returns:
            Tensors by name, on the host.
        """

    def batch(self, plan: BatchPlan) -> tuple[Any, Tensor]:
        """Make a batch on the device.

        Args:
            plan: Of plan_batch(), on the device.

        Returns:
            The batch as the objective wants it; its real frames, a scalar tensor.
        """

    def evaluate(self, objective: Any) -> dict[str, float]:
        """Score the validation split.

        Args:
            objective: With the weights to score.

        Returns:
            Metrics by name, "score" among them: higher is better.
        """

    def groups(self) -> Iterable[Group]:
        """Parameters to train, in groups.

        Returns:
            The groups.
        """

    def advance(self, averaged: Any, done: float) -> None:
        """Make new training data. Called after each evaluation, in rank 0.

        Args:
            averaged: The objective with the averaged weights.
            done: Share of the training that is done.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """What advance() made, for checkpoints and other processes.

        Returns:
            Tensors by name.
        """
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what state() returned.

        Args:
            state: Tensors by name.
        """

    def migrate(self, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """Change a moment of the optimizer in an earlier version's checkpoint into the shape that its weight has now.

        Models migrate the weights themselves, as they load them.

        Args:
            name: Of the weight.
            tensor: The moment.
            shape: That the weight has now.

        Returns:
            The tensor in that shape.
        """
        ...


class FixedTask:
    """The rest of a Task that trains on the same clips from beginning to end."""

    sampler: Sampler
    frames: DeviceCorpus
    facts: dict[str, str]
    tolerance = 0.0

    @property
    def recordable(self) -> bool:
        """Whether a GPU gathers clips without the host."""
        return self.frames.capturable

    @property
    def epoch_steps(self) -> int:
        """Steps of a pass over the training clips."""
        return self.sampler.steps

    def clips(self, step: int) -> np.ndarray:
        """Clips of a step: the sampler's.

        Args:
            step: From 0.

        Returns:
            (B,) places in the corpus.
        """
        return self.sampler[step]

    def micro_batches(self, step: int) -> list[slice]:
        """All clips at once: they are windows of a length that memory was chosen for.

        Args:
            step: From 0.

        Returns:
            One slice.
        """
        return [slice(0, len(self.clips(step)))]

    def advance(self, averaged: Any, done: float) -> None:
        """Do nothing.

        Args:
            averaged: The objective with the averaged weights.
            done: Share of the training that is done.
        """
        return

    def state(self) -> dict[str, Tensor]:
        """Return no state.

        Returns:
            An empty dict.
        """
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Do nothing.

        Args:
            state: Of state().
        """
        return

    def migrate(self, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """Return the moment as it is.

        Args:
            name: Of the weight.
            tensor: The moment.
            shape: That the weight has now.

        Returns:
            The same tensor.
        """
        return tensor


@dataclass(frozen=True)
class TrainingOptions:
    """How a training goes. Fields are those of params.schema.Training, without batch_size.

    Attributes:
        steps: Optimizer steps. None: `epochs` says how long training takes.
        epochs: Passes over the training clips. None: `steps` says it.
        min_steps: Least number of steps, with `epochs`.
        lr: Peak learning rate.
        weight_decay: Of AdamW.
        warmup: Share of the steps in which the learning rate rises.
        clip_norm: Largest norm of the gradients.
        ema: Decay of the average of the weights.
        evaluations: How many times the validation split is scored.
        patience: Evaluations without a better score after which training stops. 0: never.
        checkpoint_minutes: Least time between two checkpoints.
        shard_optimizer: Whether each of several processes keeps a part of the optimizer's state only.
        seed: Of all random choices.
    """

    steps: int | None
    epochs: float | None
    min_steps: int
    lr: float
    weight_decay: float
    warmup: float
    clip_norm: float
    ema: float
    evaluations: int
    patience: int
    checkpoint_minutes: float
    shard_optimizer: bool
    seed: int


@dataclass
class Progress:
    """How far a training is, as checkpoints keep it.

    Attributes:
        step: Steps taken.
        best_step: Step of the best weights, from 0. -1: none yet.
        best_score: Their score.
        best_metrics: Their metrics.
        highest_score: Highest score so far. With a tolerance, the best weights may have a lower one.
        without_better: Evaluations since it was reached.
        parts: Parts that a micro-batch is computed in. Doubled where memory runs out.
        seconds: Time spent in training steps.
        frames: Real frames trained on.
        device: Device, precision, threads and processes that it was last trained on. "" of earlier versions.
    """

    step: int = 0
    best_step: int = -1
    best_score: float = -math.inf
    best_metrics: dict[str, float] = field(default_factory=dict)
    highest_score: float = -math.inf
    without_better: int = 0
    parts: int = 1  # micro-batches a step; grows when memory ends
    seconds: float = 0.0
    frames: int = 0
    device: str = ""

    @property
    def frames_per_second(self) -> float:
        """Training speed, over all processes."""
        return self.frames / self.seconds if self.seconds else 0.0
