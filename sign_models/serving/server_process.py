"""What a server's process is set to before it answers: MLflow's own has no settings for either."""

from __future__ import annotations

import asyncio
import ctypes
from concurrent.futures import ThreadPoolExecutor

_ARENA_MAX = -8  # of malloc.h
ARENAS = 2
AT_ONCE = 16  # requests that are read, wait for the model and are answered together


def prepare_process() -> None:
    """Set what answers many clients at once in a memory that stays as it is."""
    share_freed_memory()
    answer_together()


def share_freed_memory() -> None:
    """Let all threads take from a few arenas, so that what one has freed is there for the others.

    Each would else keep what its largest request took, and memory would grow until every thread has had such a request.
    With another C library than glibc nothing is done.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_ARENA_MAX, ARENAS)


def answer_together() -> None:
    """Let a server, where this is called in its loop, work on AT_ONCE requests at a time.

    MLflow's answers each in a thread of asyncio's own, of which there are four more than cores; those that wait for the
    model are answered in one batch (predictor), which is the cheaper the larger it is.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    loop.set_default_executor(ThreadPoolExecutor(AT_ONCE, "answer"))
