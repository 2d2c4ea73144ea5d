"""A model that answers without torch, in the folder layout that models.load reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.keypoints.sequence import KeypointSequence


class Fake:
    """models.load's answer: says how many frames it saw, times its weight."""

    def __init__(self, folder: Path) -> None:
        self.stage = json.loads((folder / "config.json").read_text())["stage"]
        self.weight = float((folder / "model.safetensors").read_text())

    def predict(self, sequences: list[KeypointSequence], **options: int) -> list[dict[str, Any]]:
        return [{"text": f"{self.stage} {len(s)}", "score": self.weight * len(s), **options} for s in sequences]


def write(folder: Path, stage: str, weight: float = 1.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"stage": stage, "width": 8}))
    (folder / "model.safetensors").write_text(str(weight))
    return folder


def clips(frames: tuple[int, ...] = (3, 5), layout: str = "mediapipe_75") -> list[KeypointSequence]:
    draw = np.random.default_rng(0)
    return [
        KeypointSequence(
            f"clip {i}", draw.random((t, 75, 2), np.float32), np.ones((t, 75), np.float32), layout, fps=25.0
        )
        for i, t in enumerate(frames)
    ]
