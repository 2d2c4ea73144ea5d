"""Work that is done again and again on the same tensors: a GPU records its kernels once and starts them together."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from sign_models.kernels import is_eager

logger = logging.getLogger(__name__)
_of_thread = threading.local()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the garbage collector: to free an earlier graph would end the recording of another one.

    Yields:
        Nothing.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class Replay:
    """Work that asks nothing of the host. The first call runs it, the second records it, later ones replay that.

    Without a GPU, or with `execution.eager`, each call runs it.
    """

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        """Record nothing yet.

        Args:
            work: What it reads and writes stays where it is in memory. Neither that nor its flow depends on values.
            device: That it runs on.
        """
        self.work = work
        self.stream = _stream(device) if device.type == "cuda" and not is_eager() else None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.calls = 0

    def __call__(self) -> None:
        """Do the work once more."""
        self.calls += 1
        if self.stream is None:
            self.work()
        elif self.graph is not None:
            self.graph.replay()
        else:
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                # libraries set up in the first call what they need in the stream
                if self.calls == 1 or not self._record():
                    self.work()
            torch.cuda.current_stream().wait_stream(self.stream)

    def _record(self) -> bool:
        """Record the work and do it once. Whether the memory was enough."""
        graph = torch.cuda.CUDAGraph()
        try:
            with gc_paused():
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    self.work()
                except BaseException:
                    with suppress(RuntimeError):  # a recording that failed cannot be ended well
                        graph.capture_end()
                    raise
                graph.capture_end()
        except torch.cuda.OutOfMemoryError:
            logger.warning("too little memory on the GPU to record a step of the search: each is several times as slow")
            self.stream = None
            return False
        self.graph = graph
        graph.replay()
        return True


def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of a thread's recordings on a device: libraries keep memory for each, and none may enter another's."""
    streams: dict[str, torch.cuda.Stream] = vars(_of_thread)
    name = str(device)
    if name not in streams:
        streams[name] = torch.cuda.Stream(device)
    return streams[name]
