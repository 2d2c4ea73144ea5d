"""A corpus of normalised clips, concatenated in one array, which every stage reads.

F frames of all clips, N clips, T frames of a clip, K landmarks of keypoints.layouts.CANONICAL, C channels: x, y,
confidence and, in a corpus with depth, depth.
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
from typing import NamedTuple, TypeVar

import numpy as np

from sign_models.data.frames import Frames
from sign_models.errors import DataError
from sign_models.keypoints.normalise import Handedness, Mirroring, mirror, normalise_batch, to_float16
from sign_models.keypoints.sequence import KeypointSequence, with_channels

logger = logging.getLogger(__name__)


CHUNK_FRAMES = 2048  # normalised at a time
T = TypeVar("T")


def in_chunks(items: Iterable[T], frames: Callable[[T], int]) -> Iterator[list[T]]:
    """Group items into chunks of about CHUNK_FRAMES frames.

    Args:
        items: Sequences or the like.
        frames: Number of frames of an item.

    Yields:
        Items in their order, as many as reach CHUNK_FRAMES.
    """
    chunk, count = list[T](), 0
    for item in items:
        chunk.append(item)
        count += frames(item)
        if count >= CHUNK_FRAMES:
            yield chunk
            chunk, count = [], 0
    if chunk:
        yield chunk


@dataclass
class Changes:
    """What reading has changed in the clips of a source, which is logged.

    Attributes:
        clips: Clips that were read.
        mirrored: Clips that were mirrored because the left hand leads.
        nan: Landmarks that were NaN and count as unseen, summed over frames.
        nan_clips: Clips with such landmarks.
        padded: Frames of padding that were left out, summed over clips.
    """

    clips: int = 0
    mirrored: int = 0
    nan: int = 0
    nan_clips: int = 0
    padded: int = 0

    def add(self, clip: Clip) -> None:
        """Count a clip.

        Args:
            clip: As it is kept.
        """
        self.clips += 1
        self.mirrored += clip.mirrored
        self.nan += clip.nan
        self.nan_clips += clip.nan > 0
        self.padded += clip.padded

    def log(self, source: str) -> None:
        """Log a line for each kind of change that occurred.

        Args:
            source: Path of the file or folder that was read.
        """
        name = Path(source).name
        if self.mirrored:
            logger.info(
                "%s: %d of %d clips are mirrored, in which the left hand leads", name, self.mirrored, self.clips
            )
        if self.nan:
            message = "%s: %d landmarks of %d of %d clips are NaN, taken as unseen"
            logger.info(message, name, self.nan, self.nan_clips, self.clips)
        if self.padded:
            logger.info("%s: %d frames of padding at the ends of clips are left out", name, self.padded)


@dataclass(frozen=True)
class Clip:
    """One normalised clip and its metadata.

    Attributes:
        id: Unique within a corpus.
        values: (T, K, C) float16. C is 4 for a clip with depth, else 3.
        sha256: Hash of the bytes of `values`.
        fps: Frames per second, None where unknown.
        split: "train", "dev", "test" or None.
        group: Signer or source video, None where unknown.
        text: Text in NFC, otherwise as its file has it.
        left_leads: How far the left hand is above the right one on average as its file has it, in shoulder widths.
        mirrored: Whether left and right have been swapped, as `normalise.Handedness` decides for a signer.
        nan: Landmarks that its file gives as NaN, summed over frames. They count as unseen.
        extractor: As in KeypointSequence.
        cut: As in KeypointSequence.
        fitting: As in KeypointSequence.
        padded: As in KeypointSequence.
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
    padded: int = 0

    @classmethod
    def normalised(cls, sequences: Sequence[KeypointSequence]) -> list[Clip | DataError]:
        """Normalise several sequences at once, which is faster than one by one. None is mirrored.

        Args:
            sequences: As their files give them.

        Returns:
            For each sequence its clip, or the error where it shows nobody.
        """
        if not sequences:
            return []
        joined, errors, leads = normalise_batch(sequences)
        values, end = to_float16(joined), 0
        found: list[Clip | DataError] = []
        for i, s in enumerate(sequences):
            begin, end = end, end + len(s)
            clip = values[begin:end]
            if clip.shape[-1] > 3 and not clip[..., 3].any():
                clip = np.ascontiguousarray(clip[..., :3])
            if i in errors:
                found.append(errors[i])
                continue
            fps, sha256 = None if s.fps is None else float(s.fps), hashlib.sha256(clip.data).hexdigest()
            known = (fps, s.split, s.group, nfc(s.text), float(leads[i]), False, s.nan, s.extractor, s.cut, s.fitting)
            found.append(cls(s.id, clip, sha256, *known, s.padded))
        return found

    def flipped(self) -> Clip:
        """Swap left and right.

        Returns:
            The mirrored clip, or the original of a mirrored one.
        """
        values = mirror(self.values)
        return replace(self, values=values, sha256=hashlib.sha256(values.data).hexdigest(), mirrored=not self.mirrored)


def concatenate(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate clips with and without depth.

    Args:
        clips: (T, K, 3 or 4) each.

    Returns:
        (F, K, 4) where any clip has depth, with depth 0 for the others, else (F, K, 3).
    """
    channels = {clip.shape[-1] for clip in clips}
    return np.concatenate([with_channels(clip, max(channels)) for clip in clips] if len(channels) > 1 else clips)


def nfc(text: str | None) -> str | None:
    """Normalise a text to Unicode's form NFC.

    Args:
        text: Text, or None.

    Returns:
        The same text in NFC, or None.
    """
    return None if text is None else unicodedata.normalize("NFC", text)


class DigestRow(NamedTuple):
    """What a digest is taken of, of one clip. All but the length as in Clip.

    Attributes:
        id, fps, split, group, text, sha256, extractor: As in Clip.
        length: Its frames.
    """

    id: str
    length: int
    fps: float | None
    split: str | None
    group: str | None
    text: str | None
    sha256: str
    extractor: str | None = None


class Digest:
    """Digest of a corpus: a sha256 over the metadata of all clips and the sha256 of their values."""

    def __init__(self) -> None:
        """Start without clips."""
        self._sum = hashlib.sha256()

    def add(self, clip: DigestRow) -> None:
        """Add a clip. The order of clips matters.

        Args:
            clip: What counts of it.
        """
        # without an extractor, the digest of earlier versions is kept
        known = clip[:-1] if clip.extractor is None else tuple(clip)
        self._sum.update(repr(known).encode())

    def __str__(self) -> str:
        return self._sum.hexdigest()


def with_mirroring(digest: str, mirroring: Mirroring) -> str:
    """Add to a digest how clips are mirrored: a model's answers to new clips depend on it where no clip changes too.

    Args:
        digest: Digest of a corpus.
        mirroring: Its mirroring.

    Returns:
        The digest, of "auto" unchanged.
    """
    return digest if mirroring == "auto" else f"{digest}-{mirroring}"


@dataclass
class Corpus:
    """Clips of which clip i is frames[offsets[i]:offsets[i + 1]].

    Attributes:
        ids: Id of each clip.
        frames: (F, K, 3) float16: x and y in shoulder widths from the middle of the shoulders, and confidence. Where
            any clip has depth (F, K, 4), with depth 0 in clips without.
        offsets: (N + 1,) int64.
        fps: Frames per second of each clip, None where unknown.
        splits: Split of each clip, None where it has none.
        groups: Signer or source video of each clip, None where unknown.
        texts: Text of each clip, None where it has none.
        digest: Digest of ids, values and metadata. The same data gives the same, in memory or in a store.
        sources: Path that was read, for messages.
        extractors: Number of clips by extractor.
        mirroring: How it was decided which clips are mirrored. A model that is trained on them reads clips so as well.
        index: Index of a clip by its id.
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
    mirroring: Mirroring = "auto"
    index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.index = {name: i for i, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(N,) frames of each clip."""
        return np.diff(self.offsets)

    def clip(self, i: int) -> np.ndarray:
        """Values of a clip.

        Args:
            i: Index of the clip.

        Returns:
            (T, K, C) float16.
        """
        return self.frames[self.offsets[i] : self.offsets[i + 1]]

    @classmethod
    def from_sequences(
        cls, sequences: Iterable[KeypointSequence], source: str = "", mirroring: Mirroring = "auto"
    ) -> Corpus:
        """Normalise and collect sequences, and mirror those of left-handed signers.

        Args:
            sequences: As their files give them.
            source: Path that they come from, for messages.
            mirroring: "auto" mirrors clips of signers whose left hand leads, "never" none.

        Returns:
            The corpus in memory.

        Raises:
            DataError: An id appears twice, a sequence shows nobody, or there is no sequence.
        """
        clips: dict[str, Clip] = {}
        hands, changes = Handedness(mirroring), Changes()
        chunks = ((chunk, Clip.normalised(chunk)) for chunk in in_chunks(sequences, len))
        for sequence, clip in chain.from_iterable(zip(*pair, strict=True) for pair in chunks):
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
                clip = clips[clip.id] = clip.flipped()
            known = (clip.fps, clip.split, clip.group, clip.text, clip.sha256, clip.extractor)
            digest.add(DigestRow(clip.id, len(clip.values), *known))
            changes.add(clip)
        changes.log(source)
        found = list(clips.values())
        return cls(
            ids=list(clips),
            frames=concatenate([clip.values for clip in found]),
            offsets=np.cumsum([0, *(len(clip.values) for clip in found)], dtype=np.int64),
            fps=[clip.fps for clip in found],
            splits=[clip.split for clip in found],
            groups=[clip.group for clip in found],
            texts=[clip.text for clip in found],
            digest=with_mirroring(str(digest), mirroring),
            sources=source,
            extractors=dict(Counter(clip.extractor for clip in found)),
            mirroring=mirroring,
        )
