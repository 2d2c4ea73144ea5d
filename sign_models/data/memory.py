"""Reuse of freed memory by a process that allocates the same amounts again and again."""

from __future__ import annotations

import ctypes

KEPT_BYTES = 2**26
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_MMAP_BYTES = 2**25  # larger arrays are mapped and returned each by itself; the most that glibc accepts


def keep_freed_memory(most: int = KEPT_BYTES) -> None:
    """Keep freed memory in the process, which avoids page faults: a third of the time of an import.

    Sets glibc's thresholds. With another C library nothing is done.

    Args:
        most: Free bytes that are kept. -1: all.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_TRIM_THRESHOLD, most)
        mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
