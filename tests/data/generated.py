"""Generated clips for tests of the store and the import: sequences in memory, and as files in a folder."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sign_models.keypoints.sequence import KeypointSequence
from tests.keypoints.signer import pixels

LAYOUT = "coco_wholebody_133"
TEXTS = (
    "am samstag ist es in schleswig-holstein freundlich",
    "今天天气很好",
    "كيف حالك اليوم؟",
    "Saya pergi ke sekolah",
    "cafe\u0301 👋🏽 déjà",  # a decomposed and a composed accent
)


def sequence(i: int, frames: int, **known: object) -> KeypointSequence:
    """Clip i: its own movement, some landmarks unseen."""
    rng = np.random.default_rng(i)
    points = pixels(LAYOUT, frames, seed=i).astype(np.float32)
    confidence = rng.uniform(0.4, 1, points.shape[:2]).astype(np.float32)
    confidence[:, 91:112] *= rng.random((frames, 1)) < 0.8
    return KeypointSequence(f"clip_{i:04}", points, confidence, LAYOUT, size=(640, 480), **known)  # type: ignore[arg-type]


def sequences(count: int, longest: int = 40, first: int = 0) -> Iterator[KeypointSequence]:
    """`count` clips of 1 to `longest` frames with texts, and where i allows it a frame rate, a split and a signer."""
    rng = np.random.default_rng(first)
    for i in range(first, first + count):
        yield sequence(
            i,
            int(rng.integers(1, longest + 1)),
            fps=25.0 if i % 3 else None,
            split=("train", "dev", "test")[i % 3],
            group=f"signer {i % 3}",
            text=None if i % 7 == 6 else TEXTS[i % 5],
        )


def write_folder(folder: Path, clips: Iterator[KeypointSequence], **known: object) -> Path:
    """One pickle a clip, as docs/formats/seed.md has it; known: fields that all of them get instead of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        record = {
            "keypoints": np.concatenate([clip.points, clip.confidence[..., None]], -1),
            **{name: getattr(clip, name) for name in ("text", "split", "group", "fps")},
            **known,
        }
        kept = {name: value for name, value in record.items() if value is not None}
        (folder / f"{clip.id}.pkl").write_bytes(pickle.dumps(kept))
    return folder
