"""What costs speed is said, once, with what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sign_models.data.batching import DeviceCorpus, resident
from sign_models.datasets.inputs import Inputs
from sign_models.training.step import TrainStep
from tests.stages.recorders import Memory

GPU = torch.device("cuda")


class Full:
    """In place of a CudaGraphCache: memory ends in what it captures."""

    def __call__(self, *_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_memory_that_ends_in_a_captured_step_is_told_once(
    train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = TrainStep.__init__

    def full(self: TrainStep, *given: object, **named: object) -> None:
        made(self, *given, **named)  # type: ignore[arg-type]
        self.graphs = Full()  # type: ignore[assignment]

    monkeypatch.setattr(TrainStep, "__init__", full)
    logger, plain = Memory(tmp_path / "x"), Memory(tmp_path / "y")
    train("skeleton", logger)
    [said] = [note for note in logger.notes if "captured step" in note]
    assert "from step 0 on no step is captured" in said and "times as long" in said
    monkeypatch.setattr(TrainStep, "__init__", made)
    train("skeleton", plain)
    assert logger.points["train/loss"] == plain.points["train/loss"]


@pytest.mark.parametrize("free", [0, 1000, 2**60])
def test_frames_in_memory_go_to_a_gpu_only_where_they_fit(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.zeros((1000, 87, 3), np.float16)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2**61))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: "moved")
    found = resident(frames, GPU)
    assert found is frames if free < 2 * frames.nbytes else found == "moved"


def test_frames_that_stay_with_the_host_are_told(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 2**61))
    frames = DeviceCorpus(inputs.videos, GPU)
    assert not frames.capturable
    assert "stay with the host" in frames.facts["frames"] and "times as long" in frames.facts["frames"]
    assert DeviceCorpus(inputs.videos, torch.device("cpu")).facts == {}


def test_clips_are_read_from_frames_that_stay_with_the_host_as_from_others(inputs: Inputs) -> None:
    whole = DeviceCorpus(inputs.videos, torch.device("cpu"))
    held = DeviceCorpus(inputs.videos, torch.device("cpu"))
    held.frames = inputs.videos.frames
    places = np.array([3, 0, 7])
    one, other = whole.unaugmented(places), held.unaugmented(places)
    assert torch.equal(one.x, other.x) and torch.equal(one.mask, other.mask)
