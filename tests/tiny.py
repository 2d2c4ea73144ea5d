"""The smallest data and params with which every stage does all that it does: a pipeline of seconds."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from sign_models.params import load
from sign_models.params.schema import PipelineParams
from tests.keypoints.signer import pixels

LAYOUT = "mediapipe_75"
FPS = 25.0
LEFT_HAND, RIGHT_HAND = np.arange(33, 54), np.arange(54, 75)
WORDS = ("tea", "milk", "please", "coffee", "water", "now")
SPLITS = {"train": 12, "dev": 3, "test": 3}
UNLABELLED = 2  # videos without a text
VIDEOS = sum(SPLITS.values()) + UNLABELLED

TRAINING = "{steps: 6, batch_size: 4, evaluations: 3, ema: 0.5, checkpoint_minutes: 0.0001}"
PARAMS = f"""
skeleton:
  model: {{part_width: 8, width: 32, layers: 1, context: 1}}
  window: 16
  training: {TRAINING}
temporal:
  model: {{width: 32, layers: 1, heads: 2}}
  max_frames: 32
  training: {TRAINING}
alignment:
  tokenizer: {{kind: word}}
  decoder: {{width: 32, layers: 1, heads: 2}}
  generation: {{beams: 2, max_length: 8}}
  max_frames: 32
  training: {TRAINING.replace("steps: 6", "steps: 60, lr: 1e-2")}
"""


def clip(seed: int, frames: int, words: Sequence[str] = ()) -> np.ndarray:
    """(T, K, 3) float32: x, y in pixels, confidence; the left hand is unseen in the first quarter.

    Each word holds the right hand somewhere else, for its share of the clip.
    """
    rng = np.random.default_rng(seed)
    points = pixels(LAYOUT, frames, seed) + rng.normal(0, 0.5, (frames, 75, 2))
    for word, time in zip(words, np.array_split(np.arange(frames), max(1, len(words))), strict=False):
        angle = 2 * np.pi * WORDS.index(word) / len(WORDS)
        points[time[:, None], RIGHT_HAND] += 80 * np.array([np.cos(angle), np.sin(angle)])
    out = np.concatenate([points, np.ones((frames, 75, 1))], -1).astype(np.float32)
    out[: frames // 4, LEFT_HAND, 2] = 0
    return out


def texts() -> list[dict[str, str]]:
    """Objects with id, text and split, of one to three words."""
    return [
        {
            "id": f"{split}_{i}",
            "text": " ".join(WORDS[(i + 2 * k) % len(WORDS)] for k in range(1 + i % 3)),
            "split": split,
        }
        for split, count in SPLITS.items()
        for i in range(count)
    ]


def videos() -> dict[str, np.ndarray]:
    """Clips of 12 to 40 frames, the last ones without a text."""
    named = {row["id"]: row["text"].split() for row in texts()} | {f"wild_{i}": [] for i in range(UNLABELLED)}
    return {name: clip(i, 12 + 7 * (i % 5), words) for i, (name, words) in enumerate(named.items())}


def letters() -> dict[str, np.ndarray]:
    return {f"letter_{i}": clip(100 + i, 16) for i in range(10)}


def write_data(folder: Path) -> Path:
    """The seed's three files."""
    folder.mkdir(parents=True, exist_ok=True)
    sequences = {"layout": LAYOUT, "fps": FPS, "sequences": videos()}
    (folder / "sign_language_keypoints.pkl").write_bytes(pickle.dumps(letters()))
    (folder / "video_sequences.pkl").write_bytes(pickle.dumps(sequences))
    (folder / "text_data.json").write_text(json.dumps(texts()))
    return folder


def sets() -> dict[str, str]:
    """PARAMS as single values, by dotted name."""
    flat: dict[str, str] = {}

    def flatten(content: dict, name: str) -> None:
        for key, value in content.items():
            if isinstance(value, dict):
                flatten(value, f"{name}{key}.")
            else:
                flat[name + key] = str(value)

    flatten(yaml.safe_load(PARAMS), "")
    return flat


def params(**more: object) -> PipelineParams:
    """PARAMS, and single values over them: params(alignment__training__steps=2)."""
    return load.resolve(sets=sets() | {name.replace("__", "."): str(value) for name, value in more.items()})
