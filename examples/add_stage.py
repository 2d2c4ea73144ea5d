"""Add a stage outside the package: round a skeleton model's weights to fewer bits, and register it as sign-rounded.

usage: python -m examples.add_stage [--data DIR] [--bits 8] [--skeleton-model candidate] [--help]
"""

from typing import Annotated

from pydantic import Field

from sign_models.cli import commands
from sign_models.params.schema import Closed
from sign_models.stages.declaration import STAGES, Stage
from sign_models.stages.work import Result, Work


class RoundParams(Closed):
    """The stage's parameters: `--bits 6`, or `round: {bits: 6}` in a file for --config-override."""

    bits: Annotated[int, Field(ge=2, le=16)] = 8  # of each weight


def run(work: Work) -> Result:
    """Do the stage's work. Models, inputs and parameters come with `work`; what is returned is registered."""
    from sign_models.models.storage import load

    model = load(work.models["skeleton"])
    changes = []
    for weight in model.parameters():
        step = weight.detach().abs().max().clamp(min=1e-12) / 2 ** (work.params.bits - 1)
        rounded = (weight.detach() / step).round() * step
        changes.append(float((rounded - weight.detach()).abs().mean()))
        weight.data = rounded
    return Result(model, {"score": -sum(changes) / len(changes)})


STAGES["round"] = Stage(
    "round",
    RoundParams,
    run="examples.add_stage:run",
    help="Round a skeleton model's weights and register it as sign-rounded.",
    examples="python -m examples.add_stage --bits 6",
    reads=("keypoints",),
    upstream=("skeleton",),
    registers="sign-rounded",
    metrics=("score",),
)

if __name__ == "__main__":
    commands.run(commands.stage_command("round"))
