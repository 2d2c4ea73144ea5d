"""Registered models: which version a word like `champion` means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sign_models.errors import ParamsError, UpstreamError
from sign_models.stages.declaration import by_role, model_names
from sign_models.tracking.registered.model_ref import (
    CONFIG,
    EXTRACTORS,
    FILES,
    FPS,
    LICENSE,
    PACKAGE_FILES,
    SEEN_PARTS,
    UPSTREAM,
    WEIGHTS,
    ModelRef,
    has_files,
    trained_fps,
    trained_on,
    trained_parts,
)
from sign_models.tracking.runs import STAGE
from sign_models.tracking.store import client
from sign_models.tracking.store_errors import translate_store_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "CONFIG", "EXTRACTORS", "FILES", "FPS", "LICENSE", "PACKAGE_FILES", "SEEN_PARTS", "UPSTREAM", "WEIGHTS",
    "ModelRef", "aliases_of", "has_files", "logged_model", "model_id_of", "move_alias", "ready", "resolve",
    "run_params", "stage_of", "trained_fps", "trained_on", "trained_parts", "upstream_of", "versions_of",
]  # fmt: skip


def run_params(run_id: str) -> dict[str, str]:
    """Parameters of a run.

    Args:
        run_id: Of the run.

    Returns:
        Value by dotted name. Empty where the run was deleted for good.

    Raises:
        ResourceError: The store does not answer.
    """
    import mlflow

    try:
        with translate_store_errors(f"run {run_id}"):
            return dict(client().get_run(run_id).data.params)
    except mlflow.MlflowException:
        return {}


def move_alias(name: str, alias: str, version: int) -> None:
    """Set an alias of a model.

    MLflow looks for the alias, then makes it. Of two processes that do so at once one fails, and tries again.

    Args:
        name: Of the registered model.
        alias: Which to move.
        version: That is to hold it.
    """
    import mlflow

    for last in (False, False, True):
        try:
            client().set_registered_model_alias(name, alias, str(version))
            return
        except mlflow.MlflowException as error:
            if last or not re.search("Integrity|Unique", str(error)):
                raise


def resolve(spec: str, stage: str) -> ModelRef:
    """Find the version of a stage's model that a word names.

    Args:
        spec: An alias, a version, a run ID or an MLflow URI.
        stage: That the model is of.

    Returns:
        The version.

    Raises:
        UpstreamError: It is a file, an unknown name, another stage's model, or not READY. The message lists what there
            is.
        ResourceError: The store does not answer.
    """
    name = model_names()[stage]
    with translate_store_errors(f"{name} {spec!r}"):
        return ready(_find(spec.strip(), name, stage), spec, stage)


def upstream_of(models: Iterable[ModelRef], role: str) -> ModelRef:
    """Find a model that one of several was built on.

    Args:
        models: The models that were built.
        role: Of the wanted one.

    Returns:
        The version.

    Raises:
        UpstreamError: None of them says so.
    """
    for model in models:
        if told := model.tags.get(UPSTREAM + role):
            return resolve(json.loads(told)["uri"], role)
    found = ", ".join(model.uri for model in models)
    raise UpstreamError(f"{found or 'no model'} tells no {role} model", place=role, wanted="a version made here")


def stage_of(name: str) -> str:
    """The stage of a registered model.

    Args:
        name: Of the model, or of the stage itself.

    Returns:
        The stage's name.

    Raises:
        ParamsError: There is no such model; the message has the nearest name.
    """
    names = model_names()
    stages = {model: stage for stage, model in names.items()} | {stage: stage for stage in names}
    if name not in stages:
        near = get_close_matches(name, stages, 1, 0.3)
        raise ParamsError(
            f"{name!r}",
            place="model",
            wanted=", ".join(names.values()),
            remedy=f"did you mean {near[0]!r}?" if near else "",
        )
    return stages[name]


def _find(spec: str, name: str, stage: str) -> ModelVersion:
    if re.fullmatch(rf"({'|'.join(model_names().values())})[@/][\w-]+", spec):
        spec = f"models:/{spec}"
    if re.fullmatch("[0-9a-f]{32}", spec):
        return _of_run(spec, spec, name)
    if match := re.fullmatch(r"runs:/([0-9a-f]{32})(?:/(.*))?", spec):
        if match[2] not in (None, "", name):
            _refuse(spec, f"{match[2]!r} is an artifact, not the run's model", name)
        return _of_run(spec, match[1], name)
    if match := re.fullmatch(r"models:/(m-[0-9a-f]{32})", spec):
        return _of_model(spec, match[1], name)
    if match := re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|@([\w-]+))", spec):
        if match[1] != name:
            _refuse(spec, f"this is a version of {match[1]}", name)
        return _version(spec, match[2], name) if match[2] else _alias(spec, match[3], name)
    if spec.isdecimal():
        return _version(spec, spec, name)
    if not re.fullmatch(r"[\w-]+", spec):
        looks = "a file" if "://" not in spec and not spec.startswith(("models:", "runs:")) else "no URI of a model"
        _refuse(spec, f"this looks like {looks}", name)
    return _alias(spec, spec, name)


def _alias(spec: str, alias: str, name: str) -> ModelVersion:
    aliases = aliases_of(name)
    if alias not in aliases:
        _refuse(spec, f"no such alias{' (a file of that name is not read)' if Path(spec).exists() else ''}", name)
    return _version(spec, str(aliases[alias]), name)


def _version(spec: str, number: str, name: str) -> ModelVersion:
    found = [v for v in versions_of(name) if int(v.version) == int(number)]
    return found[0] if found else _refuse(spec, f"no version {number}", name)


def _of_run(spec: str, run_id: str, name: str) -> ModelVersion:
    import mlflow

    found = client().search_model_versions(f"run_id = '{run_id}'")
    ours = [v for v in found if v.name == name]
    if ours:
        return max(ours, key=lambda v: int(v.version))
    if found:
        _refuse(spec, f"this run registered {found[0].name}", name)
    try:
        run = client().get_run(run_id)
    except mlflow.MlflowException:
        _refuse(spec, "no such run", name)
    stage = run.data.tags.get(STAGE, "unknown")
    _refuse(spec, f"this run of stage {stage!r} is {run.info.status} and registered no model", name)


def _of_model(spec: str, model_id: str, name: str) -> ModelVersion:
    found = [v for v in versions_of(name) if model_id_of(v) == model_id]
    return found[0] if found else _refuse(spec, "no version holds this logged model", name)


def ready(version: ModelVersion, asked: str, stage: str) -> ModelRef:
    """Check that a version can be used.

    Args:
        version: Of a registered model.
        asked: What the user named it by.
        stage: That it must be of.

    Returns:
        The version.

    Raises:
        UpstreamError: It is not READY, or was tagged as another stage's.
    """
    name, number = version.name, int(version.version)
    model = logged_model(model_id_of(version))
    status = version.status if version.status != "READY" or model is None else str(model.status)
    if model is None or status != "READY":
        found = (
            "its logged model was deleted" if model is None else f"it is {status}, not READY: its registration was cut"
        )
        _refuse(asked, f"version {number}: {found}", name)
    if version.tags.get(STAGE, stage) != stage:
        _refuse(asked, f"version {number} was tagged as a model of stage {version.tags[STAGE]!r}", name)
    return ModelRef(
        asked, stage, name, number, version.run_id, model.model_id, model.artifact_location, dict(version.tags)
    )


def _refuse(spec: str, found: str, name: str) -> NoReturn:
    aliases, numbers = aliases_of(name), [int(v.version) for v in versions_of(name)]
    place = f"{name} {spec!r}"
    if not numbers:
        entry = next(stage.name for stage in by_role().values() if stage.registers == name)
        raise UpstreamError(
            found, place=place, wanted=f"a version of {name}; none exists", remedy=f"run -e {entry} first"
        )
    near = get_close_matches(spec, aliases, 1)
    remedy = f"did you mean {near[0]!r}?" if near else "name one of these"
    if spec.endswith("champion"):  # what several commands take where none is named
        remedy = "promote one first (-e promote -P version=candidate), or name one of these"
    choices = [f"{alias} (version {number})" for alias, number in sorted(aliases.items())]
    listed = ", ".join(map(str, sorted(numbers, reverse=True)[:10])) + (", ..." if len(numbers) > 10 else "")
    raise UpstreamError(
        found,
        place=place,
        wanted=f"an alias ({', '.join(choices) or 'there is none'}), a version ({listed}), a run ID or an MLflow URI",
        remedy=remedy,
    )


def aliases_of(name: str) -> dict[str, int]:
    """Aliases of a registered model.

    Args:
        name: Of the model.

    Returns:
        Version by alias. Empty where nothing is registered under the name.
    """
    import mlflow

    try:
        return {alias: int(version) for alias, version in client().get_registered_model(name).aliases.items()}
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def versions_of(name: str) -> list[ModelVersion]:
    """All versions of a registered model.

    Args:
        name: Of the model.

    Returns:
        The versions, READY or not, newest first.
    """
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = client().search_model_versions(f"name = '{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda v: int(v.version), reverse=True)


def logged_model(model_id: str | None) -> LoggedModel | None:
    """Look a logged model up.

    Args:
        model_id: Of the model.

    Returns:
        None where there is no ID, or the model was deleted.
    """
    import mlflow

    if model_id is None:
        return None
    try:
        return client().get_logged_model(model_id)
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            raise
        return None


def model_id_of(version: ModelVersion) -> str | None:
    """Logged model of a version. MLflow 3.17 gives `model_id` None for every version; the source names it.

    Args:
        version: Of a registered model.

    Returns:
        ID of the logged model. None: the version was made in another way.
    """
    match = re.fullmatch(r"models:/(m-[0-9a-f]{32})/?", version.source or "")
    return match[1] if match else None
