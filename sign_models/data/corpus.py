"""Normalised clips, one after another in one array: what every stage reads.

F frames of all clips, N clips, K landmarks of keypoints.layouts.CANONICAL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.sequence import KeypointSequence


@dataclass
class Corpus:
    """Clip i is frames[offsets[i]:offsets[i + 1]].

    frames   (F, K, 3) float16: x, y in shoulder widths from the middle of the shoulders, confidence.
    offsets  (N + 1,) int64.
    fps, splits, groups, texts: one a clip, None where unknown.
    digest   sha256 over ids, values and what is known of each clip: the same data gives the same digest.
    """

    ids: list[str]
    frames: np.ndarray
    offsets: np.ndarray
    fps: list[float | None]
    splits: list[str | None]
    groups: list[str | None]
    texts: list[str | None]
    digest: str
    sources: str = ""
    index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.index = {name: i for i, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) frames a clip."""
        return np.diff(self.offsets)

    def clip(self, i: int) -> np.ndarray:
        """(T, K, 3) float16."""
        return self.frames[self.offsets[i] : self.offsets[i + 1]]

    @classmethod
    def of(cls, sequences: Iterable[KeypointSequence], source: str = "") -> Corpus:
        """Normalise and collect; DataError on a second clip of the same id or where there is none."""
        ids: dict[str, None] = {}
        clips, fps, splits, groups, texts = [], [], [], [], []
        digest = hashlib.sha256()
        for sequence in sequences:
            if sequence.id in ids:
                raise DataError(
                    f"id {sequence.id!r} appears twice", place=sequence.source or source, wanted="one clip an id",
                    remedy="rename or remove one of the two",
                )
            ids[sequence.id] = None
            clip = normalise(sequence).astype(np.float16)
            clips.append(clip)
            fps.append(sequence.fps)
            splits.append(sequence.split)
            groups.append(sequence.group)
            texts.append(sequence.text)
            known = (sequence.id, len(clip), sequence.fps, sequence.split, sequence.group, sequence.text)
            digest.update(repr(known).encode())
            digest.update(np.ascontiguousarray(clip).data)
        if not clips:
            raise DataError("no clip in it", place=source, wanted="at least one keypoint sequence")
        offsets = np.zeros(len(clips) + 1, np.int64)
        np.cumsum([len(c) for c in clips], out=offsets[1:])
        return cls(
            list(ids), np.concatenate(clips), offsets, fps, splits, groups, texts, digest.hexdigest(), source
        )
