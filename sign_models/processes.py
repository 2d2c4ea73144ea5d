"""This process among those that train one model together: its rows of every batch, and what they tell each other.

Every process has the whole corpus and draws the same batches, and computes its own rows of them. What it adds to a loss
is divided by what the whole batch weighs, and gradients are summed: how many there are changes results by rounding
only. They are started by torchrun, by `launch` or by hand (docs/processes.md).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")
SENT = 2**22  # values of a bucket of gradients, at least: 16 MB
PATIENCE = timedelta(hours=12)  # for a process at other work, such as scoring; torchrun notices one that has ended


@dataclass(eq=False)
class Processes:
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

    @contextmanager
    def summed(self, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        """The gradients of one backward pass inside are summed over the processes, in place. All processes must get
        gradients of the same parameters.

        A bucket is sent as soon as it is whole, while the pass goes on, as DistributedDataParallel does. This one may
        be recorded in a CUDA graph and keeps nothing of the model's.
        """
        if self.size == 1:
            yield
            return
        buckets = [_Bucket([])]
        for parameter in reversed([p for p in parameters if p.requires_grad]):  # the last ones' gradients come first
            if buckets[-1].values > SENT:
                buckets.append(_Bucket([]))
            buckets[-1].parameters.append(parameter)
        waiting = deque(buckets)

        def arrived(bucket: _Bucket, _: Tensor) -> None:
            bucket.arrived += 1
            while waiting and waiting[0].whole:  # in one order in all processes
                waiting.popleft().send()

        handles = [p.register_post_accumulate_grad_hook(partial(arrived, b)) for b in buckets for p in b.parameters]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        for bucket in waiting:  # with parameters that this pass did not need
            bucket.send()
        for bucket in buckets:
            bucket.receive()

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, in all of them; the others do not call it."""
        if self.size == 1:
            return make()
        heard: T = self.tell(make()) if self.first else self.hear()
        return heard

    def tell(self, value: T) -> T:
        """For the first process: what the others hear."""
        dist.broadcast_object_list([value])
        return value

    def hear(self) -> Any:
        """For the other processes: what the first one tells, whenever that is."""
        box = [None]
        dist.broadcast_object_list(box)
        return box[0]


@dataclass(eq=False)
class _Bucket:
    """Parameters whose gradients travel together."""

    parameters: list[nn.Parameter]
    arrived: int = 0
    flat: Tensor | None = None
    sending: dist.Work | None = None

    @property
    def values(self) -> int:
        return sum(p.numel() for p in self.parameters)

    @property
    def whole(self) -> bool:
        return self.arrived == len(self.parameters)

    @property
    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self.parameters if p.grad is not None]

    def send(self) -> None:
        if gradients := self.gradients:
            self.flat = torch.cat([g.flatten() for g in gradients])
            self.sending = dist.all_reduce(self.flat, async_op=True)

    def receive(self) -> None:
        if self.flat is None or self.sending is None:
            return
        self.sending.wait()
        parts = self.flat.split([g.numel() for g in self.gradients])
        torch._foreach_copy_(self.gradients, [p.view_as(g) for p, g in zip(parts, self.gradients, strict=True)])


ALONE = Processes()


def present() -> Processes:
    """This process among those that have joined."""
    return Processes(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE


@contextmanager
def joined() -> Iterator[Processes]:
    """Meet the other processes that torchrun has started; each has the GPU of its number on its machine, or the CPU."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    yield present()
    dist.destroy_process_group()  # not after an error, in the middle of what the others wait for
