"""The loop of all training stages: learning, resuming, memory, curves."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sign_models.data.batching import Batch
from sign_models.data.sampler import Sampler
from sign_models.errors import ResourceError
from sign_models.models.alignment import AlignmentModel
from sign_models.models.temporal import TemporalModel
from sign_models.params import load
from sign_models.params.schema import Augment
from sign_models.stages.labels import labelled_clips
from sign_models.stages.temporal import TwoViews
from sign_models.training import device, loop
from sign_models.training.task import TrainingOptions
from tests import tiny
from tests.models.clips import batch
from tests.stages.recorders import Memory, Stopped

STAGES = ("skeleton", "temporal", "alignment")
CLOCKS = {"train/frames_per_second"}


def equal(a, b) -> bool:
    first, second = a.model.state_dict(), b.model.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# learning -------------------------------------------------------------------------------------------------------------


def still(stage: str) -> dict[str, object]:
    """Params without variation: every batch holds its clips as they are."""
    masked = [f"{stage}__mask__{name}" for name in ("joints", "parts", "frames")]
    return dict.fromkeys([f"{stage}__augment__{name}" for name in Augment.model_fields] + masked, 0)


@pytest.mark.parametrize("stage", ["skeleton", "temporal"])
def test_a_pretraining_stage_restores_what_it_has_often_seen(train, tmp_path: Path, stage: str) -> None:
    logger = Memory(tmp_path / "x")
    mask = {f"{stage}__mask__{name}": 0.1 for name in ("joints", "parts", "frames")}
    length = {"steps": 150, "batch_size": 16, "lr": 1e-2, "evaluations": 1, "ema": 0.9}
    train(stage, logger, **(still(stage) | mask), **{f"{stage}__training__{k}": v for k, v in length.items()})
    for name, share in (("train/loss", 0.3), ("train/distance", 0.6)):  # the first points are means over 20 steps
        curve = logger.points[name]
        assert curve[max(curve)] < share * curve[min(curve)], name


@pytest.mark.parametrize("way", ["unaugmented", "x"])
def test_the_temporal_stage_wants_clips_back_as_they_were_before_they_were_varied(way: str) -> None:
    clips, mask = batch((12, 9))
    varied = Batch(clips * 1.5, mask, mask.sum(1), unaugmented=clips)
    model = lambda x, mask, masked: (getattr(varied, way)[..., :2], None)  # noqa: E731
    loss = TwoViews(cast(TemporalModel, model), load.resolve().temporal)([varied])["loss"]
    assert bool(loss < 1e-9) == (way == "unaugmented")


def test_alignment_writes_the_texts_that_it_has_often_seen(train, tmp_path: Path, inputs) -> None:
    from sign_models.params.schema import GenerateParams
    from sign_models.stages.generate import generate

    logger = Memory(tmp_path / "x")
    length = {"steps": 300, "batch_size": 12, "lr": 3e-3, "evaluations": 1, "ema": 0.9}
    trained = train(
        "alignment",
        logger,
        **still("alignment"),
        alignment__losses__label_smoothing=0,
        temporal__model__dropout=0,
        alignment__decoder__dropout=0,
        alignment__encoder_lr=1,
        alignment__self_training__share=0,
        alignment__max_frames=64,
        **{f"alignment__training__{k}": v for k, v in length.items()},
    )
    asked = GenerateParams(splits=["train"], scoring="cased", beams=2, length_penalty=None, window=None, batch_size=8,
                           strict_extractor=False)  # fmt: skip
    found = generate(trained.model, inputs.videos, inputs.texts, asked)
    assert found.scores["train"].exact_match > 90  # 12 texts
    assert logger.points["train/token_accuracy"][299] > 0.99


# resuming -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_a_resumed_training_ends_with_the_weights_of_an_unbroken_one(train, tmp_path: Path, stage: str) -> None:
    steps = {f"{stage}__training__steps": 9, f"{stage}__training__evaluations": 3}
    whole = Memory(tmp_path / "whole")
    unbroken = train(stage, whole, **steps)
    with pytest.raises(Stopped):
        train(stage, Memory(tmp_path / "cut", stop_after=1), **steps)
    cut = Memory(tmp_path / "cut")
    resumed = train(stage, cut, **steps)
    assert equal(resumed, unbroken)
    assert any("goes on from step 3 of 9" in note for note in cut.notes)
    assert [step for step, _ in whole.saved] == [3, 6, 9] and [step for step, _ in cut.saved] == [6, 9]
    for name, points in cut.points.items():
        if name not in CLOCKS:
            assert points.items() <= whole.points[name].items(), name
    assert resumed.progress.best_step == unbroken.progress.best_step


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("stage", STAGES)
def test_weights_are_those_of_the_number_of_threads_that_is_named(train, tmp_path: Path, threads, stage: str) -> None:
    steps = {f"{stage}__training__steps": 4, f"{stage}__training__evaluations": 2}
    found, losses = {}, []
    for count in (1, 2, 2):
        threads(count)
        logger = Memory(tmp_path / f"{len(losses)}")
        made = train(stage, logger, **steps)
        assert any(f"CPU, {count} threads" in note for note in logger.notes) and made.progress.device.startswith("CPU")
        assert equal(found.setdefault(count, made), made)
        losses.append([*logger.points["train/loss"].values()])
    assert losses[1] == losses[2] == pytest.approx(losses[0], rel=1e-2)


def test_a_training_that_goes_on_with_other_threads_says_so(train, tmp_path: Path, threads) -> None:
    steps = {"skeleton__training__steps": 4, "skeleton__training__evaluations": 2}
    for count in (1, 2):
        threads(1)
        with pytest.raises(Stopped):
            train("skeleton", Memory(tmp_path / str(count), stop_after=1), **steps)
        threads(count)
        train("skeleton", cut := Memory(tmp_path / str(count)), **steps)
        said = [note for note in cut.notes if "began on CPU, 1 threads" in note and "CPU, 2 threads" in note]
        assert len(said) == count - 1, cut.notes


def test_what_was_pretrained_waits_for_its_start_in_alignment(train, tmp_path: Path) -> None:
    def trained(start: float, steps: int) -> dict[str, torch.Tensor]:
        more = {"alignment__encoder_start": start, "alignment__training__steps": steps}
        model = train("alignment", Memory(tmp_path / f"{start}-{steps}"), **more, alignment__training__ema=0).model
        return {name: value for name, value in model.state_dict().items() if "parts." in name or "reduce" in name}

    first, begun, waiting, over = trained(1, 1), trained(0, 4), trained(0.9, 4), trained(0.5, 4)
    assert all(torch.equal(waiting[name], value) for name, value in first.items())
    assert all(any(not torch.equal(found[n], v) for n, v in first.items()) for found in (begun, over))


def test_self_training_goes_on_with_the_texts_it_had(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AlignmentModel, "self_training_labels", lambda self, y, mask, **_: [[4, 5]] * len(mask))
    more = {"alignment__training__steps": 9, "alignment__self_training__start": 0.1}
    whole = Memory(tmp_path / "whole")
    unbroken = train("alignment", whole, **more)
    with pytest.raises(Stopped):
        train("alignment", Memory(tmp_path / "cut", stop_after=2), **more)
    cut, without = Memory(tmp_path / "cut"), Memory(tmp_path / "without")
    assert equal(train("alignment", cut, **more), unbroken)
    train("alignment", without, **more | {"alignment__self_training__share": 0})
    after = [points.points["train/text"][8] for points in (whole, cut, without)]
    assert after[0] == after[1] != after[2]


@given(st.integers(1, 5000), st.integers(0, 3), st.sampled_from([0, 0.5, 1, 2]), st.integers(0, 2000))
def test_steps_grow_where_every_video_has_a_text_but_stay_as_many_as_asked(
    labelled: int, unlabelled: int, share: float, least: int
) -> None:
    sets = {"alignment.self_training.share": share, "alignment.training.min_steps": least}
    params = load.resolve(sets={name: str(value) for name, value in sets.items()}).alignment
    size, usual = labelled_clips(params, labelled, unlabelled), params.training.batch_size
    assert usual <= size <= usual * (1 + share)
    assert size == usual or (not unlabelled and params.training.epochs * labelled / size >= least)
    steps = load.resolve(sets={"alignment.training.steps": "7"}).alignment
    assert labelled_clips(steps, labelled, unlabelled) == usual


def test_a_training_that_was_cut_off_after_its_last_step_is_not_trained_again(train, tmp_path: Path) -> None:
    unbroken = train("skeleton", Memory(tmp_path / "whole"))
    with pytest.raises(Stopped):
        train("skeleton", Memory(tmp_path / "cut", stop_after=3))
    again = Memory(tmp_path / "cut")
    assert equal(train("skeleton", again), unbroken)
    assert "train/loss" not in again.points


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_seed_gives_the_same_weights_and_another_gives_others(train, tmp_path: Path, stage: str) -> None:
    short = {f"{stage}__training__steps": 2}
    first = train(stage, Memory(tmp_path / "a"), **short)
    assert equal(train(stage, Memory(tmp_path / "b"), **short), first)
    assert not equal(train(stage, Memory(tmp_path / "c"), **short, **{f"{stage}__training__seed": 5}), first)


# memory ---------------------------------------------------------------------------------------------------------------


class Full:
    """Stands before a model's forward: memory is full while a batch has more than `most` clips."""

    def __init__(self, most: int) -> None:
        self.most, self.times = most, 0

    def __call__(self, module, inputs) -> None:
        x = inputs[0]
        if len(x) > self.most and torch.is_grad_enabled():
            self.times += 1
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch):
    """full(2): from now on, every skeleton model has memory for two clips."""
    from sign_models.models.skeleton import SkeletonModel

    encode = SkeletonModel.encode

    def make(most: int) -> Full:
        guard = Full(most)

        def guarded(self, x, mask, masked=None):
            guard(self, (x,))
            return encode(self, x, mask, masked)

        monkeypatch.setattr(SkeletonModel, "encode", guarded)
        return guard

    return make


@pytest.mark.parametrize(("most", "parts"), [(3, 2), (1, 4)])
@pytest.mark.parametrize("stage", STAGES)
def test_full_memory_halves_the_batch_and_keeps_the_effective_one(train, full, tmp_path, stage, most, parts) -> None:
    same = {**still(stage), "temporal__model__dropout": 0, "alignment__decoder__dropout": 0, "alignment__losses__contrast_weight": 0,
            "temporal__contrast_weight": 0, f"{stage}__training__steps": 3}  # fmt: skip
    roomy = Memory(tmp_path / "roomy")
    wanted = train(stage, roomy, **same)
    guard = full(most)
    tight = Memory(tmp_path / "tight")
    found = train(stage, tight, **same)
    assert guard.times == math.log2(parts)  # not once a step: it is remembered
    said = [note for note in tight.notes if "out of memory" in note]
    assert len(said) == guard.times
    assert f"batches of {4 // parts} clips, {parts} of them a step; the effective batch stays 4" in said[-1]
    for step, loss in roomy.points["train/loss"].items():
        assert tight.points["train/loss"][step] == pytest.approx(loss, rel=1e-3)  # losses are divided by the step's
    assert tight.points["train/learning_rate"] == roomy.points["train/learning_rate"]
    assert found.progress.frames == wanted.progress.frames


def test_memory_for_less_than_a_clip_is_an_error_that_says_what_to_do(train, full, tmp_path: Path) -> None:
    full(0)
    with pytest.raises(ResourceError, match="too little memory for one clip.*smaller preset"):
        train("skeleton", Memory(tmp_path / "x"))


# the loop's other promises --------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_training(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sign_models.stages import skeleton

    loss = skeleton.restoration_loss
    monkeypatch.setattr(skeleton, "restoration_loss", lambda *a: tuple(v * math.nan for v in loss(*a)))
    with pytest.raises(ResourceError, match="the loss is nan.*lower training.lr"):
        train("skeleton", Memory(tmp_path / "x"))


def test_a_score_that_is_no_number_stops_the_training(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sign_models.stages.skeleton import SkeletonTask

    monkeypatch.setattr(SkeletonTask, "evaluate", lambda self, objective: {"score": math.nan})
    with pytest.raises(ResourceError, match="the validation score is nan.*lower training.lr"):
        train("skeleton", Memory(tmp_path / "x"))


def test_patience_ends_a_training_that_gets_no_better(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sign_models.stages.skeleton import SkeletonTask

    monkeypatch.setattr(SkeletonTask, "evaluate", lambda self, objective: {"score": 0.0})
    logger = Memory(tmp_path / "x")
    trained = train(
        "skeleton",
        logger,
        skeleton__training__steps=20,
        skeleton__training__evaluations=10,
        skeleton__training__patience=3,
        skeleton__training__checkpoint_minutes=60,
    )
    assert (trained.progress.step, trained.progress.best_step) == (8, 7)
    assert [step for step, _ in logger.saved] == [8]


@pytest.mark.parametrize(("warmup", "total"), [(0.1, 100), (0.0, 10), (1.0, 10), (0.5, 1)])
def test_the_rate_rises_to_its_peak_then_falls(warmup: float, total: int) -> None:
    rates = [loop.learning_rate(step, total, warmup) for step in range(total)]
    peak = rates.index(max(rates))
    assert max(rates) == 1 and all(0 < rate <= 1 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert abs(peak - warmup * total) <= 1


def test_epochs_are_steps_of_the_sampler() -> None:
    sampler = Sampler(np.ones(10, int), np.arange(10), 4, 0)
    assert loop.total_steps(None, 2.0, 0, sampler.steps) == 6
    assert loop.total_steps(None, 2.0, 50, sampler.steps) == 50
    assert loop.total_steps(7, None, 0, sampler.steps) == 7


@pytest.mark.parametrize("name", [field.name for field in fields(TrainingOptions)])
def test_a_training_takes_its_options_by_their_names_and_no_others(name: str) -> None:
    given = tiny.params().skeleton.training.model_dump(exclude={"batch_size"})
    assert asdict(TrainingOptions(**given)) == given  # none is left out
    value = given.pop(name)
    for misspelt in ({}, {name + "s": value}, {name[:-1]: value}):
        with pytest.raises(TypeError, match=name[:-1]):
            TrainingOptions(**given, **misspelt)
    with pytest.raises(TypeError, match=f"{name}s"):
        loop.fit(None, None, None, "skeleton", None, **{f"{name}s": value})  # type: ignore[arg-type]


def test_curves_are_grouped_and_none_is_there_twice(train, tmp_path: Path) -> None:
    train("alignment", logger := Memory(tmp_path / "x"), alignment__training__steps=7)
    assert {name.split("/")[0] for name in logger.points} == {"train", "validation"}
    assert all(name.count("/") == 1 for name in logger.points)
    epochs = logger.points["train/epoch"]
    assert list(epochs.values()) == [(step + 1) / 4 for step in epochs]  # 14 clips in fours


def test_a_log_hears_of_a_training_between_two_evaluations(
    train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for every, count in ((-1.0, 3), (3600.0, 0)):
        monkeypatch.setattr(loop, "HEARTBEAT_S", every)
        logger = Memory(tmp_path / f"{every}")
        train("skeleton", logger, skeleton__training__steps=80, skeleton__training__evaluations=1)
        beats = [line for line in logger.notes if re.search(r"step \d+/80  train loss [\d.]+  about \d+ s left", line)]
        assert len(beats) >= count and bool(beats) == bool(count)


def test_a_device_computes_in_half_precision_where_it_multiplies_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for half in (False, True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda half=half: half)
        with device.find_device().autocast():
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == (torch.bfloat16 if half else torch.float32)


def test_the_picture_has_a_row_for_each_clip(train, tmp_path: Path) -> None:
    logger = Memory(tmp_path / "x")
    train("temporal", logger, temporal__training__steps=1)
    figure = logger.figures["pictures/restoration.png"]
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["original", "masked", "restored"] * 3  # 3 dev clips
    drawn = [sum(len(dots.get_offsets()) for dots in axis.collections) for axis in figure.axes]
    assert all(masked < original for original, masked in zip(drawn[::3], drawn[1::3], strict=True))
