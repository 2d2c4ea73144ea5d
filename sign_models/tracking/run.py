"""An open MLflow run: what a stage records in it."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sign_models.errors import ParamsError, SignError
from sign_models.tracking import notes
from sign_models.tracking.metrics import MetricLog, stored_points
from sign_models.tracking.sources import code_state
from sign_models.tracking.store import client
from sign_models.tracking.store_errors import translate_store_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGE, ERROR = "sign.stage", "sign.error"
LONGEST_PARAM, LONGEST_TAG = 6000, 8000
PARAMS_A_CALL = 100
ALREADY_THERE = ("unique constraint", "duplicate")  # what databases say of a row that is there


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
            tag_run(self.id, tags)

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
        from mlflow import MlflowException
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entry = Dataset(
            name=name,
            digest=digest[:36],
            source_type="local" if source else "code",
            source=json.dumps({"uri": source or name}),
            profile=json.dumps(profile),
        )
        entries = [DatasetInput(entry, [InputTag("mlflow.data.context", context)])]
        with translate_store_errors(f"run {self.id}"):
            try:
                client().log_inputs(self.id, entries)
            except MlflowException as error:
                # MLflow looks for the dataset, then inserts it: two runs that begin together both insert.
                if not any(word in str(error).lower() for word in ALREADY_THERE):
                    raise
                client().log_inputs(self.id, entries)
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


def tag_run(run_id: str, tags: Mapping[str, object]) -> None:
    """Set tags of a run. Values beyond MLflow's 8000 characters are cut, and say so.

    Args:
        run_id: Of the run.
        tags: Value by name.
    """
    from mlflow.entities import RunTag

    client().log_batch(run_id, tags=[RunTag(name, _cut(str(value), LONGEST_TAG)) for name, value in tags.items()])
