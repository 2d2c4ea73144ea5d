"""One stage's MLflow run, from its first tag to its last status."""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sign_models import interruption
from sign_models.errors import ParamsError, ResourceError, SignError, UpstreamError
from sign_models.tracking import notes, process
from sign_models.tracking.locks import store_lock
from sign_models.tracking.metrics import MetricLog, stored_points
from sign_models.tracking.sources import code_state
from sign_models.tracking.store import client, connect
from sign_models.tracking.store_errors import translate_disk_errors, translate_store_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Run", "connect", "stage_run"]
logger = logging.getLogger(__name__)
STAGE, ERROR = "sign.stage", "sign.error"
LOG_LINES = 20_000  # messages of a run that are kept, the last ones
LONGEST_PARAM, LONGEST_TAG = 6000, 8000
PARAMS_A_CALL = 100
_open_runs: list[str] = []  # of this process, parents first
METRICS_FLUSH_S = 10.0  # s that a run which was told to stop waits for its metrics


class Run:
    """An open MLflow run.

    Attributes:
        id: Its ID.
        experiment_id: Of its experiment.
        stage: Of the run.
        resumed: Whether it has been open before, so that its params and earlier points are stored already.
        note: Its text in the UI, Markdown.
    """

    def __init__(self, run_id: str, experiment_id: str, stage: str, resumed: bool) -> None:
        """Refer to a run that is open.

        Args:
            run_id: Its ID.
            experiment_id: Of its experiment.
            stage: Of the run.
            resumed: Whether it has been open before.
        """
        self.id, self.experiment_id, self.stage, self.resumed = run_id, experiment_id, stage, resumed
        self.note = ""

    def describe(self, text: str) -> None:
        """Replace the run's note in the UI.

        Args:
            text: Markdown.
        """
        self.note = text
        self.set_tags({notes.NOTE: text})

    def explain_end(self, error: BaseException, killed: bool) -> None:
        """Record why the run ends early: a tag, a line of its note, and the whole message as an artifact.

        Args:
            error: What ended it.
            killed: Whether it was asked to stop.
        """
        found = f"{type(error).__name__}: {error}".strip(": ")
        text = found if isinstance(error, SignError) else "".join(traceback.format_exception(error))
        word = "KILLED: type the same command again to go on from the last checkpoint" if killed else "FAILED"
        self.set_tags({ERROR: found})
        self.describe(f"{self.note}\n\n**{word}**\n\n```\n{found[:2000]}\n```\n".lstrip())
        self.log_text(text, "error.txt")

    def log_params(self, params: Mapping[str, object]) -> None:
        """Store resolved params. Values beyond MLflow's 6000 characters are cut, and say so.

        Args:
            params: Value by dotted name.

        Raises:
            ParamsError: This run already holds another value for a name. Leave out what may differ on resuming.
            ResourceError: The store does not answer.
        """
        texts = {name: _cut(str(value), LONGEST_PARAM) for name, value in params.items()}
        with translate_store_errors(f"run {self.id}"):
            stored = client().get_run(self.id).data.params
        for name in stored.keys() & texts.keys():
            if stored[name] != texts[name]:
                raise ParamsError(
                    f"{texts[name]!r}, but run {self.id} began with {stored[name]!r}",
                    place=name,
                    wanted="the params that the run began with",
                    remedy="take the first value back, or start a new run",
                )
        from mlflow.entities import Param

        fresh = [Param(name, text) for name, text in texts.items() if name not in stored]
        with translate_store_errors(f"run {self.id}"):
            for i in range(0, len(fresh), PARAMS_A_CALL):
                client().log_batch(self.id, params=fresh[i : i + PARAMS_A_CALL])

    @cached_property
    def _metrics(self) -> MetricLog:
        with translate_store_errors(f"run {self.id}"):
            return MetricLog(client(), self.id, stored_points(client(), self.id) if self.resumed else None)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Store one point of each curve, soon; see MetricLog. Points that a resumed run already has are dropped.

        Args:
            metrics: Value by name.
            step: Training step.

        Raises:
            ResourceError: The store has not answered for a while.
        """
        self._metrics.add(metrics, step)

    def flush(self) -> None:
        """Wait until every point so far is stored. Call it before a checkpoint says that its step is done.

        Raises:
            ResourceError: The store does not answer.
        """
        if "_metrics" in self.__dict__:
            self._metrics.flush()

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags. Values beyond MLflow's 8000 characters are cut, and say so.

        Args:
            tags: Value by name.

        Raises:
            ResourceError: The store does not answer.
        """
        with translate_store_errors(f"run {self.id}"):
            _tag(self.id, tags)

    def log_figure(self, figure: Figure, path: str) -> None:
        """Store a figure as an artifact.

        Args:
            figure: The figure.
            path: Of the artifact; its ending says the format.

        Raises:
            ResourceError: The store does not answer.
        """
        with translate_store_errors(f"{path} of run {self.id}"):
            client().log_figure(self.id, figure, path)

    def log_text(self, text: str, path: str) -> None:
        """Store a text as an artifact.

        Args:
            text: The text.
            path: Of the artifact.

        Raises:
            ResourceError: The store does not answer.
        """
        with translate_store_errors(f"{path} of run {self.id}"):
            client().log_text(self.id, text, path)

    def log_dict(self, content: dict[str, Any], path: str) -> None:
        """Store an object as an artifact.

        Args:
            content: The object.
            path: Of the artifact; .json or .yaml says the format.

        Raises:
            ResourceError: The store does not answer.
        """
        with translate_store_errors(f"{path} of run {self.id}"):
            client().log_dict(self.id, content, path)

    def log_table(self, columns: Mapping[str, list[Any]], path: str) -> None:
        """Store a table that the UI shows.

        Args:
            columns: Values by column.
            path: Of the artifact, ending in .json.

        Raises:
            ResourceError: The store does not answer.
        """
        with translate_store_errors(f"{path} of run {self.id}"):
            client().log_table(self.id, dict(columns), path)

    def log_artifacts(self, source: Path, path: str | None = None) -> None:
        """Store a file, or what a folder holds.

        Args:
            source: The file or folder.
            path: Artifact folder that it comes into. None: the root.

        Raises:
            ResourceError: The store does not answer.
        """
        log = client().log_artifacts if source.is_dir() else client().log_artifact
        with translate_store_errors(f"{path or source.name} of run {self.id}"):
            log(self.id, str(source), path)

    def log_dataset(
        self, name: str, digest: str, context: str, profile: Mapping[str, object], source: str | None = None
    ) -> None:
        """Record an input by name and digest, without its values.

        Args:
            name: Of the input.
            digest: sha256. MLflow keeps 36 characters, the tag `sign.data.<context>` all of them.
            context: What the run uses it as.
            profile: What the UI shows of it, such as clips and frames.
            source: Folder, package or URI, as the user named it. None: it was made by code.

        Raises:
            ResourceError: The store does not answer.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entry = Dataset(
            name=name,
            digest=digest[:36],
            source_type="local" if source else "code",
            source=json.dumps({"uri": source or name}),
            profile=json.dumps(profile),
        )
        with translate_store_errors(f"run {self.id}"):
            client().log_inputs(self.id, [DatasetInput(entry, [InputTag("mlflow.data.context", context)])])
        self.set_tags({f"sign.data.{context}": digest})

    def link_inputs(self, model_ids: Iterable[str]) -> None:
        """Record in MLflow's own lineage that this run read logged models.

        Args:
            model_ids: Of the models.

        Raises:
            ResourceError: The store does not answer.
        """
        from mlflow.entities import LoggedModelInput

        with translate_store_errors(f"run {self.id}"):
            client().log_inputs(self.id, models=[LoggedModelInput(model_id) for model_id in model_ids])

    def log_code_state(self) -> None:
        """Record the git commit, and whether the code differed from it, as tags."""
        self.set_tags(code_state())

    def close(self, patience: float) -> None:
        """Store the metrics that wait, and end the thread that stores them.

        Args:
            patience: Seconds to wait.

        Raises:
            ResourceError: The store does not answer within that time.
        """
        if "_metrics" in self.__dict__:
            self._metrics.close(patience)


def whereabouts(run_id: str) -> tuple[str, str]:
    """Where a run is stored.

    Args:
        run_id: Of the run.

    Returns:
        The tracking store, without user names and passwords; ID of the run's experiment.
    """
    import mlflow

    uri = re.sub(r"://[^/\s@]*@", "://", mlflow.get_tracking_uri().rstrip("/"))
    with translate_store_errors(f"run {run_id}"):
        return uri, str(client().get_run(run_id).info.experiment_id)


def _cut(text: str, longest: int) -> str:
    note = f" ... [cut from {len(text)} characters]"
    return text if len(text) <= longest else text[: longest - len(note)] + note


def _tag(run_id: str, tags: Mapping[str, object]) -> None:
    from mlflow.entities import RunTag

    client().log_batch(run_id, tags=[RunTag(name, _cut(str(value), LONGEST_TAG)) for name, value in tags.items()])


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
    run_id = run_id or os.environ.get("MLFLOW_RUN_ID")
    experiment_id = None if nested else connect(experiment)
    signature = {STAGE: stage, **process.identity(), "sign.preset": preset, **(tags or {})}
    with translate_store_errors(f"run of stage {stage}"):
        if run_id is None:
            run = _new_run(stage, experiment_id, nested, run_name, signature)
        else:
            run = _reopened_run(stage, run_id, nested, signature)
        _open_runs.append(run.id)
        interruption.at_forced_end(_kill_open_runs)
    log = _Log()
    logging.getLogger("sign_models").addHandler(log)
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
        # whatever was raised once the process was asked to stop may come of that, such as a worker's end by Ctrl-C
        killed = bool(interruption.requested()) or isinstance(error, KeyboardInterrupt | interruption.Terminated)
        try:
            _explain(run, error, killed, log)
        finally:  # whatever happens to the explanation
            try:
                _end(run, "KILLED" if killed else "FAILED")
            except ResourceError as trouble:  # the first error is the one to tell
                logger.warning("%s; the next command on this store will close the run", trouble)
        raise
    else:
        _end(run, "FINISHED")
        if not _open_runs:
            interruption.complete()
    finally:
        logging.getLogger("sign_models").removeHandler(log)


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
        _tag(run_id, signature)  # first: a RUNNING run with a dead process's signature would be closed
        if not resumed:
            _rename(run_id, stage, str(signature["sign.preset"]))
    opened = mlflow.start_run(run_id, nested=nested)
    os.environ.pop("MLFLOW_RUN_ID", None)  # consumed: the next run of this process is a new one
    return Run(opened.info.run_id, opened.info.experiment_id, stage, resumed)


def _explain(run: Run, error: BaseException, killed: bool, log: _Log) -> None:
    """Record why the run ends early, as far as the store takes it: the error itself is the one to show."""
    try:
        with interruption.deferred():
            run.explain_end(error, killed)
            log.store(run)
    except Exception as trouble:
        logger.warning("run %s does not say why it ended: %s", run.id, trouble)


class _Log(logging.Handler):
    """Keeps this project's log messages while a run is open, for its artifacts."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=LOG_LINES)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.began = datetime.now(UTC)

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
