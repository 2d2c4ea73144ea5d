"""The list of stages agrees with what stands elsewhere: parameters, modules, entry points."""

from __future__ import annotations

import ast
import importlib
import shlex
from pathlib import Path

import pytest
import yaml

from sign_models.cli import commands
from sign_models.params.load import flatten, names, resolve
from sign_models.stages.declaration import STAGES, Stage, model_names, option_name

EACH = pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)


@EACH
def test_it_has_parameters_and_a_function(stage: Stage) -> None:
    assert isinstance(getattr(resolve(), stage.name), stage.params)
    assert callable(stage.function())
    stage.refuse(getattr(resolve(), stage.name))


@EACH
def test_what_it_declares_exists(stage: Stage) -> None:
    params = flatten(getattr(resolve(), stage.name), stage.name)
    assert stage.execution_only <= params.keys()
    assert {f"{stage.name}.{name}" for name in stage.contents} <= params.keys()
    assert set(stage.settings) <= names().keys()
    assert set(stage.reads) <= {"keypoints", "videos", "texts"}
    earlier = list(STAGES.values())[: list(STAGES).index(stage.name)]
    assert set(stage.upstream) <= {s.made_role for s in earlier if s.registers}
    assert {stage.artifact} - {""} <= {s.made_role for s in earlier if s.writes}
    assert bool(stage.registers) != bool(stage.writes) and bool(stage.registers) == bool(stage.metrics)


def test_registered_names_and_roles_are_unique() -> None:
    assert len({stage.made_role for stage in STAGES.values()}) == len(STAGES)
    assert len(set(model_names().values())) == len(model_names())


def entry(stage: Stage) -> dict:
    """The entry point of MLproject that a declaration asks for: `mlflow run` passes on all else that it is given."""
    command = f"exec python -m entrypoints.{stage.name} --relative-to {{relative_to}}"
    return {"parameters": {"relative_to": {"type": "path", "default": "."}}, "command": command}


@EACH
def test_mlproject_has_the_entry_point_that_it_declares(stage: Stage, root: Path) -> None:
    found = yaml.safe_load((root / "MLproject").read_text())["entry_points"][stage.name]
    assert found == entry(stage), "in MLproject, write\n" + yaml.safe_dump({stage.name: entry(stage)}, sort_keys=False)


def test_mlproject_offers_the_stages_in_their_order(root: Path) -> None:
    entries = yaml.safe_load((root / "MLproject").read_text())["entry_points"]
    assert [name for name in entries if name in STAGES] == list(STAGES)


ENGINE = [
    *(f"pipeline/{name}.py" for name in ("runner", "context", "options", "summary", "sources")),
    "cli/commands.py",
]


def test_the_engine_names_no_stage(root: Path) -> None:
    package = root / "sign_models"
    known = {*STAGES, *(stage.made_role for stage in STAGES.values()), *model_names().values()}
    for file in [*(package / name for name in ENGINE), *package.glob("tracking/*.py")]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        named = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and str(n.value) in known]
        named += [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in STAGES]
        assert not named, file


@EACH
def test_its_command_takes_what_it_declares_and_nothing_else(stage: Stage) -> None:
    command = importlib.import_module(f"entrypoints.{stage.name}").main
    general = {"data", "keypoints", "videos", "texts", "preset", "config_override", "candidate"}
    general |= {"experiment", "relative_to"}
    general |= {"license"} if stage.registers else set()
    own = {*stage.short_options, *map(option_name, stage.upstream_roles), *(["processes"] if stage.trains else [])}
    assert {option.name for option in command.params} == general | own | {"overrides"}


@EACH
def test_its_help_is_what_it_declares(stage: Stage, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        commands.run(importlib.import_module(f"entrypoints.{stage.name}").main, ["--help"])
    told = capsys.readouterr().out
    assert end.value.code == 0
    assert "".join(stage.help.split()) in "".join(told.split())
    for line in stage.examples.strip().splitlines():
        assert f"  {line}\n" in told
        assert shlex.split(line)[:3] == ["python", "-m", f"entrypoints.{stage.name}"] or f"-e {stage.name} " in line
    for role in stage.upstream_roles:
        assert f"--{option_name(role).replace('_', '-')}" in told
    for name, value in flatten(getattr(resolve(), stage.name), stage.name).items():
        assert f"  --{name.partition('.')[2]} {value}\n" in told
    others = {f"--{role}-model" for s in STAGES.values() for role in s.upstream} - {
        f"--{role}-model" for role in stage.upstream
    }
    assert not [option for option in others if option in told]
