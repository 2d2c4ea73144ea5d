"""Where a long clip is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.keypoints.layouts import CANONICAL, PARTS, PLACE
from sign_models.keypoints.windows import MARGIN_FRAMES, MIN_REST_FRAMES, Window, split_into_windows

WRISTS = [PLACE["left_hand.wrist"], PLACE["right_hand.wrist"], PLACE["body.left_wrist"], PLACE["body.right_wrist"]]
HANDS = np.r_[PARTS["left_hand"], PARTS["right_hand"], WRISTS[2:]]


def signed(frames: int, seed: int = 0, still: slice = slice(0)) -> np.ndarray:
    """Hands in front of the chest that move, but for the frames `still`."""
    rng = np.random.default_rng(seed)
    clip = np.ones((frames, len(CANONICAL), 3), np.float32)
    steps = rng.normal(0, 0.05, (frames, 1, 2))
    steps[still] = 0
    clip[:, HANDS, :2] = 0.5 + 0.1 * np.tanh(steps.cumsum(0))
    return clip


def rest(frames: int, hands: str) -> np.ndarray:
    clip = signed(frames, still=slice(None))
    clip[:, HANDS, 1] = 1.8
    if hands == "unseen":
        clip[:, HANDS] = 0
    return clip


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 120)), min_size=1, max_size=6), st.integers(1, 90), st.data())
def test_windows_are_the_clip_and_none_is_too_long(
    turns: list[tuple[bool, int]], longest: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(1, min(longest, 8)))
    clip = np.concatenate([signed(n, i) if up else rest(n, "low") for i, (up, n) in enumerate(turns)])
    found = split_into_windows(clip, longest, step)
    assert [w.begin for w in found] == [0, *(w.end for w in found[:-1])] and found[-1].end == len(clip)
    assert all(0 < w.end - w.begin <= longest for w in found)
    assert any(w.signing for w in found)
    if len(clip) <= longest:
        assert found == [Window(0, len(clip))]
    else:
        assert all(w.end % step == 0 for w in found[:-1])
        half = clip.astype(np.float16)
        assert split_into_windows(half, longest, step) == split_into_windows(half.astype(np.float32), longest, step)


@pytest.mark.parametrize("hands", ["low", "unseen"])
def test_a_rest_parts_what_is_signed_before_and_after_it(hands: str) -> None:
    clip = np.concatenate(
        [rest(40, hands), signed(100), rest(60, hands), signed(30, 1), rest(MIN_REST_FRAMES - 1, hands)]
    )
    assert split_into_windows(clip, 150) == [
        Window(0, 40 - MARGIN_FRAMES, False),
        Window(40 - MARGIN_FRAMES, 140 + MARGIN_FRAMES),
        Window(140 + MARGIN_FRAMES, 200 - MARGIN_FRAMES, False),
        Window(200 - MARGIN_FRAMES, len(clip)),
    ]


def test_a_hand_lost_for_a_moment_is_no_rest_and_one_seen_for_a_moment_no_sentence() -> None:
    clip = np.concatenate([signed(50), rest(MIN_REST_FRAMES - 1, "unseen"), signed(50)])
    assert split_into_windows(clip, 200) == split_into_windows(clip, len(clip)) == [Window(0, len(clip))]
    clip = np.concatenate([signed(50), rest(40, "low"), signed(2), rest(40, "low")])
    assert [w for w in split_into_windows(clip, 100) if w.signing] == [Window(0, 50 + MARGIN_FRAMES)]


def test_without_a_rest_the_cut_is_where_the_hands_are_stillest() -> None:
    for held in (60, 75, 90):
        clip = signed(180, still=slice(held - 6, held + 6))
        first, *others = split_into_windows(clip, 100)
        assert abs(first.end - held) < 6 and all(w.signing for w in others)


def test_a_body_without_hands_rests_where_its_wrists_are_low_and_one_without_wrists_never() -> None:
    clip = np.concatenate([signed(100), rest(60, "low"), signed(100)])
    clip[:, PARTS["left_hand"]] = clip[:, PARTS["right_hand"]] = 0
    assert [w.signing for w in split_into_windows(clip, 150)] == [True, False, True]
    clip[:, WRISTS] = 0
    assert all(w.signing for w in split_into_windows(clip, 150))
