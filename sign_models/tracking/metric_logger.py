"""What training reports, written to its MLflow run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sign_models.tracking.checkpoints import RunCheckpoints
from sign_models.tracking.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


class WorkerLogger:
    """The MetricLogger of a process that trains beside the one with the run: reads checkpoints, writes nothing."""

    def __init__(self, run_id: str, resumed: bool) -> None:
        self.checkpoints = RunCheckpoints(Run(run_id, "", "", resumed)) if resumed else None

    def metrics(self, values: dict[str, float], step: int) -> None:
        return

    def figure(self, name: str, figure: Figure) -> None:
        return

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        return

    def restore(self) -> Path | None:
        return self.checkpoints.latest() if self.checkpoints else None

    def log(self, message: str) -> None:
        return


class RunLogger:
    """The MetricLogger of sign_models.training.loop for one run."""

    def __init__(self, run: Run) -> None:
        self.run, self.checkpoints = run, RunCheckpoints(run)

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.run.log_metrics(values, step)

    def figure(self, name: str, figure: Figure) -> None:
        self.run.log_figure(figure, name)

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        self.checkpoints.save(folder, step, best)

    def restore(self) -> Path | None:
        return self.checkpoints.latest() if self.run.resumed else None

    def log(self, message: str) -> None:
        logger.info(message)
