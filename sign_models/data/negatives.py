"""Clips in which nobody signs, drawn from clips in which somebody does: what a translator is to refuse.

They have the length, the body and the unseen landmarks of the clip that they are made of. In shoulder widths from the
middle of the shoulders, y down, as normalised clips are.

T frames, K landmarks of CANONICAL, C channels: x, y, confidence, and depth where a clip has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sign_models.data.corpus import Corpus, concatenate
from sign_models.keypoints.layouts import PARTS, PLACE

SHORTEST = 8  # frames; the frames of a shorter clip tell much the same in any order
_SIDES = ("left", "right")
_HUNG_WRIST, _HUNG_ELBOW = (0.55, 1.7), (0.6, 0.85)
_NOISE = 0.3  # standard deviation of a landmark's place
_STEP = (0.02, 0.08)  # of one who walks, a frame
_SMOOTH = 9  # frames over which the ways of a restless hand are smoothed


def still(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Repeat the middle frame.

    Args:
        x: (T, K, C) float32 clip.
        rng: Generator of the random choices.

    Returns:
        (T, K, C) clip.
    """
    return np.repeat(x[len(x) // 2][None], len(x), 0)


def shuffled(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle the frames.

    Args:
        x: (T, K, C) float32 clip.
        rng: Generator of the random choices.

    Returns:
        (T, K, C) clip.
    """
    return x[rng.permutation(len(x))]


def noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let each landmark jump around its mean position.

    Args:
        x: (T, K, C) float32 clip.
        rng: Generator of the random choices.

    Returns:
        (T, K, C) clip.
    """
    seen = x[..., 2] > 0
    mean = (x[..., :2] * seen[..., None]).sum(0) / np.maximum(seen.sum(0), 1)[:, None]
    return _moved(x, mean + rng.normal(0, _NOISE, x[..., :2].shape))


def hands_down(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let the hands hang, and sway a little.

    Args:
        x: (T, K, C) float32 clip.
        rng: Generator of the random choices.

    Returns:
        (T, K, C) clip.
    """
    sway = 0.03 * np.sin(np.arange(len(x)) * rng.uniform(0.05, 0.2))
    return _with_arms(x, {side: _hung(len(x), sway, 0 * sway) for side in _SIDES})


def walking(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let somebody walk through the image, with swinging arms.

    Args:
        x: (T, K, C) float32 clip.
        rng: Generator of the random choices.

    Returns:
        (T, K, C) clip.
    """
    phase = np.arange(len(x)) * rng.uniform(0.25, 0.5) + rng.uniform(0, 2 * np.pi)
    swing = {side: sign * 0.25 * np.sin(phase) for side, sign in zip(_SIDES, (1, -1), strict=True)}
    out = _with_arms(x, {side: _hung(len(x), s, -np.abs(s) / 2) for side, s in swing.items()})
    way = rng.choice([-1, 1]) * rng.uniform(*_STEP) * (np.arange(len(x)) - len(x) / 2)
    return _moved(out, out[..., :2] + np.stack([way, 0.05 * np.abs(np.sin(phase))], -1)[:, None])


def fidgeting(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let the hands move without rest before the belly or at the face.

    Args:
        x: (T, K, C) float32 clip.
        rng: Generator of the random choices.

    Returns:
        (T, K, C) clip.
    """
    arms = {}
    for side in _SIDES:
        about = np.array([rng.uniform(0.05, 0.4), rng.choice([rng.uniform(0.7, 1.2), rng.uniform(-0.7, 0.0)])])
        steps = rng.normal(0, 1, (len(x) + _SMOOTH - 1, 2))
        path = np.stack([np.convolve(steps[:, i], np.ones(_SMOOTH) / _SMOOTH, "valid") for i in range(2)], -1)
        wrist = about + 0.3 * path
        arms[side] = wrist, np.full_like(wrist, _HUNG_ELBOW)
    return _with_arms(x, arms)


Kind = Callable[[np.ndarray, np.random.Generator], np.ndarray]
# (T, K, C) float32 -> the same. A confidence is fitted to refuse the first; the others are for measuring alone, so that
# not only what it was shown is counted.
FITTED: dict[str, Kind] = {f.__name__: f for f in (still, shuffled, noise, hands_down)}
UNSEEN: dict[str, Kind] = {f.__name__: f for f in (walking, fidgeting)}
KINDS = FITTED | UNSEEN


def negatives(corpus: Corpus, clips: np.ndarray, kinds: Sequence[str], count: int, seed: int) -> Corpus:
    """Make clips without signing. Their ids are "KIND: ID", their group is the id of the clip that they are made of.

    Args:
        corpus: Corpus of the clips.
        clips: Indices of clips to make them of. Shorter ones than SHORTEST are not used.
        kinds: Keys of KINDS.
        count: Clips of each kind at most, each made of another clip.
        seed: Seed of the random choices.

    Returns:
        The clips, without texts.
    """
    made: list[tuple[str, int, np.ndarray]] = []
    long = clips[corpus.lengths[clips] >= SHORTEST]
    for number, kind in enumerate(kinds):
        rng = np.random.default_rng([seed, number])
        for clip in rng.permutation(long)[:count]:
            x = KINDS[kind](corpus.clip(int(clip)).astype(np.float32), rng)
            made.append((kind, int(clip), x.astype(np.float16)))
    if not made:
        return Corpus([], corpus.frames[:0], np.zeros(1, np.int64), [], [], [], [], "", corpus.sources)
    ids = [f"{kind}: {corpus.ids[clip]}" for kind, clip, _ in made]
    offsets = np.concatenate([[0], np.cumsum([len(x) for _, _, x in made])])
    known: dict[str, Any] = {name: [getattr(corpus, name)[clip] for _, clip, _ in made] for name in ("fps", "splits")}
    groups: list[str | None] = [corpus.ids[clip] for _, clip, _ in made]
    return replace(
        corpus, ids=ids, frames=concatenate([x for _, _, x in made]), offsets=offsets, groups=groups,
        texts=[None] * len(made), digest="", **known,
    )  # fmt: skip


def _moved(x: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """`x` with other coordinates; 0 where it is not seen."""
    return np.concatenate([xy * (x[..., 2:3] > 0), x[..., 2:]], -1)


def _hung(frames: int, across: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wrist and elbow (T, 2) of an arm that hangs."""
    away = np.stack([across, down], -1)
    return np.full((frames, 2), _HUNG_WRIST) + away, np.full((frames, 2), _HUNG_ELBOW) + away / 3


def _with_arms(x: np.ndarray, arms: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Wrists and elbows where `arms` says, on their shoulder's side; hands as in the frame that shows them best."""
    xy = x[..., :2].copy()
    for side, (wrist, elbow) in arms.items():
        outwards = np.array([np.sign(x[:, PLACE[f"body.{side}_shoulder"], 0].mean()) or 1.0, 1.0])
        hand = PARTS[f"{side}_hand"]
        best = x[(x[:, hand, 2] > 0).sum(1).argmax()]
        shape = (best[hand, :2] - best[PLACE[f"{side}_hand.wrist"], :2]) * (best[hand, 2:3] > 0)
        xy[:, hand] = (outwards * wrist)[:, None] + shape
        xy[:, PLACE[f"body.{side}_wrist"]] = outwards * wrist
        xy[:, PLACE[f"body.{side}_elbow"]] = outwards * elbow
    return _moved(x, xy)
