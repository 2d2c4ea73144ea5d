"""Processes that train one model together: which clips of a batch are a process's own, and how processes communicate.

Every process has the whole corpus, plans the same batches, and computes its own clips of each. A loss is divided by the
mean over the processes of what their clips weigh, and DistributedDataParallel averages the gradients. So the number of
processes changes results by rounding only. Processes are started by torchrun, by `launch` or by hand
(docs/processes.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from sign_models.data.rng import RngSlice

T = TypeVar("T")
# Rank 0 scores and saves while the others wait in a collective. torchrun notices a process that has ended.
COLLECTIVE_TIMEOUT = timedelta(hours=12)


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from one of them.

    All methods but local_slice() are collective: all processes call them, or none does.

    Attributes:
        rank: Number of this process, from 0.
        world_size: Number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that evaluates, logs and saves: rank 0."""
        return self.rank == 0

    def local_slice(self, clips: int) -> slice:
        """Which clips of a step are this process's.

        Args:
            clips: Clips of the step.

        Returns:
            A slice of them. The slices of all processes cover the step without overlap.
        """
        return slice(clips * self.rank // self.world_size, clips * (self.rank + 1) // self.world_size)

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """Average a tensor over the processes, without gradient.

        Args:
            values: Any shape, the same in every process.

        Returns:
            The mean, of the same shape.
        """
        values = values.detach()
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.world_size
        return values

    def gather(self, mine: Tensor, rows: RngSlice) -> Tensor:
        """Join the rows of all processes, with gradient.

        Args:
            mine: (b, ...), rows of this process.
            rows: Which rows of the step they are.

        Returns:
            (B, ...), rows of the whole step.
        """
        if self.world_size == 1:
            return mine
        whole: Tensor = _Gather.apply(mine, rows)
        return whole

    def broadcast_object(self, make: Callable[[], T]) -> T:
        """Compute an object in rank 0 and give it to all processes.

        Args:
            make: Called in rank 0 only.

        Returns:
            What `make` returned.
        """
        if self.world_size == 1:
            return make()
        heard: T = self.send_object(make()) if self.is_main_process else self.receive_object()
        return heard

    def gather_states(self, mine: dict[int, dict[str, Tensor]]) -> dict[int, dict[str, Tensor]]:
        """Join in rank 0 what each process has of an optimizer's state, a tensor at a time.

        ZeroRedundancyOptimizer.consolidate_state_dict() takes minutes for a gigabyte (torch 2.13).

        Args:
            mine: Tensors by name, by the place of a parameter that is this process's.

        Returns:
            Those of all processes, on the CPU. In the other ranks {}.
        """
        shapes = {i: {n: (v.shape, v.dtype, v.device.type) for n, v in of.items()} for i, of in mine.items()}
        told: list[Any] = [None] * self.world_size
        dist.all_gather_object(told, shapes)
        found: dict[int, dict[str, Tensor]] = {}
        for rank, places in enumerate(told):
            for i, name, shape, dtype, device in ((i, n, *s) for i, of in places.items() for n, s in of.items()):
                if self.is_main_process:
                    value = mine[i][name] if rank == 0 else torch.empty(shape, dtype=dtype, device=device)
                    if rank:
                        dist.recv(value, rank)
                    found.setdefault(i, {})[name] = value.cpu()
                elif rank == self.rank:
                    dist.send(mine[i][name], 0)
        return found

    def send_object(self, value: T) -> T:
        """In rank 0: give an object to the others, which call receive_object().

        Args:
            value: Any object that can be pickled.

        Returns:
            The object itself.
        """
        dist.broadcast_object_list([value])
        return value

    def receive_object(self) -> Any:
        """In the other ranks: wait for the object of rank 0's send_object().

        Returns:
            The object.
        """
        box = [None]
        dist.broadcast_object_list(box)
        return box[0]


class _Gather(torch.autograd.Function):
    """Each process writes its rows. The gradient of a row is the sum of its gradients in all processes."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, rows: RngSlice) -> Tensor:
        ctx.mine = slice(rows.before, rows.before + len(mine))
        whole = mine.new_zeros(rows.before + len(mine) + rows.after, *mine.shape[1:])
        whole[ctx.mine] = mine
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        gradient = outer[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.mine], None


ALONE = ProcessGroup()


def current_group() -> ProcessGroup:
    """The processes that have met in init_distributed().

    Returns:
        Their group, or that of a single process.
    """
    return ProcessGroup(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE


@contextmanager
def init_distributed() -> Iterator[ProcessGroup]:
    """Meet the other processes that torchrun has started.

    Each process takes the GPU of its LOCAL_RANK where there are GPUs.

    Yields:
        The group.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=COLLECTIVE_TIMEOUT)
    else:
        dist.init_process_group("gloo", timeout=COLLECTIVE_TIMEOUT)
    yield current_group()
    dist.destroy_process_group()  # not after an error, in the middle of what the others wait for
