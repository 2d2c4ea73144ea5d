"""What the example files hold: a clip, a text, pickles."""

import gzip
import pickle
from pathlib import Path

import numpy as np

from tests.keypoints.signer import pixels

FRAMES = 6


SIZE = (640, 480)


TEXT = "guten Morgen, 早上好"


def scored(layout: str, seed: int = 0, size: tuple[int, int] = SIZE, frames: int = FRAMES) -> np.ndarray:
    """(T, K, 3) float32: pixels and a score a landmark."""
    points = pixels(layout, frames, seed, size)
    scores = 0.5 + 0.4 * np.random.default_rng(seed).random(points.shape[:2])
    return np.concatenate([points, scores[..., None]], -1).astype(np.float32)


def dump(path: Path, value: object, *, zipped: bool = False, protocol: int = 4) -> Path:
    data = pickle.dumps(value, protocol)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path
