"""The engine: one way in which every stage is resolved, skipped or resumed, described, run and registered.

A stage hands the next one exact versions, so that an alias moved by somebody else cannot split a pipeline. torch and
MLflow are imported where a stage really needs them: a pipeline that skips every stage needs no torch.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from sign_models.datasets.inputs import Inputs, prepare
from sign_models.errors import UpstreamError
from sign_models.kernels import set_eager
from sign_models.keypoints.extractor import short_name
from sign_models.params.load import flatten
from sign_models.pipeline import presentation, sources, summary
from sign_models.pipeline.context import Context, Output, Upstream
from sign_models.pipeline.options import Options
from sign_models.stages.declaration import STAGES, Stage, by_role
from sign_models.stages.work import Result, Work
from sign_models.tracking.artifacts import fetch, find_finished
from sign_models.tracking.fingerprint import FILE, Fingerprint, find_done, find_trained, find_unfinished
from sign_models.tracking.process import launched, worker_context
from sign_models.tracking.registered.registry import LICENSE, UPSTREAM
from sign_models.tracking.runs import Run, stage_run
from sign_models.tracking.store import connect

if TYPE_CHECKING:
    from sign_models.training.distributed import ProcessGroup
    from sign_models.training.task import MetricLogger

logger = logging.getLogger(__name__)


class _AboveBars(logging.Handler):
    """Writes to standard error, above the bars of progress that stand there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        tqdm.write(self.format(record), file=sys.stderr)


QUIET_LIBRARIES = ("mlflow", "alembic", "transformers")  # their warnings are not for users


def to_terminal() -> None:
    """Show this package's messages on standard error, a line each; of QUIET_LIBRARIES errors only."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_AboveBars()])
    logging.getLogger("sign_models").setLevel(logging.INFO)
    for library in QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)


# Commands -------------------------------------------------------------------------------------------------------------


def run_pipeline(options: Options) -> list[Output]:
    """Run all stages in order, or the one of options.stage, as children of one run.

    Args:
        options: Of the command.

    Returns:
        What each stage made.
    """
    return _lead(_pipeline, options)


def run_single(name: str, options: Options) -> list[Output]:
    """Run one stage, in a run of its own.

    Args:
        name: Of the stage.
        options: Of the command.

    Returns:
        What it made.
    """
    return _lead(partial(_single, STAGES[name]), options)


def _pipeline(options: Options) -> list[Output]:
    stages = chosen_stages(options)
    to_terminal()
    began = time.monotonic()
    with stage_run("pipeline", experiment=options.experiment or None, preset=options.preset) as parent:
        context = Context(options, stages, nested=True)
        wanted = context.pipeline_fingerprint()
        done = find_done(wanted, parent.experiment_id, parent.id)
        parent.set_tags({"sign.data.source": context.inputs.source, **wanted.tags()})
        parent.log_dict(dict(wanted.fields), FILE)
        parent.log_code_state()
        presentation.pipeline_begins(parent, context)
        made: dict[str, Output] = {}
        for stage in stages:
            made[stage.made_role] = run_stage(stage, context, made, done)
        outputs = list(made.values())
        report = summary.read_report(outputs)
        presentation.pipeline_ended(parent, context, outputs, report)
        summary.show(outputs, report, parent.id, time.monotonic() - began, options.preset)
        return outputs


def chosen_stages(options: Options) -> tuple[Stage, ...]:
    """Choose the stages to run.

    Without inference, a stage that is for inference only runs where another one reads its file.

    Args:
        options: Of the command.

    Returns:
        The stages, in order.
    """
    if options.stage:
        return (STAGES[options.stage],)
    if options.inference:
        return tuple(STAGES.values())
    training = [stage for stage in STAGES.values() if not stage.inference]
    read = {stage.artifact for stage in training if stage.needs_artifact(getattr(options.params, stage.name), {})}
    return tuple(stage for stage in STAGES.values() if stage in training or stage.made_role in read)


def _single(stage: Stage, options: Options) -> list[Output]:
    to_terminal()
    connect(options.experiment or None)
    began = time.monotonic()
    output = run_stage(stage, Context(options, (stage,)), {})
    report = summary.read_report([output])
    summary.show([output], report, output.run_id, time.monotonic() - began, options.preset)
    return [output]


# Several processes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What worker ranks must know of a training.

    Attributes:
        stage: Name of the stage.
        upstream: What it builds on.
        run_id: Of the run, which rank 0 has open.
        resumed: Whether the run goes on from a checkpoint.
    """

    stage: str
    upstream: Upstream
    run_id: str
    resumed: bool


def _lead(command: Callable[[Options], list[Output]], options: Options) -> list[Output]:
    """Run `command`, under torchrun on rank 0 only. The other ranks take part in its trainings."""
    set_eager(options.params.execution.eager)
    if not options.skip_trained:
        prepare(options.data, options.keypoints, options.videos)  # while MLflow is imported
    if not launched():
        return command(options)
    from sign_models.training.distributed import init_distributed

    to_terminal()
    with init_distributed() as process_group:
        if process_group.is_main_process:
            outputs = command(options)
            process_group.send_object(None)
            return outputs
        with worker_context():
            _follow(Context(options, ()), process_group)
        return []


def _follow(context: Context, process_group: ProcessGroup) -> None:
    from sign_models.tracking.metric_logger import WorkerLogger

    while (request := process_group.receive_object()) is not None:
        stage = STAGES[request.stage]
        with _work(stage, context, request.upstream, WorkerLogger(request.run_id, request.resumed)) as work:
            stage.function()(work)


# One stage ------------------------------------------------------------------------------------------------------------


def run_stage(stage: Stage, context: Context, made: Mapping[str, Output], done: Set[str] = frozenset()) -> Output:
    """Run a stage, or take what it would give again.

    Args:
        stage: Which.
        context: Of the command.
        made: By role, what the command has made so far.
        done: Runs of stages that this very command had finished when it was cut off.

    Returns:
        What it made, or has made before.
    """
    upstream = context.upstream(stage, made)
    wanted = context.fingerprint(stage, upstream)
    if found := _finished(stage, context, wanted, done):
        return found
    with _open_run(stage, context, wanted) as run:
        describe(run, stage, context, upstream)
        run.log_dict(dict(wanted.fields), FILE)
        sizes = {part: _profile(context.inputs, part) for part in stage.reads}
        presentation.stage_begins(run, stage, context, upstream, sizes)
        from sign_models.tracking.metric_logger import RunLogger

        if stage.trains and launched():
            from sign_models.training.distributed import current_group

            process_group = current_group()
            run.set_tags({"sign.processes": process_group.world_size})
            process_group.send_object(Request(stage.name, upstream, run.id, run.resumed))
        with _work(stage, context, upstream, RunLogger(run)) as work:
            result = stage.function()(work)
            _log(run, result, work.folder)
        if result.model is None:
            run.log_metrics(result.metrics, result.step)
            logger.info("%s: %s of run %s", stage.name, stage.writes or "done", run.id)
            output = Output(stage, run.id)
        else:
            output = _register(run, stage, context, upstream, wanted, result)
        presentation.stage_ended(run, result, output)
        return output


def _finished(stage: Stage, context: Context, wanted: Fingerprint, done: Set[str]) -> Output | None:
    """What the stage would give again, where it may be taken."""
    skip = context.may_skip(stage)
    if not (skip or done):
        return None
    if stage.registers:
        model, reasons = find_trained(wanted)
        found = Output(stage, model.run_id, model, skipped=True) if model else None
    else:
        run_id, reasons = find_finished(wanted), [f"no {stage.name} run did this work"]
        found = Output(stage, run_id, skipped=True) if run_id else None
    if found and (skip or found.run_id in done):
        what = found.model.uri if found.model else f"run {found.run_id}"
        logger.info("%s: skipped, %s is what it would give again", stage.name, what)
        return found
    if skip:
        logger.info("%s: nothing to skip: %s", stage.name, "; ".join(reasons))
    return None


@contextmanager
def _open_run(stage: Stage, context: Context, wanted: Fingerprint) -> Iterator[Run]:
    """The stage's run: one that was cut off while it did this very work goes on, else a new one."""
    experiment = context.options.experiment or None
    start = partial(
        stage_run,
        stage.name,
        experiment=experiment,
        nested=context.nested,
        preset=context.options.preset,
        tags=wanted.tags(),
    )
    unfinished = None
    if "MLFLOW_RUN_ID" not in os.environ:  # else `mlflow run` says which run it is
        unfinished = find_unfinished(wanted, connect(experiment))
    with ExitStack() as stack:
        try:
            run = stack.enter_context(start(run_id=unfinished))
        except UpstreamError as error:
            if unfinished is None:
                raise
            # another command was a moment faster
            logger.info("%s: %s; a new run does this work", stage.name, error)
            unfinished = None
            run = stack.enter_context(start())
        if unfinished:
            logger.info("%s: goes on with run %s, which was cut off", stage.name, unfinished)
        yield run


def describe(run: Run, stage: Stage, context: Context, upstream: Upstream) -> None:
    """Log what every run of a stage says of itself before it works, after all inputs of the command were checked.

    Args:
        run: The run.
        stage: Which works in it.
        context: Of the command.
        upstream: What the stage builds on.
    """
    inputs, params = context.checked_inputs, context.params(stage)
    flat = flatten(params, stage.name)
    run.log_params({k: v for k, v in flat.items() if not (run.resumed and k in stage.execution_only)})
    run.log_dict(params.model_dump(mode="json"), f"params/{stage.name}.yaml")
    run.log_code_state()
    for part in stage.reads:
        run.log_dataset(part, inputs.digest(part), f"{stage.name}.{part}", _profile(inputs, part), inputs.source)
    if "videos" in stage.reads and inputs.splitting:
        run.set_tags({"sign.data.splits": inputs.splitting})
    for role, model in upstream.models.items():
        run.set_tags(
            {
                f"{UPSTREAM}{role}.asked": model.asked,
                f"{UPSTREAM}{role}": model.uri,
                f"{UPSTREAM}{role}.run_id": model.run_id,
                f"{UPSTREAM}{role}.model_id": model.model_id,
                f"{UPSTREAM}{role}.content": model.content,
            }
        )
    if upstream.artifact:
        run.set_tags({f"{UPSTREAM}{stage.artifact}": upstream.artifact})
    if upstream.models:
        run.link_inputs(model.model_id for model in upstream.models.values())
    sources.record(run, stage, inputs)
    sources.compare(stage, inputs, upstream.models, strict=getattr(params, "strict_extractor", False))


def _profile(inputs: Inputs, part: str) -> dict[str, object]:
    """What the UI shows of an input."""
    texts = inputs.texts if part != "keypoints" else {}
    if part == "texts":
        return {"texts": len(texts)}
    corpus = getattr(inputs, part)
    found: dict[str, object] = {"clips": len(corpus), "frames": int(corpus.offsets[-1])}
    found["extractors"] = ", ".join(sorted(map(short_name, corpus.extractors)))
    if part == "videos":
        found["without_text"] = len(corpus) - len(texts)
    return found


@contextmanager
def _work(stage: Stage, context: Context, upstream: Upstream, metric_logger: MetricLogger) -> Iterator[Work]:
    """What the stage's declaration names, and nothing else."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"sign-{stage.name}-")))
        artifact = None
        if upstream.artifact_content:
            artifact = stack.enter_context(fetch(upstream.artifact, by_role()[stage.artifact].writes))
        yield Work(
            params=context.params(stage),
            settings={name: context.value(name) for name in stage.settings},
            inputs={part: getattr(context.inputs, part) for part in stage.reads},
            models={role: model.path() for role, model in upstream.models.items()},
            artifact=artifact,
            logger=metric_logger,
            folder=folder,
            writes=folder / stage.writes,
            report=folder / stage.report,
        )


def _log(run: Run, result: Result, folder: Path) -> None:
    """Log what a stage has left beside its model."""
    if any(folder.iterdir()):
        run.log_artifacts(folder)
    for path, columns in result.tables.items():
        run.log_table(columns, path)
    if result.tags:
        run.set_tags(result.tags)


def _register(
    run: Run, stage: Stage, context: Context, upstream: Upstream, wanted: Fingerprint, result: Result
) -> Output:
    """Register the model of a stage, with what it was made of."""
    from sign_models.models.storage import save
    from sign_models.tracking.registered.registration import register

    assert result.model is not None
    tags = wanted.tags() | ({} if stage.trains else sources.inherited(upstream.models))
    if context.options.license:
        tags[LICENSE] = context.options.license
    if stage.trains:
        result.model.mirroring = sources.mirroring_of(stage, context.inputs)  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="sign-model-") as folder:
        save(result.model, Path(folder))
        model = register(
            run,
            stage.made_role,
            Path(folder),
            metrics=result.metrics,
            upstream=upstream.models,
            tags=tags,
            step=result.step,
            candidate=context.options.candidate,
        )
    logger.info("%s: registered %s", stage.name, model.uri)
    return Output(stage, run.id, model)
