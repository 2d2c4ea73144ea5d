"""Alignment never learns a part of a video beside its whole text."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sign_models.datasets.inputs import Inputs
from sign_models.errors import DataError
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.params.schema import Augment
from sign_models.stages import alignment_task
from sign_models.stages.alignment_task import AlignmentTask
from sign_models.stages.objective import Labelled
from sign_models.training import memory, step
from sign_models.training.device import find_device
from tests import tiny
from tests.stages.recorders import Memory

LONGEST = 40  # of tiny.videos()


def task_of(inputs: Inputs, **more: object) -> AlignmentTask:
    params = tiny.params(**more)
    torch.manual_seed(1)
    first = SkeletonModel(**params.skeleton.model.model_dump())
    second = TemporalModel(first, **params.temporal.model.model_dump(), window=64)
    return AlignmentTask(params.alignment, inputs.videos, inputs.texts, second, find_device(), "cased", None)


@pytest.mark.parametrize("max_frames", [1, 13, 32, 512])
def test_every_clip_of_every_step_has_all_of_its_frames(inputs: Inputs, max_frames: int) -> None:
    task = task_of(inputs, alignment__max_frames=max_frames, alignment__augment__drop_frames=0)
    seen = set()
    for number in range(8):
        clips = task.clips(number)
        split = task.micro_batches(number)
        assert [i for part in split for i in range(len(clips))[part]] == [*range(len(clips))]
        for micro_batch in split:
            lengths = inputs.videos.lengths[clips[micro_batch]]
            rows = slice(0, len(lengths))
            drawn = task.plan_batch(number, rows, micro_batch)
            assert np.allclose(drawn["span"], lengths) and np.allclose(drawn["start"], 0)
            assert len(lengths) == 1 or len(lengths) * lengths.max() <= len(clips) * max_frames
            assert drawn["labels"].shape[0] == len(lengths)
            seen.update(lengths.tolist())
    assert max(seen) == LONGEST


def test_clips_beyond_max_frames_are_seen_whole_by_the_encoder(train, tmp_path: Path, monkeypatch) -> None:
    """The same through the whole stage: with nothing varied, what is encoded has the frames of the videos."""
    frames: list[int] = []
    encode = TemporalModel.encode

    def counted(self, x, mask, masked=None):
        if torch.is_grad_enabled():
            frames.extend(mask.sum(1).tolist())
        return encode(self, x, mask, masked)

    monkeypatch.setattr(TemporalModel, "encode", counted)
    still = {f"alignment__augment__{name}": 0 for name in ("tempo", "drop_frames")}
    train("alignment", Memory(tmp_path / "x"), alignment__max_frames=13, alignment__training__steps=6, **still)
    assert set(frames) <= {12 + 7 * i for i in range(5)} and max(frames) == LONGEST


def test_a_step_in_micro_batches_learns_what_it_learns_at_once(train, tmp_path: Path) -> None:
    still = {f"alignment__augment__{name}": 0 for name in Augment.model_fields}
    still |= {f"alignment__mask__{name}": 0 for name in ("joints", "parts", "frames")}
    still |= {"alignment__training__steps": 3, "temporal__model__dropout": 0, "alignment__decoder__dropout": 0}
    apart, together = Memory(tmp_path / "apart"), Memory(tmp_path / "together")
    train("alignment", apart, alignment__max_frames=13, **still)
    train("alignment", together, alignment__max_frames=512, **still)
    for at, loss in together.points["train/loss"].items():
        assert apart.points["train/loss"][at] == pytest.approx(loss, rel=1e-3)


def test_a_video_without_memory_for_it_is_left_out_counted_and_named(
    train, inputs, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(alignment_task, "longest_clip", lambda forward, memory: 30)
    long = {i for i, n in zip(inputs.videos.ids, inputs.videos.lengths, strict=True) if n > 30}
    training = {name for name in long if name.startswith("train")}
    task = task_of(inputs, alignment__max_frames=8)
    assert {inputs.videos.ids[i] for number in range(50) for i in task.clips(number)}.isdisjoint(long)
    logger = Memory(tmp_path / "x")
    trained = train("alignment", logger, alignment__max_frames=8, alignment__training__steps=2)
    [said] = [note for note in logger.notes if "training videos are longer" in note]
    assert said.startswith(f"alignment: {len(training)} of 12 training videos are longer than the 30 frames")
    assert all(repr(name) in said for name in training)
    assert trained.facts["left_out.training"] in said


def test_where_no_video_fits_it_is_an_error(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment_task, "longest_clip", lambda forward, memory: 3)
    with pytest.raises(DataError, match="12 of 12 training videos are longer than the 3 frames.*cut them"):
        task_of(inputs, alignment__max_frames=1)


def test_nothing_is_measured_or_said_where_all_fit_into_a_step(inputs: Inputs, monkeypatch) -> None:
    monkeypatch.setattr(alignment_task, "longest_clip", None)
    assert task_of(inputs).facts == {}


@given(st.integers(1, 60), st.integers(0, 59), st.integers(1, 9), st.lists(st.integers(0, 60), max_size=4))
def test_pieces_are_the_rows_of_a_process_once_each(clips: int, first: int, parts: int, cuts: list[int]) -> None:
    edges = sorted({0, clips, *(cut for cut in cuts if cut < clips)})
    micro_batches = [slice(a, b) for a, b in itertools.pairwise(edges)]
    rows = slice(min(first, clips), clips)
    found = [*step.pieces(micro_batches, rows, parts)]
    assert [i for _, m, part in found for i in range(clips)[m][part]] == [*range(clips)[rows]]
    assert all(micro_batches[place] == m and part.stop <= m.stop - m.start for place, m, part in found)


def test_the_longest_clip_is_that_whose_training_takes_the_memory(inputs: Inputs) -> None:
    """What autograd keeps of a clip of that length, once more, is what was allowed."""
    task = task_of(inputs)
    labels = task.labels[:1]

    def loss(frames: int) -> torch.Tensor:
        return task.objective(Labelled(task._silent(frames), labels, contrasted=False))["loss"]

    allowed = 64 * 2**20
    longest = memory.longest_clip(loss, allowed)
    assert longest > 4 * memory.PROBED_FRAMES[-1]
    fixed = memory.saved_bytes(lambda: loss(4))
    assert memory.BYTES_PER_SAVED_BYTE * (memory.saved_bytes(lambda: loss(longest)) - fixed) == pytest.approx(
        allowed, rel=0.05
    )
    assert memory.longest_clip(loss, 4 * allowed) > 2 * longest


@pytest.mark.parametrize("said", ["1048576", "max", ""])
def test_a_container_s_limit_is_the_memory_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    (tmp_path / "memory.max").write_text(said)
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "none")))
    found = memory.device_memory(torch.device("cpu"))
    assert found == 2**20 if said.isdigit() else found > 2**20
