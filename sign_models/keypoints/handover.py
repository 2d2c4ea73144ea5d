"""From a process that reads to the one that writes: arrays go through the pipe as they lie, beside what is pickled."""

from __future__ import annotations

import fcntl
import os
import pickle
from contextlib import suppress
from io import FileIO
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

AHEAD = 2**20  # bytes that a process may be ahead of the one that writes: the most that a pipe holds
APART = 2**12  # bytes; smaller arrays are pickled with the rest


def widen(end: Connection) -> None:
    """Let a pipe hold AHEAD bytes, where the system can."""
    with suppress(OSError, AttributeError):  # Linux only, and within a user's share of it
        fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, AHEAD)


def hand_over(end: Connection, what: Any) -> None:
    """OSError where nobody listens any more."""
    arrays: list[memoryview] = []

    def pickled(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes >= APART:
            arrays.append(view)
        return view.nbytes < APART

    told = pickle.dumps(what, 5, buffer_callback=pickled)
    end.send((told, [array.nbytes for array in arrays]))
    for array in arrays:
        while array.nbytes:
            array = array[os.write(end.fileno(), array) :]


def take(end: Connection) -> Any:
    """What was handed over. EOFError where the other process died."""
    try:
        told, sizes = end.recv()
    except OSError as error:  # within a message
        raise EOFError from error
    whole, at = np.empty(sum(sizes), np.uint8).data, 0
    with FileIO(end.fileno(), closefd=False) as pipe:
        while at < len(whole):
            if not (count := pipe.readinto(whole[at:])):
                raise EOFError
            at += count
    ends = np.cumsum(sizes).tolist()
    return pickle.loads(told, buffers=[whole[end - size : end] for end, size in zip(ends, sizes, strict=True)])
