"""Which clips train, which validate, which test.

Clips are divided by signer or source video where there are enough of them, else by text, else one by one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.errors import DataError

SPLITS = ("train", "dev", "test")
MAX_HELD_OUT_SHARE = 0.5  # of the clips, by groups or texts: with more, too few would be left to train on
WAYS = {  # what clips are divided by -> how that is said
    "group": "whole groups (signers, source videos)",
    "text": "whole texts: their signers are in training too",
    "clip": "one by one: their signers and texts may be in training too",
}


def divide(keys: Sequence[str], shares: Sequence[float], seed: str) -> np.ndarray:
    """Divide clips by their keys: clips of equal keys stay together.

    Each part but the first takes keys in the order of a hash as long as that brings it nearer to its share. The first
    part takes the rest. The same keys, shares and seed give the same parts on every machine.

    Args:
        keys: Key of each clip.
        shares: Share of the clips in each part. A part of share 0 gets no clip, any other at least one key.
        seed: Changes the order of keys.

    Returns:
        (N,) number of each clip's part.

    Raises:
        ValueError: There are fewer keys than parts.
    """
    counts = Counter(keys)
    left = sorted(counts, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    parts = [part for part in range(len(shares)) if shares[part] > 0]
    if len(left) < len(parts):
        raise ValueError(f"{len(left)} keys for {len(parts)} parts")
    found: dict[str, int] = {}
    for taken, part in enumerate(parts[1:]):
        wanted, total = shares[part] * len(keys), 0
        most = len(left) - (len(parts) - 1 - taken)  # the parts that follow, and the first, need a key each
        chosen: list[str] = []
        for key in left:
            if len(chosen) < most and abs(total + counts[key] - wanted) < abs(total - wanted):
                chosen.append(key)
                total += counts[key]
        chosen = chosen or [min(left, key=lambda key: counts[key])]
        found |= dict.fromkeys(chosen, part)
        left = [key for key in left if key not in found]
    found |= dict.fromkeys(left, parts[0])
    return np.array([found[key] for key in keys], dtype=np.int64)


def divide_clips(
    corpus: Corpus, clips: np.ndarray, shares: Sequence[float], seed: str, texts: Sequence[str | None]
) -> tuple[np.ndarray, str]:
    """Divide clips so that parts have as few signers and texts in common as possible.

    Clips are divided by group where there are enough groups for all parts and at most MAX_HELD_OUT_SHARE is taken from
    the first. Else they are divided by text under the same condition. Else they are divided one by one.

    Args:
        corpus: Corpus of the clips.
        clips: (N,) indices of the clips.
        shares: As in `divide`.
        seed: As in `divide`.
        texts: Text of each clip of the corpus, None where it has none.

    Returns:
        (N,) number of each clip's part, and what the clips were divided by, a key of WAYS.

    Raises:
        ValueError: There are fewer clips than parts.
    """
    for by, known in (("group", corpus.groups), ("text", texts)):
        keys = [f"clip {corpus.ids[i]}" if known[i] is None else f"{by} {known[i]}" for i in clips]
        if any(known[i] is not None for i in clips) and len(set(keys)) >= sum(share > 0 for share in shares):
            part = divide(keys, shares, seed)
            if (part != 0).mean() <= MAX_HELD_OUT_SHARE:
                return part, by
    return divide([corpus.ids[i] for i in clips], shares, seed), "clip"


def clips_of_split(corpus: Corpus, *splits: str | None) -> np.ndarray:
    """Index the clips of some splits.

    Args:
        corpus: The corpus.
        *splits: Names of splits. None stands for clips without one.

    Returns:
        Rising int64 indices of the clips.
    """
    return np.array([i for i, split in enumerate(corpus.splits) if split in splits], dtype=np.int64)


def describe_clips(corpus: Corpus, clips: np.ndarray, shown: int = 10) -> str:
    """List clips by id and length, for messages.

    Args:
        corpus: Corpus of the clips.
        clips: Indices of the clips.
        shown: How many are listed. Others are counted.

    Returns:
        The list as text.
    """
    some = ", ".join(f"{corpus.ids[i]!r} ({corpus.lengths[i]} frames)" for i in clips[:shown])
    return some if len(clips) <= shown else f"{some} and {len(clips) - shown} more"


class Holdout(NamedTuple):
    """Training and validation clips.

    Attributes:
        train: Indices of the clips that train.
        validation: Indices of the clips that validate.
        explanation: How they were divided. "" where the data says so itself.
        disjoint: Whether no clip does both.
    """

    train: np.ndarray
    validation: np.ndarray
    explanation: str = ""
    disjoint: bool = True

    @property
    def facts(self) -> dict[str, str]:
        """The explanation, for the log and the run's tags. Empty without one."""
        return {"held_out": self.explanation} if self.explanation else {}


def hold_out(corpus: Corpus, share: float, seed: int, texts: Sequence[str | None] | None = None) -> Holdout:
    """Divide the clips of a corpus into training and validation clips.

    Clips of split dev validate if there are any. Else a share of the training clips validates and does not train
    (`divide_clips`). Test clips do neither.

    Args:
        corpus: The corpus. Clips without a split count as training clips.
        share: Share of the training clips that validates without dev clips.
        seed: Selects them.
        texts: Text of each clip of the corpus. Clips without one are left out. None: the texts of the corpus, and no
            clip is left out.

    Returns:
        The training and validation clips.

    Raises:
        DataError: There is no training clip.
    """
    train, dev = clips_of_split(corpus, "train", None), clips_of_split(corpus, "dev")
    if texts is not None:
        train, dev = (np.array([i for i in clips if texts[i] is not None], dtype=np.int64) for clips in (train, dev))
    with_text = "" if texts is None else " with a text"
    if not len(train):
        raise DataError(
            f"no clip{with_text} to train on",
            place=corpus.sources,
            wanted=f"clips{with_text} of split train, or without a split",
            remedy="give some clips the split train" if texts is None else "add their ids to text_data.json",
        )
    if len(dev):
        return Holdout(train, dev)
    missing = f"no clip{with_text} of split dev"
    if len(train) == 1:
        return Holdout(train, train, f"{missing}, and one to train on: the clip that trains validates too", False)
    part, by = divide_clips(corpus, train, (1 - share, share), str(seed), corpus.texts if texts is None else texts)
    chosen = part == 1
    explanation = f"{missing}: {chosen.sum()} of {len(train)} training clips validate and do not train, {WAYS[by]}"
    return Holdout(train[~chosen], train[chosen], explanation)
