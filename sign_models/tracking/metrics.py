"""Metric points on their way to the store: in batches, from a thread, through an outage, and never twice."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sign_models import interruption
from sign_models.errors import ResourceError
from sign_models.tracking.store_errors import LASTING, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

logger = logging.getLogger(__name__)
MAX_BATCH_POINTS = 1000  # points a call: MLflow's own limit
WRITE_INTERVAL_S = 5.0  # s between two calls
MAX_WAITING_POINTS = 200_000  # points held while the store is away; about 50 MB
OUTAGE_PATIENCE_S = 600.0  # s without one success, after which the run is stopped
OLD_NAME = re.compile(r"(train|validation|test|dev|none)\.(\w+)")
RETRY_PAUSE_S = 2.0  # s between two tries, beside the waiting that MLflow's HTTP client does itself


class MetricLog:
    """The curves of one run.

    Points wait in memory until a thread has written them. Training never waits for the store, unless MAX_WAITING_POINTS
    points wait already. A store that is away is tried again for OUTAGE_PATIENCE_S; then `add` and `flush` raise
    ResourceError.
    """

    def __init__(self, client: MlflowClient, run_id: str, stored: set[tuple[str, int]] | None = None) -> None:
        """Start the thread.

        Args:
            client: Of the store.
            run_id: Of the run.
            stored: (name, step) of points that are stored already, and dropped: a resumed run takes the steps since its
                checkpoint again.
        """
        self._client, self._run_id, self._stored = client, run_id, stored or set()
        self._points: list[Metric] = []
        self._changed = threading.Condition()
        self._hurry = self._closed = False
        self._failing_since: float | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write_all, name=f"metrics of {run_id[:8]}", daemon=True)
        self._thread.start()

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve.

        Args:
            values: Value by name.
            step: Training step.

        Raises:
            ResourceError: The store does not answer any more.
            Terminated: A signal asks for the end while the queue is full (KeyboardInterrupt for Ctrl-C).
        """
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        fresh = [Metric(k, float(v), now, step) for k, v in values.items() if (k, step) not in self._stored]
        with self._changed:
            self._raise_error()
            while len(self._points) + len(fresh) > MAX_WAITING_POINTS and self._points:
                interruption.check()
                self._changed.wait(1.0)
                self._raise_error()
            self._points += fresh
            if len(self._points) >= MAX_BATCH_POINTS:
                self._changed.notify_all()

    def flush(self, patience: float = OUTAGE_PATIENCE_S) -> None:
        """Wait until every point is stored.

        Args:
            patience: Seconds to wait.

        Raises:
            ResourceError: Points are not stored within that time, or never will be.
            Terminated: A signal asks for the end (KeyboardInterrupt for Ctrl-C).
        """
        end = time.monotonic() + patience
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            try:
                while self._points:
                    self._raise_error()
                    if time.monotonic() > end:
                        raise self._lost(f"the store does not answer, and did not for {patience:.0f} s")
                    interruption.check()
                    self._changed.wait(0.2)
            finally:
                self._hurry = False

    def close(self, patience: float = OUTAGE_PATIENCE_S) -> None:
        """Wait until every point is stored, and end the thread.

        Args:
            patience: Seconds to wait.

        Raises:
            ResourceError: Points are not stored.
        """
        try:
            self.flush(patience)
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._lost(first_line(self._error)) from self._error

    def _lost(self, found: str) -> ResourceError:
        """The error of points that the store has not taken."""
        return ResourceError(
            f"{found}; {len(self._points)} metric points are not stored",
            place=f"metrics of run {self._run_id}",
            wanted="a tracking store that answers",
            remedy="bring the store back and resume the run: it goes on from its last checkpoint",
        )

    def _write_all(self) -> None:
        """Write points in batches until the log is closed. The body of the thread."""
        going = True
        while going:
            with self._changed:
                self._changed.wait_for(self._due, WRITE_INTERVAL_S)
                batch = self._points[:MAX_BATCH_POINTS]
                going = not self._closed
            if batch and going:
                going = self._write(batch)

    def _due(self) -> bool:
        return self._closed or len(self._points) >= MAX_BATCH_POINTS or (self._hurry and bool(self._points))

    def _write(self, batch: list[Metric]) -> bool:
        """Try once to store a batch -> whether another try is worth it."""
        import mlflow
        from requests import RequestException

        try:
            self._client.log_batch(self._run_id, metrics=batch)
        except (mlflow.MlflowException, RequestException, OSError) as error:
            now = time.monotonic()
            if self._failing_since is None:
                self._failing_since = now
                logger.warning("the tracking store does not answer; metrics wait in memory: %s", first_line(error))
            with self._changed:
                code = error.error_code if isinstance(error, mlflow.MlflowException) else ""
                if code in LASTING or now - self._failing_since > OUTAGE_PATIENCE_S:
                    logger.error("metrics of run %s cannot be stored; it stops: %s", self._run_id, first_line(error))
                    self._error = error
                    self._changed.notify_all()
                    return False
                self._changed.wait_for(lambda: self._closed, RETRY_PAUSE_S)
            return True
        if self._failing_since is not None:
            logger.warning("the tracking store answers again; %d metric points waited", len(self._points))
            self._failing_since = None
        with self._changed:
            del self._points[: len(batch)]
            self._changed.notify_all()
        return True


def stored_points(client: MlflowClient, run_id: str) -> set[tuple[str, int]]:
    """Find the points that a run has.

    Args:
        client: Of the store.
        run_id: Of the run.

    Returns:
        (name, step) of each, by its own name and by the one that it has today.
    """
    names = client.get_run(run_id).data.metrics
    steps = {name: [point.step for point in client.get_metric_history(run_id, name)] for name in names}
    return {(same, step) for name, found in steps.items() for same in (name, current_name(name)) for step in found}


def current_name(name: str) -> str:
    """Translate a metric's name of any version into today's.

    Until 0.1.0 curves were `train.loss`, scores `test.chrf`, and what stands beside a trained model had no group.

    Args:
        name: As stored.

    Returns:
        The name today.
    """
    if old := OLD_NAME.fullmatch(name):
        return f"{old[1]}/{old[2]}"
    return name if "/" in name or "." in name else f"validation/{name}"
