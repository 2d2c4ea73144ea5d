"""The clips of a corpus at one frame rate, and at one tempo: clips whose rate is known are resampled, others stay.

F frames of the corpus, T frames of a clip, K landmarks, C channels.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.data.frames import Frames, FramesOnDisk, read_into
from sign_models.keypoints.resample import (
    CHUNK_FRAMES,
    MIN_FPS,
    frame_step,
    interpolate_frames,
    resample,
    resampled_length,
    resampling_index,
)

logger = logging.getLogger(__name__)


def known_rate(corpus: Corpus, fps: float | None) -> float | None:
    """Choose the rate that stands in a model which these clips train.

    Args:
        corpus: The training clips.
        fps: Frames a second wanted, None for the clips' own.

    Returns:
        `fps`. None where no clip tells its rate: what the model learns then is of a rate that nobody knows.
    """
    return fps if any(own and own >= MIN_FPS for own in corpus.fps) else None


def bring_to_rate(corpus: Corpus, fps: float | None) -> Corpus:
    """Resample the clips of a corpus that tell a frame rate, and say so in the log.

    Args:
        corpus: The corpus. Frames in a store stay there and are resampled when they are read.
        fps: Frames a second wanted, None for the clips' own.

    Returns:
        The corpus at that rate; the same object where no clip changes.
    """
    steps = np.array([frame_step(own, fps) for own in corpus.fps])
    if told := describe_rates(corpus, fps):
        logger.info("%s: %s", Path(corpus.sources).name or "clips", told)
    if not (steps != 1).any():
        return corpus
    rates = [own if step == 1 else fps for own, step in zip(corpus.fps, steps, strict=True)]
    return _resampled(corpus, steps, rates, str(fps))


def at_tempo(corpus: Corpus, tempi: np.ndarray) -> Corpus:
    """Resample clips as if their signers had signed at the usual tempo.

    Args:
        corpus: The corpus, at the rate that a model reads.
        tempi: (N,) of the signer of each clip, as a multiple of the usual; 0.5 is half as fast.

    Returns:
        The corpus; the same object where all tempi are 1.
    """
    if (tempi == 1).all():
        return corpus
    steps = 1 / tempi
    rates = [own if own is None else own / step for own, step in zip(corpus.fps, steps.tolist(), strict=True)]
    return _resampled(corpus, steps, rates, f"tempo {tempi.tolist()}")


def pick(corpus: Corpus, clips: np.ndarray) -> Corpus:
    """Copy some clips into a corpus of their own, in memory.

    Args:
        corpus: The corpus.
        clips: (M,) places in it.

    Returns:
        A corpus of M clips.
    """
    frames, known = [corpus.clip(int(i)) for i in clips], ("ids", "fps", "splits", "groups", "texts")
    columns: dict[str, Any] = {name: [getattr(corpus, name)[i] for i in clips] for name in known}
    offsets = np.cumsum([0, *map(len, frames)], dtype=np.int64)
    return replace(corpus, frames=np.concatenate(frames), offsets=offsets, digest="", **columns)


def _resampled(corpus: Corpus, steps: np.ndarray, rates: list[float | None], how: str) -> Corpus:
    """A corpus resampled by (N,) steps of keypoints.resample. how: for its digest."""
    lengths = [resampled_length(int(n), step) for n, step in zip(corpus.lengths, steps, strict=True)]
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    frames: Frames = ResampledFrames(corpus.frames, corpus.offsets, steps, offsets)
    if isinstance(corpus.frames, np.ndarray):
        frames = np.concatenate([resample(corpus.clip(i), step) for i, step in enumerate(steps.tolist())])
    digest = hashlib.sha256(f"{corpus.digest} {how}".encode()).hexdigest()
    return replace(corpus, frames=frames, offsets=offsets, fps=rates, digest=digest)


def describe_rates(corpus: Corpus, fps: float | None) -> str:
    """Say what bring_to_rate() does with the clips of a corpus.

    Args:
        corpus: The corpus.
        fps: As in bring_to_rate().

    Returns:
        How many clips are resampled, from which rates, and how many tell none. "" where no rate is wanted, and where
        every clip has it.
    """
    if fps is None:
        return ""
    changed = Counter(own for own in corpus.fps if frame_step(own, fps) != 1)
    unknown = sum(not own for own in corpus.fps)
    slow = sum(bool(own) and own < MIN_FPS for own in corpus.fps)  # type: ignore[operator]  # not None
    told = [f"{len(corpus) - changed.total() - unknown - slow} of {len(corpus)} clips have {fps:g} frames a second"]
    if changed:
        rates = ", ".join(f"{own:g}" for own in sorted(filter(None, changed))[:8])
        told.append(f"{changed.total()} are brought to it from {rates}{', ...' if len(changed) > 8 else ''}")
    if unknown:
        told.append(f"{unknown} tell no frame rate and are as they are")
    if slow:
        told.append(f"{slow} have fewer than {MIN_FPS:g} and are as they are")
    return "; ".join(told) if len(told) > 1 else ""


def rate_facts(corpus: Corpus, fps: float | None) -> dict[str, str]:
    """Say for the record what bring_to_rate() does.

    Args:
        corpus: The corpus.
        fps: As in bring_to_rate().

    Returns:
        {"frame_rate": of describe_rates()}, empty where there is nothing to say.
    """
    told = describe_rates(corpus, fps)
    return {"frame_rate": told} if told else {}


class ResampledFrames(FramesOnDisk):
    """Frames in a store at another rate, interpolated when they are read."""

    def __init__(self, source: Frames, source_offsets: np.ndarray, steps: np.ndarray, offsets: np.ndarray) -> None:
        """Prepare reading.

        Args:
            source: (F, K, C) float16, the frames as they are stored.
            source_offsets: (N + 1,) first frame of each clip there.
            steps: (N,) of keypoints.resample.frame_step().
            offsets: (N + 1,) first frame of each clip here.
        """
        self.source, self.source_offsets, self.steps, self.offsets = source, source_offsets, steps, offsets

    @property
    def shape(self) -> tuple[int, ...]:
        """(F, K, C)."""
        return int(self.offsets[-1]), *self.source.shape[1:]

    def read_into(self, start: int, out: np.ndarray) -> None:
        """Copy frames into a buffer.

        Args:
            start: First frame.
            out: (T, K, C) float16 buffer that is filled.

        Raises:
            DataError: A file has fewer frames than it had.
        """
        done = 0
        while done < len(out):
            i = int(np.searchsorted(self.offsets, start + done, "right")) - 1
            begin = start + done - int(self.offsets[i])
            part = out[done : int(self.offsets[i + 1]) - start][:CHUNK_FRAMES]
            self._read_clip(i, begin, part)
            done += len(part)

    def _read_clip(self, i: int, begin: int, out: np.ndarray) -> None:
        """Fill `out` with the frames of clip i from its frame `begin` on."""
        base, frames = int(self.source_offsets[i]), int(self.source_offsets[i + 1] - self.source_offsets[i])
        if self.steps[i] == 1:
            read_into(self.source, base + begin, out)
            return
        first, share = resampling_index(frames, float(self.steps[i]), begin, begin + len(out))
        second = np.minimum(first + 1, frames - 1)
        stored = self.source[base + int(first[0]) : base + int(second[-1]) + 1]
        out[:] = interpolate_frames(stored[first - first[0]], stored[second - first[0]], share)
