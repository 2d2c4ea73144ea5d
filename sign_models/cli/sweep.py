"""Options of sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sign_models.cli import commands, values
from sign_models.errors import ParamsError
from sign_models.params.load import nearest
from sign_models.params.space import EXAMPLE, Space, read_space
from sign_models.pipeline.sweep import SweepOptions
from sign_models.stages.declaration import STAGES

OWN = ("stage", "trials", "space", "study", "workers", "spark", "sweep_seed")
OF_EACH_TRIAL = ("experiment", "candidate")  # which the sweep decides
TRAINS = [name for name, stage in STAGES.items() if stage.trains]
TRIALS = 20


def parse(given: Mapping[str, str], overrides: Sequence[str]) -> SweepOptions:
    """Read the options of a sweep, before any work.

    Args:
        given: Text by option; "" where not given. The sweep's own options, and those of the stages' commands.
        overrides: Further parameters of the stage, as they are typed.

    Returns:
        The typed options.

    Raises:
        ParamsError: A value cannot be used, also at any end of a range.
    """
    stage = given["stage"] or "alignment"
    if stage not in TRAINS:
        near = nearest(stage, TRAINS)
        raise ParamsError(
            f"'{stage}'", place="stage", wanted=" or ".join(TRAINS), remedy=f"did you mean '{near}'?" if near else ""
        )
    file = values.path(given, "space")
    if file is None:
        raise ParamsError("not given", place="space", wanted=f"a YAML file, e.g. {EXAMPLE}")
    space = read_space(file)
    arguments = _arguments(stage, given, overrides)
    _check(stage, space, arguments)
    return SweepOptions(
        stage=stage,
        trials=_count(given, "trials", TRIALS),
        space=space,
        arguments=tuple(arguments),
        study=given["study"],
        workers=_count(given, "workers", 1),
        spark=values.truth("spark", given["spark"], False),
        seed=_count(given, "sweep_seed", 0, least=0),
        experiment=values.experiment(given),
    )


def _arguments(stage: str, given: Mapping[str, str], overrides: Sequence[str]) -> list[str]:
    """Words of the stage's command that are the same in every trial, which may start in another folder (Spark's)."""
    known = {str(parameter.name) for parameter in commands.stage_command(stage).params}
    given = {**given, "relative_to": str(Path(given["relative_to"] or ".").absolute())}
    typed = {name: value for name, value in given.items() if value and name not in (*OWN, *OF_EACH_TRIAL)}
    if others := sorted(typed.keys() - known):
        raise ParamsError(f"{', '.join(others)}", place="sweep", wanted=f"options of {stage}", remedy="leave them out")
    return [*values.to_arguments(typed), *overrides]


def _check(stage: str, space: Space, arguments: Sequence[str]) -> None:
    """Parse the command of a trial at each end of each range, so that no trial is refused after hours."""
    command = commands.stage_command(stage)
    for name, domain in space.domains.items():
        for value in domain.boundary_values():
            words = [*arguments, f"--{name}={value}"]
            given = dict(command.make_context(stage, words).params)
            values.parse(stage, given, given.pop("overrides"))


def _count(given: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    value = given[name]
    if not value:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) < 7 and int(value) >= least):
        raise ParamsError(f"'{value}'", place=name, wanted=f"a whole number, from {least} on")
    return int(value)
