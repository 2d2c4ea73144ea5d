"""Memory of a server that answers in many threads."""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8  # of malloc.h
ARENAS = 2


def share_freed_memory() -> None:
    """Let all threads take from a few arenas, so that what one has freed is there for the others.

    Each would else keep what its largest request took, and memory would grow until every thread has had such a request.
    With another C library than glibc nothing is done.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_ARENA_MAX, ARENAS)
