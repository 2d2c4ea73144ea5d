"""The video again, with what was found drawn into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.video import decode
from sign_models.video.captions import Segment
from sign_models.video.overlay import write_overlay
from tests.keypoints.signer import pixels
from tests.video.clips import turned, write_video

pytest.importorskip("av", reason="the optional extra `video` is not installed: make video")


def signer(frames: int, size: tuple[int, int], fps: float = 25.0) -> KeypointSequence:
    points = pixels("mediapipe_75", frames, 0, size).astype(np.float32)
    return KeypointSequence("a", points, np.ones(points.shape[:2], np.float32), "mediapipe_75", size=size, fps=fps)


@pytest.mark.parametrize(("ending", "frames"), [(".mp4", 25), (".gif", 13)])
def test_skeleton_and_caption_are_drawn_at_their_times(tmp_path: Path, ending: str, frames: int) -> None:
    video = write_video(tmp_path / "clip.mp4", range(0, 1000, 40), (320, 240), level=0)
    segments = [Segment(0.4, 0.7, "a text $x$ that is longer than one line of forty-two characters")]
    out = tmp_path / "out" / f"a{ending}"
    write_overlay(out, video, signer(25, (320, 240)), segments)
    made = list(decode.frames(out))
    plain = list(decode.frames(video))
    assert len(made) == frames and abs(made[-1].time_s - plain[-1].time_s) < 0.1
    assert made[0].size == (320, 240)
    for frame in made:
        before = min(plain, key=lambda p: abs(p.time_s - frame.time_s)).pixels.astype(int)
        changed = np.abs(frame.pixels.astype(int) - before).max(-1) > 90
        assert changed[60:190, 110:].mean() > 0.005  # the skeleton, beside the red bar
        bottom = changed[205:, 110:].mean()
        # A caption is shown for 1 s at least: from 0.4 s to the end.
        assert bottom > 0.02 if frame.time_s >= 0.395 else bottom < 0.005, frame.time_s
    assert [p.name for p in out.parent.iterdir()] == [out.name]


def test_chinese_and_a_text_that_is_too_wide_fit_into_the_picture(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", range(0, 200, 40), (320, 240), level=0)
    for name, text in (("zh", "今天的水很多，明天没有水。"), ("wide", "W" * 42)):
        write_overlay(tmp_path / f"{name}.mp4", video, signer(5, (320, 240)), [Segment(0, 2, text)])
        picture = next(decode.frames(tmp_path / f"{name}.mp4")).pixels
        bright = (picture[205:] > 180).all(-1)
        assert bright.sum() > 40 and not bright[:, :4].any() and not bright[:, -4:].any()


def test_a_video_of_an_upright_phone_is_drawn_upright(tmp_path: Path) -> None:
    video = turned(write_video(tmp_path / "clip.mp4", range(0, 200, 40), (64, 48)), tmp_path / "turned.mp4")
    write_overlay(tmp_path / "a.mp4", video, signer(5, (48, 64)), [])
    assert next(decode.frames(tmp_path / "a.mp4")).size == (48, 64)


def test_another_ending_or_a_bad_video_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ends in .mp4 or .gif"):
        write_overlay(tmp_path / "a.txt", tmp_path / "clip.mp4", signer(5, (64, 48)), [])
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="no readable video"):
        write_overlay(tmp_path / "a.mp4", tmp_path / "clip.mp4", signer(5, (64, 48)), [])
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
