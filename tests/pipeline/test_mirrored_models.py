"""A model reads clips as those were mirrored on which it was trained: `import --mirror never` holds for serving too."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from sign_models.errors import UpstreamError
from sign_models.keypoints.layouts import PLACE
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.storage import save
from sign_models.serving import load
from tests.conftest import Command
from tests.keypoints.test_normalise import raised


def clip(side: str) -> KeypointSequence:
    """A signer whose hand of this side is up."""
    points = raised("mediapipe_75", side, 0.6).astype(np.float32)
    return KeypointSequence("clip", points, np.ones(points.shape[:2], np.float32), "mediapipe_75")


def saved(folder: Path, mirroring: str | None) -> Path:
    torch.manual_seed(0)
    model = SkeletonModel(part_width=8, width=16, layers=1, context=1, dropout=0.0)
    if mirroring is not None:
        model.mirroring = mirroring  # type: ignore[assignment]
    save(model.eval(), folder)
    return folder


@pytest.mark.parametrize("mirroring", ["auto", "never", None])
def test_a_model_keeps_how_its_clips_were_mirrored(
    tmp_path: Path, mirroring: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, seen = load(saved(tmp_path, mirroring)), list[np.ndarray]()
    asked = predictor._asked
    monkeypatch.setattr(
        predictor, "_asked", lambda windows, options: (seen.extend(windows), asked(windows, options))[1]
    )
    predictor.predict([clip("left"), clip("right")])
    left, right = (frames[:, PLACE["right_hand.wrist"], 1].astype(float).mean() for frames in seen)
    assert (abs(left - right) < 0.05) == (mirroring != "never")  # the hand that is up is the same one


def test_a_model_of_before_is_read_as_it_was_trained(tmp_path: Path) -> None:
    config = json.loads((saved(tmp_path, "never") / "config.json").read_text())
    assert config.pop("mirroring") == "never"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(tmp_path).mirroring == "auto"


@pytest.mark.parametrize("value", ["always", 3, None, ["never"]])
def test_a_mirroring_that_nobody_knows_is_refused(tmp_path: Path, value: object) -> None:
    config = json.loads((saved(tmp_path, "auto") / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "mirroring": value}))
    with pytest.raises(UpstreamError, match="mirroring"):
        load(tmp_path)


def test_from_import_to_the_registered_model(empty: Command, tiny_data: Path, tmp_path: Path) -> None:
    source, store = tiny_data / "sign_language_keypoints.pkl", tmp_path / "store"
    told = ("--source", source, "--out", store, "--on-leak", "report", "--mirror", "never")
    assert empty("import_", *told, data=False, params=False).code == 0
    assert empty("skeleton", "--keypoints", store, data=False).code == 0
    folder = mlflow.artifacts.download_artifacts("models:/sign-skeleton/1")
    [config] = Path(folder).rglob("config.json")
    assert json.loads(config.read_text())["mirroring"] == "never"
    refused = empty("temporal", "--skeleton-model", "1")
    assert refused.code == 2 and "trained on clips with --mirror never" in refused.err
