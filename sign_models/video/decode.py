"""Video files to frames at their time stamps, upright, within bounds. Imports PyAV.

A file comes from a user or from the network: only the demuxers of video files are opened (a playlist could name other
files and hosts), and the size of the picture is checked before a frame is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sign_models.errors import DataError, ResourceError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".gif", ".ogv", ".ts", ".mpg", ".mpeg", ".3gp")
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,ogg,mpegts,mpeg,mpegvideo"
MAX_PIXELS = 2**25  # of a frame: 8K UHD has 33.2 million
MAX_SIDE_PIXELS = 2**14
MAX_DURATION_S = 4 * 3600.0
MAX_FPS = 240.0
MIN_SHARE = 0.9  # of the duration that the file declares; one that ends earlier is cut off
FALLBACK_FPS = 25.0  # of a file of one frame, which tells no rate


@dataclass(frozen=True)
class VideoInfo:
    """What a file declares.

    Attributes:
        width: Pixels, upright.
        height: Pixels, upright.
        fps: Frames a second. None: it does not say.
        duration_s: Seconds. None: it does not say.
    """

    width: int
    height: int
    fps: float | None
    duration_s: float | None


@dataclass(frozen=True)
class Frame:
    """A frame.

    Attributes:
        time_s: Seconds since the first frame.
        pixels: (H, W, 3) uint8 RGB, upright.
        size: (width, height) of the video in pixels.
    """

    time_s: float
    pixels: np.ndarray
    size: tuple[int, int]


def probe(path: Path) -> VideoInfo:
    """Read what a file declares.

    Args:
        path: A video.

    Returns:
        Its size, rate and duration.

    Raises:
        DataError: As frames().
        ResourceError: The optional extra is not installed.
    """
    with _opened(path) as (container, stream):
        with _decoding(path):
            first = next(container.decode(stream), None)
        if first is None:
            raise _empty(path)
        width, height = first.width, first.height
        if first.rotation % 180:
            width, height = height, width
        rate = stream.average_rate
        fps = float(rate) if rate and 0 < float(rate) <= MAX_FPS else None
        return VideoInfo(width, height, fps, _duration(container, stream))


def frames(
    path: Path, *, max_side: int | None = None, max_fps: float | None = None, keyframes: bool = False
) -> Iterator[Frame]:
    """Decode the frames of a video, in the order of their time stamps.

    Args:
        path: A video.
        max_side: Larger pictures are scaled down to it, in pixels. None: they are not.
        max_fps: Frames that come sooner after the last one are left out. None: none are.
        keyframes: Only frames that are coded on their own.

    Yields:
        The frames.

    Raises:
        DataError: It is not readable, has no picture or no frame, is cut off, longer or larger than the bounds.
        ResourceError: The optional extra is not installed.
    """
    with _opened(path) as (container, stream):
        if keyframes:
            stream.codec_context.skip_frame = "NONKEY"
        start, last, end, stamp = None, -1.0, 0.0, 0.0
        with _decoding(path):
            for picture in container.decode(stream):
                _check_size(picture.width, picture.height, path)
                if picture.time is None and start is not None:
                    continue  # a damaged packet: its frame has no place in time
                start = (picture.time or 0.0) if start is None else start
                stamp = picture.time or 0.0
                end = stamp - start
                if end <= last and last >= 0:
                    continue  # an edit list that steps back; MediaPipe wants growing time stamps
                if end > MAX_DURATION_S:
                    raise _too_long(end, path)
                # Half a frame of slack: the stamps of 60 fps are rounded, and every second frame makes 30.
                if max_fps and last >= 0 and end - last < 0.75 / max_fps:
                    continue
                last = end
                yield _frame(picture, end, max_side)
        if start is None:
            raise _empty(path)
        declared = _duration(container, stream)
        # Matroska's duration counts from zero, MP4's from the first frame.
        if declared and not keyframes and max(end, stamp) + 1.0 < declared * MIN_SHARE:
            found = f"ends after {end:.1f} of {declared:.1f} s"
            raise DataError(found, place=path.name, wanted="a whole video", remedy="copy or export it again")


def _frame(picture: VideoFrame, time_s: float, max_side: int | None) -> Frame:
    width, height = picture.width, picture.height
    scale = min(1.0, (max_side or MAX_SIDE_PIXELS) / max(width, height))
    shape = (max(round(width * scale), 1), max(round(height * scale), 1))
    pixels = picture.to_ndarray(format="rgb24", width=shape[0], height=shape[1])
    turns = round(picture.rotation / 90) % 4
    if turns:  # counter-clockwise, as PyAV tells and rot90 turns
        pixels = np.rot90(pixels, turns)
    size = (height, width) if turns % 2 else (width, height)
    return Frame(time_s, np.ascontiguousarray(pixels), size)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, Any]]:
    """Open a file within the bounds -> the container and its video stream."""
    try:
        import av
    except ImportError as error:
        remedy = "pip install 'sign-models[video]', or make video"
        raise ResourceError(f"{error.name} is not installed", place="video", remedy=remedy) from error
    if not path.is_file():
        raise DataError("does not exist", place=str(path), wanted="a video file", remedy="check the path")
    if not path.stat().st_size:
        raise DataError("is empty", place=path.name, wanted="a video file", remedy="copy it again")
    # "file:": a name such as "concat:a" is a name, and no protocol.
    options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path.absolute()}", "r", options=options)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(path, error) from error
    with container:
        stream = next(iter(container.streams.video), None)
        if stream is None:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "no stream"
            raise DataError(
                f"holds no pictures ({kinds} only)", place=path.name, wanted="a video", remedy="leave it out"
            )
        if stream.codec_context is None:
            raise DataError("is of an unknown codec", place=path.name, wanted="H.264, H.265, VP8, VP9, AV1, ...")
        _check_size(stream.width, stream.height, path)
        declared = _duration(container, stream)
        if declared and declared > MAX_DURATION_S:
            raise _too_long(declared, path)
        stream.thread_type = "AUTO"
        yield container, stream


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Raise what FFmpeg raises as DataError."""
    import av

    try:
        yield
    except (av.error.FFmpegError, MemoryError) as error:
        raise _unreadable(path, error) from error


def _duration(container: InputContainer, stream: Any) -> float | None:
    """Seconds that the stream declares, else the container; None where neither does."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration and container.duration > 0 else None


def _check_size(width: int, height: int, path: Path) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PIXELS:
        wanted = f"at most {MAX_PIXELS:,} pixels"
        raise DataError(f"frames of {width} x {height}", place=path.name, wanted=wanted, remedy="scale it down")


def _empty(path: Path) -> DataError:
    return DataError("has no frames", place=path.name, wanted="at least one", remedy="leave it out")


def _too_long(seconds: float, path: Path) -> DataError:
    wanted = f"at most {MAX_DURATION_S / 3600:g} hours"
    return DataError(f"lasts {seconds / 3600:.1f} hours", place=path.name, wanted=wanted, remedy="cut it")


def _unreadable(path: Path, error: Exception) -> DataError:
    found = f"is no readable video ({(getattr(error, 'strerror', None) or str(error))[:100]})"
    return DataError(found, place=path.name, wanted="a whole video file", remedy="copy or export it again")
