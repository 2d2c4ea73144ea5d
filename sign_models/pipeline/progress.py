"""A bar on which the frames are counted that a command reads."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from sign_models import interruption


class FrameProgress:
    """Counts frames. Called with how many were read since the last call, it stops a command that was asked to end.

    Attributes:
        frames: Read so far.
        frames_per_second: Of the whole, once it is over.
    """

    def __init__(self, bar: tqdm) -> None:
        """Count on a bar.

        Args:
            bar: Where they are shown.
        """
        self.frames, self.frames_per_second, self._bar = 0, 0.0, bar

    def __call__(self, frames: int) -> None:
        """Count more.

        Args:
            frames: Since the last call.
        """
        interruption.check()
        self.frames += frames
        self._bar.update(frames)


@contextmanager
def frame_progress(what: str, unit_scale: bool = False) -> Iterator[FrameProgress]:
    """Show on a terminal how many frames a block has read.

    Args:
        what: The command.
        unit_scale: Whether thousands are written as k.

    Yields:
        What counts them.
    """
    began = time.monotonic()
    with tqdm(desc=what, unit="frame", unit_scale=unit_scale, disable=not sys.stderr.isatty()) as bar:
        progress = FrameProgress(bar)
        yield progress
    progress.frames_per_second = progress.frames / (time.monotonic() - began)
