"""The windows of a corpus's long clips, as clips of their own.

W windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.keypoints.windows import Window, windows


@dataclass(frozen=True)
class Windowed:
    """corpus: its clips are windows, each under the id of its clip. owner (W,): the place of that clip in the corpus
    that was cut, rising. first (W,): where in it a window begins. signing (W,) bool: as keypoints.windows says. whole
    (W,) bool: the window is its clip."""

    corpus: Corpus
    owner: np.ndarray
    first: np.ndarray
    signing: np.ndarray
    whole: np.ndarray

    def of(self, clip: int) -> np.ndarray:
        """Places of the windows of a clip, in order."""
        return np.arange(*np.searchsorted(self.owner, [clip, clip + 1]))


def in_windows(corpus: Corpus, clips: np.ndarray, longest: int, step: int = 1) -> Windowed:
    """`clips` of the corpus in windows of at most `longest` frames, its other clips as they are."""
    every = np.arange(len(corpus))
    if not (corpus.lengths[clips] > longest).any():
        return Windowed(corpus, every, np.zeros_like(every), np.ones_like(every, bool), np.ones_like(every, bool))
    cut = {int(i): windows(corpus.clip(i), longest, step) for i in clips[corpus.lengths[clips] > longest]}
    found = [(i, w) for i, length in enumerate(corpus.lengths) for w in cut.get(i, [Window(0, int(length))])]
    owner = np.array([i for i, _ in found])
    first = np.array([w.begin for _, w in found])
    known: dict[str, Any] = {
        name: [getattr(corpus, name)[i] for i in owner] for name in ("ids", "fps", "splits", "groups", "texts")
    }
    offsets = np.append(corpus.offsets[owner] + first, corpus.offsets[-1])
    return Windowed(
        replace(corpus, offsets=offsets, **known),
        owner,
        first,
        np.array([w.signing for _, w in found]),
        np.array([i not in cut for i in owner]),
    )
