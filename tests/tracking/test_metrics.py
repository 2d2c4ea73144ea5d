from __future__ import annotations

import threading
import time

import pytest
from mlflow import MlflowException
from mlflow.entities import Metric
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from sign_models.errors import ResourceError
from sign_models.tracking import metrics
from sign_models.tracking.metrics import MetricLog


class Store:
    """The one method of MlflowClient that a MetricLog uses; away while `away` is set."""

    def __init__(self) -> None:
        self.stored: list[Metric] = []
        self.asked_by: list[int] = []  # threads
        self.away = threading.Event()
        self.error = MlflowException("API request failed")

    def log_batch(self, run_id: str, metrics: list[Metric]) -> None:
        assert len(metrics) <= 1000
        self.asked_by.append(threading.get_ident())
        if self.away.is_set():
            raise self.error
        self.stored += metrics


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(metrics, "RETRY_PAUSE_S", 0.01)
    monkeypatch.setattr(metrics, "WRITE_INTERVAL_S", 0.05)
    return Store()


def test_an_outage_loses_nothing_repeats_nothing_and_stops_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MetricLog(store, "run")  # type: ignore[arg-type]
    waiting, wait = list[int](), log._changed.wait  # threads
    monkeypatch.setattr(log._changed, "wait", lambda *args: waiting.append(threading.get_ident()) or wait(*args))
    for step in range(3000):
        log.add({"loss": step / 2}, step)
        if step == 500:
            store.away.set()
    assert threading.get_ident() not in {*waiting, *store.asked_by}  # training neither waits nor asks the store itself
    threading.Timer(0.3, store.away.clear).start()
    log.close()
    assert [(m.step, m.value) for m in store.stored] == [(step, step / 2) for step in range(3000)]


def test_points_arrive_without_being_asked_for(store: Store) -> None:
    log = MetricLog(store, "run")  # type: ignore[arg-type]
    log.add({"loss": 1.0}, 1)
    end = time.monotonic() + 5
    while not store.stored and time.monotonic() < end:
        time.sleep(0.01)
    assert len(store.stored) == 1
    log.close()


def test_an_outage_without_end_stops_the_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "OUTAGE_PATIENCE_S", 0.1)
    store.away.set()
    log = MetricLog(store, "run")  # type: ignore[arg-type]
    log.add({"loss": 1.0}, 1)
    with pytest.raises(ResourceError, match="1 metric points are not stored.*resume"):
        log.flush(5)
    assert "it stops" in caplog.text  # before the end of the run is tried, which takes its time too
    with pytest.raises(ResourceError):
        log.add({"loss": 1.0}, 2)


def test_memory_is_bounded_while_the_store_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_WAITING_POINTS", 10)
    monkeypatch.setattr(metrics, "OUTAGE_PATIENCE_S", 0.3)
    store.away.set()
    log = MetricLog(store, "run")  # type: ignore[arg-type]
    with pytest.raises(ResourceError, match="10 metric points"):
        for step in range(100):
            log.add({"loss": 1.0}, step)


def test_what_no_retry_can_cure_is_told_at_once(store: Store) -> None:
    store.error = MlflowException("Invalid metric name: 'a@b'", INVALID_PARAMETER_VALUE)
    store.away.set()
    log = MetricLog(store, "run")  # type: ignore[arg-type]
    log.add({"a@b": 1.0}, 1)
    with pytest.raises(ResourceError, match="a@b"):
        log.flush(5)


def test_stored_points_are_not_sent_again(store: Store) -> None:
    log = MetricLog(store, "run", {("loss", 1), ("accuracy", 2)})  # type: ignore[arg-type]
    for step in (1, 2):
        log.add({"loss": 0.0, "accuracy": 1.0}, step)
    log.close()
    assert [(m.key, m.step) for m in store.stored] == [("accuracy", 1), ("loss", 2)]
