"""Pipes between processes that send large arrays as raw bytes behind the pickled rest."""

from __future__ import annotations

import fcntl
import os
import pickle
from contextlib import suppress
from io import FileIO
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

PIPE_BYTES = 2**20  # that a reading process may be ahead; the most that a pipe holds
MIN_RAW_BYTES = 2**12  # smaller arrays are pickled with the rest


def widen_pipe(end: Connection) -> None:
    """Let a pipe hold PIPE_BYTES if the system allows it.

    Args:
        end: Either end of the pipe.
    """
    with suppress(OSError, AttributeError):  # Linux only, and within a user's share of it
        fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def send(end: Connection, what: Any) -> None:
    """Send an object. Large arrays in it are not copied.

    Args:
        end: Writing end of the pipe.
        what: Anything that can be pickled.

    Raises:
        OSError: The other end is closed.
    """
    arrays: list[memoryview] = []

    def pickled(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes >= MIN_RAW_BYTES:
            arrays.append(view)
        return view.nbytes < MIN_RAW_BYTES

    message = pickle.dumps(what, 5, buffer_callback=pickled)
    end.send((message, [array.nbytes for array in arrays]))
    for array in arrays:
        while array.nbytes:
            array = array[os.write(end.fileno(), array) :]


def receive(end: Connection) -> Any:
    """Receive an object that was sent.

    Args:
        end: Reading end of the pipe.

    Returns:
        The object.

    Raises:
        EOFError: The other process ended.
    """
    try:
        message, sizes = end.recv()
    except OSError as error:  # within a message
        raise EOFError from error
    whole, at = np.empty(sum(sizes), np.uint8).data, 0
    with FileIO(end.fileno(), closefd=False) as pipe:
        while at < len(whole):
            if not (count := pipe.readinto(whole[at:])):
                raise EOFError
            at += count
    ends = np.cumsum(sizes).tolist()
    return pickle.loads(message, buffers=[whole[end - size : end] for end, size in zip(ends, sizes, strict=True)])
