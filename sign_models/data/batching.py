"""Batches of clips of like length, gathered on the device from frames that stay there.

B batch, T frames of the longest clip rounded up to a bucket, K landmarks, F frames of the corpus.

Which clips make step s of a training, where they are cut and how fast they are played depends on (seed, s) only: a resumed
training sees what an unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sign_models.data.augment import augment
from sign_models.data.corpus import Corpus

if TYPE_CHECKING:
    from sign_models.params.schema import Augment

BUCKET = 32  # lengths are rounded up to a multiple of this many frames: few shapes to compile, little padding


@dataclass(frozen=True)
class Batch:
    """x (B, T, K, 3) float32, mask (B, T) bool, clips (B,): places in the corpus, frames: real ones, without padding."""

    x: Tensor
    mask: Tensor
    clips: np.ndarray
    frames: int


class DeviceCorpus:
    """A corpus whose frames lie on the device, and the gathering of clips from there."""

    def __init__(self, corpus: Corpus, device: torch.device) -> None:
        self.corpus, self.device = corpus, device
        self.frames = torch.from_numpy(np.ascontiguousarray(corpus.frames)).to(device)

    def gather(self, clips: np.ndarray, positions: list[np.ndarray]) -> Batch:
        """The clips at fractional frame `positions` (one array a clip), interpolated linearly.

        A landmark that one of its two frames does not show takes the place of the other one.
        """
        lengths = np.array([len(p) for p in positions])
        longest = -(-int(lengths.max()) // BUCKET) * BUCKET
        where = np.zeros((len(clips), longest))
        for row, (clip, p) in enumerate(zip(clips, positions, strict=True)):
            where[row, : len(p)] = p + self.corpus.offsets[clip]
            where[row, len(p) :] = where[row, len(p) - 1]
        low = np.floor(where)
        share = torch.from_numpy((where - low).astype(np.float32)).to(self.device)
        first = torch.from_numpy(low.astype(np.int64)).to(self.device)
        mask = torch.from_numpy(np.arange(longest) < lengths[:, None]).to(self.device)
        x = self.frames[first].float()
        if bool((where > low).any()):
            second = (first + 1).clamp(max=len(self.frames) - 1)
            y = self.frames[second].float()
            share = share[..., None, None] * torch.ones_like(x[..., :1])
            share = torch.where(x[..., 2:] == 0, (share > 0).float(), share)
            share = torch.where(y[..., 2:] == 0, torch.zeros_like(share), share)
            x = x + share * (y - x)
        return Batch(x * mask[..., None, None], mask, clips, int(lengths.sum()))

    def whole(self, clips: np.ndarray) -> Batch:
        """The clips as they are."""
        return self.gather(clips, [np.arange(n, dtype=float) for n in self.corpus.lengths[clips]])


def in_order(corpus: Corpus, clips: np.ndarray, batch_frames: int) -> Iterator[np.ndarray]:
    """Clips sorted by length, in batches of at most `batch_frames` padded frames: for evaluation."""
    clips = clips[np.argsort(corpus.lengths[clips], kind="stable")]
    batch: list[int] = []
    for clip in clips:
        longest = -(-int(corpus.lengths[clip]) // BUCKET) * BUCKET
        if batch and longest * (len(batch) + 1) > batch_frames:
            yield np.array(batch)
            batch = []
        batch.append(int(clip))
    if batch:
        yield np.array(batch)


class Sampler:
    """Which clips are in which step: every epoch all clips once, in batches of like length, in random order."""

    def __init__(self, lengths: np.ndarray, clips: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths, self.clips, self.seed = lengths, clips, seed
        self.batch_size = min(batch_size, len(clips))
        self.steps = -(-len(clips) // self.batch_size)
        self._epoch, self._batches = -1, []

    def __getitem__(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.steps)
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            # the noise mixes the neighbourhoods anew each epoch; it is small beside the spread of lengths
            noise = rng.uniform(0.9, 1.1, len(self.clips))
            order = self.clips[np.argsort(self.lengths[self.clips] * noise, kind="stable")]
            short = self.steps * self.batch_size - len(order)
            order = np.concatenate([order, rng.choice(self.clips, short)]) if short else order
            batches = order.reshape(self.steps, self.batch_size)
            self._epoch, self._batches = epoch, [batches[i] for i in rng.permutation(self.steps)]
        return self._batches[place]


def positions(length: int, rng: np.random.Generator, tempo: float, drop: float, longest: int) -> np.ndarray:
    """Fractional frame positions of one training clip: a window of at most `longest` frames, played at a tempo that wanders
    by up to 1 +- tempo, with up to a share `drop` of its frames left out."""
    speed = float(np.exp(rng.uniform(-1, 1) * np.log1p(tempo)))
    window = min(float(length), longest * speed)
    start = rng.uniform(0, length - window)
    count = max(1, round(window / speed))
    steps = np.ones(count)
    if tempo and count > 8:
        knots = np.exp(rng.normal(0, tempo / 2, max(2, count // 16)))
        steps = np.interp(np.linspace(0, len(knots) - 1, count), np.arange(len(knots)), knots)
    where = np.cumsum(steps) - steps[0]
    span = min(window, length - start) - 1
    where = start + where * (span / where[-1] if where[-1] > 0 else 0.0)
    if drop:
        kept = rng.random(count) >= rng.uniform(0, drop)
        where = where[kept] if kept.any() else where
    # a window's end may sit a rounding error past the clip's last frame, where another clip begins
    return np.clip(where, 0, length - 1) if tempo or drop else np.round(where)


def varied(frames: DeviceCorpus, clips: np.ndarray, seed: int, step: int, longest: int, strengths: Augment) -> Batch:
    """The training batch of `clips` at `step`: windows, tempo, then augment() with the global generator of the step."""
    tempo, drop = strengths.tempo, strengths.drop_frames
    lengths = frames.corpus.lengths
    places = [
        positions(int(lengths[clip]), np.random.default_rng([seed, step, int(clip)]), tempo, drop, longest)
        for clip in clips
    ]
    batch = frames.gather(clips, places)
    x = augment(batch.x, **strengths.model_dump(exclude={"tempo", "drop_frames"}))
    return replace(batch, x=x * batch.mask[..., None, None])
