"""Sets in which signers of training and dev take turns at being new.

A default is then chosen by more people than dev has.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import pick
from sign_models.datasets.inputs import Inputs
from sign_models.errors import DataError

DEV_OF = 3  # of a held-out signer's sentences one of so many is dev, by which training stops; the others are test


@dataclass(frozen=True)
class Source:
    """A set of the suite: a folder's, or one of `of` rotations of it."""

    folder: Path
    rotation: int = 0
    of: int = 0

    @property
    def name(self) -> str:
        return f"{self.folder.name}~{self.rotation}" if self.of else self.folder.name

    def read(self) -> Inputs:
        inputs = Inputs.from_paths(self.folder, None, None, None)
        return rotated(inputs, self.rotation, self.of) if self.of else inputs


def rotated(inputs: Inputs, rotation: int, of: int) -> Inputs:
    """Hold out each `of`-th signer of training and dev, from the one at `rotation` on. Test clips are left out: nothing
    is chosen by them. Clips that name no signer, as those of the skeleton stage may, stay with training."""
    videos = inputs.videos
    kept = [i for i, split in enumerate(videos.splits) if split != "test"]
    signers = sorted({group for i in kept if (group := videos.groups[i]) is not None})
    if len(signers) < 2 * of:
        wanted = f"at least {2 * of} signers in train and dev for {of} rotations"
        raise DataError(f"{len(signers)} signers", place=videos.sources, wanted=wanted, remedy="ask for fewer")
    held_out = {signers[i] for i in np.random.default_rng(0).permutation(len(signers))[rotation::of]}
    turn, splits = Counter[str](), dict[int, str]()
    for i in kept:
        group = videos.groups[i]
        if group is None or group not in held_out:
            splits[i] = "train"
        elif videos.ids[i] in inputs.texts:
            splits[i] = "test" if turn[group] % DEV_OF else "dev"
            turn[group] += 1
    few = _split(videos, splits)
    texts = {name: text for name, text in inputs.texts.items() if name in few.index}
    return inputs.with_clips(_without(inputs.keypoints, held_out), few, texts)


def _split(corpus: Corpus, splits: dict[int, str]) -> Corpus:
    return replace(pick(corpus, np.array([*splits])), splits=[*splits.values()])


def _without(corpus: Corpus, signers: set[str]) -> Corpus:
    return pick(corpus, np.array([i for i, group in enumerate(corpus.groups) if group not in signers]))
