"""A stream is cut where a whole clip would be, and holds no more than one segment."""

from __future__ import annotations

import numpy as np
import pytest

from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.windows import split_into_windows
from sign_models.serving.frames import FrameReader, clip_of_frames
from sign_models.serving.stream import MARGIN_S, Piece, Segmenter
from tests.serving.raw import SIZE, rows

UP = [False] * 20 + [True] * 60 + [False] * 30 + [True] * 45 + [False] * 25 + [True] * 80 + [False] * 40


def run(frames: np.ndarray, longest_s: float = 10.0, message: int = 4) -> tuple[list[Piece], Segmenter]:
    """All finished pieces, and the segmenter after the end."""
    reader, segmenter, found = FrameReader(SIZE), Segmenter(longest_s), []
    for i in range(0, len(frames), message):
        found += segmenter.add(*reader.read(frames[i : i + message].tobytes()))
    last = segmenter.end()
    return [*found, *([last] if last else [])], segmenter


@pytest.mark.parametrize("message", [1, 4, 50])
def test_segments_are_those_of_the_whole_clip(message: int) -> None:
    frames = rows(UP)
    pieces, _ = run(frames, message=message)
    times, values = FrameReader(SIZE).read(frames.tobytes())
    clip = normalise(clip_of_frames(times, values, SIZE, 25.0, None))
    wanted = [(w.begin, w.end) for w in split_into_windows(clip, 250) if w.signing]
    found = [(round(p.times[0] * 25), round(p.times[-1] * 25) + 1) for p in pieces]
    assert [p.number for p in pieces] == [0, 1, 2] and all(p.final for p in pieces)
    np.testing.assert_allclose(found, wanted, atol=2)


@pytest.mark.parametrize("fps", [8.0, 15.0, 30.0, 60.0])
def test_the_camera_s_frame_rate_does_not_move_the_cuts(fps: float) -> None:
    times = np.arange(0, len(UP) / 25, 1 / fps)
    up = [UP[min(int(t * 25), len(UP) - 1)] for t in times]
    pieces, _ = run(rows(up, fps))
    found = [(p.times[0], p.times[-1]) for p in pieces]
    wanted = [(0.8, 3.2), (4.4, 6.2), (7.2, 10.4)]
    np.testing.assert_allclose(found, [(a - MARGIN_S, b + MARGIN_S) for a, b in wanted], atol=2 / fps + 0.05)


def test_a_hand_that_is_up_for_a_moment_is_no_segment() -> None:
    pieces, segmenter = run(rows([False] * 30 + [True] * 2 + [False] * 30))
    assert pieces == [] and len(segmenter) == 0


def test_a_partial_text_is_of_the_segment_at_work_only() -> None:
    reader, segmenter = FrameReader(SIZE), Segmenter(10.0)
    frames, ended = rows(UP), 0.0
    for i in range(len(frames)):
        for piece in segmenter.add(*reader.read(frames[i].tobytes())):
            ended = float(piece.times[-1])
        if (now := segmenter.current()) is not None:
            assert now.times[0] > ended and not now.final and now.number == segmenter.number


def test_who_never_rests_is_cut_and_nothing_is_lost_or_said_twice() -> None:
    frames = rows([True] * 700)
    pieces, _ = run(frames, longest_s=4.0)
    assert len(pieces) >= 7 and all(p.times[-1] - p.times[0] <= 4.0 + 1e-6 for p in pieces)
    np.testing.assert_allclose(np.concatenate([p.times for p in pieces]), frames[:, 0], atol=1e-5)


def test_memory_is_that_of_one_segment_however_long_it_goes_on() -> None:
    """Five minutes at 25 frames/s: what is kept in the first one bounds what is kept ever after."""
    reader, segmenter, most = FrameReader(SIZE), Segmenter(10.0), [0, 0]
    block = rows(UP)
    length = len(UP) / 25
    for n in range(int(300 / length)):
        moved = block.copy()
        moved[:, 0] += n * length
        for i in range(0, len(moved), 25):
            list(segmenter.add(*reader.read(moved[i : i + 25].tobytes())))
            most[n * length > 60] = max(most[n * length > 60], len(segmenter))
    assert most[1] <= most[0] <= 10.0 * 60


def test_frames_that_come_too_fast_are_left_out() -> None:
    segmenter = Segmenter(10.0)
    list(segmenter.add(*FrameReader(SIZE).read(rows([True] * 600, fps=600.0).tobytes())))
    assert len(segmenter) <= 80
