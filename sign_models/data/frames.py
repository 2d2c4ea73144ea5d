"""The frames of a corpus: an array in memory, or files that are read when frames are asked for.

F frames of all clips, T frames of a clip, K landmarks, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class FramesOnDisk(ABC):
    """(F, K, C) float16 that are not in memory, read as an array is read.

    The index is a slice, or an integer array (..., T) each row of which is within one clip. The result is a copy.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(F, K, C)."""

    @abstractmethod
    def read_into(self, start: int, out: np.ndarray) -> None:
        """Copy frames into a buffer.

        Args:
            start: First frame.
            out: (T, K, C) float16 buffer that is filled, contiguous. All T frames exist.

        Raises:
            DataError: A file has fewer frames than it had.
        """

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Size of all frames as one array, in bytes."""
        return int(np.prod(self.shape)) * np.dtype(np.float16).itemsize

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step < 0:
                raise IndexError("frames are read forwards")
            return self._between(start, max(start, stop))[::step]
        out = np.empty((*index.shape, *self.shape[1:]), np.float16)
        places, rows = index.reshape(-1, index.shape[-1]), out.reshape(-1, *out.shape[-3:])
        low, high = places.min(1), places.max(1)
        if not 0 <= low.min(initial=0) <= high.max(initial=0) < len(self):
            raise IndexError(f"frames {low.min()} to {high.max()} of {len(self)}")
        # A row is nearly always a clip, then its last frame repeated up to the length of the batch.
        padded = (places == np.minimum(low[:, None] + np.arange(places.shape[1]), high[:, None])).all(1)
        for row, of_row, first, last, is_padded in zip(rows, places, low.tolist(), high.tolist(), padded, strict=True):
            count = last + 1 - first
            if is_padded:
                self.read_into(first, row[:count])
                row[count:] = row[count - 1]
            else:
                frames = self._between(first, last + 1)
                frames.take(of_row - first, 0, out=row, mode="clip")  # numpy copies twice in its other modes
        return out

    def _between(self, start: int, stop: int) -> np.ndarray:
        """Copy frames [start, stop)."""
        out = np.empty((stop - start, *self.shape[1:]), np.float16)
        self.read_into(start, out)
        return out


Frames = np.ndarray | FramesOnDisk


def read_into(frames: Frames, start: int, out: np.ndarray) -> None:
    """Copy frames into a buffer. Reusing a buffer avoids page faults.

    Args:
        frames: (F, K, C) float16, in memory or in a store.
        start: First frame to copy.
        out: (T, K, C) float16 buffer that is filled.
    """
    if isinstance(frames, np.ndarray):
        out[:] = frames[start : start + len(out)]
    else:
        frames.read_into(start, out)
