"""Freed memory that stays with the process, for one that asks for the same amounts again and again."""

from __future__ import annotations

import ctypes

KEPT = 2**26  # bytes that are free and not given back to the kernel
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = 2**25  # bytes; larger arrays are mapped, and given back, each by itself: the most that glibc takes


def keep_freed_memory(most: int = KEPT) -> None:
    """Else the kernel gets an array's pages back with it, and clears new ones for the next: a third of an import.

    Of glibc; where C's library is another, nothing is done. most: bytes that stay; -1: all.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_TRIM_THRESHOLD, most)
        mallopt(_MMAP_THRESHOLD, _LARGEST)
