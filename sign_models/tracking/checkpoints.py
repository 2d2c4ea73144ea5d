"""Checkpoints of a run, as its artifacts: complete or absent, whatever kills the process, and readable anywhere."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sign_models.tracking.runs import Run
from sign_models.tracking.store import artifacts_at, client, file_digests, local_copy
from sign_models.tracking.store_errors import translate_store_errors

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

logger = logging.getLogger(__name__)
ROOT, MANIFEST = "checkpoints", "manifest.json"
NEWEST_KEPT = 2  # newest ones, beside the best


class Checkpoint(NamedTuple):
    """A complete checkpoint.

    Attributes:
        step: Steps taken.
        best: Whether it was the best so far.
        folder: Below the run's artifacts.
        files: sha256 by path in the folder.
    """

    step: int
    best: bool
    folder: str  # below the run's artifacts
    files: dict[str, str]  # path in the folder -> sha256


class RunCheckpoints:
    """The checkpoints of a run: `checkpoints/step-<step>` in its artifacts, each complete once its manifest is there.

    The manifest names every file with its sha256, says whether the checkpoint was the best so far, and is written last.
    A folder without one is what a kill left behind, and is never read. The newest two and the best are kept.
    """

    def __init__(self, run: Run) -> None:
        """Look at the checkpoints of a run. The store is not asked yet.

        Args:
            run: An open run.
        """
        self._run = run
        self._downloads: list[tempfile.TemporaryDirectory[str]] = []

    @cached_property
    def _artifacts(self) -> ArtifactRepository:
        with translate_store_errors(f"run {self._run.id}"):
            return artifacts_at(client().get_run(self._run.id).info.artifact_uri)

    def save(self, directory: Path, step: int, best: bool) -> None:
        """Store a checkpoint, after the metrics up to it; then delete older ones.

        Args:
            directory: With the files.
            step: Steps taken.
            best: Whether its weights are the best so far.

        Raises:
            ResourceError: The disk is full, or the store does not answer. Earlier checkpoints are intact.
        """
        self._run.flush()
        folder = f"{ROOT}/step-{step:08d}"
        manifest = {"step": step, "best": best, "files": file_digests(directory)}
        with translate_store_errors(f"{folder} of run {self._run.id}"):
            there = self._manifest(folder)
            try:
                if there is None or there.files != manifest["files"]:
                    self._delete(folder)  # of an attempt that a kill ended
                    self._artifacts.log_artifacts(str(directory), folder)
                with tempfile.TemporaryDirectory() as scratch:
                    path = Path(scratch, MANIFEST)
                    path.write_text(json.dumps(manifest, indent=1))
                    self._artifacts.log_artifact(str(path), folder)
            except OSError:
                self._delete(folder)  # its share of a full disk is wanted for better things
                raise
            self._run.set_tags({"sign.checkpoint.last": folder, **({"sign.checkpoint.best": folder} if best else {})})
            self._drop_old()

    def latest(self) -> Path | None:
        """Find the newest checkpoint that is complete and unchanged.

        Returns:
            A folder with its files, None where there is no checkpoint. It is the store's own folder where that is on
            this machine (write nothing into it), else a temporary copy that lives as long as this object.

        Raises:
            ResourceError: The store does not answer.
        """
        return self._first_sound(self._complete())

    def best(self) -> Path | None:
        """Find the newest complete checkpoint that was the best when it was saved.

        Returns:
            As of latest().

        Raises:
            ResourceError: The store does not answer.
        """
        return self._first_sound([c for c in self._complete() if c.best])

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints.

        Returns:
            The steps, newest first.

        Raises:
            ResourceError: The store does not answer.
        """
        return [checkpoint.step for checkpoint in self._complete()]

    def _first_sound(self, checkpoints: list[Checkpoint]) -> Path | None:
        """Folder of the first checkpoint whose files are as written. None: none is."""
        for checkpoint in checkpoints:
            path = self._fetch(checkpoint)
            if checkpoint.files.items() <= file_digests(path).items():
                return path
            logger.warning("%s of run %s is damaged; an earlier one is used", checkpoint.folder, self._run.id)
        return None

    def _fetch(self, checkpoint: Checkpoint) -> Path:
        scratch: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(prefix="sign-checkpoint-")
        self._downloads.append(scratch)
        with translate_store_errors(f"{checkpoint.folder} of run {self._run.id}"):
            return local_copy(self._artifacts, checkpoint.folder, scratch.name)

    def _folders(self) -> list[str]:
        """Every checkpoint folder, complete or not, newest first."""
        with translate_store_errors(f"{ROOT} of run {self._run.id}"):
            found = [f.path for f in self._artifacts.list_artifacts(ROOT) if f.is_dir]
        return sorted((f for f in found if re.search(r"/step-\d+$", f)), key=_step, reverse=True)

    def _complete(self) -> list[Checkpoint]:
        checkpoints = (self._manifest(folder) for folder in self._folders())
        return [c for c in checkpoints if c is not None]

    def _manifest(self, folder: str) -> Checkpoint | None:
        """The checkpoint that a folder holds. None where its manifest, which is written last, is missing."""
        with translate_store_errors(f"{folder} of run {self._run.id}"), tempfile.TemporaryDirectory() as scratch:
            if not any(Path(f.path).name == MANIFEST for f in self._artifacts.list_artifacts(folder)):
                return None
            content = json.loads(local_copy(self._artifacts, f"{folder}/{MANIFEST}", scratch).read_text())
        return Checkpoint(content["step"], content["best"], folder, content["files"])

    def _drop_old(self) -> None:
        """Delete all but the newest checkpoints and the newest of the best."""
        complete = self._complete()
        kept = {c.folder for c in complete[:NEWEST_KEPT]} | {
            c.folder for c in complete if c.best and c.step == _best(complete)
        }
        for folder in self._folders():
            if folder not in kept:
                self._delete(folder)

    def _delete(self, folder: str) -> None:
        self._artifacts.delete_artifacts(f"{folder}/{MANIFEST}")  # first: what is half deleted is not complete
        self._artifacts.delete_artifacts(folder)


def _best(complete: list[Checkpoint]) -> int | None:
    return max((c.step for c in complete if c.best), default=None)


def _step(folder: str) -> int:
    return int(folder.rpartition("-")[2])
