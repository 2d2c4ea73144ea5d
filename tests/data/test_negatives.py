"""Clips in which nobody signs: made of real ones, and like them in all that is not signing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sign_models.data.corpus import Corpus
from sign_models.data.negatives import FITTED, KINDS, SHORTEST, UNSEEN, negatives
from sign_models.keypoints.layouts import CANONICAL, PLACE
from sign_models.keypoints.sequence import from_canonical
from sign_models.keypoints.windows import LOW_HAND_Y

WRISTS = [PLACE[f"{side}.wrist"] for side in ("left_hand", "right_hand")]


def clip(frames: int, seed: int = 0) -> np.ndarray:
    """(T, K, 3): a body whose shoulders are at 0.5 and -0.5, hands that move, a quarter unseen."""
    rng = np.random.default_rng(seed)
    x = np.ones((frames, len(CANONICAL), 3), np.float32)
    x[..., :2] = rng.normal(0.0, 0.3, x[..., :2].shape)
    x[:, [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]], :2] = [[0.5, 0.0], [-0.5, 0.0]]
    hidden = rng.random(x.shape[:2]) < 0.25
    hidden[:, [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]]] = False
    x[hidden] = 0
    return x


def corpus(*lengths: int) -> Corpus:
    return Corpus.from_sequences(
        replace(from_canonical(f"clip {i}", clip(length, i)), split="dev", text="tea")
        for i, length in enumerate(lengths)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [False, True])
def test_a_clip_without_signing_has_the_length_and_the_channels_and_unseen_stays_unseen(kind: str, depth: bool) -> None:
    x = clip(30)
    if depth:
        x = np.concatenate([x, x[..., :1] * 2], -1)
    before = x.copy()
    made = KINDS[kind](x, np.random.default_rng(1))
    assert (x == before).all() and made.shape == x.shape and np.isfinite(made).all()
    assert (made[made[..., 2] == 0][:, :2] == 0).all()
    assert sorted((made[..., 2] > 0).sum(1)) == sorted((x[..., 2] > 0).sum(1)) or kind == "still"
    assert not np.allclose(made, x)


def test_what_each_kind_is() -> None:
    x, rng = clip(60), np.random.default_rng(2)
    assert (KINDS["still"](x, rng) == x[30]).all()
    shuffled = KINDS["shuffled"](x, rng)
    assert sorted(map(bytes, shuffled)) == sorted(map(bytes, x))
    for kind in ("hands_down", "walking"):
        made = KINDS[kind](x, rng)
        assert (made[:, WRISTS, 1][made[:, WRISTS, 2] > 0] > LOW_HAND_Y).all()
    seen = KINDS["walking"](np.ones_like(x), rng)
    shoulders = seen[:, PLACE["body.left_shoulder"], 0]
    assert abs(shoulders[-1] - shoulders[0]) > 1  # through the picture
    restless = KINDS["fidgeting"](np.ones_like(x), rng)[:, WRISTS, :2]
    assert np.abs(np.diff(restless, axis=0)).max() < 0.3 and np.abs(np.diff(restless, axis=0)).mean() > 1e-3


def test_those_that_measure_are_not_those_that_are_fitted_on() -> None:
    assert not FITTED.keys() & UNSEEN.keys() and {*KINDS} == {*FITTED, *UNSEEN}


def test_each_kind_is_drawn_from_other_clips_as_often_as_asked_and_the_seed_decides() -> None:
    clips = corpus(20, 30, SHORTEST - 1, 40, 50)
    made = negatives(clips, np.arange(5), [*KINDS], 3, seed=0)
    assert len(made) == 3 * len(KINDS) and len(set(made.ids)) == len(made)
    for kind in KINDS:
        of_kind = [g for name, g in zip(made.ids, made.groups, strict=True) if name.startswith(f"{kind}: ")]
        assert len(set(of_kind)) == 3 and "clip 2" not in of_kind  # too short
    assert made.texts == [None] * len(made) and set(made.splits) == {"dev"}
    assert [made.lengths[i] for i in range(len(made))] == [clips.lengths[clips.index[str(g)]] for g in made.groups]
    again, other = (negatives(clips, np.arange(5), [*KINDS], 3, seed=seed) for seed in (0, 1))
    assert made.ids == again.ids and np.array_equal(made.frames, again.frames)
    assert not (made.ids == other.ids and np.array_equal(made.frames, other.frames))
    few = negatives(clips, np.array([0, 2]), ["still"], 25, seed=0)
    assert few.ids == ["still: clip 0"]
    none = negatives(clips, np.array([2]), ["still"], 25, seed=0)
    assert len(none) == 0 and none.frames.shape == (0, *clips.frames.shape[1:])
