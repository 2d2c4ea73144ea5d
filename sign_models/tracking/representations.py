"""The represent runs: which one holds what a model makes of some data, and its files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sign_models.errors import UpstreamError
from sign_models.tracking.fingerprint import SHA, Fingerprint
from sign_models.tracking.runs import STAGE
from sign_models.tracking.store import artifacts_at, client, local_copy
from sign_models.tracking.store_errors import translate_store_errors

MODEL, VERSION = "sign.upstream.temporal.model_id", "sign.upstream.temporal"
LEAVE = "leave it out to have the newest that fits model and data"


def find_finished(wanted: Fingerprint) -> str | None:
    """ID of the newest finished run, in any experiment, that did this very work."""
    with translate_store_errors(f"looking for a run of {wanted.stage}"):
        experiments = [e.experiment_id for e in client().search_experiments()]
        found = client().search_runs(
            experiments,
            f"tags.`{SHA}` = '{wanted.sha256}' and tags.`{STAGE}` = '{wanted.stage}' and "
            "attributes.status = 'FINISHED'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
    return str(found[0].info.run_id) if found else None


def made_by(run_id: str) -> tuple[str, str]:
    """Model ID and URI of the version that made a run's representations. UpstreamError where it is no such run."""
    import mlflow

    place = f"representations {run_id}"
    try:
        with translate_store_errors(place):
            run = client().get_run(run_id)
    except mlflow.MlflowException as error:
        raise UpstreamError("no such run", place=place, wanted="the ID of a represent run", remedy=LEAVE) from error
    stage = run.data.tags.get(STAGE, "unknown")
    if stage != "represent" or MODEL not in run.data.tags:
        raise UpstreamError(f"a run of stage {stage!r}", place=place, wanted="the ID of a represent run", remedy=LEAVE)
    if run.info.status != "FINISHED":
        raise UpstreamError(
            f"the run is {run.info.status}", place=place, wanted="a finished run", remedy="run -e represent again"
        )
    return run.data.tags[MODEL], run.data.tags[VERSION]


@contextmanager
def fetch(run_id: str, path: str) -> Iterator[Path]:
    """An artifact of a run as a local file, for as long as the context lasts."""
    import mlflow

    with tempfile.TemporaryDirectory(prefix="sign-artifact-") as scratch:
        try:
            with translate_store_errors(f"{path} of run {run_id}"):
                local = local_copy(artifacts_at(client().get_run(run_id).info.artifact_uri), path, scratch)
        except (mlflow.MlflowException, FileNotFoundError) as error:
            raise UpstreamError(
                f"{path} is gone from the store",
                place=f"run {run_id}",
                wanted="a run that still has its artifacts",
                remedy="run the stage again",
            ) from error
        yield local
