"""Best checkpoint and weight of CTC are chosen on clips that alignment does not train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sign_models.stages import alignment
from sign_models.stages.alignment_task import USUAL_CTC, AlignmentTask
from sign_models.training.device import find_device
from tests import tiny
from tests.models import clips
from tests.stages.recorders import Memory


def test_alignment_without_a_dev_split_says_what_validates_and_trains_on_none_of_it(inputs) -> None:
    whole = replace(inputs.videos, splits=["train" if s == "dev" else s for s in inputs.videos.splits])
    task = AlignmentTask(tiny.params().alignment, whole, inputs.texts, clips.temporal(), find_device(), "cased", None)
    trained = {int(i) for step in range(3 * task.sampler.steps) for i in task.clips(step)}
    assert len(task.dev) and trained.isdisjoint(task.dev.tolist())
    assert {inputs.texts[whole.ids[i]] for i in trained}.isdisjoint(inputs.texts[whole.ids[i]] for i in task.dev)
    assert "no clip with a text of split dev: " in task.facts["held_out"]


def test_what_is_held_out_is_in_the_log_and_in_what_the_run_is_tagged_with(train, inputs, tmp_path: Path) -> None:
    logger = Memory(tmp_path / "x")
    trained = train("skeleton", logger, skeleton__training__steps=1)  # letters have no splits
    assert f"skeleton: {trained.facts['held_out']}" in logger.notes
    assert "of 10 training clips validate and do not train" in trained.facts["held_out"]
    assert train("temporal", Memory(tmp_path / "y"), temporal__training__steps=1).facts == {}  # videos have


def test_one_clip_alone_chooses_no_weight_of_ctc(inputs, tmp_path: Path) -> None:
    params = tiny.params(alignment__training__steps=1).alignment
    one = {name: text for name, text in inputs.texts.items() if name == "train_0"}
    logger = Memory(tmp_path / "x")
    trained = alignment.train(params, inputs.videos, one, clips.temporal(), logger, "cased")
    assert trained.model.generation.ctc_weight == USUAL_CTC and "validation/ctc_weight" not in logger.points
    assert any("no clip is held out to choose it by" in note for note in logger.notes)
    assert any("the clip that trains validates too" in note for note in logger.notes)
