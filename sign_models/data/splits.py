"""Which clips train, which validate, which test.

What splits clips is `divide`: by signer or source video where there are enough of them, else by text, else one by one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.errors import DataError

MOST_HELD_OUT = 0.5  # of the clips, by whole groups or texts: beyond, too few would be left to train on
WAYS = {  # what clips are divided by -> how that is said
    "group": "whole groups (signers, source videos)",
    "text": "whole texts: their signers are in training too",
    "clip": "one by one: their signers and texts may be in training too",
}


def divide(keys: Sequence[str], shares: Sequence[float], seed: str) -> np.ndarray:
    """Divide clips by their keys: clips of equal keys stay together.

    Keys are taken in the order of a hash, into each part but the first as long as that brings it nearer to its share;
    what is left makes the first one. The same keys, shares and seed give the same parts on every machine.

    Args:
        keys: One a clip.
        shares: Share of the clips of each part. A part of share 0 gets no clip, any other at least one key.
        seed: Another one gives other parts.

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
    """Divide clips so that parts share as little as can be.

    By group where groups are enough for all parts and no more than MOST_HELD_OUT is taken from the first; else by text,
    under the same condition; else clip by clip.

    Args:
        corpus: Tells groups and ids.
        clips: (N,) places of the clips.
        shares: As in `divide`.
        seed: As in `divide`.
        texts: One a clip of the corpus, None where it has none.

    Returns:
        (N,) number of each clip's part, and by what: a key of WAYS.

    Raises:
        ValueError: There are fewer clips than parts.
    """
    for by, known in (("group", corpus.groups), ("text", texts)):
        keys = [f"clip {corpus.ids[i]}" if known[i] is None else f"{by} {known[i]}" for i in clips]
        if any(known[i] is not None for i in clips) and len(set(keys)) >= sum(share > 0 for share in shares):
            part = divide(keys, shares, seed)
            if (part != 0).mean() <= MOST_HELD_OUT:
                return part, by
    return divide([corpus.ids[i] for i in clips], shares, seed), "clip"


def of_split(corpus: Corpus, *splits: str | None) -> np.ndarray:
    """Places of the clips of these splits; None stands for clips without one."""
    return np.array([i for i, split in enumerate(corpus.splits) if split in splits], dtype=np.int64)


def named(corpus: Corpus, clips: np.ndarray, shown: int = 10) -> str:
    """Clips by their ids and lengths, of many the first ones."""
    some = ", ".join(f"{corpus.ids[i]!r} ({corpus.lengths[i]} frames)" for i in clips[:shown])
    return some if len(clips) <= shown else f"{some} and {len(clips) - shown} more"


class HeldOut(NamedTuple):
    """Places of the clips that train and of those that validate. said: how they were told apart, "" where the data says
    so itself. apart: whether none of them is both."""

    train: np.ndarray
    validation: np.ndarray
    said: str = ""
    apart: bool = True

    @property
    def facts(self) -> dict[str, str]:
        """For the log and the run's tags."""
        return {"held_out": self.said} if self.said else {}


def hold_out(corpus: Corpus, share: float, seed: int, texts: Sequence[str | None] | None = None) -> HeldOut:
    """Which clips train and which validate.

    Clips of split dev validate where there are any. Else a share of the training clips does and does not train: whole
    groups, else whole texts, else single clips (`divide_clips`). Test clips are in neither.

    Args:
        corpus: Clips without a split count as training clips.
        share: Of the training clips, where there are no dev clips.
        seed: Chooses them.
        texts: One a clip; where given, clips without a text are in neither. None: the corpus tells them, and clips
            without one count too.

    Raises:
        DataError: There is no training clip.
    """
    train, dev = of_split(corpus, "train", None), of_split(corpus, "dev")
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
        return HeldOut(train, dev)
    missing = f"no clip{with_text} of split dev"
    if len(train) == 1:
        return HeldOut(train, train, f"{missing}, and one to train on: the clip that trains validates too", False)
    part, by = divide_clips(corpus, train, (1 - share, share), str(seed), corpus.texts if texts is None else texts)
    chosen = part == 1
    said = f"{missing}: {chosen.sum()} of {len(train)} training clips validate and do not train, {WAYS[by]}"
    return HeldOut(train[~chosen], train[chosen], said)
