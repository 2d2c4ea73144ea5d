"""Files that a stage leaves for later stages: which run holds those of given inputs, and the files themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sign_models.errors import UpstreamError
from sign_models.stages.declaration import Stage, option_name
from sign_models.tracking.fingerprint import SHA, Fingerprint
from sign_models.tracking.registered.registry import UPSTREAM, ModelRef
from sign_models.tracking.runs import STAGE
from sign_models.tracking.store import artifacts_at, client, local_copy
from sign_models.tracking.store_errors import translate_store_errors

OMIT_IT = "leave it out to have the newest that fits model and data"


def find_finished(wanted: Fingerprint) -> str | None:
    """Find the newest finished run, in any experiment, of given work.

    Args:
        wanted: What the run must have computed.

    Returns:
        ID of the run. None: there is none.

    Raises:
        ResourceError: The store does not answer.
    """
    with translate_store_errors(f"looking for {wanted.stage}"):
        experiments = [e.experiment_id for e in client().search_experiments()]
        found = client().search_runs(
            experiments,
            f"tags.`{SHA}` = '{wanted.sha256}' and attributes.status = 'FINISHED'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
    return str(found[0].info.run_id) if found else None


def made_by(run_id: str, producer: Stage, models: Mapping[str, ModelRef]) -> str:
    """Identify the contents of the file that a run wrote.

    Args:
        run_id: Of a run of `producer`.
        producer: The stage that writes the file.
        models: By role, what it must have been made of, to the bit.

    Returns:
        Fingerprint of the run, or its ID where it has none.

    Raises:
        UpstreamError: It is no finished run of that stage, or other models made its file.
        ResourceError: The store does not answer.
    """
    import mlflow

    place, wanted = f"{producer.made_role} {run_id}", f"the ID of a {producer.name} run"
    try:
        with translate_store_errors(place):
            run = client().get_run(run_id)
    except mlflow.MlflowException as error:
        raise UpstreamError("no such run", place=place, wanted=wanted, remedy=OMIT_IT) from error
    tags = run.data.tags
    if (stage := tags.get(STAGE, "unknown")) != producer.name or not {
        UPSTREAM + role for role in models
    } <= tags.keys():
        raise UpstreamError(f"a run of stage {stage!r}", place=place, wanted=wanted, remedy=OMIT_IT)
    if run.info.status != "FINISHED":
        raise UpstreamError(
            f"the run is {run.info.status}", place=place, wanted="a finished run", remedy=f"run -e {stage} again"
        )
    for role, model in models.items():
        used = f"{UPSTREAM}{role}"
        if tags[f"{used}.model_id"] != model.model_id and tags.get(f"{used}.content") != model.content:
            raise UpstreamError(
                f"made by another {role} model, {tags[used]} ({tags[f'{used}.model_id']})",
                place=place,
                wanted=f"those of {model.uri} ({model.model_id})",
                remedy=f"run -e {stage} -P {option_name(role)}={model.version}, or name the model that made them",
            )
    return str(tags.get(SHA, run_id))


@contextmanager
def fetch(run_id: str, path: str) -> Iterator[Path]:
    """Fetch an artifact of a run.

    Args:
        run_id: Of the run.
        path: Of the artifact.

    Yields:
        The local file, which exists as long as the context lasts.

    Raises:
        UpstreamError: The artifact is gone.
        ResourceError: The store does not answer.
    """
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
