"""Callers in several threads, on a model that only counts frames. What real models answer: tests.serving.test_serving."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sign_models.keypoints.windows import Window
from sign_models.serving import predictor
from sign_models.serving.predictor import Predictor
from tests.tracking.fakes import clips


class Counting(Predictor):
    """Keeps the lengths of each batch. The first waits until `go` is set; the batches that `fail` names raise."""

    def __init__(self, fail: tuple[int, ...] = ()) -> None:
        super().__init__(nn.Identity())
        self.batches: list[list[int]] = []
        self.fail, self.go = fail, threading.Event()

    def _answer(self, x: Tensor, mask: Tensor, beams: int | None, n_best: int | None) -> list[dict[str, Any]]:
        lengths = mask.sum(1).tolist()
        self.batches.append(lengths)
        if len(self.batches) - 1 in self.fail:
            raise torch.OutOfMemoryError("full")
        if len(self.batches) == 1:
            assert self.go.wait(30)
        return [{"frames": n, "beams": beams} for n in lengths]

    def _joined(self, windows: list[Window], found: list[Any], n_best: int | None) -> dict[str, Any]:
        [answer] = found
        return answer


def ask_at_once(model: Counting, *questions: tuple[tuple[int, ...], int | None]) -> list[Future]:
    """The first question is being answered when the others come, in this order."""
    with ThreadPoolExecutor(len(questions)) as pool:
        futures = []
        for number, (lengths, beams) in enumerate(questions):
            futures.append(pool.submit(model.predict, clips(lengths), beams=beams))
            while len(model.batches) + len(model._waiting) <= number:
                time.sleep(0.001)
        model.go.set()
    return futures


def test_who_waits_is_answered_in_one_batch_with_those_of_the_same_options() -> None:
    model = Counting()
    futures = ask_at_once(model, ((3,), None), ((5, 4), None), ((9,), 2), ((7,), None))
    assert [[a["frames"] for a in f.result()] for f in futures] == [[3], [5, 4], [9], [7]]
    assert [f.result()[0]["beams"] for f in futures] == [None, None, 2, None]
    assert model.batches[0] == [3] and sorted(model.batches[1:]) == [[4, 5, 7], [9]]


def test_no_more_is_joined_than_a_batch_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "BATCH_FRAMES", 12)
    model = Counting()
    futures = ask_at_once(model, ((3,), None), ((5,), None), ((6,), None), ((4,), None))
    assert [f.result()[0]["frames"] for f in futures] == [3, 5, 6, 4]
    assert all(max(batch) * len(batch) <= 12 for batch in model.batches)


def test_a_batch_that_fails_once_fails_nobody() -> None:
    model = Counting(fail=(1,))
    futures = ask_at_once(model, ((3,), None), ((5,), None), ((6,), None))
    assert [f.result()[0]["frames"] for f in futures] == [3, 5, 6] and not model._waiting


@pytest.mark.parametrize("poison", [5, 6, 7])
def test_a_request_fails_for_its_own_windows_only(poison: int) -> None:
    class Poisoned(Counting):
        def _answer(self, x: Tensor, mask: Tensor, beams: int | None, n_best: int | None) -> list[dict[str, Any]]:
            if poison in mask.sum(1).tolist():
                self.batches.append([])
                raise ValueError("poison")
            return super()._answer(x, mask, beams, n_best)

    model = Poisoned()
    futures = ask_at_once(model, ((3,), None), ((5,), None), ((6,), None), ((7,), None))
    told = [str(f.exception()) if f.exception() else f.result()[0]["frames"] for f in futures]
    assert told == ["poison" if n == poison else n for n in (3, 5, 6, 7)] and not model._waiting
