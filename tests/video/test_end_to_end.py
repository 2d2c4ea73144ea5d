"""From a folder of videos to captions: extract, import, the pipeline, translate, each as a user types it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import mlflow
import pytest

from sign_models.datasets.store import open_store
from sign_models.keypoints.extractor import short_name
from sign_models.video import decode
from tests.conftest import Command
from tests.video.figure import write_signing

pytestmark = pytest.mark.video
WORDS = ("tea", "milk", "water")


def test_videos_become_a_model_and_captions(empty: Command, tmp_path: Path) -> None:
    """Drawn signers: what is tried is the way, and that one extractor is known all along it."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for n, word in enumerate(WORDS):
        size = (640, 480) if n else (480, 640)  # one of a phone that is held upright
        write_signing(videos / f"{word}.mp4", [False] * 2 + [True] * 8 + [False] * 2, size=size, speed=0.2 + 0.2 * n)
    rows = [{"id": word, "text": word, "split": "dev" if n == 0 else "train"} for n, word in enumerate(WORDS)]
    (tmp_path / "texts.json").write_text(json.dumps(rows))

    done = empty("extract", "--videos", videos, "--out", tmp_path / "poses", "--workers", 1, data=False, params=False)
    assert done.code == 0, done.err
    assert "3 videos: 3 extracted" in done.out
    given = ("--source", tmp_path / "poses", "--texts", tmp_path / "texts.json", "--out", tmp_path / "store")
    done = empty("import_", *given, data=False, params=False)
    assert done.code == 0, done.err
    store = open_store(tmp_path / "store", full=True)
    assert store.ids == sorted(WORDS) and store.offsets[-1] == 3 * 12
    ((extractor, clips),) = store.extractors.items()
    assert clips == 3 and extractor is not None and extractor.startswith("mediapipe-tasks ")

    done = empty("pipeline", "--data", tmp_path / "store", "--steps", "2", data=False)
    assert done.code == 0, done.err
    tags = mlflow.MlflowClient().get_model_version("sign-translator", "1").tags
    assert json.loads(tags["sign.extractors"]) == [extractor] and float(tags["sign.fps"]) == 25.0

    given = (
        "--videos",
        videos,
        "--model",
        "candidate",
        "--out",
        tmp_path / "captions",
        "--overlay",
        tmp_path / "over.mp4",
    )
    done = empty("translate", *given, "--srt", "--eaf", "--json", "--strict-extractor", data=False, params=False)
    assert done.code == 0, done.err
    assert "warning" not in done.err
    for word in WORDS:
        tree = json.loads((tmp_path / "captions" / f"{word}.json").read_text())
        assert tree["source"] == f"{word}.mp4" and tree["segments"]
        assert all(0 <= s["start"] < s["end"] <= 0.5 and 0 <= s["confidence"] <= 1 for s in tree["segments"])
        assert (tmp_path / "captions" / f"{word}.srt").exists()
        root = ET.parse(tmp_path / "captions" / f"{word}.eaf").getroot()
        (media,) = root.iter("MEDIA_DESCRIPTOR")
        assert media.get("RELATIVE_MEDIA_URL") == f"./{word}.mp4"
        assert len([*root.iter("ALIGNABLE_ANNOTATION")]) == len([*root.iter("REF_ANNOTATION")]) == len(tree["segments"])
        assert len(list(decode.frames(tmp_path / "over" / f"{word}.mp4"))) == 12
    told = empty("lineage", "--model", "sign-translator@candidate", data=False, params=False)
    assert told.out.count(short_name(extractor)) >= 4
