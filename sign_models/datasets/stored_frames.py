"""Frames of a store, read from the files of its shards.

F frames, K landmarks of keypoints.layouts.CANONICAL, C channels.
"""

from __future__ import annotations

import json
import os
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.data.frames import FramesOnDisk
from sign_models.errors import DataError
from sign_models.keypoints.layouts import CANONICAL
from sign_models.keypoints.sequence import with_channels

MAX_OPEN_SHARDS = 256
CHANNEL_BYTES = len(CANONICAL) * 2  # of a frame
FRAME_BYTES = 3 * CHANNEL_BYTES  # without depth


class StoredFrames(FramesOnDisk):
    """The frames of a store as one array (F, K, C) float16, read from its files when they are asked for.

    C is 4 where any shard has depth. The other shards are then read with depth 0. Files are read and not mapped, since
    the first access to a mapped page costs more than a copy (docs/experiments.md).
    """

    def __init__(self, paths: list[Path], starts: np.ndarray, channels: list[int]) -> None:
        """Prepare reading. Files are opened when they are needed.

        Args:
            paths: Files of the shards.
            starts: (shards + 1,) first frame of each shard, then F.
            channels: C of each shard.
        """
        self.paths, self.starts, self.channels = paths, starts, channels
        self.byte_offsets = [frames_offset(path) for path in paths]
        self._files: dict[int, FileIO] = {}  # in the order in which they were opened

    @property
    def shape(self) -> tuple[int, int, int]:
        """(F, K, C)."""
        return int(self.starts[-1]), len(CANONICAL), max(self.channels, default=3)

    def read_into(self, start: int, out: np.ndarray) -> None:
        """Read frames into a buffer.

        Args:
            start: First frame.
            out: (T, K, C) float16 buffer, contiguous.

        Raises:
            DataError: A file has fewer frames than it had.
        """
        done = 0
        while done < len(out):
            i = int(np.searchsorted(self.starts, start + done, "right")) - 1
            first, end = start + done - int(self.starts[i]), int(self.starts[i + 1]) - start
            part, channels = out[done:end], self.channels[i]
            if channels == out.shape[-1]:
                self._read(i, first, part)
            else:
                flat = np.empty((*part.shape[:-1], channels), part.dtype)
                self._read(i, first, flat)
                part[:] = with_channels(flat, out.shape[-1])
            done = min(end, len(out))

    def _read(self, i: int, first: int, out: np.ndarray) -> None:
        """Read frames of shard i from its frame `first` on into `out`, which has the channels of the shard."""
        file, place = self._file(i), self.byte_offsets[i] + first * CHANNEL_BYTES * self.channels[i]
        left = out.data.cast("B")
        while len(left):
            if not (count := os.preadv(file.fileno(), [left], place)):
                raise damaged(self.paths[i], "ends before its last frame")
            left, place = left[count:], place + count

    def _file(self, i: int) -> FileIO:
        """Open shard i. The one opened first is let go, and is closed once no thread reads it any more."""
        if (file := self._files.get(i)) is None:
            file = self._files[i] = FileIO(self.paths[i])
            if len(self._files) > MAX_OPEN_SHARDS:
                self._files.pop(list(self._files)[0], None)  # noqa: RUF015  in one step, which no other thread divides
        return file

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files: a worker process opens them itself."""
        return self.__dict__ | {"_files": {}}


def frames_offset(path: Path) -> int:
    """Find the frames in a shard. The format is 8 bytes with the length of a JSON header, the header, and the tensors.

    Args:
        path: File of the shard.

    Returns:
        Offset of the frames, in bytes.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return 8 + size + int(header["frames"]["data_offsets"][0])


def damaged(path: Path, found: str) -> DataError:
    """The error of a file of a store that is not as it was written.

    Args:
        path: The file.
        found: What is wrong with it.

    Returns:
        The error, to be raised.
    """
    place = f"{path.parent.name}/{path.name}"
    return DataError(found, place=place, wanted="the file that the import wrote", remedy="import it again")
