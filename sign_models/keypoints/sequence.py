"""A clip of keypoints as its file gives it, before normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Unit = Literal["pixel", "normalized", "centered"]
# Names of splits in files, and the names that they have everywhere else.
SPLIT_ALIASES = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test"}
# Names of units in files and requests made before 0.2.0.
RENAMED_UNITS = {"picture": "normalized", "body": "centered"}


@dataclass(frozen=True)
class KeypointSequence:
    """A clip: T frames of the K landmarks of a layout.

    Attributes:
        id: Unique within a source.
        points: (T, K, 2) float32. x to the right and y down, in `unit`. Undefined where confidence is 0.
        confidence: (T, K) float32 in [0, 1]. 0: not seen.
        layout: Name for keypoints.layouts.names_of, which gives the landmark at each of the K places.
        unit: "pixel". "normalized": shares of the image's width and height. "centered": already centred and scaled, x
            and y in one unit.
        size: (width, height) of the image in pixels, None where unknown.
        fps: Frames per second, None where unknown.
        text: Text of the clip, or None.
        split: "train", "dev", "test", or None.
        group: Signer or source video, or None.
        extractor: Program that found the landmarks, as keypoints.extractor writes it. None where the file does not say.
        source: What an error message names: the file, or file and sample.
        depth: (T, K) float32 or None: z away from the camera, in the unit of x (of "normalized": shares of the image's
            width). Its origin is any, and may differ between body parts. Undefined where confidence is 0.
        nan: Landmarks that the file gives as NaN, summed over frames. They count as unseen.
        padded: Frames of padding that were left out at its ends.
        cut: Of a clip cut out of a recording: the recording, its frames, first frame, and the frame after the last.
        fitting: Where the layout was chosen by the count of landmarks: orders of landmarks that fit clearly better,
            or that none is known that fits. Else None.
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
    padded: int = 0

    def __len__(self) -> int:
        return len(self.points)


def from_canonical(name: str, clip: np.ndarray) -> KeypointSequence:
    """Convert a normalised clip back to a sequence.

    Args:
        name: Id of the clip.
        clip: (T, K, 3 or 4) of the canonical landmarks: x, y, confidence, and depth.

    Returns:
        The sequence, in unit "centered".
    """
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
    """Remove depth from frames, or add a depth of 0.

    Args:
        frames: (..., 3 or 4).
        channels: 3 or 4.

    Returns:
        (..., channels).
    """
    if frames.shape[-1] == 3 and channels == 4:
        return np.concatenate([frames, np.zeros_like(frames[..., :1])], -1)
    return frames if frames.shape[-1] == channels else np.ascontiguousarray(frames[..., :channels])
