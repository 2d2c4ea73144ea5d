"""Frames at any times become frames at a constant rate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.keypoints.resample import MAX_GAP_S, at_rate, frame_step, own_span, resample, resampled_length


@given(
    st.lists(st.floats(0.01, 0.99 * MAX_GAP_S), min_size=1, max_size=40), st.sampled_from([5.0, 12.5, 25.0, 30.0, 60.0])
)
def test_what_moves_evenly_is_where_it_was_at_every_moment(intervals: list[float], fps: float) -> None:
    times = np.cumsum([0.3, *intervals])
    speed = np.array([[3.0, -2.0], [0.5, 8.0]])
    points, confidence = at_rate(times, times[:, None, None] * speed, np.full((len(times), 2), 0.7), fps)
    grid = times[0] + np.arange(len(points)) / fps
    inside = grid <= times[-1]
    np.testing.assert_allclose(points[inside], (grid[:, None, None] * speed)[inside], atol=1e-4)
    np.testing.assert_allclose(confidence, 0.7, atol=1e-6)
    assert abs(len(points) - 1 - (times[-1] - times[0]) * fps) <= 0.5


def test_frames_at_the_rate_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    points, confidence = rng.normal(size=(9, 3, 3)).astype(np.float32), np.ones((9, 3), np.float32)
    made, sure = at_rate(np.arange(9) / 25, points, confidence, 25.0)
    np.testing.assert_allclose(made, points, atol=1e-5)
    assert (sure == 1).all()


@pytest.mark.parametrize("lost", [0.0, np.nan, 1e9])
def test_what_is_not_seen_never_counts(lost: float) -> None:
    points, confidence = np.ones((4, 1, 2), np.float32), np.ones((4, 1), np.float32)
    points[2], confidence[2] = lost, 0
    made, sure = at_rate(np.arange(4) / 10, points, confidence, 40.0)
    seen = sure[:, 0] > 0
    assert (made[seen] == 1).all() and 0 < (~seen).sum() < len(seen)


def test_nothing_is_made_up_over_a_gap() -> None:
    points = np.array([0.0, 100.0]).reshape(2, 1, 1)
    made, _ = at_rate(np.array([0.0, 2.0]), points, np.ones((2, 1)), 10.0)
    assert set(made.ravel().tolist()) == {0.0, 100.0}


def test_one_frame_is_one_frame() -> None:
    made, sure = at_rate(np.array([1.5]), np.full((1, 2, 3), 7.0), np.ones((1, 2)), 25.0)
    assert made.shape == (1, 2, 3) and (made == 7).all() and (sure == 1).all()


RATES = st.sampled_from([4.0, 12.0, 15.0, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 120.0])


def moving(frames: int, fps: float, channels: int = 3) -> np.ndarray:
    """(T, 2, C) float64: two landmarks that sway about once a second, seen throughout."""
    time = np.arange(frames) / fps
    at = np.stack([np.sin(2 * time), 0.5 * np.cos(5 * time)], -1)
    clip = np.ones((frames, 2, channels))
    clip[..., :2] = at[:, None] + np.array([[0.0, 0.0], [0.4, 1.0]])
    clip[..., 3:] = at[:, None, :1] + 3
    return clip


@given(own=RATES, fps=RATES, frames=st.integers(1, 90), channels=st.sampled_from([3, 4]))
def test_a_clip_of_any_rate_becomes_what_the_other_rate_would_have_filmed(
    own: float, fps: float, frames: int, channels: int
) -> None:
    step = frame_step(own, fps)
    made = resample(moving(frames, own, channels), step)
    rate = own if step == 1 else fps
    assert (
        len(made) == resampled_length(frames, step) and abs((len(made) - 1) / rate - (frames - 1) / own) <= 0.5 / rate
    )
    inside = np.arange(len(made)) / rate <= (frames - 1) / own
    # A chord is at most a^2 w^2 / 8 away from its arc, with a frame's time a and w = 5 a second.
    np.testing.assert_allclose(
        made[inside], moving(len(made), rate, channels)[inside], atol=0.5 * 25 / 8 / own**2 + 0.01
    )


@pytest.mark.parametrize(
    ("own", "fps"), [(None, 25.0), (30.0, None), (25.0, 25.0), (29.97, 30.0), (1.0, 25.0), (0.01, 25.0)]
)
def test_a_clip_is_taken_as_it_is_to_the_bit(own: float | None, fps: float | None) -> None:
    """A rate that is unknown, the same, or of a series of pictures."""
    clip = moving(20, own or 30).astype(np.float16)
    assert frame_step(own, fps) == 1 and resample(clip, frame_step(own, fps)) is clip


@given(own=RATES, fps=RATES, seed=st.integers(0, 99), channels=st.sampled_from([3, 4]))
def test_no_landmark_is_made_up_and_none_is_lost(own: float, fps: float, seed: int, channels: int) -> None:
    """Where one neighbour alone shows it, the nearer one decides, and what is seen is where a frame has it."""
    rng = np.random.default_rng(seed)
    clip = moving(30, own, channels)
    clip[rng.random((30, 2)) < 0.4] = 0
    step = frame_step(own, fps)
    made = resample(clip, step)
    at = np.minimum(np.arange(len(made)) * step, 29)
    before, after = np.floor(at + 1e-6).astype(int), np.ceil(at - 1e-6).astype(int)
    seen, first, second = made[..., 2] > 0, clip[before], clip[after]
    assert not (seen & ~((first[..., 2] > 0) | (second[..., 2] > 0))).any()
    assert (seen | ~((first[..., 2] > 0) & (second[..., 2] > 0))).all()
    assert (made[~seen] == 0).all()
    one = seen & ((first[..., 2] > 0) != (second[..., 2] > 0))
    there = np.where(first[..., 2:3] > 0, first, second)
    np.testing.assert_allclose(made[one], there[one], atol=1e-5)
    nearer = np.where((at - before < 0.499)[:, None, None], first, second)
    np.testing.assert_array_equal(one[np.abs(at - before - 0.5) > 1e-3], (
        (nearer[..., 2] > 0) & ((first[..., 2] > 0) != (second[..., 2] > 0)))[np.abs(at - before - 0.5) > 1e-3])  # fmt: skip


def test_depth_that_one_frame_lacks_is_not_half_as_deep() -> None:
    clip = moving(9, 15, 4)
    clip[4, :, 3] = 0
    assert not ((made := resample(clip, 0.5))[..., 3] < 1.9)[made[..., 3] != 0].any()


@given(own=RATES, fps=RATES, frames=st.integers(1, 300), cuts=st.lists(st.integers(0, 2000), max_size=5))
def test_spans_that_cover_what_was_resampled_cover_the_clip(
    own: float, fps: float, frames: int, cuts: list[int]
) -> None:
    step = frame_step(own, fps)
    length = resampled_length(frames, step)
    ends = sorted({0, length, *(cut % length for cut in cuts)})
    spans = [own_span(a, b, frames, step) for a, b in pairwise(ends)]
    assert spans[0][0] == 0 and spans[-1][1] == frames
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert all(abs(span[0] - begin * step) <= 0.5 for span, begin in zip(spans, ends, strict=False))


@pytest.mark.parametrize("step", [0.5, 1.2, 2.0, 2.4])
def test_a_long_clip_is_resampled_in_parts_as_in_one(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = moving(101, 30).astype(np.float16)
    whole = resample(clip, step)
    monkeypatch.setattr("sign_models.keypoints.resample.CHUNK_FRAMES", 7)
    np.testing.assert_array_equal(resample(clip, step), whole)
