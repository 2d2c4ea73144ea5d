"""Contact sheets: some frames of a video with the skeleton drawn over them, as one JPEG."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from sign_models.keypoints.layouts import BONES, CANONICAL, PARTS, to_canonical
from sign_models.video.pose_file import LAYOUT

HEIGHT_PIXELS = 270  # of one picture
COLUMNS, PICTURES = 3, 6
COLOURS = {"body": (255, 255, 255), "left_hand": (60, 160, 255), "right_hand": (255, 70, 70), "face": (200, 200, 200)}


class SheetFrames:
    """Keeps a few frames from all over a video whose length is not known beforehand."""

    def __init__(self) -> None:
        """Start without frames."""
        self._kept: list[tuple[np.ndarray, np.ndarray, float]] = []
        self._stride, self._seen = 1, 0

    def add(self, pixels: np.ndarray, points: np.ndarray, time_s: float) -> None:
        """Look at a frame, and perhaps keep it.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            points: (75, 3): x and y in pixels of the picture, confidence.
            time_s: Seconds.
        """
        if self._seen % self._stride == 0:
            step = max(round(pixels.shape[0] / HEIGHT_PIXELS), 1)
            self._kept.append((pixels[::step, ::step].copy(), points / np.array([step, step, 1.0]), time_s))
        self._seen += 1
        if len(self._kept) > 4 * PICTURES:
            self._kept, self._stride = self._kept[::2], 2 * self._stride

    def sheet(self) -> np.ndarray:
        """Draw the sheet.

        Returns:
            (H, W, 3) uint8 RGB: up to PICTURES frames in rows, evenly over the video.
        """
        chosen = np.unique(np.linspace(0, len(self._kept) - 1, min(PICTURES, len(self._kept))).round().astype(int))
        pictures = [self._drawn(i) for i in chosen]
        height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))
        rows, columns = -(-len(pictures) // COLUMNS), min(COLUMNS, len(pictures))
        sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
        for n, picture in enumerate(pictures):
            y, x = n // columns * height, n % columns * width
            sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        return sheet

    def _drawn(self, index: int) -> np.ndarray:
        """The picture of a kept frame with its landmarks."""
        pixels, points, _ = self._kept[index]
        picture = pixels.copy()
        places, confidence = to_canonical(points[None, :, :2], points[None, :, 2], LAYOUT)
        draw_skeleton(picture, places[0], confidence[0])
        return picture


def draw_skeleton(picture: np.ndarray, points: np.ndarray, confidence: np.ndarray) -> None:
    """Draw bones into a picture, where both ends are seen.

    Args:
        picture: (H, W, 3) uint8 RGB, changed in place.
        points: (K, 2), canonical landmarks in pixels of the picture.
        confidence: (K,).
    """
    seen = confidence > 0
    for a, b in BONES:
        if seen[a] and seen[b]:
            _line(picture, points[a], points[b], _colour(a))
    for place in np.flatnonzero(seen[: len(CANONICAL)]):
        _line(picture, points[place], points[place], _colour(int(place)))


def _line(picture: np.ndarray, start: np.ndarray, end: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw a line two pixels wide. What lies beside the picture is left out."""
    height, width = picture.shape[:2]
    # A landmark may be guessed far outside.
    steps = int(min(np.abs(end - start).max() * 1.5, 4096)) + 2
    xs, ys = (np.linspace(start[axis], end[axis], steps) for axis in (0, 1))
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = np.floor(xs + dx).astype(int), np.floor(ys + dy).astype(int)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        picture[y[inside], x[inside]] = colour


def _colour(place: int) -> tuple[int, int, int]:
    return next(COLOURS[part] for part, places in PARTS.items() if places.start <= place < places.stop)


def write_jpeg(path: Path, picture: np.ndarray) -> None:
    """Write a picture.

    Args:
        path: The file.
        picture: (H, W, 3) uint8 RGB.
    """
    import av

    height, width = (side - side % 2 for side in picture.shape[:2])  # chroma has half the size
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuvj420p", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
    data = b"".join(bytes(packet) for packet in [*codec.encode(frame.reformat(format="yuvj420p")), *codec.encode(None)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
