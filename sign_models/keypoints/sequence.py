"""One clip of keypoints as its file gives it, before normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Unit = Literal["pixel", "normalized", "centered"]
# Names of units in files and requests made before 0.2.0.
RENAMED_UNITS = {"picture": "normalized", "body": "centered"}


@dataclass(frozen=True)
class KeypointSequence:
    """T frames of the K landmarks of a layout.

    points      (T, K, 2) float32; x to the right, y down, in `unit`. Undefined where confidence is 0.
    confidence  (T, K) float32 in [0, 1]; 0 means not seen.
    layout      a name that keypoints.layouts.names_of knows; says which landmark stands at which of the K places.
    unit        "pixel": pixels; "normalized": fractions of the picture's width and height;
                "centered": already centred and scaled, x and y in one unit.
    size        (width, height) of the picture in pixels, where the file tells it.
    fps         frames per second, where the file tells it.
    text, split, group: sentence, train|dev|test, and signer or source video, where the file tells them.
    extractor   which program found the landmarks, as keypoints.extractor writes it; None where the file does not tell.
    source      what an error message names: the file, or file and sample.
    depth       (T, K) float32, where the file tells it: z away from the camera, in the unit of x (of "normalized":
                fractions of the picture's width), from any origin, which may be another one in each body part.
                Undefined where confidence is 0.
    cut         (recording, its frames, first frame, frame after the last) of a clip that is cut out of a recording.
    nan         landmarks, counted in every frame, that the file gives as NaN; they are unseen here.
    fitting     where only the count of landmarks tells the layout: the orders that fit clearly better; else None.
    """

    id: str
    points: np.ndarray
    confidence: np.ndarray
    layout: str
    unit: Unit = "pixel"
    size: tuple[float, float] | None = None
    fps: float | None = None
    text: str | None = None
    split: str | None = None
    group: str | None = None
    extractor: str | None = None
    source: str = ""
    depth: np.ndarray | None = None
    nan: int = 0
    cut: tuple[str, int, int, int] | None = None
    fitting: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.points)


def of_canonical(name: str, clip: np.ndarray) -> KeypointSequence:
    """A normalised clip (T, K, 3 or 4) of the canonical landmarks as a sequence."""
    values = np.asarray(clip, np.float32)
    return KeypointSequence(
        name,
        values[..., :2],
        values[..., 2],
        "canonical",
        unit="centered",
        source=name,
        depth=values[..., 3] if values.shape[-1] > 3 else None,
    )


def with_channels(frames: np.ndarray, channels: int) -> np.ndarray:
    """(..., 3 or 4) -> (..., channels): without depth, or with a depth of 0."""
    if frames.shape[-1] == 3 and channels == 4:
        return np.concatenate([frames, np.zeros_like(frames[..., :1])], -1)
    return frames if frames.shape[-1] == channels else np.ascontiguousarray(frames[..., :channels])
