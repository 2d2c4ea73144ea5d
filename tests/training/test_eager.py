"""One switch, execution.eager, turns CUDA graphs and kernels off; kernels that cannot be built are told once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sign_models import kernels
from sign_models.params import load
from sign_models.stages.skeleton import SkeletonTask
from sign_models.training import step
from sign_models.training.device import Device
from sign_models.training.task import TrainingOptions
from tests import tiny
from tests.stages.recorders import Memory


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    kernels.set_eager(False)


@pytest.mark.parametrize("stage", [None, "skeleton", "temporal", "represent", "alignment", "generate"])
def test_every_command_has_the_switch(stage: str | None) -> None:
    for name in ("eager", "execution.eager"):
        assert load.resolve(stage, sets={name: "true"}).execution.eager
    assert not load.resolve(stage).execution.eager


@pytest.mark.parametrize("eager", [True, False])
def test_the_switch_decides_over_kernels_and_captured_steps(
    inputs, monkeypatch: pytest.MonkeyPatch, eager: bool
) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: object())
    monkeypatch.setitem(__import__("sys").modules, "sign_models.kernels.rotary", smoke := type("rotary", (), {})())
    smoke.smoke_test = lambda: None
    monkeypatch.setattr(kernels, "rotary", smoke, raising=False)
    kernels.set_eager(eager)
    assert kernels.fused() is not eager and kernels.is_eager() is eager
    task = SkeletonTask(tiny.params().skeleton, inputs.keypoints, Device(torch.device("cpu")))
    monkeypatch.setattr(SkeletonTask, "recordable", True)
    monkeypatch.setattr(step, "CudaGraphCache", lambda group: "graphs")
    monkeypatch.setattr(step, "_optimizer", lambda *_: ([], None))
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: self)
    gpu = Device(torch.device("cuda"))
    options = TrainingOptions(**tiny.params().skeleton.training.model_dump(exclude={"batch_size"}))
    made = step.TrainStep(task, gpu, options, print)
    assert made.graphs == (None if eager else "graphs")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert ("eager" in gpu.describe(made.graphs is not None)) == eager


def test_the_pipeline_obeys_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sign_models.pipeline import runner
    from sign_models.pipeline.options import Options

    seen: list[bool] = []
    for eager in (True, False):
        options = Options(load.resolve(sets={"execution.eager": str(eager)}))
        runner._lead(lambda _: seen.append(kernels.is_eager()), options)
    assert seen == [True, False]


def test_kernels_that_cannot_be_built_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    kernels.set_eager(False)
    with caplog.at_level(logging.WARNING):
        assert [kernels.fused() for _ in range(3)] == [False] * 3
    [said] = caplog.messages
    assert "no package triton" in said and "times as long" in said and "C compiler" in said


def test_a_training_on_a_cpu_is_the_same_either_way(train, tmp_path: Path) -> None:
    first, second = Memory(tmp_path / "a"), Memory(tmp_path / "b")
    train("skeleton", first)
    kernels.set_eager(True)
    train("skeleton", second)
    assert first.points["train/loss"] == second.points["train/loss"]
    assert any("neither CUDA graphs" in note for note in second.notes)
