"""The same seed twice: the same weights, texts and scores, to the last digit."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from sign_models.datasets.inputs import Inputs
from sign_models.evaluation.metrics import Scores
from sign_models.models.translator import Translator
from sign_models.stages import alignment, skeleton, temporal
from sign_models.stages.generate import generate
from sign_models.stages.represent import represent
from tests import tiny
from tests.stages.recorders import Memory


def through_the_stages(
    inputs: Inputs, folder: Path, seed: int
) -> tuple[Translator, list[dict], dict[str, Scores], dict]:
    params = tiny.params(seed=seed, alignment__training__steps=20, alignment__self_training__confidence=0.0)
    memories = [Memory(folder / f"{seed}{stage}") for stage in ("skeleton", "temporal", "alignment")]
    first = skeleton.train(params.skeleton, inputs.keypoints, memories[0]).model
    second = temporal.train(params.temporal, inputs.videos, first, memories[1]).model
    arrays = dict(represent(second, inputs.videos, params.represent.batch_frames))
    model = alignment.train(params.alignment, inputs.videos, inputs.texts, second, memories[2], "split").model
    assert isinstance(model, Translator)
    found = generate(model, inputs.videos, inputs.texts, params.generate)
    return model, found.rows, found.scores, arrays


def test_the_same_seed_gives_the_same_scores_to_the_last_digit(inputs: Inputs, tmp_path: Path) -> None:
    once = through_the_stages(inputs, tmp_path / "once", 3)
    torch.manual_seed(99), np.random.seed(99), random.seed(99)  # what others have drawn must not matter
    torch.rand(7)
    again = through_the_stages(inputs, tmp_path / "again", 3)
    assert once[1] == again[1] and once[2] == again[2]
    assert all(np.array_equal(array, again[3][name]) for name, array in once[3].items())
    weights = again[0].state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in once[0].state_dict().items())


@pytest.mark.parametrize("stage", ["skeleton", "temporal", "alignment"])
def test_another_seed_gives_other_weights(train, tmp_path: Path, stage: str) -> None:
    steps = {f"{stage}__training__steps": 2, f"{stage}__training__evaluations": 1}
    models = [train(stage, Memory(tmp_path / f"{s}"), seed=s, **steps).model for s in (0, 1)]
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)
