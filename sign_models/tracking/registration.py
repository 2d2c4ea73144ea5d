"""How a new version of a registered model comes to be.

A model can be used once MLflow calls it READY, and that is said last: after its files are in the store, were loaded
back from there, and answered the model's own input example. Then it becomes a version, then `candidate` moves.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from sign_models.errors import UpstreamError
from sign_models.stages.declaration import model_names
from sign_models.tracking.registry import (
    CONFIG,
    EXTRACTORS,
    FILES,
    FPS,
    UPSTREAM,
    ModelRef,
    ready,
    trained_on,
    versions_of,
)
from sign_models.tracking.runs import STAGE, Run
from sign_models.tracking.sources import PACKAGE
from sign_models.tracking.store import artifacts_at, client, folder_digest, local_copy, store_lock
from sign_models.tracking.store_errors import translate_store_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

    from sign_models.keypoints.sequence import KeypointSequence

CANDIDATE = "candidate"
REQUIRED = ("mlflow", "numpy", "torch", "transformers", "safetensors", "pydantic", "PyYAML", "pose-format")


def register(
    run: Run,
    stage: str,
    directory: Path,
    *,
    input_example: Sequence[KeypointSequence],
    metrics: Mapping[str, float],
    upstream: Mapping[str, ModelRef],
    tags: Mapping[str, object],
    step: int,
) -> ModelRef:
    """Make the model in `directory` the newest version of this stage's model, and move `candidate` to it.

    directory: model.safetensors, config.json and whatever else models.load reads. input_example: clips it must answer.
    metrics: shown beside the model. upstream: role -> what it was built on. tags: of the version; those of the run that
    say data and code are added. Registering the same files of the same run again gives the version there is.
    """
    import mlflow

    name = model_names()[stage]
    with translate_store_errors(f"registering {name}"):
        files = folder_digest(directory)
        earlier = [v for v in versions_of(name) if v.run_id == run.id and v.tags.get(FILES) == files]
        if earlier:
            version = earlier[0]
        else:
            said = _tags(run, stage, files, upstream, tags)
            model = _log_model(run, name, directory, input_example, said)
            _link(run, model.model_id, metrics, upstream, step)
            version = _create_version(name, model.model_id, run.id, said)
        registered = ready(version, CANDIDATE, stage)
        with store_lock(
            mlflow.get_tracking_uri()
        ):  # MLflow looks for the alias, then makes it: two at once make it twice
            client().set_registered_model_alias(name, CANDIDATE, str(registered.version))
    return registered


def _tags(
    run: Run, stage: str, files: str, upstream: Mapping[str, ModelRef], tags: Mapping[str, object]
) -> dict[str, str]:
    of_run = client().get_run(run.id).data.tags
    kept = ("sign.commit", "sign.dirty", EXTRACTORS, FPS)
    said = {k: v for k, v in of_run.items() if k.startswith("sign.data.") or k in kept}
    said |= {STAGE: stage, FILES: files} | {k: str(v) for k, v in tags.items()}
    for role, model in upstream.items():
        said[UPSTREAM + role] = json.dumps(
            {"asked": model.asked, "uri": model.uri, "run_id": model.run_id, "model_id": model.model_id}
        )
    return said


def _log_model(
    run: Run, name: str, directory: Path, input_example: Sequence[KeypointSequence], tags: dict[str, str]
) -> LoggedModel:
    """A logged model in the state READY. mlflow.pyfunc.log_model would say READY before anybody loaded it."""
    import mlflow.pyfunc
    from mlflow.models import Model

    from sign_models.serving.served_model import clip_of, search_params

    store = client()
    params = store.get_run(run.id).data.params
    clips, search = [clip_of(s) for s in input_example], search_params(json.loads((directory / CONFIG).read_text()))
    model = store.create_logged_model(
        run.experiment_id, name=name, source_run_id=run.id, tags=tags, params=params, model_type=tags[STAGE]
    )
    with tempfile.TemporaryDirectory(prefix="sign-register-") as scratch:
        named = shutil.copytree(directory, Path(scratch, "model"))  # the name that it gets in the store
        packed = Path(scratch, "packed")
        mlflow.pyfunc.save_model(
            packed,
            python_model=str(PACKAGE / "serving" / "served_model.py"),
            artifacts={"model": str(named)},
            code_paths=[str(PACKAGE)],
            pip_requirements=requirements(),
            model_config={"extractors": trained_on(tags)},
            input_example=(clips, search) if search else clips,  # MLflow takes the signature's params from it
            mlflow_model=Model(model.artifact_location, run.id, model_uuid=model.model_id, model_id=model.model_id),
        )
        store.log_model_artifacts(model.model_id, str(packed))
    smoke_test(model.artifact_location, f"models:/{model.model_id}, not registered yet")
    return store.finalize_logged_model(model.model_id, "READY")


def smoke_test(location: str, place: str) -> None:
    """Load a model as the store has it, and have it answer its own input example; UpstreamError where it does not."""
    import mlflow.pyfunc

    path = sys.path
    with tempfile.TemporaryDirectory(prefix="sign-model-") as scratch:
        try:
            folder = local_copy(artifacts_at(location), "", scratch)
        except (mlflow.MlflowException, FileNotFoundError) as error:
            raise UpstreamError("the model's files are gone from the store", place=place) from error
        try:
            loaded = mlflow.pyfunc.load_model(str(folder))
        finally:
            sys.path = path  # MLflow sets the model's copy of this package before it
        example = loaded.input_example
        answers = loaded.predict(example)
    numbers = [v for answer in answers for v in answer.values() if isinstance(v, float)]
    if len(answers) != len(example) or not all(map(math.isfinite, numbers)):
        raise UpstreamError(
            f"the model answers its own input example with {str(answers)[:200]}",
            place=place,
            wanted="one answer a clip, of finite numbers",
            remedy="look at the loss curves for NaN",
        )


def _link(run: Run, model_id: str, metrics: Mapping[str, float], upstream: Mapping[str, ModelRef], step: int) -> None:
    from mlflow.entities import LoggedModelOutput, Metric

    store, now = client(), time.time_ns() // 1_000_000
    store.log_outputs(run.id, [LoggedModelOutput(model_id, step)])
    logged = metrics.keys() & store.get_run(run.id).data.metrics.keys()  # by a registration that a kill ended
    times = {k: p.timestamp for k in logged for p in store.get_metric_history(run.id, k) if p.step == step}
    points = [Metric(k, float(v), times.get(k, now), step, model_id=model_id) for k, v in metrics.items()]
    store.log_batch(run.id, points)  # of two points of one time and value MLflow keeps one
    if upstream:
        run.link_inputs(model.model_id for model in upstream.values())


def _create_version(name: str, model_id: str, run_id: str, tags: dict[str, str]) -> ModelVersion:
    import mlflow

    store = client()
    try:
        store.create_registered_model(name)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return store.create_model_version(name, f"models:/{model_id}", run_id, tags, model_id=model_id)


def requirements() -> list[str]:
    """What a registered model needs, in the versions installed here."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in REQUIRED]
