"""Annotations of pyskl and MMAction2: a list, or with splits; every value of it."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sign_models.datasets.importing import ImportRules, import_corpus
from sign_models.errors import DataError
from tests.keypoints.here import read
from tests.keypoints.signer import pixels

CLIPS = [pixels("coco_17", 6, seed) for seed in (1, 2)]
SCORES = np.linspace(0.25, 0.75, 6 * 17).reshape(6, 17).astype(np.float16)


def annotation(number: int, **more: Any) -> dict[str, Any]:
    """The signer, and behind a smaller person who stands still."""
    behind = np.broadcast_to(CLIPS[number][:1] / 4, CLIPS[number].shape)
    keypoint = np.stack([behind, CLIPS[number]]).astype(np.float16)
    return {
        "frame_dir": f"clip_{number + 1}", "label": number, "img_shape": (480, 640), "original_shape": (480, 640),
        "total_frames": 6, "keypoint": keypoint, "keypoint_score": np.stack([SCORES, SCORES]), **more,
    }  # fmt: skip


def test_a_list_of_annotations(tmp_path: Path) -> None:
    (tmp_path / "train.pkl").write_bytes(pickle.dumps([annotation(0), annotation(1, text="tea")]))
    found = list(read(tmp_path))
    assert [(clip.id, clip.text, clip.split) for clip in found] == [
        ("clip_1", "0", "train"),
        ("clip_2", "tea", "train"),
    ]
    for clip, points in zip(found, CLIPS, strict=True):
        assert (clip.layout, clip.size, clip.unit) == ("coco_17", (640.0, 480.0), "pixel")
        np.testing.assert_allclose(clip.points, points, rtol=1e-3)
        np.testing.assert_allclose(clip.confidence, SCORES.astype(np.float32))


def test_splits_by_id_and_protocols_that_disagree(tmp_path: Path) -> None:
    split = {"xsub_train": ["clip_1", "clip_2"], "xview_val": ["clip_2"]}
    tree = {"split": split, "annotations": [annotation(0), annotation(1)]}
    (tmp_path / "all.pkl").write_bytes(pickle.dumps(tree))
    assert [(clip.id, clip.split) for clip in read(tmp_path)] == [("clip_1", "train"), ("clip_2", None)]


def test_a_clip_in_two_splits_is_a_leak_that_may_be_reported(tmp_path: Path) -> None:
    same = [annotation(0, frame_dir=name) for name in ("clip_1", "clip_2")]
    source = tmp_path / "all"
    source.mkdir()
    tree = {"split": {"train": ["clip_1"], "val": ["clip_2"]}, "annotations": same}
    (source / "all.pkl").write_bytes(pickle.dumps(tree))
    with pytest.raises(DataError, match="--on-leak report"):
        import_corpus(source, tmp_path / "stopped", workers=0)
    numbers = import_corpus(source, tmp_path / "store", ImportRules(on_leak="report"), workers=0).numbers
    assert {name: numbers["splits"][name]["clips"] for name in numbers["splits"]} == {"train": 1, "dev": 1}
    assert len(numbers["leaks"]["content"]) == 1
