"""Where the keypoints that a stage reads come from: extractor and frame rate, beside those of the models under it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from statistics import median

from sign_models.datasets.inputs import Inputs
from sign_models.errors import DataError
from sign_models.keypoints.extractor import difference
from sign_models.stages.declaration import Stage
from sign_models.tracking.registry import EXTRACTORS, FPS, LICENSE, ModelRef, trained_on
from sign_models.tracking.runs import Run

logger = logging.getLogger(__name__)
MAX_EXTRACTORS = 32  # in a tag, which MLflow cuts at 8000 characters


def read_by(stage: Stage, inputs: Inputs) -> dict[str | None, int]:
    """Count the clips that a stage reads, by extractor.

    Args:
        stage: Which.
        inputs: Of the command.

    Returns:
        Clips by extractor.
    """
    found: dict[str | None, int] = {}
    for part in set(stage.reads) - {"texts"}:
        found |= getattr(inputs, part).extractors
    return found


def record(run: Run, stage: Stage, inputs: Inputs) -> None:
    """Tag the run with the extractors and the frame rate; the version that it registers gets the tags too.

    Args:
        run: The run.
        stage: Which works in it.
        inputs: Of the command.
    """
    found = sorted(read_by(stage, inputs), key=str)
    if len(found) > MAX_EXTRACTORS:
        logger.warning("%s: the clips come from %d extractors; %d are recorded", stage.name, len(found), MAX_EXTRACTORS)
    run.set_tags({EXTRACTORS: json.dumps(found[:MAX_EXTRACTORS])})
    parts = set(stage.reads) - {"texts"}
    if rates := [fps for part in parts for fps in getattr(inputs, part).fps if fps]:
        run.set_tags({FPS: f"{median(rates):g}"})


def compare(stage: Stage, inputs: Inputs, models: Mapping[str, ModelRef], *, strict: bool) -> None:
    """Warn where the clips come from another extractor than those of a model that the stage builds on.

    Args:
        stage: That reads the clips.
        inputs: Of the command.
        models: By role, what the stage builds on.
        strict: Whether that is refused, and also where it is not known.

    Raises:
        DataError: As `strict` has it.
    """
    for model in models.values():
        found = difference(read_by(stage, inputs), trained_on(model.tags), strict=strict)
        if found and strict:
            remedy = f"extract the videos with the extractor of {model.uri}, or leave out strict_extractor"
            raise DataError(found, place=inputs.source, remedy=remedy)
        if found:
            logger.warning("%s: %s", stage.name, found.replace("the model", model.uri))


def inherited(models: Mapping[str, ModelRef]) -> dict[str, str]:
    """Tags of a version that is made of others without training: what those were trained on, and its licence.

    Args:
        models: By role.

    Returns:
        The tags.
    """
    return {k: v for model in models.values() for k, v in model.tags.items() if k in (EXTRACTORS, FPS, LICENSE)}
