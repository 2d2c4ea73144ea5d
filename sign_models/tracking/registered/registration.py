"""How a new version of a registered model comes to be.

A model can be used once MLflow calls it READY, and that is said last: after it was loaded, answered an input example,
and its files were found unchanged in the store. Then it becomes a version, then `candidate` moves. The version's tags
keep the digests of its files, and `ModelRef.path` compares them at every load.

The input example is generated (keypoints.example): no clip of a corpus travels with a model.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from sign_models import interruption
from sign_models.errors import ResourceError, UpstreamError
from sign_models.keypoints.example import example_clips
from sign_models.stages.declaration import by_role, model_names
from sign_models.tracking import notes
from sign_models.tracking.locks import store_lock
from sign_models.tracking.registered.registry import (
    CONFIG,
    EXTRACTORS,
    FILES,
    FPS,
    LICENSE,
    PACKAGE_FILES,
    SEEN_PARTS,
    UPSTREAM,
    ModelRef,
    move_alias,
    ready,
    trained_on,
    versions_of,
)
from sign_models.tracking.runs import STAGE, Run
from sign_models.tracking.sources import PACKAGE
from sign_models.tracking.store import artifacts_at, client, folder_digest, local_copy
from sign_models.tracking.store_errors import translate_store_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE = "candidate"
VERSIONS = "mlflow.modelVersions"  # by it the UI knows that a logged model is registered
CREATED_BY = ("mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit")
REQUIRED = (
    "mlflow",
    "numpy",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "pydantic",
    "PyYAML",
    "pose-format",
)


def register(  # noqa: PLR0913 - what a version keeps, each by its name
    run: Run,
    stage: str,
    directory: Path,
    *,
    metrics: Mapping[str, float],
    upstream: Mapping[str, ModelRef],
    tags: Mapping[str, object],
    step: int,
    candidate: bool = True,
) -> ModelRef:
    """Register a trained model, and move `candidate` to its version.

    Registering the same files of the same run again returns the version that there is.

    Args:
        run: That trained it.
        stage: That it is of.
        directory: With what models.storage.save wrote.
        metrics: Shown beside the model.
        upstream: What it was built on, by role.
        tags: Of the version. Those of the run that say data and code are added.
        step: Training step of the model and its metrics.
        candidate: Whether `candidate` moves.

    Returns:
        The version.

    Raises:
        UpstreamError: The model does not answer its input example with finite numbers.
        ResourceError: The store does not answer, or changes the files.
    """
    name = model_names()[stage]
    with translate_store_errors(f"registering {name}"):
        files = folder_digest(directory)
        earlier = [v for v in versions_of(name) if v.run_id == run.id and v.tags.get(FILES) == files]
        if earlier:
            version = earlier[0]
        else:
            said = _tags(run, stage, files, upstream, tags)
            model, said[PACKAGE_FILES] = _log_model(run, name, directory, said)
            _link(run, model.model_id, metrics, upstream, step)
            version = _create_version(name, model.model_id, run.id, said)
        registered = ready(version, CANDIDATE, stage)
        _present(stage, registered, metrics)
    if candidate:
        move_candidate(registered)
    return registered


def move_candidate(version: ModelRef) -> None:
    """Make a version the candidate of its model.

    Args:
        version: The version.

    Raises:
        ResourceError: The store does not answer.
        Terminated: A signal asks for the end (KeyboardInterrupt for Ctrl-C). The alias has not moved.
    """
    import mlflow

    with translate_store_errors(f"registering {version.name}"), store_lock(mlflow.get_tracking_uri()):
        interruption.check()
        with interruption.deferred(f"moving {CANDIDATE} of {version.name}"):
            move_alias(version.name, CANDIDATE, version.version)


def _tags(
    run: Run, stage: str, files: str, upstream: Mapping[str, ModelRef], tags: Mapping[str, object]
) -> dict[str, str]:
    """Tags of a version: what its run says of data and code, digests of its files, and what it builds on."""
    of_run = client().get_run(run.id).data.tags
    kept = ("sign.commit", "sign.dirty", EXTRACTORS, FPS, SEEN_PARTS)
    said = {k: v for k, v in of_run.items() if k.startswith("sign.data.") or k in kept}
    said |= {STAGE: stage, FILES: files} | {k: str(v) for k, v in tags.items()}
    for role, model in upstream.items():
        said[UPSTREAM + role] = json.dumps(
            {"asked": model.asked, "uri": model.uri, "run_id": model.run_id, "model_id": model.model_id}
        )
    return said


def _log_model(run: Run, name: str, directory: Path, tags: dict[str, str]) -> tuple[LoggedModel, str]:
    """Make a logged model in the state READY -> it, and the digest of its files.

    mlflow.pyfunc.log_model would say READY before anybody loaded it.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    from sign_models.serving.served_model import clip_of, search_params

    store = client()
    of_run = store.get_run(run.id).data
    params, tags = of_run.params, {k: v for k, v in of_run.tags.items() if k in CREATED_BY} | tags
    extractors = trained_on(tags)
    extractor = extractors[0] if len(extractors) == 1 else None  # a served example needs no warning
    clips = [clip_of(replace(clip, extractor=extractor)) for clip in example_clips()]
    search = search_params(json.loads((directory / CONFIG).read_text()))
    model = store.create_logged_model(
        run.experiment_id, name=name, source_run_id=run.id, tags=tags, params=params, model_type=tags[STAGE]
    )
    place = f"models:/{model.model_id}, not registered yet"
    with tempfile.TemporaryDirectory(prefix="sign-register-") as scratch:
        named = shutil.copytree(directory, Path(scratch, "model"))  # the name that it gets in the store
        packed = Path(scratch, "packed")
        mlflow.pyfunc.save_model(
            packed,
            python_model=str(PACKAGE / "serving" / "served_model.py"),
            artifacts={"model": str(named)},
            code_paths=[str(PACKAGE)],
            pip_requirements=requirements(),
            model_config={"extractors": extractors},
            input_example=(clips, search) if search else clips,  # MLflow takes the signature's params from it
            mlflow_model=Model(model.artifact_location, run.id, model_uuid=model.model_id, model_id=model.model_id),
        )
        _try_package(packed, place)
        for left in [*packed.rglob("__pycache__")]:  # of what was just tried
            shutil.rmtree(left)
        digest = folder_digest(packed)
        store.log_model_artifacts(model.model_id, str(packed))
        stored = local_copy(artifacts_at(model.artifact_location), "", tempfile.mkdtemp(dir=scratch))
        if folder_digest(stored) != digest:
            raise ResourceError("the store gives back other files than it was given", place=place)
    return store.finalize_logged_model(model.model_id, "READY"), digest


def _present(role: str, version: ModelRef, metrics: Mapping[str, float]) -> None:
    """Set what the UI shows of a version: its card, and that its logged model is registered."""
    store, stage = client(), by_role()[role]
    held = json.loads(store.get_logged_model(version.model_id).tags.get(VERSIONS, "[]"))
    this = {"name": version.name, "version": str(version.version)}
    if not any(str(other["version"]) == this["version"] and other["name"] == this["name"] for other in held):
        store.set_logged_model_tags(version.model_id, {VERSIONS: json.dumps([*held, this])})
    card = version_card(version, metrics)
    store.update_model_version(version.name, str(version.version), card)
    if not store.get_registered_model(version.name).description:
        store.update_registered_model(version.name, notes.model_description(stage))


def version_card(version: ModelRef, metrics: Mapping[str, float], published: str = "", license: str = "") -> str:
    """The model card of a version.

    Args:
        version: Of any registered model.
        metrics: Its scores.
        published: Where others load it from. Then the card names no place on this machine.
        license: Of the model. "": as the version's tag says it.

    Returns:
        Markdown.
    """
    run, data = client().get_run(version.run_id), {}
    for entry in run.inputs.dataset_inputs if run.inputs else []:
        sizes = ", ".join(
            f"{name}: {value}" if isinstance(value, str) else f"{value} {name.replace('_', ' ')}"
            for name, value in json.loads(entry.dataset.profile or "{}").items()
        )
        source = "" if published else f" (`{json.loads(entry.dataset.source or '{}').get('uri', '')}`)"
        data[entry.dataset.name] = sizes + source
    lineage = {
        name.removeprefix(UPSTREAM): json.loads(told)["uri"]
        for name, told in version.tags.items()
        if name.startswith(UPSTREAM)
    }
    call = notes.calling(published) if published else ""
    stage = by_role()[version.stage]
    tags = {**run.data.tags, LICENSE: license or version.tags.get(LICENSE, "")}
    return notes.card(stage, version.uri, data=data, lineage=lineage, metrics=metrics, tags=tags, call=call)


def _try_package(packed: Path, place: str) -> None:
    """Load what was just packed as MLflow's server will load it, and have it answer its input example."""
    import mlflow.pyfunc

    path = sys.path
    try:
        loaded = mlflow.pyfunc.load_model(str(packed))
    finally:
        sys.path = path  # MLflow sets the model's copy of this package before it
    example = loaded.input_example
    _check_answers(loaded.predict(example), len(example), place)


def smoke_test(model: ModelRef) -> None:
    """Load a version with the code of this package, never its own, and have it answer generated clips.

    Args:
        model: The version.

    Raises:
        UpstreamError: Its files are gone or changed, or it does not answer with finite numbers.
    """
    from sign_models import serving

    model.check_package()
    clips = example_clips()
    _check_answers(serving.load(model.path()).predict(clips), len(clips), model.uri)


def _check_answers(answers: Sequence[Mapping[str, object]], count: int, place: str) -> None:
    numbers = [v for answer in answers for v in answer.values() if isinstance(v, float)]
    if len(answers) != count or not all(map(math.isfinite, numbers)):
        raise UpstreamError(
            f"the model answers its own input example with {str(answers)[:200]}",
            place=place,
            wanted="one answer a clip, of finite numbers",
            remedy="look at the loss curves for NaN",
        )


def _link(run: Run, model_id: str, metrics: Mapping[str, float], upstream: Mapping[str, ModelRef], step: int) -> None:
    """Tell MLflow what a run made, with its metrics, and what it used."""
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
    """What a registered model needs.

    Returns:
        Requirements for pip, in the versions that are installed here.
    """
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in REQUIRED]
