"""Training batches: which clips, which of their frames, and how they are varied."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sign_models.data import batching
from sign_models.data.augment import augment, sample_variation, spans
from sign_models.data.batching import (
    Batch,
    DeviceCorpus,
    Sampler,
    augment_batch,
    between,
    bucket,
    drop,
    in_order,
    sample_windows,
    warp,
)
from sign_models.data.corpus import Corpus
from sign_models.data.masking import mask_keypoints
from sign_models.keypoints.layouts import CANONICAL, MIRROR, PARTS, PLACE
from sign_models.keypoints.sequence import of_canonical
from sign_models.params.load import resolve
from sign_models.params.schema import Augment

K = len(CANONICAL)
LENGTHS = (3, 9, 14, 40, 40, 25, 1)
STILL = {name: 0.0 for name in Augment.model_fields}
OF_DEPTH = ("pitch", "drop_depth")  # tests/data/test_depth.py
STRONG = STILL | {
    "rotate": 15,
    "yaw": 30,
    "shear": 0.2,
    "scale": 0.2,
    "translate": 0.1,
    "limb_scale": 0.2,
    "noise": 0.05,
    "arm_reach": 0.3,
    "hand_shift": 0.15,
    "landmark_jitter": 0.03,
}


@pytest.fixture(scope="module")
def frames() -> DeviceCorpus:
    """Clip i holds, in every seen landmark, x = its frame's number and y = i."""
    sequences = []
    for i, length in enumerate(LENGTHS):
        rng = np.random.default_rng(i)
        clip = np.empty((length, K, 3), np.float32)
        clip[..., 0], clip[..., 1] = np.arange(length)[:, None], i
        clip[..., 2] = rng.random((length, K)) > 0.2
        clip[..., :2] *= clip[..., 2:]
        sequences.append(of_canonical(f"clip {i}", clip))
    return DeviceCorpus(_raw(sequences), torch.device("cpu"))


def _raw(sequences) -> Corpus:
    """A corpus of clips as they are: Corpus.of would normalise them."""
    clips = [np.concatenate([s.points, s.confidence[..., None]], -1).astype(np.float16) for s in sequences]
    offsets = np.cumsum([0, *map(len, clips)])
    nothing: list = [None] * len(clips)
    return Corpus([s.id for s in sequences], np.concatenate(clips), offsets, nothing, nothing, nothing, nothing, "")


def clip(frames: DeviceCorpus, i: int) -> Tensor:
    return torch.from_numpy(np.asarray(frames.corpus.clip(i))).float()


# which clips ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_has_every_clip_and_no_more_than_fill_the_last_batch(lengths, batch_size, seed, epoch) -> None:
    clips = np.arange(len(lengths))[::2]
    sampler = Sampler(np.array(lengths), clips, batch_size, seed)
    batches = [sampler[epoch * sampler.steps + i] for i in range(sampler.steps)]
    assert {len(batch) for batch in batches} == {min(batch_size, len(clips))}
    drawn = np.concatenate(batches)
    assert set(drawn) == set(clips)
    assert len(drawn) - len(clips) < len(batches[0])
    assert np.unique(drawn, return_counts=True)[1].max() <= 2


def test_any_step_can_be_asked_for_at_any_time() -> None:
    """As a resumed training does."""
    lengths = np.random.default_rng(0).integers(5, 300, 50)
    one, other = (Sampler(lengths, np.arange(50), 8, 3) for _ in range(2))
    forwards = [one[step].tolist() for step in range(30)]
    backwards = [other[step].tolist() for step in reversed(range(30))]
    assert forwards == backwards[::-1]
    assert Sampler(lengths, np.arange(50), 8, 4)[0].tolist() != forwards[0]
    epochs = [sorted(map(tuple, forwards[i : i + one.steps])) for i in (0, one.steps)]
    assert epochs[0] != epochs[1]


def test_clips_of_a_batch_are_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 300, 640)
    sampler = Sampler(lengths, np.arange(640), 16, 0)
    real = sum(lengths[sampler[i]].sum() for i in range(sampler.steps))
    padded = sum(bucket(lengths[sampler[i]].max()) * 16 for i in range(sampler.steps))
    assert real / padded > 0.95


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_large_batches_waste_no_more(size: int) -> None:
    """Several devices take a larger step: it must not be of clips of unlike length."""
    lengths = np.random.default_rng(0).gamma(6.0, 117 / 6, 20_000).astype(int) + 1
    sampler = Sampler(lengths, np.arange(len(lengths)), size, 0)
    real, padded = (
        sum(f(lengths[sampler[i]]) for i in range(sampler.steps)) for f in (np.sum, lambda n: n.max() * len(n))
    )
    assert real / padded > 0.8


def test_steps_of_a_large_store_read_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "POOL", 256)
    monkeypatch.setattr(batching, "BLOCK", 16)
    lengths = np.random.default_rng(0).integers(5, 300, 1030)
    sampler = Sampler(lengths, np.arange(len(lengths)), 8, 0)
    epochs = [[sampler[epoch * sampler.steps + i] for i in range(sampler.steps)] for epoch in (0, 1)]
    for batches in epochs:
        assert set(np.concatenate(batches)) == set(range(len(lengths)))
        pool = np.concatenate(batches[: sampler.steps // 4])
        assert len(np.unique(pool // 16)) <= 2 * 256 / 16  # anywhere they would touch all 65 blocks
        real, padded = (sum(f(lengths[b]) for b in batches) for f in (np.sum, lambda n: bucket(n.max()) * len(n)))
        assert real / padded > 0.95
    assert set(epochs[0][0]) != set(epochs[1][0])
    first, again = (set(np.concatenate(batches[: sampler.steps // 4]) // 16) for batches in epochs)
    assert len(first & again) < len(first)  # other blocks come together in the next epoch


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 2000))
def test_evaluation_has_every_clip_once_within_its_frames(lengths: list[int], most: int) -> None:
    clips = [np.zeros((length, 1, 3), np.float16) for length in lengths]
    offsets = np.cumsum([0, *lengths])
    nothing: list = [None] * len(lengths)
    corpus = Corpus(
        [str(i) for i in range(len(lengths))], np.concatenate(clips), offsets, nothing, nothing, nothing, nothing, ""
    )
    batches = list(in_order(corpus, np.arange(len(lengths)), most))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or bucket(corpus.lengths[batch].max()) * len(batch) <= most


# which frames ---------------------------------------------------------------------------------------------------------


def test_whole_clips_are_what_the_corpus_holds(frames: DeviceCorpus) -> None:
    clips = np.array([3, 0, 5])
    batch = frames.whole(clips)
    assert batch.x.shape == (3, bucket(40), K, 3) and batch.mask.sum(1).tolist() == [40, 3, 25]
    for x, mask, i in zip(batch.x, batch.mask, clips, strict=True):
        assert torch.equal(x[mask], clip(frames, i)) and not x[~mask].any()


def test_between_two_frames_lies_what_lies_between_them(frames: DeviceCorpus) -> None:
    where = torch.tensor([[0.0, 0.5, 1.25, 7.0]])
    begin, length = (torch.from_numpy(a[[1]]) for a in (frames.corpus.offsets, frames.corpus.lengths))
    x = frames.gather(between(begin, length, where, torch.tensor([4])))[0]
    source = clip(frames, 1)
    for position, found in zip(where[0].tolist(), x, strict=True):
        low, high = source[int(position)], source[min(int(position) + 1, 8)]
        both = (low[:, 2] > 0) & (high[:, 2] > 0)
        assert torch.allclose(found[both, 0], torch.tensor(position)) and (found[both, 1] == 1).all()
        unseen = (low[:, 2] == 0) & ((high[:, 2] == 0) | (position % 1 == 0))
        assert not found[unseen].any()
        # seen in one of the two only: that one's place, never something between it and nothing
        one = found[~both & ~unseen]
        assert ((one[:, 0] == int(position)) | (one[:, 0] == int(position) + 1)).all() and (one[:, 2] > 0).all()


@given(st.integers(1, 200), st.floats(0, 0.9), st.integers(0, 100))
def test_warped_positions_stay_in_the_clip_and_go_forwards(frames_of_clip: int, tempo: float, seed: int) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    span = rng.uniform(1, frames_of_clip, 3)
    start = rng.uniform(0, 1, 3) * (frames_of_clip - span)
    count = rng.integers(1, 60, 3)
    length = int(count.max())
    where = warp(*(torch.from_numpy(a).float() for a in (start, span)), torch.from_numpy(count), length, tempo)
    for row, n in zip(where, count, strict=True):
        there = row[:n]
        assert there.min() >= -0.5 and there.max() <= frames_of_clip - 1 + 0.5 * (not tempo) + 1e-3
        assert (there.diff() >= 0).all()


@given(st.integers(1, 50), st.floats(0, 1), st.integers(0, 100))
def test_dropped_frames_leave_others_in_their_order(length: int, share: float, seed: int) -> None:
    torch.manual_seed(seed)
    where = torch.arange(length, dtype=torch.float).expand(4, -1)
    count = torch.randint(1, length + 1, (4,))
    kept = (count * share).round().long().clamp(min=1)
    left = drop(where, count, kept, int(kept.max()))
    assert left.shape == (4, kept.max())
    for row, n, before in zip(left, kept, count, strict=True):
        assert (row[:n].diff() > 0).all() and row[:n].max() < before and row[0] == 0


def varied(frames: DeviceCorpus, clips: np.ndarray, part: slice, seed: int, longest: int, strengths: Augment) -> Batch:
    drawn = sample_windows(frames, clips, part, np.random.default_rng(seed), longest, strengths)
    return augment_batch(frames, drawn, strengths)


@pytest.mark.parametrize("times", [0.25, 1, 8])
def test_training_has_few_shapes_and_little_padding(monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    """A GPU records a graph for each: lengths of a corpus like PHOENIX14T, or so many times as long, played at any
    tempo, must not give many."""
    monkeypatch.setattr(DeviceCorpus, "recordable", True)
    lengths = (times * np.clip(np.random.default_rng(0).gamma(4.5, 26, 7096).round(), 16, 475)).astype(int)
    nothing = [None] * len(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    empty = np.zeros((1, K, 3), np.float16)
    corpus = Corpus([str(i) for i in range(len(lengths))], empty, offsets, nothing, nothing, nothing, nothing, "")
    frames = DeviceCorpus(corpus, torch.device("cpu"))
    sampler = Sampler(lengths, np.arange(len(lengths)), 32, 0)
    strengths = Augment(**(STILL | {"tempo": 0.5, "drop_frames": 0.3}))
    shapes, real, padded = set(), 0, 0
    for step in range(1000):
        drawn = sample_windows(
            frames, sampler[step], slice(0, 32), np.random.default_rng(step), int(512 * times), strengths
        )
        shapes.add(tuple(values.shape for values in drawn.values()))
        real, padded = real + int(drawn["kept"].sum()), padded + 32 * len(drawn["steps"])
    assert 4 < len(shapes) <= 32
    assert real / padded > 0.87


@pytest.mark.parametrize("longest", [8, 100])
def test_a_training_batch_shows_frames_of_its_clips(frames: DeviceCorpus, longest: int) -> None:
    clips = np.array([0, 1, 3, 5, 6])
    strengths = Augment(**(STILL | {"tempo": 0.5, "drop_frames": 0.4}))
    torch.manual_seed(0)
    batch = varied(frames, clips, slice(0, 5), 0, longest, strengths)
    for x, mask, i in zip(batch.x, batch.mask, clips, strict=True):
        assert 1 <= mask.sum() <= 1.5 * min(longest, LENGTHS[i]) + 1
        assert not x[~mask].any()
        seen = x[mask][x[mask][..., 2] > 0]
        assert (seen[:, 1] == i).all() and seen[:, 0].min() >= 0 and seen[:, 0].max() <= LENGTHS[i] - 1


def test_without_variation_a_batch_is_the_clips(frames: DeviceCorpus) -> None:
    clips = np.array([3, 4])
    batch = varied(frames, clips, slice(0, 2), 0, 100, Augment(**STILL))
    whole = frames.whole(clips)
    assert torch.equal(batch.x[batch.mask], whole.x[whole.mask])


def test_beside_a_varied_batch_stand_the_same_moments_as_they_are(frames: DeviceCorpus) -> None:
    clips = np.array([3, 4, 5, 2, 6])
    when = {"tempo": 0.5, "drop_frames": 0.4, "mirror": 0.5}  # what also says which moments, and in which mirror
    where = {"rotate": 15, "arm_reach": 0.3, "landmark_jitter": 0.05, "translate": 0.1, "drop_hand": 0.5, "noise": 0.03}
    drawn = sample_windows(frames, clips, slice(0, 5), np.random.default_rng(7), 100, Augment(**(STILL | when)))
    torch.manual_seed(3)
    batch = augment_batch(frames, drawn, Augment(**(STILL | when | where)), unaugmented=True)
    torch.manual_seed(3)
    moments = augment_batch(frames, drawn, Augment(**(STILL | when)))
    assert batch.unaugmented is not None and moments.unaugmented is None
    assert torch.equal(batch.unaugmented, moments.x) and not torch.equal(batch.unaugmented, batch.x)


def test_parts_of_a_step_show_the_windows_of_the_whole(frames: DeviceCorpus) -> None:
    """Where memory makes parts of a batch, the clips are cut and played as they would have been."""
    clips = np.array([3, 4, 5, 2])
    strengths = Augment(**(STILL | {"tempo": 0.0}))
    whole = varied(frames, clips, slice(0, 4), 7, 10, strengths)
    halves = [varied(frames, clips, part, 7, 10, strengths) for part in (slice(0, 2), slice(2, 4))]
    found = [x[mask] for half in halves for x, mask in zip(half.x, half.mask, strict=True)]
    wanted = [x[mask] for x, mask in zip(whole.x, whole.mask, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_rows_of_a_step_are_varied_and_hidden_as_in_the_whole(frames: DeviceCorpus) -> None:
    """Where several processes share a batch, or memory makes parts of it."""
    clips = np.array([3, 4, 5, 2, 6])
    strengths = Augment(
        rotate=15, yaw=30, shear=0.1, scale=0.2, translate=0.1, limb_scale=0.1, mirror=0.5, tempo=0.5, drop_hand=0.5,
        drop_frames=0.4, noise=0.03, arm_reach=0.3, hand_shift=0.1, landmark_jitter=0.05, pitch=15,
        drop_depth=0.5,
    )  # fmt: skip

    def made(part: slice) -> list[torch.Tensor]:
        torch.manual_seed(3)
        batch = varied(frames, clips, part, 7, 10, strengths)
        masked = mask_keypoints(batch.x, joints=0.2, parts=0.3, frames=0.2, span=5, rows=batch.rows)
        return [batch.x, batch.mask, batch.lengths, *masked]

    whole = made(slice(0, 5))
    for part in (slice(0, 2), slice(2, 4), slice(4, 5)):
        assert all(torch.equal(mine, all_[part]) for mine, all_ in zip(made(part), whole, strict=True))


# variation ------------------------------------------------------------------------------------------------------------


def clips(B: int = 3, T: int = 12, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    seen = (torch.rand(B, T, K, 1, generator=generator) > 0.3).float()
    return torch.cat([torch.randn(B, T, K, 2, generator=generator) * seen, seen], -1)


def changed(x: Tensor, seed: int = 0, **strengths: float) -> Tensor:
    torch.manual_seed(seed)
    wanted = STILL | strengths
    strengths = {name: wanted[name] for name in wanted if name not in ("tempo", "drop_frames")}
    return augment(x.clone(), sample_variation(*x.shape[:2], x.device, **strengths))


@pytest.mark.parametrize("name", [name for name in STILL if name not in ("tempo", "drop_frames", "mirror", *OF_DEPTH)])
def test_what_is_unseen_stays_unseen(name: str) -> None:
    x = clips()
    strength = max(getattr(resolve().temporal.augment, name), 0.3)
    out = changed(x, **{name: strength})
    assert not torch.equal(out, x)
    unseen = x[..., 2] == 0
    assert not out[unseen].any()
    assert (out[..., 2] <= x[..., 2]).all() and not out[..., :2][out[..., 2] == 0].any()


def test_mirroring_swaps_left_and_right_and_twice_is_nothing() -> None:
    x = clips()
    out = changed(x, mirror=1)
    assert torch.equal(out[..., 2], x[..., 2][:, :, torch.from_numpy(MIRROR.copy())])
    assert torch.equal(out[..., 0], -x[..., 0][:, :, torch.from_numpy(MIRROR.copy())])
    assert torch.equal(changed(out, mirror=1), x)


def test_variation_follows_from_the_seed() -> None:
    x = clips()
    everything = STRONG | {"mirror": 0.5, "drop_hand": 0.3}
    everything = {name: value for name, value in everything.items() if name not in ("tempo", "drop_frames")}
    assert torch.equal(changed(x, 1, **everything), changed(x, 1, **everything))
    assert not torch.equal(changed(x, 1, **everything), changed(x, 2, **everything))


def test_no_strength_is_no_variation() -> None:
    assert torch.equal(changed(clips()), clips())


def test_strengths_are_what_they_say() -> None:
    x = torch.cat([torch.randn(64, 2, K, 2, generator=torch.Generator().manual_seed(0)), torch.ones(64, 2, K, 1)], -1)
    moved = (changed(x, translate=0.1) - x)[..., :2]
    assert moved.abs().max() <= 0.1 + 1e-6
    assert (moved - moved[:, :1, :1]).abs().max() < 1e-5  # a clip moves as a whole
    turned = changed(x, rotate=15)[..., :2]
    assert torch.allclose(turned.norm(dim=-1), x[..., :2].norm(dim=-1), atol=1e-4)
    cosine = (turned * x[..., :2]).sum(-1) / x[..., :2].square().sum(-1)
    assert cosine.min() >= np.cos(np.deg2rad(15)) - 1e-4
    hands = [k for part in ("left_hand", "right_hand") for k in range(K)[PARTS[part]]]
    others = [k for k in range(K) if k not in hands]
    stretched = changed(x, limb_scale=0.2)
    assert torch.equal(stretched[:, :, others], x[:, :, others]) and not torch.equal(stretched, x)
    lost = changed(clips(B=16, T=60), drop_hand=0.5)
    assert torch.equal(lost[:, :, others], clips(B=16, T=60)[:, :, others])
    for part in ("left_hand", "right_hand"):
        whole = (lost[:, :, PARTS[part], 2] == 0).all(-1).float().mean()
        assert 0.05 < whole < 0.5


def test_another_signer_moves_arms_elsewhere_and_is_built_otherwise() -> None:
    x = torch.cat([torch.randn(16, 9, K, 2, generator=torch.Generator().manual_seed(0)), torch.ones(16, 9, K, 1)], -1)
    elsewhere = (changed(x, hand_shift=0.15) - x)[..., :2]
    wider = (changed(x, arm_reach=0.3) - x)[..., :2]
    for side in ("left", "right"):
        hand, wrist, elbow = PARTS[f"{side}_hand"], PLACE[f"body.{side}_wrist"], PLACE[f"body.{side}_elbow"]
        shift = elsewhere[:, :, hand.start]
        assert 0.1 < shift.abs().max() <= 0.15 and torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-6)
        way = x[:, :, hand.start, :2] - x[:, :, hand.start, :2].mean(1, keepdim=True)
        assert torch.allclose(wider[:, :, hand.start].mean(1), torch.zeros(16, 2), atol=1e-5)  # about the same place
        assert (wider[:, :, hand.start].abs() <= 0.3 * way.abs() + 1e-5).all()
        for moved in (elsewhere, wider):
            assert torch.allclose(moved[:, :, hand], moved[:, :, hand][:, :, :1].expand(-1, -1, 21, -1), atol=1e-5)
            assert torch.allclose(moved[:, :, wrist], moved[:, :, hand.start], atol=1e-5)
            assert torch.allclose(moved[:, :, elbow], moved[:, :, hand.start] / 2, atol=1e-5)
    built = (changed(x, landmark_jitter=0.04) - x)[..., :2]
    assert torch.allclose(built, built[:, :1].expand_as(built), atol=1e-5)
    assert built[:, 0, PARTS["face"]].std() == pytest.approx(0.04, rel=0.1)
    assert built[:, 0, PARTS["left_hand"]].std() == pytest.approx(0.01, rel=0.1)


@given(st.floats(0, 0.9), st.integers(1, 12), st.integers(0, 20))
def test_spans_hide_about_their_share(share: float, length: int, seed: int) -> None:
    torch.manual_seed(seed)
    masked = spans(8, 400, torch.full((8, 1), share), length, torch.device("cpu"))
    assert masked.shape == (8, 400) and masked.dtype == torch.bool
    expected = 1 - (1 - share / length) ** length  # starts may overlap
    assert abs(masked.float().mean().item() - expected) < 0.12
