"""The tracking store: where it is, making a fresh one, local copies of artifacts, and runs that nobody ended."""

from __future__ import annotations

import gc
import getpass
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import psutil

from sign_models.errors import ResourceError, SignError, UpstreamError
from sign_models.tracking import process
from sign_models.tracking.database import ARTIFACTS, QUIET, SQLITE, make_database, sqlite_path
from sign_models.tracking.store_errors import ANSWERS, BARRED, FULL, first_line, public, translate_store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

logger = logging.getLogger(__name__)
# How long a server is asked before any work, where the user does not say it. MLflow's own are 7 and 120: a server that
# is not there would be waited for four minutes, one that does not answer a quarter of an hour.
FIRST_ASKED = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
NO_ARTIFACT = "sign-models-none"  # a path that no experiment has
PROJECT = Path(__file__).resolve().parents[2]
PENDING_RUN_GRACE_S = 3600.0  # seconds in which `mlflow run` makes an environment, or a queue lets a job in


@cache
def load_mlflow() -> None:
    """Import MLflow, once.

    The garbage collector is paused meanwhile, and never looks at these objects again: to search half a million of them
    while they are made takes a second, and another one when the process ends.
    """
    gc.disable()
    try:
        import mlflow

        if mlflow.get_tracking_uri().startswith(SQLITE):
            import mlflow.store.tracking.sqlalchemy_store
    finally:
        gc.freeze()
        gc.enable()
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)


def client() -> MlflowClient:
    """A client of the store.

    Returns:
        The client.
    """
    import mlflow

    return mlflow.MlflowClient()


def artifacts_at(uri: str) -> ArtifactRepository:
    """Artifacts of a run or model.

    Args:
        uri: Where they are.

    Returns:
        MLflow's repository of them.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri)


def local_copy(artifacts: ArtifactRepository, path: str, scratch: str) -> Path:
    """Have an artifact on this machine.

    Args:
        artifacts: Of a run or model.
        path: File or folder among them.
        scratch: Folder for what has to be downloaded.

    Returns:
        The file or folder: in place where the store is on this machine, else below `scratch`.
    """
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    in_place = isinstance(artifacts, LocalArtifactRepository)
    return Path(artifacts.download_artifacts(path, None if in_place else scratch))


def file_digests(folder: Path, names: Collection[str] | None = None) -> dict[str, str]:
    """Digests of a folder's files.

    Args:
        folder: The folder.
        names: Of the files, in the folder; those that are not there are left out. None: all, at any depth.

    Returns:
        sha256 by path in the folder.
    """
    sums = {}
    paths = folder.rglob("*") if names is None else (folder / name for name in names)
    for path in sorted(p for p in paths if p.is_file()):
        with path.open("rb") as file:
            sums[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def folder_digest(folder: Path, without: Collection[str] = ()) -> str:
    """Digest of a folder.

    Args:
        folder: The folder.
        without: Names of files and folders that do not count.

    Returns:
        sha256 of the names and contents of its files.
    """
    digests = {path: digest for path, digest in file_digests(folder).items() if not {*path.split("/")} & {*without}}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def connect(experiment: str | None = None) -> str:
    """Make the store usable, and choose the experiment to work in.

    The store is MLFLOW_TRACKING_URI, or MLflow's own default: mlflow.db in the working directory. Artifacts lie in
    `mlruns` beside the database. A fresh sqlite database is made once, whoever else starts at the same time. Runs whose
    process died without a word on this machine are set to KILLED; no others are touched.

    Args:
        experiment: Its name, made where there is none; None leaves the choice to MLFLOW_EXPERIMENT_ID,
            MLFLOW_EXPERIMENT_NAME or MLflow's default experiment.

    Returns:
        ID of the experiment.

    Raises:
        ResourceError: The store cannot be used: no database, no driver, a file store, of another MLflow, away, or it
            keeps artifacts where this command cannot write them.
        UpstreamError: The experiment was deleted, or there is none of MLFLOW_EXPERIMENT_ID.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one a file
    load_mlflow()
    import mlflow

    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # each step of each registration
    uri = mlflow.get_tracking_uri()
    with translate_store_errors(place := f"tracking store {public(uri)}"), _asked_briefly():
        with _refuse_unusable(place):
            _check_uri(uri)
            registry_uri = mlflow.get_registry_uri()
            make_database(uri)
            client().search_experiments(max_results=1)
        chosen = _experiment_id(client(), experiment)
        _check_artifacts(client().get_experiment(chosen).artifact_location, f"experiment {chosen}", uri)
    if registry_uri != uri:
        place = f"model registry {public(registry_uri)}"
        with translate_store_errors(place), _refuse_unusable(place), _asked_briefly():
            client().search_registered_models(max_results=1)
    with translate_store_errors(f"tracking store {public(uri)}"):
        close_dead_runs()
    return chosen


@contextmanager
def _asked_briefly() -> Iterator[None]:
    """Have MLflow ask a server a few times, not for minutes, and say nothing of each time."""
    log = logging.getLogger("urllib3.connectionpool")
    before, level = {name: os.environ.get(name) for name in FIRST_ASKED}, log.level
    os.environ |= {name: value for name, value in FIRST_ASKED.items() if before[name] is None}
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        for name in (name for name, value in before.items() if value is None):
            del os.environ[name]


def _check_uri(uri: str) -> None:
    """ValueError for a store that MLflow opens and that can keep nothing, or that is another one than it looks."""
    if uri != uri.strip():
        raise ValueError("a space before or after it, which would name another store")
    if uri.startswith("sqlite:") and (":memory:" in uri or uri == "sqlite://"):
        raise ValueError("a database in memory, which ends with the process and is another one in each thread")
    if uri.startswith(f"{SQLITE}file:"):
        raise ValueError("a URI of sqlite's own within it: write the path alone")


@contextmanager
def _refuse_unusable(place: str) -> Iterator[None]:
    """Raise ResourceError for a store that MLflow cannot open as it is named, which no waiting mends."""
    import mlflow
    from requests import RequestException

    wanted = "a tracking server (http://...) or a database (sqlite:///mlflow.db, postgresql://...)"
    remedy = "set MLFLOW_TRACKING_URI to one, or unset it to have mlflow.db in the working directory"
    try:
        yield
    except ImportError as error:
        remedy = f"install it, or {remedy}"
        raise ResourceError(
            f"its driver is not installed ({error})", place=place, wanted=wanted, remedy=remedy
        ) from error
    except Exception as error:  # drivers and MLflow's plugins have classes of their own
        if isinstance(error, mlflow.MlflowException) and error.error_code not in ANSWERS:
            raise
        barred = isinstance(error, OSError) and error.errno in (*BARRED, *FULL)
        if barred or isinstance(error, RequestException | SignError):
            raise
        found = first_line(error)
        if "filesystem tracking backend" in found:
            found = "a folder of files, which this MLflow no longer writes to"
            remedy = f"{remedy}; `mlflow migrate-filestore` takes its runs over"
        raise ResourceError(found, place=place, wanted=wanted, remedy=remedy) from error


def _experiment_id(store: MlflowClient, name: str | None) -> str:
    import mlflow

    if name is None and (given := os.environ.get("MLFLOW_EXPERIMENT_ID")):
        try:
            return _active(store.get_experiment(given), given)
        except mlflow.MlflowException as error:
            raise UpstreamError(
                "no such experiment in this tracking store",
                place=f"experiment {given!r} of MLFLOW_EXPERIMENT_ID",
                wanted="the ID of an active experiment",
                remedy="see `mlflow experiments search`, or name one with MLFLOW_EXPERIMENT_NAME",
            ) from error
    name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
    found = store.get_experiment_by_name(name)
    if found is None:
        try:
            return str(store.create_experiment(name))
        except mlflow.MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE":
                raise UpstreamError(
                    f"no name of an experiment ({first_line(error)})",
                    place=f"experiment {name[:40]!r}",
                    wanted="a name that MLflow takes",
                    remedy="choose another name",
                ) from error
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = store.get_experiment_by_name(name)  # another process was a moment faster
    return _active(found, name)


def _active(found: Experiment | None, name: str) -> str:
    """ID of an experiment; UpstreamError where it was deleted."""
    from mlflow.entities import LifecycleStage

    if found is None or found.lifecycle_stage != LifecycleStage.ACTIVE:
        raise UpstreamError(
            f"experiment {name!r} was deleted",
            place="experiment",
            wanted="an active experiment",
            remedy="choose another name, or restore it with `mlflow experiments restore`",
        )
    return str(found.experiment_id)


def _check_artifacts(location: str, place: str, uri: str) -> None:
    """ResourceError where artifacts of `location` cannot be written with the tracking store `uri`.

    `mlflow server` on a database without experiments says by default that it stores artifacts itself. A command that
    opens the database without a server has nobody to send them to.
    """
    if location.startswith("mlflow-artifacts:") and not uri.startswith("http"):
        raise ResourceError(
            f"its artifacts go to {location}, which only a running MLflow server can store",
            place=place,
            wanted=f"artifacts in {ARTIFACTS} beside the database, as `make ui` and this project's commands have it",
            remedy="choose another experiment (`mlflow run . --experiment-name NAME`, else `--experiment NAME`), "
            "or keep that server running and set MLFLOW_TRACKING_URI to its address",
        )
    if location.startswith("mlflow-artifacts:"):
        return
    try:
        if location.startswith(("/", "file:///")):
            folder = Path(unquote(location.removeprefix("file://")))
            there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
            found = "" if os.access(there, os.W_OK) else f"{there} cannot be written to"
            if not found:
                folder.mkdir(parents=True, exist_ok=True)
        else:
            artifacts_at(location).list_artifacts(NO_ARTIFACT)  # imports and reaches what it needs
            found = ""
    except Exception as error:  # libraries of each kind of place have classes of their own; who may write may not list
        found = "" if re.search(r"denied|forbidden|40[13]", str(error), re.IGNORECASE) else first_line(error)
    if found:
        raise ResourceError(
            f"its artifacts go to {public(location)}: {found}",
            place=place,
            wanted="a folder of this machine, or a server that stores artifacts (`mlflow server` without "
            "--default-artifact-root)",
            remedy="choose another experiment (`mlflow run . --experiment-name NAME`, else `--experiment NAME`), or "
            "install what that place needs",
        )


def close_dead_runs() -> list[str]:
    """Set to KILLED the RUNNING runs whose process is known to be dead.

    Returns:
        IDs of these runs.
    """
    store = client()
    experiments = [e.experiment_id for e in store.search_experiments()]
    running = store.search_runs(experiments, "attributes.status = 'RUNNING'", max_results=1000)
    dead = [r for r in running if process.process_alive(r.data.tags) is False or _never_began(r)]
    for run in dead:
        store.set_terminated(run.info.run_id, "KILLED")
        logger.warning("run %s was left by a process that died; it is KILLED now", run.info.run_id)
    return [r.info.run_id for r in dead]


def _never_began(run: Run) -> bool:
    """Whether `mlflow run` made this run here and died before its step could sign it.

    With a database file on this machine: where no process could still be on its way to it. Who is on the way to a run
    on a server cannot be seen; there it has PENDING_RUN_GRACE_S to begin, and one that is later goes on all the same.
    """
    import mlflow

    tags, database = run.data.tags, sqlite_path(mlflow.get_tracking_uri())
    if process.HOST in tags or "mlflow.project.entryPoint" not in tags:
        return False
    if run.info.run_id == os.environ.get("MLFLOW_RUN_ID"):
        return False  # this process's own, which it is about to sign
    # MLflow says file://REPOSITORY#FOLDER_IN_IT of a project that is in git, else the folder
    folder, _, inside = tags.get("mlflow.source.name", "").removeprefix("file://").partition("#")
    if Path(folder, inside).resolve() != PROJECT or tags.get("mlflow.user") != getpass.getuser():
        return False
    if database is None:
        return bool(time.time() - run.info.start_time / 1000 > PENDING_RUN_GRACE_S)
    mine = [p for p in psutil.process_iter(["pid", "uids", "cmdline", "environ", "cwd"]) if _is_mine(p)]
    # an `mlflow run` makes one run: where its step is there, it is on its way to no other, as the one above us
    arrived = {above.pid for p in mine if "MLFLOW_RUN_ID" in (p.info["environ"] or {}) for above in _above(p)}
    return not any(_may_be_starting(run.info.run_id, database, p.info) for p in mine if p.pid not in arrived)


def _is_mine(other: psutil.Process) -> bool:
    """Of the user of this process, who made the run too."""
    return other.info["uids"] is not None and other.info["uids"].real == os.getuid()


def _above(other: psutil.Process) -> list[psutil.Process]:
    try:
        return list(other.parents())
    except psutil.NoSuchProcess:  # it has ended since
        return []


def _may_be_starting(run_id: str, database: Path, other: Mapping[str, Any]) -> bool:
    """Whether that process may be `mlflow run` before it starts the run's step, or the step before it signs the run."""
    words = [Path(word).name for word in other["cmdline"] or []]
    launches = "mlflow" in words and "run" in words
    if other["environ"] is None:  # not to be looked into
        return launches or any(word.startswith("python") for word in words)
    if launches:
        uri = other["environ"].get("MLFLOW_TRACKING_URI", f"{SQLITE}mlflow.db")
        return sqlite_path(uri, other["cwd"]) == database
    return bool(other["environ"].get("MLFLOW_RUN_ID") == run_id)
