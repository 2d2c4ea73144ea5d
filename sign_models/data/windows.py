"""Long clips of a corpus split into windows, which are clips of their own.

W windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.keypoints.windows import Window, split_into_windows


@dataclass(frozen=True)
class WindowedCorpus:
    """A corpus of windows.

    Attributes:
        corpus: Its clips are windows, each with the id of its clip.
        clip_index: (W,) rising index of each window's clip in the corpus that was split.
        first: (W,) frame of the clip that the window begins with.
        signing: (W,) bool, whether somebody signs, as keypoints.windows says.
        whole: (W,) bool, whether the window is the whole clip.
    """

    corpus: Corpus
    clip_index: np.ndarray
    first: np.ndarray
    signing: np.ndarray
    whole: np.ndarray

    def windows_of(self, clip: int) -> np.ndarray:
        """Index the windows of a clip.

        Args:
            clip: Index of the clip in the corpus that was split.

        Returns:
            Indices of its windows, in order of time.
        """
        return np.arange(*np.searchsorted(self.clip_index, [clip, clip + 1]))

    def signed_windows(self, clip: int) -> list[int]:
        """Index the windows of a clip in which somebody signs.

        Args:
            clip: As in windows_of().

        Returns:
            Indices in order of time.
        """
        windows = self.windows_of(clip)
        found: list[int] = windows[self.signing[windows]].tolist()
        return found


def split_long_clips(corpus: Corpus, clips: np.ndarray, longest: int, step: int = 1) -> WindowedCorpus:
    """Split long clips into windows. Frames are not copied.

    Args:
        corpus: The corpus.
        clips: Indices of the clips that may be split. Others are kept whole.
        longest: Frames of a window at most.
        step: Windows begin at multiples of this many frames.

    Returns:
        The windows of all clips.
    """
    every = np.arange(len(corpus))
    if not (corpus.lengths[clips] > longest).any():
        return WindowedCorpus(corpus, every, np.zeros_like(every), np.ones_like(every, bool), np.ones_like(every, bool))
    split = {int(i): split_into_windows(corpus.clip(i), longest, step) for i in clips[corpus.lengths[clips] > longest]}
    found = [(i, w) for i, length in enumerate(corpus.lengths) for w in split.get(i, [Window(0, int(length))])]
    clip_index = np.array([i for i, _ in found])
    first = np.array([w.begin for _, w in found])
    known: dict[str, Any] = {
        name: [getattr(corpus, name)[i] for i in clip_index] for name in ("ids", "fps", "splits", "groups", "texts")
    }
    offsets = np.append(corpus.offsets[clip_index] + first, corpus.offsets[-1])
    return WindowedCorpus(
        replace(corpus, offsets=offsets, **known),
        clip_index,
        first,
        np.array([w.signing for _, w in found]),
        np.array([i not in split for i in clip_index]),
    )
