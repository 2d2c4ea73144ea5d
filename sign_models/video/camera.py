"""Record a camera of this machine to a file, for an extraction."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from sign_models import interruption
from sign_models.errors import DataError, ResourceError

# System -> FFmpeg's name of its cameras, and of one of them.
CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none")}
DEFAULT_SECONDS = 10.0
MAX_SECONDS = 3600.0


def record(index: int, out: Path, seconds: float, progress: Callable[[int], None] = lambda n: None) -> None:
    """Record a camera at its own time stamps, without sound.

    Args:
        index: Of the camera.
        out: An .mp4 file.
        seconds: How long.
        progress: Called with how many more frames are recorded.

    Raises:
        ResourceError: There is no such camera, or cameras of this system cannot be opened.
        DataError: The camera gives no picture.
        Terminated: A signal asks for the end (KeyboardInterrupt for Ctrl-C).
    """
    try:
        import av
    except ImportError as error:
        remedy = "pip install 'sign-models[video]', or make video"
        raise ResourceError(f"{error.name} is not installed", place="video", remedy=remedy) from error
    place, remedy = f"camera {index}", "record a file with another program, and give that"
    if sys.platform not in CAMERAS:
        raise ResourceError(f"cameras of {sys.platform} cannot be opened", place=place, remedy=remedy)
    form, name = CAMERAS[sys.platform]
    try:
        camera = av.open(name.format(index), "r", format=form)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        found = f"cannot be opened ({getattr(error, 'strerror', None) or error})"
        raise ResourceError(found, place=place, wanted="a camera that no other program uses", remedy=remedy) from error
    with camera, av.open(str(out), "w") as container:
        stream: Any = None
        start = last = -1.0
        for frame in camera.decode(video=0):
            interruption.check()
            time_s = float(frame.time or 0.0)
            start = time_s if stream is None else start
            if time_s - start > seconds:
                break
            if stream is None:
                stream = container.add_stream("libx264", rate=30)
                stream.width, stream.height = (side - side % 2 for side in (frame.width, frame.height))
                stream.pix_fmt = "yuv420p"
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
                stream.options = {"crf": "15", "preset": "veryfast"}
            if round(1000 * (time_s - start)) <= last:
                continue
            last = round(1000 * (time_s - start))
            picture = frame.reformat(width=stream.width, height=stream.height, format=stream.pix_fmt)
            picture.pts, picture.time_base = int(last), Fraction(1, 1000)
            container.mux(stream.encode(picture))
            progress(1)
        if stream is None:
            raise DataError("gives no picture", place=place, wanted="a camera with its cover open", remedy=remedy)
        container.mux(stream.encode(None))
