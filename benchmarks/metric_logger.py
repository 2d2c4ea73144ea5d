"""What benchmarks' trainings report to: nothing is kept, notes go to standard error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


class Unkept:
    """All of a training.MetricLogger but its metrics."""

    def figure(self, name: str, figure: Any) -> None:
        return

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        return

    def restore(self) -> Path | None:
        return None

    def log(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)
