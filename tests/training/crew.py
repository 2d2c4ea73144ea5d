"""Trains as one of several processes, which find each other as those of torchrun do: python -m tests.training.crew FOLDER.

FOLDER/asked.json says what; the first process writes what it recorded to FOLDER/<name>.json, and its
first checkpoint to FOLDER/<name>-begun. Each writes which clips it computed, by step, to FOLDER/<name>-<rank>.json.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from sign_models.datasets.inputs import Inputs
from sign_models.stages.alignment_task import AlignmentTask
from sign_models.stages.skeleton import SkeletonTask
from sign_models.stages.temporal import TemporalTask
from sign_models.training.distributed import init_distributed
from sign_models.training.task import ALL
from tests.stages.recorders import Memory
from tests.stages.training import train


def log_clips(computed: dict[int, dict[str, list[int]]]) -> None:
    """From now on, what a process draws of the clips of each step goes to `computed`."""
    for task in (SkeletonTask, TemporalTask, AlignmentTask):

        def plan_batch(self, step: int, part: slice, micro_batch: slice = ALL, plan=task.plan_batch) -> Any:
            of_step = computed.setdefault(step, {"step": self.clips(step).tolist(), "mine": []})
            of_step["mine"] += self.clips(step)[micro_batch][part].tolist()
            return plan(self, step, part, micro_batch)

        task.plan_batch = plan_batch  # type: ignore[method-assign]


class Begun(Memory):
    """Keeps the first checkpoint too."""

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        super().checkpoint(folder, step, best)
        if len(self.saved) == 1:
            shutil.copytree(folder, f"{self.folder}-begun")


def main(folder: Path) -> None:
    inputs = Inputs.from_paths(folder / "data", None, None, None)
    torch.cpu._is_avx512_bf16_supported = lambda: False  # half precision rounds by the shape of what is multiplied
    log_clips(computed := {})
    with init_distributed() as process_group:
        for name, (stage, more) in json.loads((folder / "asked.json").read_text()).items():
            logger = Begun(folder / name)
            computed.clear()
            train(inputs, stage, logger, **more)
            (folder / f"{name}-{process_group.rank}.json").write_text(json.dumps(computed))
            if process_group.is_main_process:
                (folder / f"{name}.json").write_text(json.dumps(logger.points))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
