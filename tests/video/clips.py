"""Rendered videos for the tests of sign_models.video: a bar that moves, whatever the plumbing needs."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np


def write_video(
    path: Path,
    times_ms: Sequence[int] = range(0, 1000, 40),
    size: tuple[int, int] = (64, 48),
    codec: str = "mpeg4",
    level: int = 255,
) -> Path:
    """Frames at these times. The left third is red; a box on the right has `level` in every second frame."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        if codec != "gif":
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for n, ms in enumerate(times_ms):
            picture = np.full((size[1], size[0], 3), 0, np.uint8)
            picture[size[1] // 3 : 2 * size[1] // 3, size[0] // 2 :] = level * (n % 2)
            picture[:, : size[0] // 3] = (255, 0, 0)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """One second of silence, no picture."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for n in range(16):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 1000 * n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turned(path: Path, out: Path) -> Path:
    """The same MP4 with the display matrix of a phone that was held upright: to be shown turned clockwise by 90°."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: 40 bytes before the matrix
    one, w = (1 << 16).to_bytes(4, "big"), (1 << 30).to_bytes(4, "big")
    zero, minus = bytes(4), ((-1 << 16) & 0xFFFFFFFF).to_bytes(4, "big")
    data[at : at + 36] = zero + one + zero + minus + zero + zero + zero + zero + w
    out.write_bytes(data)
    return out
