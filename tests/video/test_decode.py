"""Frames at their times, upright, and one clear message for what is no whole video."""

from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.video import decode
from tests.video.clips import turned, write_sound, write_video


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
def test_frames_come_at_their_times(name: str, tmp_path: Path) -> None:
    frames = list(decode.frames(write_video(tmp_path / name)))
    assert [round(1000 * f.time_s) for f in frames] == list(range(0, 1000, 40))
    assert all(f.pixels.shape == (48, 64, 3) and f.pixels.dtype == np.uint8 for f in frames)
    assert [f.pixels[24, 48].mean() > 128 for f in frames] == [n % 2 == 1 for n in range(25)]


def test_gif(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for n in range(10):
            picture = np.full((48, 64, 3), 255 * (n % 2), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="rgb8")
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert [round(f.time_s, 1) for f in decode.frames(path)] == [n / 10 for n in range(10)]


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0, 40, 80, 400, 433, 1000]
    frames = list(decode.frames(write_video(tmp_path / "a.mkv", times)))
    assert [round(1000 * f.time_s) for f in frames] == times


def test_a_video_that_does_not_start_at_zero(tmp_path: Path) -> None:
    frames = list(decode.frames(write_video(tmp_path / "a.mkv", [5000, 5040, 5080])))
    assert [round(1000 * f.time_s) for f in frames] == [0, 40, 80]


def test_rotation_is_honoured(tmp_path: Path) -> None:
    lying = write_video(tmp_path / "a.mp4")
    upright = turned(lying, tmp_path / "b.mp4")
    before, after = next(decode.frames(lying)), next(decode.frames(upright))
    assert before.size == (64, 48) and after.size == (48, 64) and after.pixels.shape == (64, 48, 3)
    # The left third is red; turned clockwise it lies on top.
    assert np.array_equal(after.pixels, np.rot90(before.pixels, -1))
    info = decode.probe(upright)
    assert (info.width, info.height, info.fps) == (48, 64, 25.0)
    assert info.duration_s == pytest.approx(1.0, abs=0.05)


def test_large_pictures_are_scaled_and_fast_ones_thinned(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(0, 1000, 20), (128, 64))
    frames = list(decode.frames(path, max_side=64, max_fps=25))
    assert {f.pixels.shape for f in frames} == {(32, 64, 3)} and {f.size for f in frames} == {(128, 64)}
    assert [round(1000 * f.time_s) for f in frames] == list(range(0, 1000, 40))


def test_keyframes_are_some_of_the_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(0, 2000, 40))
    assert 1 <= len(list(decode.frames(path, keyframes=True))) < 25


def hostile(kind: str, folder: Path) -> Path:
    path = folder / "bad.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(4096))
    elif kind == "audio only":
        write_sound(path)
    elif kind == "no index":  # an MP4's index stands at its end
        data = write_video(path).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "cut off":
        whole = write_video(folder / "whole.mkv", range(0, 8000, 40), (320, 240))
        path = folder / "bad.mkv"
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "playlist":
        write_video(folder / "other.ts")
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n")
    elif kind == "concat list":
        write_video(folder / "other.mp4")
        path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    elif kind == "picture":
        write_video(folder / "bad.png", [0], codec="png").rename(path)
    elif kind == "no frames":
        import av

        with av.open(str(path), "w", format="avi") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            container.start_encoding()
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "is empty"),
        ("noise", "is no readable video"),
        ("audio only", "holds no pictures (audio only)"),
        ("no index", "is no readable video"),
        ("cut off", "ends after"),
        ("no frames", "has no frames"),
        ("playlist", "is no readable video"),
        ("concat list", "is no readable video"),
        ("picture", "is no readable video"),
        ("folder", "does not exist"),
        ("missing", "does not exist"),
    ],
)
def test_what_is_no_video_is_refused_in_one_message(kind: str, said: str, tmp_path: Path) -> None:
    path = hostile(kind, tmp_path)
    with pytest.raises(DataError) as caught:
        list(decode.frames(path))
    assert said in str(caught.value) and path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_video_that_tells_no_duration_is_read(tmp_path: Path) -> None:
    import av

    from tests.video.figure import write_signing

    pytest.importorskip("cv2", reason="the optional extra `video` is not installed: make video")
    path = write_signing(tmp_path / "live.webm", [True] * 5, codec="libvpx", options={"live": "1"})
    with av.open(str(path)) as container:
        assert not container.duration and not container.streams.video[0].duration
    assert len(list(decode.frames(path))) == 5


def test_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("a.mp4")).rename("concat:a.mp4|b.mp4")
    assert len(list(decode.frames(Path("concat:a.mp4|b.mp4")))) == 25


def test_bounds_on_size_and_duration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4")
    monkeypatch.setattr(decode, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(DataError, match="frames of 64 x 48"):
        list(decode.frames(path))
    monkeypatch.undo()
    monkeypatch.setattr(decode, "MAX_DURATION_S", 0.5)
    with pytest.raises(DataError, match="at most"):
        list(decode.frames(path))


def test_a_header_that_claims_a_million_pixels_a_side_takes_no_memory(tmp_path: Path) -> None:
    data = bytearray(write_video(tmp_path / "a.avi", codec="rawvideo").read_bytes())
    at = data.index(b"strf") + 8 + 4  # BITMAPINFOHEADER: width, height
    data[at : at + 8] = (10**6).to_bytes(4, "little") * 2
    (tmp_path / "b.avi").write_bytes(data)
    with pytest.raises(DataError, match="frames of 1000000 x 1000000|is no readable video"):
        list(decode.frames(tmp_path / "b.avi"))
