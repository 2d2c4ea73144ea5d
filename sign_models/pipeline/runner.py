"""The phases of the pipeline: what each reads, resolves, runs, logs and registers.

A phase hands the next one exact versions, so that an alias moved by somebody else cannot split a pipeline. torch and
MLflow are imported where a phase really needs them: a pipeline that skips every stage needs no torch.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sign_models.data.representations import FILE, FOLDER, read_representations, write_representations
from sign_models.errors import UpstreamError
from sign_models.pipeline import summary
from sign_models.pipeline.context import Command
from sign_models.pipeline.options import STAGES, Options
from sign_models.tracking.fingerprint import find_done
from sign_models.tracking.process import launched, worker_context
from sign_models.tracking.registry import EXTRACTORS, FPS, ModelRef, resolve
from sign_models.tracking.representations import fetch, find_finished, made_by
from sign_models.tracking.runs import connect, stage_run

if TYPE_CHECKING:
    from sign_models.keypoints.sequence import KeypointSequence
    from sign_models.stages.skeleton import Trained
    from sign_models.training.distributed import ProcessGroup
    from sign_models.training.task import Recorder

logger = logging.getLogger(__name__)
EXAMPLE_CLIPS = 2  # in a model's input example


@dataclass(frozen=True)
class Work:
    """A training, as processes beside the one that has the run must know it.

    upstream: role -> exact version. representations: run ID, "" where the videos themselves are read.
    """

    stage: str
    upstream: dict[str, ModelRef]
    representations: str = ""
    run_id: str = ""
    resumed: bool = False


def to_terminal() -> None:
    """Our own messages on standard error, a line each; the libraries' only where they warn."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("sign_models").setLevel(logging.INFO)
    for library in ("mlflow", "alembic", "transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)


def distributed_entrypoint(lead: Callable[[Options], None]) -> Callable[[Options], None]:
    """`lead` as it is, or, where torchrun has started several processes, in the first of them; the others train the
    models with it that it trains, and leave the rest to it."""

    @wraps(lead)
    def run(options: Options) -> None:
        if not launched():
            return lead(options)
        from sign_models.training.distributed import init_distributed

        to_terminal()
        with init_distributed() as process_group:
            if process_group.first:
                lead(options)
                process_group.send_object(None)
            else:
                with worker_context():
                    _follow(Command(options, ()), process_group)

    return run


def _follow(command: Command, process_group: ProcessGroup) -> None:
    from sign_models.tracking.recorder import Listener

    while (work := process_group.receive_object()) is not None:
        _trained(command, work, Listener(work.run_id, work.resumed))


@distributed_entrypoint
def run_pipeline(options: Options) -> None:
    """All phases in order, or the one of options.stage, as children of one run."""
    command = Command(options, _stages(options), nested=True)
    to_terminal()
    with stage_run("pipeline", experiment=options.experiment or None) as parent:
        wanted = command.whole()
        command.done = find_done(wanted, parent.experiment_id, parent.id)
        parent.set_tags({"sign.data.source": command.inputs.source, "sign.preset": options.preset, **wanted.tags()})
        parent.log_code_state()
        for stage in command.stages:
            PHASES[stage](command)
        if command.generated:
            parent.log_metrics(command.generated.metrics(), 0)
        summary.show(command.generated, command.made, parent.id)


def _stages(options: Options) -> tuple[str, ...]:
    """Without inference nothing is represented or generated, but alignment on frozen representations needs those."""
    if options.stage:
        return (options.stage,)
    if options.inference:
        return STAGES
    return ("skeleton", "temporal", *(() if options.params.alignment.finetune else ("represent",)), "alignment")


@distributed_entrypoint
def run_skeleton(options: Options) -> None:
    _single("skeleton", options)


@distributed_entrypoint
def run_temporal(options: Options) -> None:
    _single("temporal", options)


def run_represent(options: Options) -> None:
    _single("represent", options)


@distributed_entrypoint
def run_alignment(options: Options) -> None:
    _single("alignment", options)


def run_generate(options: Options) -> None:
    _single("generate", options)


def _single(stage: str, options: Options) -> None:
    command = Command(options, (stage,))
    to_terminal()
    connect(options.experiment or None)
    run_id = PHASES[stage](command)
    summary.show(command.generated, command.made, run_id)


def skeleton(command: Command) -> str:
    return _train(command, Work("skeleton", {}))


def temporal(command: Command) -> str:
    return _train(command, Work("temporal", {"skeleton": command.upstream("skeleton", command.options.skeleton_model)}))


def alignment(command: Command) -> str:
    params = command.options.params
    upstream = {"temporal": command.upstream("temporal", command.options.temporal_model)}
    representations = command.representations or command.options.representations
    if representations or not params.alignment.finetune:
        representations = _fitting_representations(command, upstream["temporal"], representations)
    return _train(command, Work("alignment", upstream, representations))


def _train(command: Command, work: Work) -> str:
    """Train one model, log it, register it; or take the version that would come out again. -> run ID."""
    stage, upstream = work.stage, work.upstream
    wanted = command.fingerprint(stage, upstream)
    if found := command.trained(stage, wanted):
        command.made[stage] = found
        return found.run_id
    with command.run(stage, wanted) as run:
        command.describe(run, stage, upstream)
        from sign_models.models.storage import save
        from sign_models.tracking.recorder import RunRecorder
        from sign_models.tracking.registration import register

        if work.representations:
            run.set_tags({"sign.upstream.representations": work.representations})
        if launched():
            from sign_models.training.distributed import current_group

            run.set_tags({"sign.processes": current_group().size})
            current_group().send_object(replace(work, run_id=run.id, resumed=run.resumed))
        trained = _trained(command, work, RunRecorder(run))
        progress = trained.progress
        run.set_tags({"sign.parameters": trained.parameters, "sign.best_step": progress.best_step})
        run.set_tags({f"sign.data.{name}": fact for name, fact in trained.facts.items()})
        with tempfile.TemporaryDirectory(prefix="sign-model-") as folder:
            save(trained.model, Path(folder))
            command.made[stage] = register(
                run,
                stage,
                Path(folder),
                input_example=_example(command, stage),
                metrics=progress.best_metrics,
                upstream=upstream,
                tags=wanted.tags(),
                step=progress.best_step,
            )
        logger.info("%s: registered %s", stage, command.made[stage].uri)
        return run.id


def _trained(command: Command, work: Work, recorder: Recorder) -> Trained:
    from sign_models.models.storage import load

    params, inputs = command.options.params, command.inputs
    if work.stage == "skeleton":
        from sign_models.stages import skeleton

        return skeleton.train(params.skeleton, inputs.keypoints, recorder)
    if work.stage == "temporal":
        from sign_models.stages import temporal

        return temporal.train(params.temporal, inputs.videos, load(work.upstream["skeleton"].path()), recorder)
    from sign_models.stages import alignment

    arrays = None if params.alignment.finetune else _read(work.representations)
    model = load(work.upstream["temporal"].path())
    return alignment.train(
        params.alignment, inputs.videos, inputs.texts, model, recorder, params.generate.scoring, arrays
    )


def _example(command: Command, stage: str) -> list[KeypointSequence]:
    from sign_models.keypoints.sequence import of_canonical

    corpus = command.inputs.keypoints if stage == "skeleton" else command.inputs.videos
    extractor = next(iter(corpus.extractors)) if len(corpus.extractors) == 1 else None
    clips = [of_canonical(corpus.ids[i], corpus.clip(i)) for i in range(min(EXAMPLE_CLIPS, len(corpus)))]
    return [replace(clip, extractor=extractor) for clip in clips]


def represent(command: Command) -> str:
    upstream = {"temporal": command.upstream("temporal", command.options.temporal_model)}
    wanted = command.fingerprint("represent", upstream)
    if command.may_skip("represent") or command.done:
        found = find_finished(wanted)
        if found and (command.may_skip("represent") or found in command.done):
            logger.info("represent: skipped, run %s holds what it would give again", found)
            command.representations = found
            return found
    with command.run("represent", None) as run:
        run.set_tags(wanted.tags())
        command.describe(run, "represent", upstream)
        from sign_models.models.storage import load
        from sign_models.stages.represent import represent

        corpus = command.inputs.videos
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="sign-represent-") as folder:
            arrays = represent(load(upstream["temporal"].path()), corpus, command.options.params.represent.batch_frames)
            count = write_representations(Path(folder, FOLDER, FILE), arrays)
            seconds = time.monotonic() - began
            run.log_artifacts(Path(folder))
        frames = int(corpus.offsets[-1])
        run.log_metrics({"videos": count, "frames": frames, "frames_per_second": frames / seconds}, 0)
        command.representations = run.id
        logger.info("represent: %d videos -> %s/%s of run %s", count, FOLDER, FILE, run.id)
        return run.id


def _fitting_representations(command: Command, temporal: ModelRef, asked: str) -> str:
    """Run ID of the representations that `temporal` made; UpstreamError where another version made those asked for."""
    if asked:
        model_id, version = made_by(asked)
        if model_id != temporal.model_id:
            raise UpstreamError(
                f"made by another temporal model, {version} ({model_id})",
                place=f"representations {asked}",
                wanted=f"those of {temporal.uri} ({temporal.model_id})",
                remedy=f"run -e represent -P temporal_model={temporal.version}, or name the model that made them",
            )
        return asked
    found = find_finished(command.fingerprint("represent", {"temporal": temporal}))
    if found is None:
        raise UpstreamError(
            f"no represent run of {temporal.uri} on this data",
            place="representations",
            wanted="its run ID",
            remedy=f"run -e represent -P temporal_model={temporal.version} first, or set alignment.finetune to true",
        )
    return found


def _read(run_id: str) -> dict[str, Any]:
    with fetch(run_id, f"{FOLDER}/{FILE}") as path:
        return read_representations(path)


def generate(command: Command) -> str:
    upstream = {"alignment": command.upstream("alignment", command.options.alignment_model)}
    wanted = command.fingerprint("generate", upstream)
    if found := command.trained("generate", wanted):
        command.made["translator"] = found
        command.generated = summary.stored(found)
        return found.run_id
    with command.run("generate", None) as run:
        run.set_tags(wanted.tags())
        command.describe(run, "generate", upstream)
        from sign_models.models.storage import load, save
        from sign_models.stages.generate import generate, generation
        from sign_models.tracking.registration import register

        params = command.options.params.generate
        model = load(upstream["alignment"].path())
        arrays = None
        if not model.finetuned:
            temporal = resolve(_temporal_of(upstream["alignment"]), "temporal")
            asked = command.representations or command.options.representations
            arrays = _read(_fitting_representations(command, temporal, asked))
        result = generate(model, command.inputs.videos, command.inputs.texts, params, arrays)
        command.generated = summary.of(result, params.scoring)
        summary.log(run, result, command.generated)
        model.generation = generation(model.generation, params)
        with tempfile.TemporaryDirectory(prefix="sign-model-") as folder:
            save(model.cpu(), Path(folder))
            command.made["translator"] = register(
                run,
                "translator",
                Path(folder),
                input_example=_example(command, "generate"),
                metrics=command.generated.metrics(),
                upstream=upstream,
                # What it was trained on, not what it has just translated.
                tags=wanted.tags() | {k: v for k, v in upstream["alignment"].tags.items() if k in (EXTRACTORS, FPS)},
                step=0,
            )
        logger.info("generate: registered %s", command.made["translator"].uri)
        return run.id


def _temporal_of(alignment: ModelRef) -> str:
    return str(json.loads(alignment.tags["sign.upstream.temporal"])["uri"])


PHASES: dict[str, Callable[[Command], str]] = {
    "skeleton": skeleton,
    "temporal": temporal,
    "represent": represent,
    "alignment": alignment,
    "generate": generate,
}
