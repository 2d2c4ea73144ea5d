"""Stage 4: align representations with text and learn to write it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import bring_to_rate, known_rate, rate_facts
from sign_models.data.representations import read_representations
from sign_models.models.storage import load
from sign_models.models.temporal import TemporalModel
from sign_models.params.schema import AlignmentParams
from sign_models.stages.alignment_task import USUAL_CTC, AlignmentTask
from sign_models.stages.skeleton import Trained
from sign_models.stages.work import Result, Work
from sign_models.training.device import find_device
from sign_models.training.loop import fit
from sign_models.training.task import MetricLogger, TrainingOptions


def check(params: AlignmentParams) -> None:
    """Check what can be checked before any work.

    Args:
        params: The stage's parameters.

    Raises:
        ParamsError: The pretrained text model that params name cannot be used.
    """
    if params.decoder.pretrained:
        from sign_models.models.text.pretrained import read_pretrained  # seconds that no other text model waits for

        read_pretrained(params.decoder.pretrained)


def run(work: Work) -> Result:
    """Run the stage.

    Args:
        work: Videos, texts, the temporal model, and the representations where the encoder is not fine-tuned.

    Returns:
        The translator with its scores.
    """
    return train(
        work.params,
        work.inputs["videos"],
        work.inputs["texts"],
        load(work.models["temporal"]),
        work.logger,
        work.settings["generate.scoring"],
        read_representations(work.artifact) if work.artifact else None,
    ).result()


def train(
    params: AlignmentParams,
    corpus: Corpus,
    texts: dict[str, str],
    temporal: TemporalModel,
    logger: MetricLogger,
    scoring: str,
    representations: dict[str, np.ndarray] | None = None,
) -> Trained:
    """Train a translator and choose how it ranks texts.

    Args:
        params: Of the stage.
        corpus: Videos with splits.
        texts: By video id.
        temporal: The encoder; its weights go on learning where params.finetune is true.
        logger: Where the training reports to.
        scoring: Preset of the validation scores.
        representations: (S, D) float32 by video id, made by `temporal`; read in place of the videos where
            params.finetune is false.

    Returns:
        The best model, on the CPU.

    Raises:
        DataError: No clip can be trained on, or the memory of the device is enough for none.
    """
    device = find_device()
    clips, facts = bring_to_rate(corpus, temporal.fps), rate_facts(corpus, temporal.fps)
    temporal.fps = known_rate(corpus, temporal.fps)
    task = AlignmentTask(params, clips, texts, temporal, device, scoring, representations)
    task.facts |= facts
    if note := task.objective.model.alignment.text.note:
        logger.log(f"alignment: {note}")
    options = TrainingOptions(**params.training.model_dump(exclude={"batch_size"}))
    progress = fit(task, device, logger, "alignment", options)
    model = task.objective.model
    if params.generation.ctc_weight is None and not task.held_out:
        logger.log(f"alignment: weight of CTC in ranking {USUAL_CTC}: no clip is held out to choose it by")
    elif params.generation.ctc_weight is None and device.process_group.is_main_process:
        model.generation = task.generation = replace(model.generation, ctc_weight=task.best_ctc_weight())
        logger.metrics({"validation/ctc_weight": model.generation.ctc_weight}, progress.step)
        logger.log(f"alignment: weight of CTC in ranking {model.generation.ctc_weight}")
    if device.process_group.is_main_process:
        task.calibrate().report(logger, progress.step)
    model = model.cpu()
    model.alignment.text.merge()
    return Trained(model, progress, sum(p.numel() for p in model.parameters()), task.facts)
