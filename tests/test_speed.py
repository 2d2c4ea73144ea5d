"""What benchmarks/speed.py counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from benchmarks.alternating import Alternating
from benchmarks.bench import Bench, Skipped
from sign_models.training.loop import LOG_STEPS
from sign_models.training.task import Task


class Lengths:
    """A task whose step s has one clip of lengths[s] frames, and of the last length ever after."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths

    def clips(self, step: int) -> np.ndarray:
        return np.zeros(1, int)

    def plan_batch(self, step: int, part: slice) -> dict[str, torch.Tensor]:
        return {"steps": torch.empty(self.lengths[min(step, len(self.lengths) - 1)])}


def counted(device: str, lengths: list[int], rounds: int) -> list[int]:
    bench = cast(Bench, SimpleNamespace(device=torch.device(device)))
    return Bench.counted(bench, cast(Task, Lengths(lengths)), rounds)


def test_a_report_counts_on_a_gpu_once_all_of_its_shapes_are_recorded() -> None:
    first = [4] * LOG_STEPS
    one, two = [4] * (LOG_STEPS - 1) + [8], [4] * (LOG_STEPS - 2) + [8, 8]
    assert counted("cuda", first, 3) == [1, 2, 3]  # never the very first
    assert counted("cuda", first + one + one + one + first, 2) == [3, 4]  # 8 is recorded in the second of its three
    assert counted("cuda", first + two + one, 2) == [2, 3]
    assert counted("cpu", first + one + one, 2) == [1, 2]  # which records nothing


def test_shapes_that_never_end_are_no_figure() -> None:
    with pytest.raises(Skipped, match="new shape"):
        counted("cuda", list(range(1, 10**4)), 1)


def test_only_what_counts_is_timed_beside_the_others() -> None:
    heard: list[int] = []
    logger = Alternating(torch.device("cpu"), [2, 4], [lambda place: heard.append(place) or float(place)])
    for report in range(6):
        logger.metrics({"train/loss": 1.0}, report * LOG_STEPS + LOG_STEPS - 1)
        logger.metrics({"validation/loss": 1.0}, report)  # no report of training
    assert logger.steps == [range(2 * LOG_STEPS, 3 * LOG_STEPS), range(4 * LOG_STEPS, 5 * LOG_STEPS)]
    assert len(logger.seconds) == 2 and len(logger.whole) == 6
    assert heard == [0, 2, 4] and logger.rates == [[2.0], [4.0]]  # the first call is to warm up
