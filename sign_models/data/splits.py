"""Which clips train, which validate."""

from __future__ import annotations

import hashlib

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.errors import DataError


def of_split(corpus: Corpus, *splits: str | None) -> np.ndarray:
    """Places of the clips of these splits; None stands for clips without one."""
    return np.array([i for i, split in enumerate(corpus.splits) if split in splits], dtype=np.int64)


def named(corpus: Corpus, clips: np.ndarray, shown: int = 10) -> str:
    """Clips by their ids and lengths, of many the first ones."""
    some = ", ".join(f"{corpus.ids[i]!r} ({corpus.lengths[i]} frames)" for i in clips[:shown])
    return some if len(clips) <= shown else f"{some} and {len(clips) - shown} more"


def hold_out(corpus: Corpus, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """-> places of training and of validation clips.

    dev validates where there is a dev split; else a share of the others, chosen by a hash of group (or id) and seed, so
    that a new clip moves no other. Test clips are in neither.
    """
    train, dev = of_split(corpus, "train", None), of_split(corpus, "dev")
    if not len(train):
        raise DataError(
            "no clip to train on",
            place=corpus.sources,
            wanted="clips of split train, or without a split",
            remedy="give some clips the split train",
        )
    if len(dev) or len(train) == 1:
        return train, dev if len(dev) else train
    keys = [f"{seed} {corpus.groups[i] or corpus.ids[i]}" for i in train]
    rank = np.array([int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64 for key in keys])
    chosen = rank < share
    if chosen.all() or not chosen.any():
        chosen = rank == rank.min()
        if chosen.all():  # one signer only: hold out clips instead
            chosen = np.arange(len(train)) == 0
    return train[~chosen], train[chosen]
