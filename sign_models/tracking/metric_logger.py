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
    """The MetricLogger of a worker rank, which has no run: reads checkpoints, writes nothing."""

    def __init__(self, run_id: str, resumed: bool) -> None:
        """Look at the run of rank 0.

        Args:
            run_id: Of that run.
            resumed: Whether it has been open before, and so may have a checkpoint.
        """
        self.checkpoints = RunCheckpoints(Run(run_id, "", "", resumed)) if resumed else None

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Do nothing.

        Args:
            values: Value by name.
            step: Training step.
        """
        return

    def figure(self, name: str, figure: Figure) -> None:
        """Do nothing.

        Args:
            name: Path of the artifact.
            figure: The figure.
        """
        return

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        """Do nothing.

        Args:
            folder: With the files.
            step: Steps taken.
            best: Whether its weights are the best so far.
        """
        return

    def restore(self) -> Path | None:
        """Find the last checkpoint of a resumed run.

        Returns:
            Its folder. None: the run is new, or has none.
        """
        return self.checkpoints.latest() if self.checkpoints else None

    def log(self, message: str) -> None:
        """Do nothing.

        Args:
            message: The message.
        """
        return


class RunLogger:
    """The MetricLogger of one MLflow run."""

    def __init__(self, run: Run) -> None:
        """Report to a run.

        Args:
            run: An open run.
        """
        self.run, self.checkpoints = run, RunCheckpoints(run)

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Add a point to each curve.

        Args:
            values: Value by name.
            step: Training step.

        Raises:
            ResourceError: The store has not answered for OUTAGE_PATIENCE_S.
        """
        self.run.log_metrics(values, step)

    def figure(self, name: str, figure: Figure) -> None:
        """Store a figure as an artifact.

        Args:
            name: Path of the artifact.
            figure: The figure.
        """
        self.run.log_figure(figure, name)

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        """Store a checkpoint.

        Args:
            folder: With the files.
            step: Steps taken.
            best: Whether its weights are the best so far.
        """
        self.checkpoints.save(folder, step, best)

    def restore(self) -> Path | None:
        """Find the last checkpoint of a resumed run.

        Returns:
            Its folder. None: the run is new, or has none.
        """
        return self.checkpoints.latest() if self.run.resumed else None

    def log(self, message: str) -> None:
        """Log a message.

        Args:
            message: The message.
        """
        logger.info(message)
