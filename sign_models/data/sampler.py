"""Which clips make a batch: random ones of similar length in training, all of them by length in evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sign_models.data.corpus import Corpus

BUCKET = 4  # lengths are rounded up to a multiple of this many frames; 32 wastes 12 % of a batch, 4 wastes 1.5 %
LENGTH_JITTER = 0.01  # share of a length by which clips are shuffled among similar lengths; 0.1 wastes 9 % of a batch
POOL_CLIPS = 8192  # clips, about, that batches are formed from at a time: fewer waste more of a batch
MIN_POOL_BATCHES = 32  # batches of a pool at least: 16 waste another 4 %, 8 another 14 %
BLOCK_CLIPS = 512  # neighbouring clips that come into the same pool


def bucket(frames: int, size: int = BUCKET) -> int:
    """Round a length up to its bucket.

    Args:
        frames: Length of a clip.
        size: Buckets are multiples of this many frames.

    Returns:
        The padded length in frames.
    """
    return -(-int(frames) // size) * size


def batches_by_length(corpus: Corpus, clips: np.ndarray, batch_frames: int) -> Iterator[np.ndarray]:
    """Batch clips by length, for evaluation.

    Args:
        corpus: Corpus of the clips.
        clips: (N,) indices of clips.
        batch_frames: Largest number of padded frames of a batch. A single clip may exceed it.

    Yields:
        Indices of the clips of a batch, the shortest clips first.
    """
    clips = clips[np.argsort(corpus.lengths[clips], kind="stable")]
    first = 0
    for i, frames in enumerate(corpus.lengths[clips].tolist()):
        if i > first and bucket(frames) * (i + 1 - first) > batch_frames:
            yield clips[first:i]
            first = i
    if len(clips):
        yield clips[first:]


class Sampler:
    """Which clips are in which training step: each clip once an epoch, in batches of similar length, in random order.

    The answer depends on seed and step only. Many clips are divided into pools, each of random blocks of neighbours.
    So a step reads near to what the steps before it have read from a large store (docs/store.md).

    Attributes:
        batch_size: Clips of a batch.
        steps: Batches of an epoch.
        pools: Pools of an epoch.
    """

    def __init__(self, lengths: np.ndarray, clips: np.ndarray, batch_size: int, seed: int) -> None:
        """Prepare the batches of every epoch.

        Args:
            lengths: (N,) frames of each clip of the corpus.
            clips: Indices of the training clips.
            batch_size: Clips of a batch. Reduced to the number of training clips.
            seed: Seed of the random order.
        """
        self.lengths, self.clips, self.seed = lengths, clips, seed
        self.batch_size = min(batch_size, len(clips))
        self.steps = -(-len(clips) // self.batch_size)
        self.pools = max(1, min(round(len(clips) / max(POOL_CLIPS, MIN_POOL_BATCHES * batch_size)), self.steps))
        self._epoch = -1
        self._batches: list[np.ndarray] = []

    def __getitem__(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.steps)
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            # clips that fill the last batch are chosen first, so that they shift all borders between batches
            missing = self.steps * self.batch_size - len(self.clips)
            clips = np.concatenate([self.clips, rng.choice(self.clips, missing, replace=False)])
            noise = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(clips))
            shuffled = rng.permutation(self.steps)
            pool = np.arange(self.steps) * self.pools // self.steps  # of each batch
            order = np.lexsort([self.lengths[clips] * noise, np.repeat(pool, self.batch_size)[self._ranks(rng, clips)]])
            batches = clips[order].reshape(self.steps, self.batch_size)
            self._epoch = epoch
            self._batches = [batches[i] for i in shuffled[np.argsort(pool[shuffled], kind="stable")]]
        return self._batches[place]

    def _ranks(self, rng: np.random.Generator, clips: np.ndarray) -> np.ndarray:
        """Rank of each clip once blocks of neighbours are shuffled."""
        if self.pools == 1:
            return np.arange(len(clips))
        block = (np.arange(len(clips)) + rng.integers(BLOCK_CLIPS)) // BLOCK_CLIPS
        return np.argsort(np.argsort(rng.permutation(block[-1] + 1)[block], kind="stable"))
