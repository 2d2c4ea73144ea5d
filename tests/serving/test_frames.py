"""What a browser sends becomes the clip that an extraction would have made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.errors import DataError
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.serving.frames import FRAME_BYTES, FrameReader, clip_of_frames
from tests.keypoints.signer import pixels
from tests.serving.raw import SIZE, B, rows


def test_the_clip_is_the_one_that_was_seen() -> None:
    times, values = FrameReader(SIZE).read(rows([True] * 30).tobytes())
    clip = clip_of_frames(times, values, SIZE, 25.0, "a 1")
    wanted = pixels("mediapipe_75", 30, 0, SIZE)
    np.testing.assert_allclose(clip.points, wanted, atol=1e-2)
    assert (clip.layout, clip.fps, clip.size, clip.extractor) == ("mediapipe_75", 25.0, SIZE, "a 1")
    known = KeypointSequence("b", wanted.astype(np.float32), clip.confidence, "mediapipe_75")
    np.testing.assert_allclose(normalise(clip)[..., :3], normalise(known), atol=1e-4)


def test_messages_may_be_cut_anywhere() -> None:
    data = rows([True] * 20).tobytes()
    whole = FrameReader(SIZE).read(data)
    reader = FrameReader(SIZE)
    parts = [reader.read(data[i * FRAME_BYTES : (i + 7) * FRAME_BYTES]) for i in (0, 7, 14)]
    for one, several in zip(whole, map(np.concatenate, zip(*parts, strict=True)), strict=True):
        np.testing.assert_array_equal(one, several)


def test_hands_go_to_the_nearest_wrist_whatever_they_are_called() -> None:
    frames = rows([True])
    swapped = frames.copy()
    first, second = slice(2 + 4 * B, 2 + 4 * B + 64), slice(2 + 4 * B + 64, None)
    swapped[:, first], swapped[:, second] = frames[:, second], frames[:, first]
    np.testing.assert_array_equal(
        FrameReader(SIZE).read(frames.tobytes())[1], FrameReader(SIZE).read(swapped.tobytes())[1]
    )


def test_a_picture_without_anybody_is_empty_and_a_clip_of_them_is_refused() -> None:
    frames = rows([True] * 3)
    frames[:, 1:] = 0
    times, values = FrameReader(SIZE).read(frames.tobytes())
    assert not values.any()
    with pytest.raises(DataError, match="nobody is seen"):
        clip_of_frames(times, values, SIZE, 25.0, None)


@pytest.mark.parametrize("size", [(0, 480), (640, 0), (-1, 480), (10**6, 10**6), (float("nan"), 1), (1, float("inf"))])
def test_impossible_pictures_are_refused(size: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="size: pictures of"):
        FrameReader(size)


@pytest.mark.parametrize("place", [0, 1, 2, 5, 140, 200])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_numbers_that_are_none_are_refused(place: int, value: float) -> None:
    frames = rows([True] * 2)
    frames[1, place] = value
    with pytest.raises(DataError, match="out of range|do not grow"):
        FrameReader(SIZE).read(frames.tobytes())


@given(st.binary(max_size=3 * FRAME_BYTES))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        times, values = FrameReader(SIZE).read(data)
    except DataError:
        return
    assert np.isfinite(values).all() and values.shape == (len(times), 75, 4)


def test_times_must_grow_over_messages_too() -> None:
    reader, data = FrameReader(SIZE), rows([True]).tobytes()
    reader.read(data)
    with pytest.raises(DataError, match="do not grow"):
        reader.read(data)
