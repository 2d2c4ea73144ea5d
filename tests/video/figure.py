"""A drawn signer whom MediaPipe finds: head, trunk, arms, two hands with fingers. No person, and no picture of one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

SKIN, EDGE, SHIRT, SEAM, HAIR = (225, 160, 120), (165, 105, 70), (40, 70, 120), (25, 45, 80), (50, 35, 30)
SIZE = (640, 480)


def draw(phase: float, size: tuple[int, int] = SIZE, up: bool = True) -> np.ndarray:
    """(H, W, 3) uint8 RGB. phase: where the hands are on their way, in radians. up: else they hang."""
    import cv2

    width, height = size
    unit = min(height / 4.4, width / 4.4)  # a shoulder width
    light = np.linspace(215, 185, height)[:, None]
    picture = np.stack([light - 5, light, light + 5], -1).repeat(width, 1).astype(np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(width / 2 + x * unit), round(height * 0.42 + y * unit)

    def line(a: tuple[int, int], b: tuple[int, int], w: float, colour: tuple[int, int, int], edge=None) -> None:
        if edge is not None:
            cv2.line(picture, a, b, edge, round(w) + 3, cv2.LINE_AA)
        cv2.line(picture, a, b, colour, max(round(w), 1), cv2.LINE_AA)

    def oval(x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int], arc=(0, 360), w: int = -1) -> None:
        cv2.ellipse(picture, at(x, y), (round(rx * unit), round(ry * unit)), 0, *arc, colour, w, cv2.LINE_AA)

    trunk = np.array(
        [at(*p) for p in ((-0.62, 0.02), (-0.3, -0.12), (0.3, -0.12), (0.62, 0.02), (0.55, 1.6), (-0.55, 1.6))]
    )
    cv2.fillPoly(picture, [trunk], SHIRT, cv2.LINE_AA)
    cv2.polylines(picture, [trunk], True, SEAM, 2, cv2.LINE_AA)
    line(at(0, 0), at(0, -0.35), unit * 0.34, SKIN, EDGE)
    oval(0, -0.8, 0.40, 0.50, HAIR)
    oval(0, -0.72, 0.33, 0.44, SKIN)
    for side in (-1, 1):
        oval(side * 0.34, -0.7, 0.06, 0.11, SKIN)
        oval(side * 0.13, -0.78, 0.07, 0.035, (250, 250, 250))
        oval(side * 0.13, -0.78, 0.03, 0.03, (20, 30, 40))
        oval(side * 0.13, -0.86, 0.09, 0.03, HAIR, (180, 360), 3)
    line(at(0, -0.76), at(0.03, -0.6), 2, EDGE)
    oval(0, -0.6, 0.05, 0.025, EDGE, (0, 180), 2)
    oval(0, -0.48, 0.11, 0.04, (190, 80, 80), (0, 180), 3)
    for side in (-1, 1):
        angle = phase * (1 if side > 0 else 0.7)
        wrist = (side * (0.55 + 0.18 * np.sin(angle)), 0.25 + 0.18 * np.cos(angle)) if up else (side * 0.85, 1.75)
        elbow = at(side * 0.85, 0.85)
        line(at(side * 0.52, 0.12), elbow, unit * 0.3, SHIRT, SEAM)
        line(elbow, at(*wrist), unit * 0.2, SKIN, EDGE)
        _hand(
            picture,
            np.array(at(*wrist), float),
            (side * -0.15 + 0.1 * np.sin(angle), -1.0 if up else 1.0),
            unit * 0.3,
            side if up else -side,
        )
    return cv2.GaussianBlur(picture, (3, 3), 0)


def _hand(picture: np.ndarray, wrist: np.ndarray, to: tuple[float, float], palm: float, side: int) -> None:
    """palm: its length in pixels. to: where the middle finger points."""
    import cv2

    ahead = np.array(to) / np.hypot(*to)
    across = np.array([-ahead[1], ahead[0]]) * side
    knuckles = [wrist + ahead * palm + across * palm * k for k in (-0.42, -0.14, 0.14, 0.4)]
    tips = [
        k + ahead * palm * reach + across * palm * spread
        for k, reach, spread in zip(knuckles, (0.85, 1.0, 0.92, 0.7), (-0.12, -0.03, 0.05, 0.16), strict=True)
    ]
    thumb = [wrist + ahead * palm * a - across * palm * b for a, b in ((0.25, 0.4), (0.55, 0.75), (0.95, 1.0))]
    thick = palm * 0.24
    outline = np.array(
        [wrist - across * palm * 0.28, thumb[0], knuckles[0] - across * thick / 2, knuckles[3] + across * thick / 2, wrist + across * palm * 0.3]
    ).round().astype(np.int32)  # fmt: skip

    def line(a: np.ndarray, b: np.ndarray, w: float, colour: tuple[int, int, int]) -> None:
        cv2.line(
            picture, tuple(a.round().astype(int)), tuple(b.round().astype(int)), colour, max(round(w), 1), cv2.LINE_AA
        )

    bones = [
        *((k - ahead * palm * 0.2, t) for k, t in zip(knuckles, tips, strict=True)),
        *itertools.pairwise(thumb),
    ]
    cv2.polylines(picture, [outline], True, EDGE, 4, cv2.LINE_AA)
    for a, b in bones:
        line(a, b, thick + 3, EDGE)
    cv2.fillPoly(picture, [outline], SKIN, cv2.LINE_AA)
    for a, b in bones:
        line(a, b, thick, SKIN)


def write_signing(
    path: Path,
    up: Iterable[bool],
    *,
    fps: int = 25,
    size: tuple[int, int] = SIZE,
    speed: float = 0.25,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """A video of the drawn signer; up: of each frame, whether the hands are. speed: radians a frame."""
    pictures = (draw(n * speed, size, lifted) for n, lifted in enumerate(up))
    return write_frames(path, pictures, fps=fps, codec=codec, options=options)


def write_frames(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    fps: int = 25,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """A video of pictures (H, W, 3) uint8 RGB of one size."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.pix_fmt = "yuv420p"
        for n, picture in enumerate(pictures):
            if n == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_camera(path: Path, frames: int, fps: int = 10, size: tuple[int, int] = SIZE) -> Path:
    """A .y4m file, which Chromium plays as its camera, over and over."""
    import av

    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{size[0]} H{size[1]} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for n in range(frames):
            picture = av.VideoFrame.from_ndarray(draw(2 * np.pi * n / frames, size), format="rgb24")
            file.write(b"FRAME\n" + picture.reformat(format="yuv420p").to_ndarray().tobytes())
    return path
