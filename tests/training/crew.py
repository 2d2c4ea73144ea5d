"""Trains as one of several processes: python -m torch.distributed.run --nproc-per-node 2 -m tests.training.crew FOLDER.

FOLDER/asked.json says what; the first process writes what it recorded to FOLDER/<name>.json, and its
first checkpoint to FOLDER/<name>-begun.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch

from sign_models.datasets.inputs import Inputs
from sign_models.training.distributed import init_distributed
from tests.stages.recorders import Memory
from tests.stages.training import train


class Begun(Memory):
    """Keeps the first checkpoint too."""

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        super().checkpoint(folder, step, best)
        if len(self.saved) == 1:
            shutil.copytree(folder, f"{self.folder}-begun")


def main(folder: Path) -> None:
    inputs = Inputs.of(folder / "data", None, None, None)
    torch.cpu._is_avx512_bf16_supported = lambda: False  # half precision rounds by the shape of what is multiplied
    with init_distributed() as process_group:
        for name, (stage, more) in json.loads((folder / "asked.json").read_text()).items():
            recorder = Begun(folder / name)
            train(inputs, stage, recorder, **more)
            if process_group.first:
                (folder / f"{name}.json").write_text(json.dumps(recorder.points))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
