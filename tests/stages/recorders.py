"""Where a training without MLflow reports to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Stopped(Exception):
    """What cuts a training off."""


class Memory:
    """Keeps all in memory and in `folder`. stop_after: checkpoints after which the training is cut off."""

    def __init__(self, folder: Path, stop_after: int | None = None) -> None:
        self.folder, self.stop_after = folder, stop_after
        self.points: dict[str, dict[int, float]] = {}
        self.notes: list[str] = []
        self.figures: dict[str, Any] = {}
        self.saved: list[tuple[int, bool]] = []

    def metrics(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.points.setdefault(name, {})[step] = value

    def figure(self, name: str, figure: Any) -> None:
        self.figures[name] = figure

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(folder, self.folder)
        self.saved.append((step, best))
        if len(self.saved) == self.stop_after:
            raise Stopped

    def restore(self) -> Path | None:
        return self.folder if self.folder.exists() else None

    def log(self, message: str) -> None:
        self.notes.append(message)


Train = Callable[[Memory], Any]
