"""A camera in place of a file. There is none here: a file stands in for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sign_models.errors import ResourceError
from sign_models.pipeline import extract as pipeline
from sign_models.video import camera, decode
from tests.conftest import Command
from tests.video.clips import write_video
from tests.video.figure import write_signing

pytest.importorskip("av", reason="the optional extra `video` is not installed: make video")


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """The path of the file that camera 0 plays."""
    monkeypatch.setitem(camera.CAMERAS, sys.platform, ("mov", str(folder / "camera{}.mp4")))
    return folder / "camera0.mp4"


def test_frames_are_recorded_at_their_times_for_as_long_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(stand_in(monkeypatch, tmp_path), [5000, 5040, 5100, 5130, 5400, 5800, 6100])
    told: list[int] = []
    camera.record(0, tmp_path / "out.mp4", 1.0, told.append)
    found = [round(1000 * frame.time_s) for frame in decode.frames(tmp_path / "out.mp4")]
    assert found == [0, 40, 100, 130, 400, 800] and sum(told) == 6


def test_what_is_no_camera_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, tmp_path)
    with pytest.raises(ResourceError, match="camera 7: cannot be opened"):
        camera.record(7, tmp_path / "out.mp4", 1.0)
    monkeypatch.delitem(camera.CAMERAS, sys.platform)
    with pytest.raises(ResourceError, match=f"cameras of {sys.platform}"):
        camera.record(0, tmp_path / "out.mp4", 1.0)


@pytest.mark.video
def test_extract_takes_a_camera_and_keeps_no_picture(
    empty: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_signing(stand_in(monkeypatch, tmp_path), [True] * 20)
    kept: list[Path] = []

    def watched(index: int, out: Path, seconds: float) -> None:
        kept.append(out)
        camera.record(index, out, seconds)

    monkeypatch.setattr(pipeline, "record", watched)
    given = ("--videos", "0", "--seconds", "0.5", "--out", tmp_path / "poses", "--sheets", "false")
    done = empty("extract", *given, data=False, params=False)
    assert done.code == 0, done.err
    (file,) = (tmp_path / "poses").glob("camera-*.pose")
    assert "1 videos: 1 extracted" in done.out and "| 13 | 100% |" in done.out
    assert len(kept) == 1 and not kept[0].parent.exists() and file.stat().st_size > 10_000


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "1e9"])
def test_mistakes_are_refused(empty: Command, tmp_path: Path, seconds: str) -> None:
    done = empty("extract", "--videos", "0", "--seconds", seconds, "--out", tmp_path / "out", data=False, params=False)
    assert done.code == 2 and "seconds" in done.err
