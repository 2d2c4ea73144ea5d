"""The input example of every model: drawn, short, the same everywhere, and what a model takes for signing."""

from __future__ import annotations

import numpy as np

from sign_models.keypoints.example import EXAMPLE_FRAMES, example_clips
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.windows import split_into_windows


def test_the_example_is_short_and_the_same_each_time() -> None:
    first, second = example_clips(), example_clips()
    assert [len(clip) for clip in first] == [*EXAMPLE_FRAMES]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.points, b.points) and (a.confidence == 1).all() and np.isfinite(a.points).all()


def test_the_example_is_a_person_who_signs() -> None:
    for clip in example_clips():
        normal = normalise(clip)
        assert np.abs(normal[..., :2]).max() < 4 and (normal[..., 2] > 0).all()
        assert all(window.signing for window in split_into_windows(normal, 8))
        moved = np.abs(np.diff(clip.points, axis=0)).max((0, 2))
        assert (moved > 0).sum() > 40  # hands and wrists
        assert len(np.unique(clip.points[0].round(3), axis=0)) > 70  # landmarks are apart
