"""A recording, and what is to be cut out of it by the times of a label file."""

from pathlib import Path

import numpy as np

from sign_models.keypoints.formats import read
from tests.keypoints.signer import pixels

FPS, FRAMES = 25, 250


WHOLE = pixels("coco_17", FRAMES)


SPANS = {"good morning": (10, 60), "rain": (60, 137)}


def recording(folder: Path, name: str = "rec", frames: int = FRAMES, fps: float | None = FPS) -> None:
    path = folder / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, keypoints=WHOLE[:frames], **({} if fps is None else {"fps": np.array(float(fps))}))


def check(folder: Path, spans: dict[str, tuple[int, int]] = SPANS, **options: object) -> list[str]:
    """The clips are these, to the frame. -> their ids."""
    found = list(read(folder, **options))
    assert {s.text: (s.cut[2], s.cut[3]) for s in found} == spans
    for s in found:
        np.testing.assert_allclose(s.points, WHOLE[s.cut[2] : s.cut[3]], rtol=1e-6)
    return [s.id for s in found]
