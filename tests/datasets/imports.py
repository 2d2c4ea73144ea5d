"""What the tests of an import read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

COUNT = 60


def bad_file(folder: Path, name: str) -> None:
    (folder / f"{name}.pkl").write_bytes(pickle.dumps({"keypoints": np.zeros((3, 133, 3), np.float32)}))
