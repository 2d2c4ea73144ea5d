"""Clips as a worse camera or estimator would give them, for benchmarks/quality.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import pick
from sign_models.data.splits import clips_of_split
from sign_models.keypoints.layouts import PARTS
from sign_models.keypoints.resample import resample


def hands_lost(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each hand is unseen in 30 % of the frames."""
    for part in ("left_hand", "right_hand"):
        x[rng.random(len(x)) < 0.3, PARTS[part]] = 0
    return x


def noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coordinates off by 3 % of the shoulder width."""
    x[..., :2] += rng.normal(0, 0.03, x[..., :2].shape) * (x[..., 2:] > 0)
    return x


def half(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every second frame is dropped."""
    return x[::2]


def half_rate(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Filmed half as often: every second frame is dropped and the clip tells so. As `half` where it tells no rate."""
    return x[::2]


def slow(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The signer is half as fast: a frame is interpolated between any two."""
    return resample(x, 0.5)


def unsure(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The detector is less sure: 0.4 times the confidence."""
    x[..., 2] *= 0.4
    return x


def turned(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera stands 30 degrees to the side: widths shrink, and normalisation takes the shoulders' for 1 again."""
    x[..., 1] /= np.cos(np.pi / 6)
    return x


def rolled(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera is rolled by 30 degrees."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    x[..., :2] = x[..., :2] @ np.array([[c, s], [-s, c]], x.dtype)
    return x


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    f.__name__: f for f in (hands_lost, noise, half, half_rate, slow, unsure, turned, rolled)
}


def degraded(corpus: Corpus, split: str, kind: str) -> Corpus:
    """The clips of `split` alone, degraded."""
    rng = np.random.default_rng(0)
    made = part_of(
        corpus, clips_of_split(corpus, split), lambda x: KINDS[kind](x.astype(np.float32), rng).astype(np.float16)
    )
    if kind == half_rate.__name__:
        made.fps = [fps and fps / 2 for fps in made.fps]
    return made


def part_of(corpus: Corpus, places: Sequence[int] | np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> Corpus:
    """Some clips of a corpus, changed, in a corpus of their own."""
    few = pick(corpus, np.asarray(places))
    clips = [change(few.clip(i)) for i in range(len(few))]
    offsets = np.cumsum([0, *map(len, clips)], dtype=np.int64)
    return replace(few, frames=np.concatenate(clips), offsets=offsets)
