"""A stage of somebody else's: it shrinks a skeleton model's weights, a step at a time. `python -m tests.pipeline.toy`."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sign_models.cli import commands
from sign_models.params.schema import Closed
from sign_models.stages.declaration import STAGES, Stage
from sign_models.stages.work import Result, Work


class ToyParams(Closed):
    steps: int = 4
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.1  # of the weights, lost at each step
    killed_at: int = -1  # step at which the process kills itself


def run(work: Work) -> Result:
    """Go on from the last checkpoint, if there is one."""
    from sign_models.models.storage import load, save

    last, begin = work.logger.restore(), 0
    model = load(last or work.models["skeleton"])
    if last:
        begin = json.loads((last / "progress.json").read_text())["step"]
    for step in range(begin, work.params.steps):
        if step == work.params.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        for weight in model.parameters():
            weight.data *= 1 - work.params.rate
        work.logger.metrics({"train.norm": sum(float(p.detach().norm()) for p in model.parameters())}, step)
        with tempfile.TemporaryDirectory() as folder:
            save(model, Path(folder))
            Path(folder, "progress.json").write_text(json.dumps({"step": step + 1}))
            work.logger.checkpoint(Path(folder), step + 1, best=True)
    score = len(work.inputs["keypoints"]) * (1 - work.params.rate) ** work.params.steps
    return Result(model, {"score": score}, step=work.params.steps - 1)


STAGES["toy"] = TOY = Stage(
    "toy", ToyParams, run="tests.pipeline.toy:run", help="Shrink a skeleton model and register it as sign-toy.",
    examples="python -m tests.pipeline.toy --rate 0.5", reads=("keypoints",), upstream=("skeleton",),
    execution=("killed_at",), registers="sign-toy", metrics=("score",),
)  # fmt: skip
main = commands.stage_command("toy")

if __name__ == "__main__":
    commands.run(main)
