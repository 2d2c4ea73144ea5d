"""One stage's MLflow run, from its first tag to its last status."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from sign_models import interruption
from sign_models.errors import ResourceError, UpstreamError
from sign_models.tracking import notes, process
from sign_models.tracking.locks import store_lock
from sign_models.tracking.run import ERROR, STAGE, Run, tag_run, whereabouts
from sign_models.tracking.store import client, connect
from sign_models.tracking.store_errors import translate_disk_errors, translate_store_errors

__all__ = ["STAGE", "Run", "connect", "stage_run", "whereabouts"]
logger = logging.getLogger(__name__)
LOG_LINES = 20_000  # messages of a run that are kept, the last ones
METRICS_FLUSH_S = 10.0  # that a run which was told to stop waits for its metrics
_open_runs: list[str] = []  # of this process, parents first


@contextmanager
def stage_run(
    stage: str,
    *,
    experiment: str | None = None,
    run_id: str | None = None,
    nested: bool = False,
    run_name: str | None = None,
    preset: str = "",
    tags: Mapping[str, object] | None = None,
) -> Iterator[Run]:
    """Open the run of one stage, as MLflow's active run.

    It is the run that `mlflow run` made for this process, else `run_id` opened again, else a new one. It ends FINISHED,
    FAILED on any exception, KILLED on Ctrl-C or SIGTERM, see interruption.

    Args:
        stage: Of the run.
        experiment: Of a new run, see store.connect().
        run_id: Of a run to go on with.
        nested: Whether a new run is a child of the active run.
        run_name: Of a new run. None: stage, preset and number.
        preset: Names of presets, joined by commas.
        tags: Of the run.

    Yields:
        The run.

    Raises:
        UpstreamError: `run_id` is unknown, deleted, in use, or the run of another stage.
        ResourceError: The store does not answer.
    """
    if not _open_runs:
        interruption.begin()
    run_id = run_id or os.environ.get("MLFLOW_RUN_ID") or None
    experiment_id = None if nested else connect(experiment)
    signature = {STAGE: stage, **process.identity(), "sign.preset": preset, **(tags or {})}
    with translate_store_errors(f"run of stage {stage}"):
        if run_id is None:
            run = _new_run(stage, experiment_id, nested, run_name, signature)
        else:
            run = _reopened_run(stage, run_id, nested, signature)
        _open_runs.append(run.id)
        interruption.at_forced_end(_kill_open_runs)
    with _Log() as log:
        try:
            with translate_disk_errors(f"run {run.id} of stage {stage}"):
                if not nested:
                    with translate_store_errors(f"experiment {run.experiment_id}"):
                        notes.describe_experiment(run.experiment_id)
                yield run
                with interruption.deferred():  # its work is done: what remains is to say so
                    run.flush()
                    log.store(run)
        except BaseException as error:
            _end_early(run, error, log)
            raise
        with interruption.deferred():  # a signal between the two would deny what the store says
            _end(run, "FINISHED")
            if not _open_runs:
                interruption.complete()


def _new_run(
    stage: str, experiment_id: str | None, nested: bool, run_name: str | None, signature: dict[str, object]
) -> Run:
    import mlflow

    with store_lock(mlflow.get_tracking_uri()):  # of two that start at once, each gets a number
        preset = str(signature["sign.preset"])
        name = run_name or os.environ.get("MLFLOW_RUN_NAME") or _new_name(stage, preset, experiment_id)
        opened = mlflow.start_run(None, experiment_id, name, nested=nested, tags=signature)
    return Run(opened.info.run_id, opened.info.experiment_id, stage, False)


def _reopened_run(stage: str, run_id: str, nested: bool, signature: dict[str, object]) -> Run:
    """Open a run that was cut off, or that `mlflow run` has made for this process."""
    import mlflow

    if nested and (parent := mlflow.active_run()) is not None:
        signature["mlflow.parentRunId"] = parent.info.run_id
    with store_lock(mlflow.get_tracking_uri()):  # of two that resume one run, the second finds it signed
        stored = _tags_of_run(run_id, stage)
        resumed = STAGE in stored
        if ERROR in stored:  # it goes on
            client().delete_tag(run_id, ERROR)
        tag_run(run_id, signature)  # first: a RUNNING run with a dead process's signature would be closed
        if not resumed:
            _rename(run_id, stage, str(signature["sign.preset"]))
    opened = mlflow.start_run(run_id, nested=nested)
    os.environ.pop("MLFLOW_RUN_ID", None)  # consumed: the next run of this process is a new one
    return Run(opened.info.run_id, opened.info.experiment_id, stage, resumed)


def _end_early(run: Run, error: BaseException, log: _Log) -> None:
    """Close a run whose work raised: KILLED where somebody stopped it, else FAILED."""
    # whatever was raised once the process was asked to stop may come of that, such as a worker's end by Ctrl-C
    killed = bool(interruption.requested()) or isinstance(error, KeyboardInterrupt | interruption.Terminated)
    try:
        _explain(run, error, killed, log)
    finally:  # whatever happens to the explanation
        try:
            _end(run, "KILLED" if killed else "FAILED")
        except ResourceError as trouble:  # the first error is the one to tell
            logger.warning("%s; the next command on this store will close the run", trouble)


def _explain(run: Run, error: BaseException, killed: bool, log: _Log) -> None:
    """Record why the run ends early, as far as the store takes it: the error itself is the one to show."""
    try:
        with interruption.deferred():
            run.explain_end(error, killed)
            log.store(run)
    except Exception as trouble:
        logger.warning("run %s does not say why it ended: %s", run.id, trouble)


class _Log(logging.Handler):
    """Keeps this project's log messages while a run is open, for its artifacts. A context in which it does."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=LOG_LINES)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.began = datetime.now(UTC)

    def __enter__(self) -> _Log:
        logging.getLogger("sign_models").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("sign_models").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.lines.append(self.format(record))

    def store(self, run: Run) -> None:
        """Store the messages so far, in a file of its own for each time that the run was open."""
        if self.lines:
            run.log_text("\n".join(self.lines) + "\n", f"logs/{self.began:%Y-%m-%dT%H-%M-%S}.txt")


def _new_name(stage: str, preset: str, experiment_id: str | None) -> str:
    import mlflow

    parent = mlflow.active_run()
    return notes.run_name(stage, preset, experiment_id or (parent.info.experiment_id if parent else "0"))


def _rename(run_id: str, stage: str, preset: str) -> None:
    """The run that `mlflow run` made has a name of MLflow's, unless the user gave it one."""
    found = client().get_run(run_id).info
    if not found.run_name or notes.is_random(found.run_name):
        client().update_run(run_id, name=notes.run_name(stage, preset, found.experiment_id))


def _kill_open_runs() -> None:
    """Before this process is ended by force: the runs that it has open, children first."""
    for run_id in reversed(_open_runs):
        client().set_terminated(run_id, "KILLED")
        client().delete_tag(run_id, process.PID)


def _end(run: Run, status: str) -> None:
    import mlflow

    with interruption.deferred(), translate_store_errors(f"run {run.id}"):
        try:
            run.close(METRICS_FLUSH_S)
        finally:
            mlflow.end_run(status)
            _open_runs.remove(run.id)
            client().delete_tag(run.id, process.PID)  # nobody is at work on it any more; last: see close_dead_runs


def _tags_of_run(run_id: str, stage: str) -> dict[str, str]:
    import mlflow

    try:
        with translate_store_errors(f"run {run_id}"):
            found = client().get_run(run_id)
    except mlflow.MlflowException as error:
        remedy = "see `mlflow runs list --experiment-id ID`"
        raise UpstreamError("no such run in this tracking store", place=f"run {run_id}", remedy=remedy) from error
    tags: dict[str, str] = found.data.tags
    if found.info.lifecycle_stage == "deleted":
        raise UpstreamError("the run was deleted", place=f"run {run_id}", remedy="`mlflow runs restore` brings it back")
    if tags.get(STAGE, stage) != stage:
        raise UpstreamError(
            f"this is a run of stage {tags[STAGE]!r}", place=f"run {run_id}", wanted=f"a run of stage {stage!r}"
        )
    if process.process_alive(tags):
        raise UpstreamError(
            f"process {tags[process.PID]} of this machine is at work on it",
            place=f"run {run_id}",
            remedy="wait, or end it",
        )
    return tags
