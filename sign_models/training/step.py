"""One optimizer step: gradients, clipping, update, average of the weights.

A step of a small model is a few milliseconds of work for a GPU, and ten times that for Python to launch. So on a GPU a
step is captured as a CUDA graph and replayed for every batch of the same shape (docs/experiments.md).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sign_models.data.batching import UNCAPTURED, BatchPlan
from sign_models.errors import ResourceError
from sign_models.kernels import is_eager
from sign_models.training.cuda_graphs import CudaGraphCache
from sign_models.training.device import to_device
from sign_models.training.ema import ExponentialMovingAverage

if TYPE_CHECKING:
    from sign_models.training.device import Device
    from sign_models.training.task import Group, Progress, Task, TrainingOptions

OutOfMemory = torch.OutOfMemoryError
BETAS = (0.9, 0.98)
NO_SAMPLING_STEPS = 2**30  # steps


def seed_step(device: torch.device, seed: int, step: int, part: int = 0) -> None:
    """Seed the random numbers of a step, alike in all processes.

    torch.manual_seed would do, but takes half a millisecond to note its caller for each kind of device that is absent.

    Args:
        device: Where the step computes.
        seed: Of the training.
        step: Number of the step.
        part: Number of the micro-batch.
    """
    state = int(np.random.SeedSequence([seed, step, part]).generate_state(1)[0])
    torch.default_generator.manual_seed(state)
    if device.type == "cuda":
        torch.cuda.manual_seed(state)


class TrainStep:
    """The steps of one training. Weights, optimizer and average are updated in place.

    Attributes:
        names: Names of the values that step() returns, known after the first step.
        graphs: Captured steps. None: steps run operation by operation.
    """

    def __init__(self, task: Task, device: Device, options: TrainingOptions, log: Callable[[str], None]) -> None:
        """Move the objective to the device, and make optimizer and average.

        Args:
            task: What is trained.
            device: Where, and with which other processes.
            options: Of the training.
            log: Called with a message where memory runs out.
        """
        self.task, self.device, self.options, self.log = task, device, options, log
        self.objective = task.objective.to(device.torch_device)
        self.synchronised: DistributedDataParallel | None = None  # the objective, where there are several processes
        self.sharded = options.shard_optimizer and device.process_group.world_size > 1
        self.groups, self.optimizer = _optimizer(task, device, options, self.sharded)
        self.average = ExponentialMovingAverage(self.objective, options.ema)
        self.names: list[str] = []  # of the values that a step gives
        capturable = device.torch_device.type == "cuda" and task.recordable and not (self.sharded or is_eager())
        self.graphs = CudaGraphCache(device.process_group) if capturable else None

    def step(self, progress: Progress, rate: float, done: float) -> Tensor:
        """Take step number `progress.step`.

        Where memory runs out, the step is repeated in twice as many parts, and `progress.parts` is set for the next
        steps.

        Args:
            progress: Of the training.
            rate: Share of the peak learning rate.
            done: Share of the training that is done.

        Returns:
            The values of the step, in the order of `names`.

        Raises:
            ResourceError: There is not enough memory for a single clip, or for this process's clips of a step.
        """
        clips = len(self.task.clips(progress.step))
        rows = self.device.process_group.local_slice(clips)
        micro_batches = self.task.micro_batches(progress.step)
        for of_optimizer, group in zip(self.optimizer.param_groups, self.groups, strict=True):
            of_optimizer["lr"].fill_(self.options.lr * rate * group.share if done >= group.start else 0.0)
        self.average.prepare(progress.step)
        while True:
            try:
                if self.device.process_group.world_size > 1 and self.synchronised is None:
                    self._synchronise(progress, micro_batches, rows)
                if progress.parts == 1 and self.graphs is not None and len(micro_batches) == 1:
                    plan = self.task.plan_batch(progress.step, rows)
                    seed_step(self.device.torch_device, self.options.seed, progress.step)
                    return self.graphs(self._whole, plan)
                return self._parts(progress, micro_batches, rows)
            except OutOfMemory as error:
                if self.device.process_group.world_size > 1:  # the others are in the middle of this step
                    raise ResourceError(
                        f"the device of process {self.device.process_group.rank} has too little memory for its clips, "
                        f"{rows.stop - rows.start} of {clips}",
                        place="training.batch_size",
                        remedy="lower it, or take more processes",
                    ) from error
                if self.graphs is None and progress.parts >= clips:
                    raise ResourceError(
                        "the device has too little memory for one clip",
                        place="training.batch_size",
                        remedy="choose a smaller preset, or take the longest clips out",
                    ) from error
            # outside of the handler, whose traceback holds on to the tensors of the step that failed
            self._make_room(progress, clips)

    def optimizer_state(self) -> dict[int, dict[str, Tensor]]:
        """The optimizer's state, in rank 0; all processes call this, or none.

        Returns:
            By the place of a parameter in the optimizer. In the other ranks {}.
        """
        if self.sharded:
            every = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            place = {id(parameter): i for i, parameter in enumerate(every)}
            own = cast(Any, self.optimizer).optim.state
            return self.device.process_group.gather_states({place[id(p)]: state for p, state in own.items()})
        found: dict[int, dict[str, Tensor]] = {}
        if self.device.process_group.is_main_process:
            found = self.optimizer.state_dict()["state"]
        return found

    def load_optimizer_state(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Go on from an optimizer's state, of however many processes.

        Args:
            state: As optimizer_state() gives it.
        """
        place = itertools.count()
        groups = [{**group, "params": [next(place) for _ in group["params"]]} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self.sharded:  # it loads counts of steps to the CPU
            for parameter, own in cast(Any, self.optimizer).optim.state.items():
                own["step"] = own["step"].to(parameter.device)

    def _make_room(self, progress: Progress, clips: int) -> None:
        """Drop the captured steps, which keep memory of their own; without any, double the parts of a step."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.graphs is not None:
            self.graphs = None
            self.log(
                f"out of memory in a captured step, which keeps memory of its own: from step {progress.step} on "
                f"{UNCAPTURED}; a smaller training.batch_size has room for them"
            )
        else:
            progress.parts *= 2
            self.log(
                f"out of memory: batches of {-(-clips // progress.parts)} clips, {progress.parts} of them a step; "
                f"the effective batch stays {clips}"
            )
        torch.cuda.empty_cache()

    def _synchronise(self, progress: Progress, micro_batches: list[slice], rows: slice) -> None:
        """Wrap the objective in DistributedDataParallel, before the first step of several processes.

        DistributedDataParallel waits for the gradient of every parameter that may have one. A first try finds those
        that the loss does not read (a pretrained head).
        """
        place, micro_batch, part = next(pieces(micro_batches, rows, 1))
        plan = to_device(self.task.plan_batch(progress.step, part, micro_batch), self.device.torch_device)
        seed_step(self.device.torch_device, self.options.seed, progress.step, place)
        batch, _ = self._prepared(plan)
        with self.device.autocast():
            self.objective(batch, self.objective.weights(batch))["loss"].backward()
        for parameter in self.objective.parameters():
            parameter.requires_grad_(parameter.grad is not None)
        self.optimizer.zero_grad(set_to_none=True)
        with nullcontext() if self.graphs is None else torch.cuda.stream(self.graphs.stream):
            with warnings.catch_warnings():  # torch 2.13 has another name for broadcast_buffers, torch 2.11 has not
                warnings.simplefilter("ignore", FutureWarning)
                self.synchronised = DistributedDataParallel(
                    self.objective, broadcast_buffers=False, gradient_as_bucket_view=True
                )
        if self.graphs is not None:  # it would read a clock of the GPU in each 100th step, which ends a recording
            self.synchronised._set_ddp_runtime_logging_sample_rate(NO_SAMPLING_STEPS)

    def _parts(self, progress: Progress, micro_batches: list[slice], rows: slice) -> Tensor:
        """Draw the micro-batches of a step and learn from them. Returns the losses."""
        batches = []
        for place, micro_batch, part in pieces(micro_batches, rows, progress.parts):
            plan = self.task.plan_batch(progress.step, part, micro_batch)
            seed_step(self.device.torch_device, self.options.seed, progress.step, place)
            batches.append(self._prepared(to_device(plan, self.device.torch_device)))
        return self._learn(batches)

    def _whole(self, plan: BatchPlan) -> Tensor:
        return self._learn([self._prepared(plan)])

    def _prepared(self, plan: BatchPlan) -> tuple[Any, Tensor]:
        """Make a batch of a plan as the objective reads it -> the batch, and its frames."""
        batch, frames = self.task.batch(plan)
        with self.device.autocast():
            return self.objective.prepare(batch), frames

    def _learn(self, batches: list[tuple[Any, Tensor]]) -> Tensor:
        """Compute the gradients of all batches of this process and update the weights -> the values of the step.

        What losses are divided by is known before the first of them: the mean over the processes of what all of their
        batches weigh. A single batch in a single process divides by its own weights.
        """
        self.optimizer.zero_grad(set_to_none=True)
        process_group, totals = self.device.process_group, None
        if process_group.world_size > 1 or len(batches) > 1:
            totals = process_group.all_reduce_mean(
                torch.stack([self.objective.weights(batch) for batch, _ in batches]).sum(0)
            )
        values = []
        for place, (batch, frames) in enumerate(batches):
            later = place + 1 < len(batches)  # gradients are exchanged with the last one's
            with self.synchronised.no_sync() if self.synchronised and later else nullcontext():
                with self.device.autocast():
                    out = (self.synchronised or self.objective)(batch, totals)
                out["loss"].backward()
            values.append(torch.stack([*(value.detach().float() for value in out.values()), frames.float()]))
            self.names = [*out, "frames", "gradient_norm"]
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), self.options.clip_norm)
        self.optimizer.step()
        self.average.update()
        return torch.cat([torch.stack(values).sum(0), norm.detach().float().reshape(1)])


def pieces(micro_batches: list[slice], rows: slice, parts: int) -> Iterator[tuple[int, slice, slice]]:
    """What a process computes of a step at a time.

    Args:
        micro_batches: Slices of the step's clips.
        rows: The process's own clips of the step.
        parts: Pieces that its clips of one micro-batch are computed in, where they are as many.

    Yields:
        Number of a micro-batch, the micro-batch, and clips of it, counted from its first.
    """
    for place, micro_batch in enumerate(micro_batches):
        first, last = max(rows.start, micro_batch.start), min(rows.stop, micro_batch.stop)
        if first < last:
            size = -(-(last - first) // parts)
            for begin in range(first - micro_batch.start, last - micro_batch.start, size):
                yield place, micro_batch, slice(begin, min(begin + size, last - micro_batch.start))


def _optimizer(
    task: Task, device: Device, options: TrainingOptions, sharded: bool
) -> tuple[list[Group], torch.optim.Optimizer]:
    """Make AdamW. Vectors (norms, biases, single tokens) are not decayed.

    Learning rates are tensors, so that a captured graph sees them change. Where it is sharded, each process updates the
    weights whose state it keeps and sends them to the others (Rajbhandari et al. 2020).
    """
    of_optimizer: list[dict[str, Any]] = []
    groups: list[Group] = []
    cuda = device.torch_device.type == "cuda"
    for group in task.groups():
        for decay, chosen in (
            (options.weight_decay, [p for p in group.parameters if p.ndim > 1 and p.requires_grad]),
            (0.0, [p for p in group.parameters if p.ndim < 2 and p.requires_grad]),
        ):
            rate = torch.tensor(options.lr, device=device.torch_device)
            of_optimizer.append({"params": chosen, "weight_decay": decay, "lr": rate})
            groups.append(group)
    adam: dict[str, Any] = {"lr": torch.tensor(options.lr), "betas": BETAS, "fused": True}
    if sharded:
        from torch.distributed.optim import ZeroRedundancyOptimizer  # takes a second to import

        return groups, ZeroRedundancyOptimizer(of_optimizer, torch.optim.AdamW, **adam)
    return groups, torch.optim.AdamW(of_optimizer, capturable=cuda, **adam)
