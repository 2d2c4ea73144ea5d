"""A version of a registered model: what it was made of, and its files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sign_models.errors import UpstreamError
from sign_models.keypoints.extractor import finds_faces
from sign_models.tracking.metrics import current_name
from sign_models.tracking.store import artifacts_at, client, folder_digest, local_copy
from sign_models.tracking.store_errors import translate_store_errors

UPSTREAM = "sign.upstream."  # tags of a version: what it was built on
WEIGHTS, CONFIG = "model.safetensors", "config.json"
LICENSE = "sign.license"  # tag: of the training data, and so of the model
FPS = "sign.fps"  # tag: frames a second of the training clips, their median
FILES, PACKAGE_FILES = "sign.files", "sign.package"  # tags: digests of weights and config, and of all that is logged
EXTRACTORS = "sign.extractors"  # tag: of the clips that a model was trained on, a JSON list
SEEN_PARTS = "sign.parts"  # tag: of the body that these clips show, a JSON list
# What MLflow's loading leaves in a model's folder where the store is on this machine: its name, and Python's byte code.
LEFT_BY_LOADING = ("registered_model_meta", "__pycache__")
_downloads: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


@dataclass(frozen=True)
class ModelRef:
    """A READY version of a registered model.

    Attributes:
        asked: What the user named it by.
        stage: That made it.
        name: Of the registered model.
        version: Its number.
        run_id: Of its run.
        model_id: Of its logged model.
        location: URI of its artifacts.
        tags: Of the version.
    """

    asked: str
    stage: str
    name: str
    version: int
    run_id: str
    model_id: str
    location: str = field(repr=False)
    tags: dict[str, str] = field(repr=False, hash=False)

    @property
    def uri(self) -> str:
        """MLflow's URI of the version."""
        return f"models:/{self.name}/{self.version}"

    @property
    def content(self) -> str:
        """Digest of its files: equal for two versions with the same weights and config."""
        return self.tags.get(FILES, self.model_id)

    def path(self) -> Path:
        """The folder with model.safetensors and config.json.

        Returns:
            The store's own folder where that is on this machine, else a copy that lives as long as this process.

        Raises:
            UpstreamError: The files are gone, or are not those that were registered.
            ResourceError: The store does not answer.
        """
        return self._folder

    @cached_property
    def _folder(self) -> Path:
        """Folder of weights and config, downloaded and checked against what was registered."""
        folder = self._fetch("artifacts/model")
        if not (folder / WEIGHTS).is_file():
            raise self._gone()
        self._check(folder, FILES)
        return folder

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.json holds: the stage, and the model's keyword arguments."""
        content: dict[str, Any] = json.loads((self.path() / CONFIG).read_text())
        return content

    def check_package(self) -> None:
        """Check all files of the logged model, including the code that MLflow's own server runs.

        Raises:
            UpstreamError: They are not those that were registered.
            ResourceError: The store does not answer.
        """
        self._check(self._fetch(""), PACKAGE_FILES, LEFT_BY_LOADING)

    def _check(self, folder: Path, tag: str, without: Collection[str] = ()) -> None:
        """UpstreamError where files of the version differ from the digest in its tag.

        Args:
            folder: Of the files.
            tag: That has the digest.
            without: Names that are left out.
        """
        found, registered = folder_digest(folder, without), self.tags.get(tag)
        # once, versions were registered together with what their first try had left
        if found != registered and folder_digest(folder) != registered:
            raise UpstreamError(
                f"its files have the sha256 {found[:16]}..., "
                + (
                    f"but {registered[:16]}... was registered: they were changed in the store"
                    if registered
                    else "and none was registered with it"
                ),
                place=self.uri,
                wanted="the files that were registered, by a stage of this project",
                remedy="choose another version, or train it again",
            )

    def has_files(self) -> bool:
        """Whether its weights are in the store. Nothing is downloaded or checked.

        Returns:
            Whether they are there.

        Raises:
            ResourceError: The store does not answer.
        """
        with translate_store_errors(self.uri):
            return has_files(self.location)

    def metrics(self) -> dict[str, float]:
        """Scores of the model when it was registered.

        Returns:
            Value by the metric's name of today.

        Raises:
            ResourceError: The store does not answer.
        """
        with translate_store_errors(self.uri):
            points = client().get_logged_model(self.model_id).metrics or []
        return {current_name(point.key): point.value for point in sorted(points, key=lambda point: point.step)}

    def _fetch(self, path: str) -> Path:
        """Download files of the version. UpstreamError where they are gone."""
        import mlflow

        _downloads.append(tempfile.TemporaryDirectory(prefix="sign-model-"))
        try:
            with translate_store_errors(self.uri):
                return local_copy(artifacts_at(self.location), path, _downloads[-1].name)
        except (mlflow.MlflowException, FileNotFoundError) as error:
            raise self._gone() from error

    def _gone(self) -> UpstreamError:
        """The error of a version without its files."""
        return UpstreamError(
            "the files of this version are gone from the store",
            place=self.uri,
            wanted="a version that still has them",
            remedy="choose another, or train it again",
        )


def trained_on(tags: Mapping[str, str]) -> list[str | None]:
    """Extractors of the clips that a model was trained on.

    Args:
        tags: Of its version.

    Returns:
        Name and version of each; None for clips that name none. Empty where the tags do not say.
    """
    return list(json.loads(tags.get(EXTRACTORS, "[]")))


def trained_parts(tags: Mapping[str, str]) -> list[str]:
    """Parts of the body that the clips show which a model was trained on.

    Args:
        tags: Of its version.

    Returns:
        Of "body", "left_hand", "right_hand", "face". Of a version that does not say: a face where an extractor that its
        clips name finds one.
    """
    if SEEN_PARTS in tags:
        return list(json.loads(tags[SEEN_PARTS]))
    return ["face"] if finds_faces(trained_on(tags)) else []


def trained_fps(tags: Mapping[str, str]) -> float | None:
    """Frame rate of the clips that a model was trained on.

    Args:
        tags: Of its version.

    Returns:
        Frames a second. None: not known.
    """
    return float(tags[FPS]) if FPS in tags else None


def has_files(location: str) -> bool:
    """Whether a model's weights are in the store.

    Args:
        location: URI of its artifacts.

    Returns:
        Whether they are there.
    """
    folder = "artifacts/model"
    return any(f.path == f"{folder}/{WEIGHTS}" for f in artifacts_at(location).list_artifacts(folder))
