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
LAST_WORDS = 10.0  # s that a run which was told to stop waits for its metrics


class Run:
    """An open MLflow run. `resumed`: it has been open before, so its params and earlier points are already stored."""

    def __init__(self, run_id: str, experiment_id: str, stage: str, resumed: bool) -> None:
        self.id, self.experiment_id, self.stage, self.resumed = run_id, experiment_id, stage, resumed
        self.note = ""

    def describe(self, text: str) -> None:
        """The run's note in the UI, in Markdown, in place of what it was."""
        self.note = text
        self.set_tags({notes.NOTE: text})

    def explain_end(self, error: BaseException, killed: bool) -> None:
        """Say why the run ends early: a tag, a line of its note, and the whole message as an artifact."""
        found = f"{type(error).__name__}: {error}".strip(": ")
        text = found if isinstance(error, SignError) else "".join(traceback.format_exception(error))
        word = "KILLED: type the same command again to go on from the last checkpoint" if killed else "FAILED"
        self.set_tags({ERROR: found})
        self.describe(f"{self.note}\n\n**{word}**\n\n```\n{found[:2000]}\n```\n".lstrip())
        self.log_text(text, "error.txt")

    def log_params(self, params: Mapping[str, object]) -> None:
        """Store resolved params under dotted names; values beyond MLflow's 6000 characters are cut, and say so.

        ParamsError where this run already holds another value for a name: leave out what may differ on resuming.
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
        """Store one point of each curve, soon: see MetricLog. Points that a resumed run already has are dropped."""
        self._metrics.add(metrics, step)

    def flush(self) -> None:
        """Return when every point so far is stored. Call it before a checkpoint says that its step is done."""
        if "_metrics" in self.__dict__:
            self._metrics.flush()

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Values beyond MLflow's 8000 characters are cut, and say so."""
        with translate_store_errors(f"run {self.id}"):
            _tag(self.id, tags)

    def log_figure(self, figure: Figure, path: str) -> None:
        with translate_store_errors(f"{path} of run {self.id}"):
            client().log_figure(self.id, figure, path)

    def log_text(self, text: str, path: str) -> None:
        with translate_store_errors(f"{path} of run {self.id}"):
            client().log_text(self.id, text, path)

    def log_dict(self, content: dict[str, Any], path: str) -> None:
        """`path` ends in .json or .yaml, which says how it is written."""
        with translate_store_errors(f"{path} of run {self.id}"):
            client().log_dict(self.id, content, path)

    def log_table(self, columns: Mapping[str, list[Any]], path: str) -> None:
        """A table that the UI shows; `path` ends in .json."""
        with translate_store_errors(f"{path} of run {self.id}"):
            client().log_table(self.id, dict(columns), path)

    def log_artifacts(self, source: Path, path: str | None = None) -> None:
        """Store a file, or what a folder holds, under the artifact folder `path`."""
        log = client().log_artifacts if source.is_dir() else client().log_artifact
        with translate_store_errors(f"{path or source.name} of run {self.id}"):
            log(self.id, str(source), path)

    def log_dataset(
        self, name: str, digest: str, context: str, profile: Mapping[str, object], source: str | None = None
    ) -> None:
        """Record an input by name and digest, without its values.

        digest: full; MLflow keeps 36 characters, the tag `sign.data.<context>` the whole. profile: what the UI shows
        of it, e.g. clips and frames. source: a folder, a package or a URI, as the user named it.
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
        """MLflow's own lineage: this run read these logged models."""
        from mlflow.entities import LoggedModelInput

        with translate_store_errors(f"run {self.id}"):
            client().log_inputs(self.id, models=[LoggedModelInput(model_id) for model_id in model_ids])

    def log_code_state(self) -> None:
        """The git commit, and whether the tree differed from it, as tags."""
        self.set_tags(code_state())

    def close(self, patience: float) -> None:
        """Store what metrics wait, for at most `patience` seconds, and end the thread that stores them."""
        if "_metrics" in self.__dict__:
            self._metrics.close(patience)


def whereabouts(run_id: str) -> tuple[str, str]:
    """The tracking store that holds a run, without user names and passwords, and the ID of the run's experiment."""
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
    """The run of one stage, as MLflow's active run, named by stage, preset and number where nobody named it.

    It is the run that `mlflow run` made for this process, else `run_id` opened again, else a new one: of `experiment`
    (see connect), or a child of the active run where `nested`. It ends FINISHED, FAILED on any exception, KILLED on
    Ctrl-C or Terminated, see interruption.
    Raises UpstreamError where `run_id` is unknown, deleted, in use, or the run of another stage.
    """
    run_id = run_id or os.environ.get("MLFLOW_RUN_ID")
    experiment_id = None if nested else connect(experiment)
    import mlflow

    signature = {STAGE: stage, **process.identity(), "sign.preset": preset, **(tags or {})}
    resumed = False
    with translate_store_errors(f"run of stage {stage}"):
        if run_id is None:
            with store_lock(mlflow.get_tracking_uri()):  # of two that start at once, each gets a number
                name = run_name or os.environ.get("MLFLOW_RUN_NAME") or _new_name(stage, preset, experiment_id)
                opened = mlflow.start_run(None, experiment_id, name, nested=nested, tags=signature)
        else:
            if nested and (parent := mlflow.active_run()) is not None:
                signature["mlflow.parentRunId"] = parent.info.run_id
            with store_lock(mlflow.get_tracking_uri()):  # of two that resume one run, the second finds it signed
                stored = _tags_of_run(run_id, stage)
                resumed = STAGE in stored
                if ERROR in stored:  # it goes on
                    client().delete_tag(run_id, ERROR)
                _tag(run_id, signature)  # first: a RUNNING run with a dead process's signature would be closed
                if not resumed:
                    _rename(run_id, stage, preset)
            opened = mlflow.start_run(run_id, nested=nested)
            os.environ.pop("MLFLOW_RUN_ID", None)  # consumed: the next run of this process is a new one
        run = Run(opened.info.run_id, opened.info.experiment_id, stage, resumed)
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


def _explain(run: Run, error: BaseException, killed: bool, log: _Log) -> None:
    """Why the run ends early, as far as the store takes it: the error itself is the one to tell."""
    try:
        with interruption.deferred():
            run.explain_end(error, killed)
            log.store(run)
    except Exception as trouble:
        logger.warning("run %s does not say why it ended: %s", run.id, trouble)


class _Log(logging.Handler):
    """Keeps this project's messages while a run is open, for its artifacts."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=LOG_LINES)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.began = datetime.now(UTC)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.lines.append(self.format(record))

    def store(self, run: Run) -> None:
        """The messages so far, in a file of its own for each time that the run was open."""
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
            run.close(LAST_WORDS)
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
