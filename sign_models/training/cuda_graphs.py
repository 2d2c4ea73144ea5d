"""A training step recorded as CUDA graphs, one a shape of its batch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sign_models.data.batching import Drawn
from sign_models.training.device import to_device
from sign_models.training.distributed import Processes

if TYPE_CHECKING:
    pass


Shapes = tuple[tuple[str | int, ...], ...]


def shapes_of(drawn: Drawn) -> Shapes:
    """What tells one recording from another."""
    return tuple((name, *values.shape) for name, values in drawn.items())


@dataclass(frozen=True)
class Recording:
    graph: torch.cuda.CUDAGraph
    given: Drawn
    values: Tensor


class Recordings:
    """A step as CUDA graphs, one for each shape of its batch. A shape is recorded when it comes for the second time."""

    def __init__(self, among: Processes) -> None:
        # what other processes send arrives on a thread of its own, which must not end a recording
        self.errors = "global" if among.size == 1 else "thread_local"
        self.seen: dict[Shapes, Recording | None] = {}
        self.pool = torch.cuda.graph_pool_handle()  # graphs take turns in the same memory
        self.stream = torch.cuda.Stream()

    def __call__(self, work: Callable[[Drawn], Tensor], drawn: Drawn) -> Tensor:
        shapes = shapes_of(drawn)
        if shapes not in self.seen:
            self.seen[shapes] = None
            return self._aside(work, to_device(drawn, torch.device("cuda")))
        recording = self.seen[shapes]
        if recording is None:
            recording = self.seen[shapes] = self._record(work, to_device(drawn, torch.device("cuda")))
        else:
            for name, values in drawn.items():
                recording.given[name].copy_(values.pin_memory(), non_blocking=True)
        recording.graph.replay()
        return recording.values.clone()  # the graph's own will be written over

    def _aside(self, work: Callable[[Drawn], Tensor], drawn: Drawn) -> Tensor:
        """The step as it is, in the stream that graphs are recorded in: what libraries set up, they set up for it."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            values = work(drawn)
        torch.cuda.current_stream().wait_stream(self.stream)
        return values

    def _record(self, work: Callable[[Drawn], Tensor], drawn: Drawn) -> Recording:
        graph = torch.cuda.CUDAGraph()
        with (
            uncollected(),
            torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode=self.errors),
        ):
            values = work(drawn)
        return Recording(graph, drawn, values)


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is garbage collected meanwhile: to free a graph of an earlier training ends the recording of another."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
