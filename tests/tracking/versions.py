"""Registered versions to be promoted: made one by one, or four that are there already."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from sign_models.tracking.registered.registration import register
from sign_models.tracking.registered.registry import ModelRef, aliases_of
from sign_models.tracking.runs import stage_run
from tests.tracking import fakes

NAME = "sign-translator"
Train = Callable[..., ModelRef]
FOUR = ((50.0, "easy"), (60.0, "easy"), (70.0, "easy"), (50.0, "hard"))  # chrF and data of translators 1 to 4


def train(
    folder: Path, chrf: float, data: str = "same", stage: str = "translator", weight: float = 1.0,
    scoring: str = "cased", old_names: bool = False,
) -> ModelRef:  # fmt: skip
    """Register a version with these scores, whose files lie in `folder` before."""
    written = fakes.write(folder, stage, weight)
    metrics = {"test/chrf": chrf, "test/character_error_rate": 100 - chrf, "validation/score": chrf}
    if old_names:
        metrics = {"test.chrf": chrf, "test.character_error_rate": 100 - chrf, "score": chrf}
    with stage_run(stage, tags={"sign.data.training": data}) as run:
        return register(
            run, stage, written, metrics=metrics, upstream={}, step=1,
            tags={"sign.fingerprint.fields": json.dumps({"params.generate.scoring": scoring})},
        )  # fmt: skip


def aliases() -> dict[str, int]:
    """Version by alias of the translator, candidate aside."""
    return {alias: version for alias, version in aliases_of(NAME).items() if alias != "candidate"}
