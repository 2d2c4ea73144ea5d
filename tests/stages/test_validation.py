"""Validation reads videos as generation will, says which of them CTC cannot, and gives no score that is no number."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sign_models.data.windows import split_long_clips
from sign_models.errors import ResourceError
from sign_models.evaluation.metrics import score
from sign_models.models import translator
from sign_models.models.translator import Translator
from sign_models.params.load import resolve
from sign_models.stages import alignment_task
from sign_models.stages.alignment_task import AlignmentTask
from sign_models.stages.generate import generate
from sign_models.stages.skeleton import SkeletonTask
from sign_models.training.device import find_device
from tests import tiny
from tests.models import clips
from tests.stages.recorders import Memory


def task_of(inputs, window: int, **more: object) -> AlignmentTask:
    task = AlignmentTask(
        tiny.params(**more).alignment, inputs.videos, inputs.texts, clips.temporal(), find_device(), "cased", None
    )
    task.generation = task.objective.model.generation = replace(task.generation, window=window)
    task.cut = split_long_clips(inputs.videos, task.dev, window)
    task.objective.model.alignment.ctc.weight.data *= 20  # another text for nearly every window
    task.objective.eval()
    return task


@pytest.mark.parametrize("window", [8, 20, 1000])
def test_validation_scores_the_texts_that_generation_writes(inputs, window: int) -> None:
    task = task_of(inputs, window)
    model: Translator = task.objective.model
    asked = resolve(sets={"generate.splits": "dev", "generate.beams": "1"}).generate
    rows = generate(model, inputs.videos, inputs.texts, asked).rows
    assert (max(len(row["windows"]) for row in rows) > 1) == (window < 30)
    with torch.no_grad():
        found = task.evaluate(task.objective)
    texts = [str(row["text"]) for row in rows]
    wanted = score(texts, [str(row["reference"]) for row in rows], task.scoring)
    assert found["score"] == pytest.approx(wanted.chrf)


def test_the_weight_of_ctc_is_chosen_on_the_windows_too(inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    task, longest = task_of(inputs, 8), []
    encode = translator.Translator.forward
    monkeypatch.setattr(
        translator.Translator, "forward", lambda self, x, mask: longest.append(mask.sum(1).max()) or encode(self, x, mask)
    )  # fmt: skip
    assert task.best_ctc_weight() in alignment_task.CTC_WEIGHTS
    assert max(longest) <= 8


@pytest.mark.parametrize("stage", ["skeleton", "temporal", "alignment"])
def test_a_score_that_is_no_number_stops_the_training_in_place_of_an_empty_model(
    train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    from sign_models.stages.temporal import TemporalTask

    for task in (SkeletonTask, TemporalTask, AlignmentTask):
        monkeypatch.setattr(task, "evaluate", lambda self, objective: {"score": math.nan})
    with pytest.raises(ResourceError, match="the validation score is nan at step 1.*lower training.lr"):
        train(stage, Memory(tmp_path / "x"), **{f"{stage}__training__steps": 6})


def test_videos_that_are_too_short_for_ctc_are_counted_and_named(inputs) -> None:
    texts = dict(inputs.texts)
    places = {name: i for i, name in enumerate(inputs.videos.ids)}
    short, repeated = "train_0", "train_5"  # of 12 frames, 3 vectors
    assert [inputs.videos.lengths[places[name]] for name in (short, repeated)] == [12, 12]
    texts |= {short: "tea milk please coffee", repeated: "tea tea", "dev_0": " ".join(tiny.WORDS * 9)}
    task = AlignmentTask(tiny.params().alignment, inputs.videos, texts, clips.temporal(), find_device(), "cased", None)
    said = task.facts["too_short.training"]
    assert said.startswith("1 of 12 training videos are too short") and f"'{short}' (12 frames)" in said
    assert "dev_0" in task.facts["too_short.validation"]
    texts |= {repeated: "tea tea milk"}  # a blank between the two is one vector too many
    task = AlignmentTask(tiny.params().alignment, inputs.videos, texts, clips.temporal(), find_device(), "cased", None)
    assert task.facts["too_short.training"].startswith("2 of 12") and repeated in task.facts["too_short.training"]
    assert "too_short.training" not in task_of(inputs, 8).facts


def test_what_is_said_to_be_too_short_is_what_has_no_ctc_loss(inputs) -> None:
    texts = {
        name: " ".join(np.random.default_rng(i).choice(tiny.WORDS, 1 + i % 9)) for i, name in enumerate(inputs.texts)
    }
    task = AlignmentTask(tiny.params().alignment, inputs.videos, texts, clips.temporal(), find_device(), "cased", None)
    model = task.objective.model.alignment
    train = np.array(
        [i for i, split in enumerate(inputs.videos.splits) if split == "train" and inputs.videos.ids[i] in texts]
    )
    vectors = -(-inputs.videos.lengths[train] // clips.STRIDE)
    mask = torch.arange(vectors.max()) < torch.from_numpy(vectors).unsqueeze(1)
    ctc = torch.zeros(*mask.shape, model.vocabulary + 1).log_softmax(-1)
    silent = train[(model.ctc_loss(ctc, mask, task.labels[train]) == 0).numpy()]
    assert 0 < len(silent) < len(train)
    said = task.facts["too_short.training"]
    assert said.startswith(f"{len(silent)} of {len(train)} ") and all(inputs.videos.ids[i] in said for i in silent[:10])
