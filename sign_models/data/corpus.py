"""Normalised clips, one after another in one array: what every stage reads.

F frames of all clips, N clips, K landmarks of keypoints.layouts.CANONICAL.
"""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.normalise import Handedness, Mirroring, half, mirror, normalise_joined
from sign_models.keypoints.sequence import KeypointSequence, with_channels

logger = logging.getLogger(__name__)


class FramesOnDisk(Protocol):
    """(F, K, C) float16 in the files of a store. Gives copies, of a slice or of whole numbers (B, T) of which each row
    lies within one clip."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> np.ndarray: ...

    def read_into(self, start: int, out: np.ndarray) -> None: ...


Frames = np.ndarray | FramesOnDisk


def read_into(frames: Frames, start: int, out: np.ndarray) -> None:
    """Frames `start` to `start + len(out)`; memory that is used again is written many times as fast as new memory."""
    if isinstance(frames, np.ndarray):
        out[:] = frames[start : start + len(out)]
    else:
        frames.read_into(start, out)


TOGETHER = 2048  # frames that are normalised at a time
T = TypeVar("T")


def together(items: Iterable[T], frames: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in their order, as many at a time as have TOGETHER frames."""
    waiting, count = list[T](), 0
    for item in items:
        waiting.append(item)
        count += frames(item)
        if count >= TOGETHER:
            yield waiting
            waiting, count = [], 0
    if waiting:
        yield waiting


@dataclass
class Changes:
    """What reading has changed in the clips of a source: nothing is replaced in silence.

    clips: read. mirrored: of them, those in which the left hand leads. nan, nan_clips: landmarks, counted in every
    frame, that were NaN and are unseen now, and clips with such.
    """

    clips: int = 0
    mirrored: int = 0
    nan: int = 0
    nan_clips: int = 0

    def add(self, clip: Clip) -> None:
        self.clips += 1
        self.mirrored += clip.mirrored
        self.nan += clip.nan
        self.nan_clips += clip.nan > 0

    def log(self, source: str) -> None:
        """A line for each kind of change that there is."""
        name = Path(source).name
        if self.mirrored:
            logger.info(
                "%s: %d of %d clips are mirrored, in which the left hand leads", name, self.mirrored, self.clips
            )
        if self.nan:
            told = "%s: %d landmarks of %d of %d clips are NaN, taken as unseen"
            logger.info(told, name, self.nan, self.nan_clips, self.clips)


@dataclass(frozen=True)
class Clip:
    """One normalised clip and what is known of it.

    values (T, K, 3) float16, of a clip with depth (T, K, 4); sha256: of their bytes. text: in NFC, otherwise as its
    file has it. left_leads: how far its left hand is above the right one on average, in shoulder widths, as its file
    has it. mirrored: left and right have changed places, as `normalise.Handedness` decides for all clips of a signer.
    nan: landmarks that its file gives as NaN, unseen here. extractor, cut, fitting: as in KeypointSequence.
    """

    id: str
    values: np.ndarray
    sha256: str
    fps: float | None = None
    split: str | None = None
    group: str | None = None
    text: str | None = None
    left_leads: float = 0.0
    mirrored: bool = False
    nan: int = 0
    extractor: str | None = None
    cut: tuple[str, int, int, int] | None = None
    fitting: tuple[str, ...] | None = None

    @classmethod
    def of(cls, sequences: Sequence[KeypointSequence]) -> list[Clip | DataError]:
        """Normalise several, none mirrored, faster than one by one; an error where a sequence shows nobody."""
        if not sequences:
            return []
        joined, errors, leads = normalise_joined(sequences)
        values, end = half(joined), 0
        found: list[Clip | DataError] = []
        for i, s in enumerate(sequences):
            begin, end = end, end + len(s)
            mine = values[begin:end]
            if mine.shape[-1] > 3 and not mine[..., 3].any():
                mine = np.ascontiguousarray(mine[..., :3])
            found.append(errors[i] if i in errors else cls._of(s, mine, float(leads[i])))
        return found

    @classmethod
    def _of(cls, s: KeypointSequence, values: np.ndarray, lead: float) -> Clip:
        fps, sha256 = None if s.fps is None else float(s.fps), hashlib.sha256(values.data).hexdigest()
        told = (s.nan, s.extractor, s.cut, s.fitting)
        return cls(s.id, values, sha256, fps, s.split, s.group, nfc(s.text), lead, False, *told)

    def turned(self) -> Clip:
        """The same with left and right in each other's places."""
        values = mirror(self.values)
        return replace(self, values=values, sha256=hashlib.sha256(values.data).hexdigest(), mirrored=not self.mirrored)


def concatenated(clips: Sequence[np.ndarray]) -> np.ndarray:
    """(T, K, 3 or 4) each -> (F, K, 3), or (F, K, 4) where any has depth, with 0 for that of the others."""
    channels = {clip.shape[-1] for clip in clips}
    return np.concatenate([with_channels(clip, max(channels)) for clip in clips] if len(channels) > 1 else clips)


def nfc(text: str | None) -> str | None:
    return None if text is None else unicodedata.normalize("NFC", text)


class Digest:
    """The digest of a corpus: sha256 over what is known of each clip, its values by their own sha256."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(
        self,
        id: str,
        length: int,
        fps: float | None,
        split: str | None,
        group: str | None,
        text: str | None,
        sha256: str,
        extractor: str | None = None,
    ) -> None:
        told = () if extractor is None else (extractor,)  # data of before extractors were told keep their digest
        self._sum.update(repr((id, length, fps, split, group, text, sha256, *told)).encode())

    def __str__(self) -> str:
        return self._sum.hexdigest()


@dataclass
class Corpus:
    """Clip i is frames[offsets[i]:offsets[i + 1]].

    frames   (F, K, 3) float16: x, y in shoulder widths from the middle of the shoulders, confidence; where any clip
             has depth (F, K, 4): depth, 0 in clips without.
    offsets  (N + 1,) int64.
    fps, splits, groups, texts: one a clip, None where unknown.
    extractors  as in KeypointSequence -> how many clips come from it.
    digest   of ids, values and what is known of each clip: the same data gives the same, in memory or in a store.
    """

    ids: list[str]
    frames: Frames
    offsets: np.ndarray
    fps: list[float | None]
    splits: list[str | None]
    groups: list[str | None]
    texts: list[str | None]
    digest: str
    sources: str = ""
    extractors: dict[str | None, int] = field(default_factory=dict)
    index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.index = {name: i for i, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(N,) frames a clip."""
        return np.diff(self.offsets)

    def clip(self, i: int) -> np.ndarray:
        """(T, K, 3 or 4) float16."""
        return self.frames[self.offsets[i] : self.offsets[i + 1]]

    @classmethod
    def of(cls, sequences: Iterable[KeypointSequence], source: str = "", mirroring: Mirroring = "auto") -> Corpus:
        """Normalise, mirror and collect; DataError on a second clip of the same id or where there is none."""
        clips: dict[str, Clip] = {}
        hands, changes = Handedness(mirroring), Changes()
        groups_of = ((group, Clip.of(group)) for group in together(sequences, len))
        for sequence, clip in chain.from_iterable(zip(*pair, strict=True) for pair in groups_of):
            if sequence.id in clips:
                raise DataError(
                    f"id {sequence.id!r} appears twice",
                    place=sequence.source or source,
                    wanted="one clip an id",
                    remedy="rename or remove one of the two",
                )
            if isinstance(clip, DataError):
                raise clip
            clips[clip.id] = clip
            hands.add(clip.group, clip.left_leads, len(clip.values))
        if not clips:
            raise DataError(
                "no clip in it", place=source, wanted="at least one keypoint sequence", remedy="check the path"
            )
        digest = Digest()
        for clip in clips.values():
            if hands.is_mirrored(clip.group, clip.left_leads):
                clip = clips[clip.id] = clip.turned()
            known = (clip.fps, clip.split, clip.group, clip.text, clip.sha256, clip.extractor)
            digest.add(clip.id, len(clip.values), *known)
            changes.add(clip)
        changes.log(source)
        found = list(clips.values())
        return cls(
            ids=list(clips),
            frames=concatenated([clip.values for clip in found]),
            offsets=np.cumsum([0, *(len(clip.values) for clip in found)], dtype=np.int64),
            fps=[clip.fps for clip in found],
            splits=[clip.split for clip in found],
            groups=[clip.group for clip in found],
            texts=[clip.text for clip in found],
            digest=str(digest),
            sources=source,
            extractors=dict(Counter(clip.extractor for clip in found)),
        )
