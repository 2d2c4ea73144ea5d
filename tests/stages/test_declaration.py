"""The list of stages agrees with what stands elsewhere: parameters, modules, entry points."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import pytest

from sign_models.params.load import resolve
from sign_models.stages.declaration import BY_ROLE, STAGES, Stage

EACH = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)


@EACH
def test_it_has_parameters_a_module_and_an_entry_point(stage: Stage) -> None:
    assert getattr(resolve(), stage.name)
    assert find_spec(f"sign_models.stages.{stage.name}")
    command = importlib.import_module(f"entrypoints.{stage.name}").main
    offered = {option.name for option in command.params}
    assert {*stage.short_options, *stage.upstream_options} <= offered


@EACH
def test_it_builds_on_models_of_earlier_stages_only(stage: Stage) -> None:
    earlier = {s.model_role for s in STAGES[: STAGES.index(stage)] if s.registers}
    assert set(stage.upstream) <= earlier
    assert set(stage.reads) <= {"keypoints", "videos", "texts"}


def test_registered_names_and_roles_are_unique_and_comparable() -> None:
    registering = [stage for stage in STAGES if stage.registers]
    assert len({stage.registers for stage in registering}) == len(BY_ROLE) == len(registering)
    assert all(stage.metrics for stage in registering)
