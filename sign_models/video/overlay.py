"""A video again, with skeleton and captions drawn into it: MP4 or GIF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.layouts import to_canonical
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.video import decode
from sign_models.video.captions import Segment, cues
from sign_models.video.sheet import draw_skeleton

MAX_SIDE_PIXELS = {".mp4": 1280, ".gif": 480}
MAX_FPS = {".mp4": None, ".gif": 12.5}
CODECS = {".mp4": ("libx264", "yuv420p"), ".gif": ("gif", "rgb8")}
DPI = 100
# The first that has a character draws it; matplotlib brings the first one.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Arial Unicode MS")
LINE_SHARE = 1 / 16  # height of a line of text, of the picture's


def write_overlay(out: Path, video: Path, clip: KeypointSequence, segments: Sequence[Segment]) -> None:
    """Write a video with a clip's landmarks and, at their times, the segments' texts.

    Args:
        out: .mp4 or .gif; a whole file or none.
        video: That is drawn over.
        clip: What was extracted from it, in its pixels.
        segments: In order.

    Raises:
        DataError: Another ending, or the video cannot be read.
    """
    import av

    kind = check_overlay(out)
    shown, partial = cues(segments), out.with_name(f".{out.stem}.partial{kind}")
    out.parent.mkdir(parents=True, exist_ok=True)
    codec, form = CODECS[kind]
    try:
        with av.open(str(partial), "w") as container:
            stream: Any = None
            for time_s, picture in _pictures(video, clip, kind):
                text = next((lines for start, end, lines in shown if start <= time_s < end), [])
                picture = _captioned(picture, text)
                if stream is None:
                    stream = container.add_stream(
                        codec, rate=Fraction(clip.fps or decode.FALLBACK_FPS).limit_denominator(1000)
                    )
                    stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], form
                    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                    width=stream.width, height=stream.height, format=form
                )
                frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def check_overlay(out: Path) -> str:
    """Check the name of an overlay's file.

    Args:
        out: The file.

    Returns:
        Its ending, in lower case.

    Raises:
        DataError: No such file can be written.
    """
    kind = out.suffix.lower()
    if kind not in CODECS:
        raise DataError(f"{out.name!r}", place="overlay", wanted="a file that ends in .mp4 or .gif")
    return kind


def _pictures(video: Path, clip: KeypointSequence, kind: str) -> Iterator[tuple[float, np.ndarray]]:
    """Time and picture of each frame, with the skeleton of the clip's nearest frame."""
    places, confidence = to_canonical(clip.points, clip.confidence, clip.layout)
    fps, last = clip.fps or decode.FALLBACK_FPS, -1
    for frame in decode.frames(video, max_side=MAX_SIDE_PIXELS[kind], max_fps=MAX_FPS[kind]):
        height, width = (side - side % 2 for side in frame.pixels.shape[:2])  # chroma has half the size
        picture = np.ascontiguousarray(frame.pixels[:height, :width])
        at = min(round(frame.time_s * fps), len(clip) - 1)
        scale = np.array([frame.pixels.shape[1], frame.pixels.shape[0]]) / (clip.size or frame.size)
        draw_skeleton(picture, places[at] * scale, confidence[at])
        if (ms := round(1000 * frame.time_s)) > last:  # containers count in whole steps
            last = ms
            yield frame.time_s, picture


def _captioned(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Draw white text with a dark edge near the lower border."""
    if not lines:
        return picture
    text = _drawn_text(tuple(lines), picture.shape[1], picture.shape[0]).astype(np.float32)
    share = text[..., 3:] / 255
    return (picture * (1 - share) + text[..., :3] * share).round().astype(np.uint8)


@lru_cache(maxsize=4)
def _drawn_text(lines: tuple[str, ...], width: int, height: int) -> np.ndarray:
    """(height, width, 4) uint8 RGBA; the text is made smaller where it would be wider than the picture."""
    from matplotlib import font_manager
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    known = set(font_manager.get_font_names())
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    size = max(height * LINE_SHARE, 8.0) * 72 / DPI  # points
    text = figure.text(0.5, 0.03, "\n".join(lines), ha="center", va="bottom", color="white", parse_math=False)
    text.set(family=[name for name in FONTS if name in known], size=size)
    text.set_fontsize(size * min(1.0, 0.94 * width / text.get_window_extent(canvas.get_renderer()).width))
    text.set_path_effects([withStroke(linewidth=size / 6, foreground="black")])
    canvas.draw()
    return np.array(canvas.buffer_rgba())
