"""Training steps captured as CUDA graphs, one for each shape of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sign_models.data.batching import BatchPlan
from sign_models.kernels.replay import gc_paused
from sign_models.training.device import to_device
from sign_models.training.distributed import ProcessGroup

Shapes = tuple[tuple[str | int, ...], ...]


def shapes_of(plan: BatchPlan) -> Shapes:
    """Key of a captured step.

    Args:
        plan: Of a batch.

    Returns:
        Name and shape of each of its tensors. Batches of the same key can replay the same graph.
    """
    return tuple((name, *values.shape) for name, values in plan.items())


@dataclass(frozen=True)
class CapturedStep:
    """A captured step.

    Attributes:
        graph: The graph.
        given: Tensors that it reads: those of a batch are copied into them.
        values: Tensor that it writes.
    """

    graph: torch.cuda.CUDAGraph
    given: BatchPlan
    values: Tensor


SYNCHRONISED_FIRST = 11  # steps that DistributedDataParallel takes before it can be captured (PyTorch's notes on CUDA)


class CudaGraphCache:
    """A step as CUDA graphs, one for each shape of its batch. A shape is captured when it comes for the second time."""

    def __init__(self, process_group: ProcessGroup) -> None:
        """Start without graphs.

        Args:
            process_group: Processes that train together. With several, capture begins after SYNCHRONISED_FIRST steps.
        """
        # what other processes send arrives on a thread of its own, which must not end a recording
        self.errors = "global" if process_group.world_size == 1 else "thread_local"
        self.wait = 0 if process_group.world_size == 1 else SYNCHRONISED_FIRST
        self.seen: dict[Shapes, CapturedStep | None] = {}
        self.pool = torch.cuda.graph_pool_handle()  # graphs take turns in the same memory
        self.stream = torch.cuda.Stream()

    def __call__(self, work: Callable[[BatchPlan], Tensor], plan: BatchPlan) -> Tensor:
        """Run a step: replay its graph, capture it, or run it as it is.

        Args:
            work: The step. It reads the plan on the GPU and returns its values.
            plan: Of the batch, on the host.

        Returns:
            The values of the step, on the GPU.
        """
        shapes = shapes_of(plan)
        if shapes not in self.seen or self.wait > 0:
            self.seen.setdefault(shapes, None)
            self.wait -= 1
            return self._aside(work, to_device(plan, torch.device("cuda")))
        captured = self.seen[shapes]
        if captured is None:
            captured = self.seen[shapes] = self._record(work, to_device(plan, torch.device("cuda")))
        else:
            for name, values in plan.items():
                captured.given[name].copy_(values.pin_memory(), non_blocking=True)
        captured.graph.replay()
        return captured.values.clone()  # the graph's own will be written over

    def _aside(self, work: Callable[[BatchPlan], Tensor], plan: BatchPlan) -> Tensor:
        """Run the step in the stream that graphs are captured in, for which libraries then set up what they need."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            values = work(plan)
        torch.cuda.current_stream().wait_stream(self.stream)
        return values

    def _record(self, work: Callable[[BatchPlan], Tensor], plan: BatchPlan) -> CapturedStep:
        """Capture a step's work in a graph."""
        graph = torch.cuda.CUDAGraph()
        with (
            gc_paused(),
            torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode=self.errors),
        ):
            values = work(plan)
        return CapturedStep(graph, plan, values)
