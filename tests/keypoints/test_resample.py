"""Frames at any times become frames at a constant rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.keypoints.resample import MAX_GAP_S, at_rate


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
