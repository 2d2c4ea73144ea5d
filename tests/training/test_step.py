"""A step that a GPU has recorded does what the step does."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sign_models.kernels.replay import gc_paused
from sign_models.training import cuda_graphs
from sign_models.training.distributed import ALONE
from sign_models.training.ema import ExponentialMovingAverage
from tests.stages.recorders import Memory

STAGES = ("skeleton", "temporal", "alignment")


def test_the_average_forgets_where_it_began_and_then_moves_slowly() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    average = ExponentialMovingAverage(module, 0.9)
    values, expected = [], 0.0
    for n in range(60):
        torch.nn.init.constant_(module.weight, value := float(n % 7))
        average.prepare(n)
        average.update()
        decay = min(0.9, (1 + n) / (10 + n)) if n else 0.0
        expected = decay * expected + (1 - decay) * value
        values.append((average.module.weight.item(), expected))
    assert all(found == pytest.approx(wanted, abs=1e-4) for found, wanted in values)
    assert average.module.weight is not module.weight


@pytest.mark.gpu  # graphs are its own
@pytest.mark.parametrize("stage", STAGES)
def test_recorded_steps_train_as_the_steps_themselves(
    train: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    replayed = 0
    record = cuda_graphs.CudaGraphCache.__call__

    def counted(self: cuda_graphs.CudaGraphCache, work: Callable, plan: cuda_graphs.BatchPlan) -> torch.Tensor:
        nonlocal replayed
        values = record(self, work, plan)
        replayed += sum(found is not None for found in self.seen.values())
        return values

    monkeypatch.setattr(cuda_graphs.CudaGraphCache, "__call__", counted)
    length = {f"{stage}__training__steps": 60, f"{stage}__training__lr": 1e-3}
    recorded, plain = Memory(tmp_path / "recorded"), Memory(tmp_path / "plain")
    train(stage, recorded, **length)
    assert replayed > 0
    unrecorded = lambda self, work, plan: work(cuda_graphs.to_device(plan, torch.device("cuda")))  # noqa: E731
    monkeypatch.setattr(cuda_graphs.CudaGraphCache, "__call__", unrecorded)
    train(stage, plain, **length)
    for at, loss in plain.points["train/loss"].items():
        assert recorded.points["train/loss"][at] == pytest.approx(loss, rel=0.02)


@pytest.mark.gpu  # graphs are its own
def test_graphs_of_an_earlier_training_do_not_disturb_a_recording() -> None:
    def graph() -> torch.cuda.CUDAGraph:
        x, made = torch.zeros(1, device="cuda"), torch.cuda.CUDAGraph()
        with torch.cuda.graph(made):
            x + 1
        return made

    def work(plan: cuda_graphs.BatchPlan) -> torch.Tensor:
        cycle = [graph() if not torch.cuda.is_current_stream_capturing() else None]
        cycle.append(cycle)
        for _ in range(3 * gc.get_threshold()[0]):  # collects, if anything does
            kept.append([])
        return plan["x"] + 1

    kept: list[list] = []
    graphs = cuda_graphs.CudaGraphCache(ALONE)
    assert [graphs(work, {"x": torch.full((1,), n)}).item() for n in range(4)] == [1, 2, 3, 4]


def test_nothing_is_collected_while_a_step_is_recorded() -> None:
    with gc_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with gc_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
