"""This process among those that train one model together: its rows of every batch, and what they tell each other.

Every process has the whole corpus and draws the same batches, and computes its own rows of them. What it adds to a loss
is divided by what the whole batch weighs, and gradients are summed: how many there are changes results by rounding
only. They are started by torchrun, by `launch` or by hand (docs/processes.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")
# Rank 0 scores and saves while the others wait in a collective. torchrun notices a process that has ended.
COLLECTIVE_TIMEOUT = timedelta(hours=12)


@dataclass(eq=False)
class ProcessGroup:
    """All of its methods but rows() are called by all processes, or by none."""

    rank: int = 0
    size: int = 1
    clips: int = 0  # of the step that is being computed

    @property
    def first(self) -> bool:
        """Whether this process is the one that evaluates, logs and saves."""
        return self.rank == 0

    def rows(self, clips: int) -> slice:
        """This process's rows of a step of so many clips; gather() speaks of this step from now on."""
        self.clips = clips
        return slice(clips * self.rank // self.size, clips * (self.rank + 1) // self.size)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradient."""
        if self.size == 1:
            return values.detach()
        values = values.detach().clone()
        dist.all_reduce(values)
        return values

    def gather(self, mine: Tensor) -> Tensor:
        """(B, ...) of this process's rows -> (clips, ...) of the whole step's.

        The gradient is that of the sum over the processes of what each computes from the whole: what all of them
        compute alike counts once where each divides it by `size`.
        """
        if self.size == 1:
            return mine
        rows = self.rows(self.clips)
        whole = mine.new_zeros(self.clips, *mine.shape[1:])
        whole[rows] = mine.detach()
        dist.all_reduce(whole)
        if mine.requires_grad:
            mine = mine.detach() + (mine - mine.detach()) * self.size
        return torch.cat([whole[: rows.start], mine, whole[rows.stop :]])

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """In place. All processes must have gradients of the same parameters."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = flat.split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def broadcast_object(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, in all of them; the others do not call it."""
        if self.size == 1:
            return make()
        heard: T = self.send_object(make()) if self.first else self.receive_object()
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
