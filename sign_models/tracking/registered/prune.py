"""Delete checkpoints that nobody will resume from, and versions that nothing needs. Never anything else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sign_models import interruption
from sign_models.stages.declaration import model_names
from sign_models.tracking.checkpoints import ROOT
from sign_models.tracking.locks import store_lock
from sign_models.tracking.registered.registry import UPSTREAM, aliases_of, logged_model, model_id_of, versions_of
from sign_models.tracking.runs import STAGE
from sign_models.tracking.store import artifacts_at, client
from sign_models.tracking.store_errors import translate_store_errors

if TYPE_CHECKING:
    from mlflow.entities import Run

LAST, BEST = "sign.checkpoint.last", "sign.checkpoint.best"
MODEL_ID = ".model_id"


@dataclass(frozen=True)
class Held:
    """A version of this project.

    Attributes:
        name: Of the registered model.
        version: Its number.
        model_id: Of its logged model.
        run_id: Of its run.
        aliases: That it holds.
        upstream: Model IDs that it was built on.
    """

    name: str
    version: int
    model_id: str
    run_id: str
    aliases: tuple[str, ...]
    upstream: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What can be deleted.

    Attributes:
        checkpoints: Stage by ID of a finished run.
        versions: What no alias, no lineage of one, and no open run needs.
    """

    checkpoints: dict[str, str]
    versions: tuple[Held, ...]

    def items(self, shared: set[str]) -> Iterator[tuple[str, Callable[[], bool]]]:
        """List what can be deleted.

        Args:
            shared: Logged models that other registered models hold, whose files stay.

        Yields:
            A line for each thing, and the function that deletes it. It returns whether it did.
        """
        for run_id, stage in self.checkpoints.items():
            yield f"checkpoints of finished run {run_id} ({stage})", partial(_delete_checkpoints, run_id)
        for v in self.versions:
            yield f"version {v.version} of {v.name} (run {v.run_id})", partial(_delete_version, v, shared)

    def as_text(self) -> str:
        """The plan as lines.

        Returns:
            A line for each thing.
        """
        return "\n".join(line for line, _ in self.items(set())) or "nothing to prune"


def plan() -> Plan:
    """Find what can be deleted, and delete nothing.

    Returns:
        The plan.

    Raises:
        ResourceError: The store does not answer.
    """
    with translate_store_errors("looking for what can be pruned"):
        runs = _runs()
        held = _versions()
        open_runs = [run for run in runs if _is_open(run)]
        used = {model_id for run in open_runs for model_id in _read_by(run)}
        made = {v.model_id for v in held if v.run_id in {run.info.run_id for run in open_runs}}
        kept = needed(held, used | made)
        finished = [r for r in runs if r.info.status == "FINISHED" and LAST in r.data.tags]
        return Plan(
            {run.info.run_id: run.data.tags[STAGE] for run in finished},
            tuple(v for v in held if v.model_id not in kept),
        )


def needed(versions: Iterable[Held], used: Iterable[str]) -> set[str]:
    """Find the models that something needs.

    Args:
        versions: All versions.
        used: Model IDs that are in use.

    Returns:
        Model IDs that an alias or `used` names, those that they were built on, and so on.
    """
    upstream = {v.model_id: v.upstream for v in versions}
    waiting = [v.model_id for v in versions if v.aliases] + list(used)
    found: set[str] = set()
    while waiting:
        model_id = waiting.pop()
        if model_id not in found:
            found.add(model_id)
            waiting += upstream.get(model_id, ())
    return found


def prune(done: Callable[[str], None] = lambda line: None) -> Plan:
    """Delete what plan() finds now. A kill in between leaves nothing that can be named but not loaded.

    Args:
        done: Called with the line of each thing once it is deleted.

    Returns:
        What was deleted, in full unless an error or a signal ended it.

    Raises:
        ResourceError: The store does not answer.
        Terminated: A signal asks for the end (KeyboardInterrupt for Ctrl-C).
    """
    with translate_store_errors("pruning"):
        found = plan()
        shared = _model_ids_of_others()
        for line, delete in found.items(shared):
            interruption.check()
            if delete():
                done(line)
        return found


def _delete_checkpoints(run_id: str) -> bool:
    run = client().get_run(run_id)
    artifacts_at(run.info.artifact_uri).delete_artifacts(ROOT)
    for tag in (LAST, BEST):
        if tag in run.data.tags:
            client().delete_tag(run_id, tag)
    return True


def _delete_version(version: Held, shared: set[str]) -> bool:
    """False where somebody gave it an alias in the meantime. The version goes before its files."""
    import mlflow

    with store_lock(mlflow.get_tracking_uri()):
        if version.version in aliases_of(version.name).values():
            return False
        client().delete_model_version(version.name, str(version.version))
    model = logged_model(version.model_id)
    if model is not None and version.model_id not in shared:
        client().delete_logged_model(version.model_id)
        artifacts_at(model.artifact_location).delete_artifacts()
    return True


def _versions() -> list[Held]:
    """Versions of our models that our stages registered."""
    found = []
    for stage, name in model_names().items():
        held = aliases_of(name)
        for version in versions_of(name):
            model_id = model_id_of(version)
            if model_id is None or version.tags.get(STAGE) != stage:
                continue
            number = int(version.version)
            aliases = tuple(alias for alias, at in held.items() if at == number)
            upstream = [json.loads(v)["model_id"] for k, v in version.tags.items() if k.startswith(UPSTREAM)]
            found.append(Held(name, number, model_id, version.run_id, aliases, tuple(upstream)))
    return found


def _model_ids_of_others() -> set[str]:
    """Logged models that a version under a name of the user's own holds too."""
    found: set[str] = set()
    token: str | None = None
    while True:
        page = client().search_model_versions(page_token=token)
        found |= {model_id_of(v) or "" for v in page if v.name not in model_names().values()}
        token = page.token
        if not token:
            return found


def _runs() -> list[Run]:
    """Every run of our stages."""
    experiments = [e.experiment_id for e in client().search_experiments()]
    found: list[Run] = []
    token: str | None = None
    while True:
        page = client().search_runs(experiments, f"tags.`{STAGE}` LIKE '%'", page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _is_open(run: Run) -> bool:
    """At work, or cut off with a checkpoint to go on from."""
    return run.info.status != "FINISHED" and (run.info.status in ("RUNNING", "SCHEDULED") or LAST in run.data.tags)


def _read_by(found: Run) -> set[str]:
    run = client().get_run(found.info.run_id)  # what search_runs finds lacks the models
    inputs = [] if run.inputs is None else run.inputs.model_inputs
    tags = {v for k, v in run.data.tags.items() if k.startswith(UPSTREAM) and k.endswith(MODEL_ID)}
    return tags | {model.model_id for model in inputs}
