"""Depth, from a sequence to a model's input: absent, lost and never given are one thing."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from sign_models.data.augment import augment, sample_variation
from sign_models.data.batching import DeviceCorpus, augment_batch, sample_windows
from sign_models.data.corpus import Corpus
from sign_models.data.masking import mask_keypoints
from sign_models.keypoints.layouts import CANONICAL, MIRROR, PARTS, PLACE
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.sequence import KeypointSequence, Unit
from sign_models.models.skeleton import SkeletonModel
from sign_models.params.schema import Augment
from tests import tiny

STILL = {name: 0.0 for name in Augment.model_fields}


def sequence(name: str = "a", frames: int = 12, seed: int = 0, deep: bool = True) -> KeypointSequence:
    values = tiny.clip(seed, frames)
    depth = np.random.default_rng(seed).normal(0, 40, values.shape[:2]).astype(np.float32) if deep else None
    return KeypointSequence(name, values[..., :2], values[..., 2], "mediapipe_75", depth=depth)


def corpus() -> Corpus:
    """Clips with depth and, among them, one without."""
    return Corpus.of(sequence(name, 10 + 3 * i, i, deep=name != "c") for i, name in enumerate("abcde"))


@pytest.mark.parametrize("unit", get_args(Unit))
def test_without_depth_a_clip_is_the_bits_that_it_was(unit: str) -> None:
    given = replace(sequence(), unit=unit)
    flat = normalise(replace(given, depth=None))
    assert flat.shape[-1] == 3
    assert np.array_equal(normalise(given)[..., :3], flat)


@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize("origin", [-500.0, 20.0])
def test_depth_is_in_shoulder_widths_behind_the_shoulders(scale: float, origin: float) -> None:
    """Whatever the unit of the file, the distance of the camera, and where its depth begins, part by part."""
    given = sequence()
    moved = given.depth + origin * np.array([1] * 33 + [2] * 21 + [-3] * 21, np.float32)
    far = replace(given, points=given.points * np.float32(scale), depth=moved * np.float32(scale))
    one, other = normalise(given), normalise(far)
    np.testing.assert_allclose(other[..., 3], one[..., 3], atol=1e-3)
    shoulders = one[:, [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]]]
    np.testing.assert_allclose(shoulders[..., 3].mean(1), 0, atol=1e-5)
    seen = (one[:, PLACE["left_hand.wrist"], 2] > 0) & (one[:, PLACE["body.left_wrist"], 2] > 0)
    hand = one[seen, PLACE["left_hand.wrist"], 3] - one[seen, PLACE["body.left_wrist"], 3]
    np.testing.assert_allclose(hand, 0, atol=1e-5)
    assert seen.any() and not one[..., 3][one[..., 2] == 0].any()


def test_of_fractions_of_a_picture_depth_counts_as_x_does() -> None:
    size = np.float32([640, 480])
    given = sequence()
    fractions = replace(
        given, points=given.points / size, depth=given.depth / size[0], unit="normalized", size=(640, 480)
    )
    np.testing.assert_allclose(normalise(fractions), normalise(given), atol=1e-3)


def test_in_a_mirror_depth_stays_what_it_is() -> None:
    """A clip whose left hand leads changes sides, and its depth goes with each landmark."""
    given = normalise(sequence())
    flipped = sequence()
    raised = flipped.points.copy()
    raised[:, tiny.LEFT_HAND, 1] -= 400
    out = normalise(replace(flipped, points=raised))
    assert not np.allclose(out[..., 3], given[..., 3])
    np.testing.assert_allclose(out[:, MIRROR][:, PARTS["body"], 3], given[:, PARTS["body"], 3], atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_depth_that_is_no_number_is_no_depth(bad: float) -> None:
    given = sequence()
    depth = given.depth.copy()
    depth[3, 15] = bad
    out = normalise(replace(given, depth=depth))
    assert np.isfinite(out).all() and np.abs(out).max() <= 50


def test_clips_with_and_without_depth_make_one_corpus() -> None:
    found = corpus()
    assert found.frames.shape[-1] == 4
    assert [bool(found.clip(i)[..., 3].any()) for i in range(5)] == [True, True, False, True, True]
    alone = Corpus.of([sequence("c", 16, 2, deep=False)])
    assert alone.frames.shape[-1] == 3 and np.array_equal(found.clip(2)[..., :3], alone.clip(0))


def model() -> SkeletonModel:
    torch.manual_seed(0)
    made = SkeletonModel(part_width=8, width=32, layers=1, context=1, dropout=0.0)
    for weight in made.parts.depth.values():  # as after training
        torch.nn.init.normal_(weight, std=0.3)
    return made.eval()


def batch(deep: bool = True, **strengths: float) -> torch.Tensor:
    frames = DeviceCorpus(corpus(), torch.device("cpu"))
    drawn = sample_windows(frames, np.arange(5), slice(0, 5), np.random.default_rng(0), 100, Augment(**STILL))
    torch.manual_seed(0)
    return augment_batch(frames, drawn, Augment(**(STILL | strengths))).x


def test_depth_that_is_absent_and_depth_that_is_dropped_are_the_same() -> None:
    read, whole = model(), batch()
    mask = torch.ones(whole.shape[:2], dtype=torch.bool)
    dropped = batch(drop_depth=1.0)
    assert torch.equal(dropped[..., :3], whole[..., :3]) and not dropped[..., 3].any()
    absent = read.encode(whole[..., :3], mask)
    torch.testing.assert_close(read.encode(dropped, mask), absent)
    assert not torch.allclose(read.encode(whole, mask), absent, atol=1e-2)


def test_a_model_that_never_saw_depth_does_as_if_there_were_none() -> None:
    fresh, whole = SkeletonModel(part_width=8, width=32, layers=1, context=1, dropout=0.0), batch()
    mask = torch.ones(whole.shape[:2], dtype=torch.bool)
    assert torch.equal(fresh.encode(whole, mask), fresh.encode(whole[..., :3], mask))


def test_a_share_of_the_clips_loses_its_depth() -> None:
    x = torch.randn(400, 3, len(CANONICAL), 4).abs()
    torch.manual_seed(0)
    out = augment(x.clone(), sample_variation(400, 3, x.device, **_only(drop_depth=0.25), deep=True))
    left = (out[..., 3] != 0).flatten(1).float().mean(1)
    assert set(left.tolist()) == {0.0, 1.0} and 0.15 < 1 - left.mean() < 0.35


@pytest.mark.parametrize("name", ["yaw", "pitch"])
def test_a_camera_that_turns_or_tilts_keeps_distances_in_space(name: str) -> None:
    x = torch.randn(8, 5, len(CANONICAL), 4)
    x[..., 2] = 1
    torch.manual_seed(0)
    drawn = sample_variation(8, 5, x.device, **_only(**{name: 30.0}), deep=True)
    drawn.hands = None  # which a turn moves aside on their own
    out = augment(x.clone(), drawn)
    assert not torch.allclose(out, x)
    space = [0, 1, 3]
    torch.testing.assert_close(out[..., space].norm(dim=-1), x[..., space].norm(dim=-1))
    unknown = x.clone()
    unknown[..., 3] = 0
    assert not augment(unknown, drawn)[..., 3].any()


@pytest.mark.parametrize("name", [name for name in STILL if name not in ("tempo", "drop_frames", "drop_depth")])
def test_what_is_unseen_or_has_no_depth_stays_so(name: str) -> None:
    x = torch.randn(6, 8, len(CANONICAL), 4)
    x[..., 2] = (torch.rand(x.shape[:-1]) > 0.3).float()
    x[..., 3] *= torch.rand(x.shape[:-1]) > 0.3
    x *= x[..., 2:3] > 0
    out = augment(x.clone(), sample_variation(6, 8, x.device, **_only(**{name: 0.4}), deep=True))
    assert not out[out[..., 2] == 0].any()
    if name != "mirror":
        assert not out[..., 3][x[..., 3] == 0].any()


def test_hidden_landmarks_have_no_depth() -> None:
    masked = mask_keypoints(batch(), joints=0.5, parts=0.0, frames=0.0, span=4)
    assert not masked.x[masked.landmarks].any()


def _only(**strengths: float) -> dict[str, float]:
    return {n: v for n, v in (STILL | strengths).items() if n not in ("tempo", "drop_frames")}
