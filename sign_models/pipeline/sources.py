"""What keypoints a stage reads: their extractor, frame rate and parts, beside those of the models under it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from statistics import median
from typing import cast

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.datasets.inputs import Inputs
from sign_models.errors import DataError
from sign_models.keypoints.extractor import difference
from sign_models.keypoints.layouts import PARTS
from sign_models.keypoints.normalise import Mirroring
from sign_models.stages.declaration import Stage
from sign_models.tracking.registered.registry import EXTRACTORS, FPS, LICENSE, SEEN_PARTS, ModelRef, trained_on
from sign_models.tracking.runs import Run

logger = logging.getLogger(__name__)
MAX_EXTRACTORS = 32  # in a tag, which MLflow cuts at 8000 characters
SAMPLED_CLIPS, SAMPLED_FRAMES = 64, 128  # frames of a clip, to tell which parts of the body clips show
MIN_SEEN_SHARE = 0.1  # of these frames
MIN_PART_SHARE = 0.25  # of a part's landmarks, for it to be seen in a frame: a body alone tells 7 of the face's 32


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


def mirroring_of(stage: Stage, inputs: Inputs) -> Mirroring:
    """How the clips that a stage reads were mirrored.

    Args:
        stage: Which.
        inputs: Of the command.

    Returns:
        That of all its clips.

    Raises:
        DataError: Some clips were mirrored otherwise than others.
    """
    found = {getattr(inputs, part).mirroring for part in set(stage.reads) - {"texts"}} or {"auto"}
    if len(found) > 1:
        raise DataError(
            "some clips were imported with --mirror never, others were not",
            place=inputs.source,
            wanted="one way for all, which the model keeps",
            remedy="import them again with the same --mirror",
        )
    return cast(Mirroring, found.pop())


def record(run: Run, stage: Stage, inputs: Inputs) -> None:
    """Tag the run with extractors, frame rate and parts of the body; the version that it registers gets the tags too.

    Args:
        run: The run.
        stage: Which works in it.
        inputs: Of the command.
    """
    found = sorted(read_by(stage, inputs), key=str)
    if len(found) > MAX_EXTRACTORS:
        logger.warning("%s: the clips come from %d extractors; %d are recorded", stage.name, len(found), MAX_EXTRACTORS)
    run.set_tags({EXTRACTORS: json.dumps(found[:MAX_EXTRACTORS])})
    read = [getattr(inputs, part) for part in sorted(set(stage.reads) - {"texts"})]
    if rates := [fps for corpus in read for fps in corpus.fps if fps]:
        run.set_tags({FPS: f"{median(rates):g}"})
    if read:
        run.set_tags({SEEN_PARTS: json.dumps([part for part in PARTS if any(part in seen_parts(c) for c in read)])})


def seen_parts(corpus: Corpus) -> list[str]:
    """Tell which parts of the body the clips of a corpus show, by some from all over it.

    Args:
        corpus: With at least one clip.

    Returns:
        Names of keypoints.layouts.PARTS.
    """
    chosen = np.unique(np.linspace(0, len(corpus) - 1, SAMPLED_CLIPS).astype(int))
    begins, ends = corpus.offsets[chosen], corpus.offsets[chosen + 1]
    frames = [corpus.frames[a : min(b, a + SAMPLED_FRAMES)] for a, b in zip(begins, ends, strict=True)]
    seen = np.concatenate([values[..., 2] > 0 for values in frames])
    shown = {part: seen[:, places].mean(1) > MIN_PART_SHARE for part, places in PARTS.items()}
    return [part for part, frames_of_it in shown.items() if frames_of_it.mean() >= MIN_SEEN_SHARE]


def compare(stage: Stage, inputs: Inputs, models: Mapping[str, ModelRef], *, strict: bool) -> None:
    """Warn where the clips come from another extractor than those of a model that the stage builds on.

    Args:
        stage: That reads the clips.
        inputs: Of the command.
        models: By role, what the stage builds on.
        strict: Whether that is refused, and also where it is not known.

    Raises:
        DataError: As `strict` has it; or the clips were mirrored otherwise than the model's.
    """
    mirroring = mirroring_of(stage, inputs)
    for model in models.values():
        if (wanted := model.config.get("mirroring", "auto")) != mirroring:
            raise DataError(
                f"clips with --mirror {mirroring}, but {model.uri} was trained on clips with --mirror {wanted}",
                place=inputs.source,
                wanted="clips as the model knows them",
                remedy=f"import them with --mirror {wanted}, or train the model again on these",
            )
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
    kept = (EXTRACTORS, FPS, LICENSE, SEEN_PARTS)
    return {k: v for model in models.values() for k, v in model.tags.items() if k in kept}
