"""This process among those that train one model together: its rows of every batch, and what they tell each other.

Every process has the whole corpus and draws the same batches, and computes its own rows of them. A loss is divided by
the mean over the processes of what their rows weigh, and DistributedDataParallel takes the mean of the gradients: how
many processes there are changes results by rounding only. They are started by torchrun, by `launch` or by hand
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

from sign_models.data.rows import RngSlice

T = TypeVar("T")
# Rank 0 scores and saves while the others wait in a collective. torchrun notices a process that has ended.
COLLECTIVE_TIMEOUT = timedelta(hours=12)


@dataclass(frozen=True)
class ProcessGroup:
    """All of its methods but local_slice() are called by all processes, or by none."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that evaluates, logs and saves."""
        return self.rank == 0

    def local_slice(self, clips: int) -> slice:
        """This process's rows of a step of so many clips."""
        return slice(clips * self.rank // self.world_size, clips * (self.rank + 1) // self.world_size)

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, without gradient."""
        values = values.detach()
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.world_size
        return values

    def gather(self, mine: Tensor, rows: RngSlice) -> Tensor:
        """(B, ...) of this process's rows -> those of the whole step, with gradient."""
        if self.world_size == 1:
            return mine
        whole: Tensor = _Gather.apply(mine, rows)
        return whole

    def broadcast_object(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, in all of them; the others do not call it."""
        if self.world_size == 1:
            return make()
        heard: T = self.send_object(make()) if self.is_main_process else self.receive_object()
        return heard

    def send_object(self, value: T) -> T:
        """For the first process: what the others hear."""
        dist.broadcast_object_list([value])
        return value

    def receive_object(self) -> Any:
        """For the other processes: what the first one tells, whenever that is."""
        box = [None]
        dist.broadcast_object_list(box)
        return box[0]


class _Gather(torch.autograd.Function):
    """Each process writes its rows. The gradient of a row is the sum of those that all processes have of it."""

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
    """This process among those that have joined."""
    return ProcessGroup(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE


@contextmanager
def init_distributed() -> Iterator[ProcessGroup]:
    """Meet the other processes that torchrun has started; each has the GPU of its number on its machine, or the CPU."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=COLLECTIVE_TIMEOUT)
    else:
        dist.init_process_group("gloo", timeout=COLLECTIVE_TIMEOUT)
    yield current_group()
    dist.destroy_process_group()  # not after an error, in the middle of what the others wait for
