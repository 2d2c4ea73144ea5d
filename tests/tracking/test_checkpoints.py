from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from sign_models.errors import ResourceError
from sign_models.tracking.checkpoints import RunCheckpoints
from sign_models.tracking.runs import stage_run
from tests import warm

pytestmark = pytest.mark.usefixtures("tracking")


def write(folder: Path, content: str) -> Path:
    (folder / "optimizer").mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "optimizer/state.pt").write_text(content * 2)
    return folder


def content(folder: Path | None) -> str | None:
    return None if folder is None else (folder / "model.safetensors").read_text()


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    with stage_run("skeleton") as run:
        checkpoints = RunCheckpoints(run)
        assert checkpoints.latest() is None and checkpoints.best() is None
        for step, best in [(10, True), (20, True), (30, False), (40, False), (100, False)]:
            checkpoints.save(write(tmp_path / "work", f"step {step}"), step, best)
        shutil.rmtree(tmp_path / "work")
        again = RunCheckpoints(run)  # as another process sees it
        assert again.steps() == [100, 40, 20]
        assert content(again.latest()) == "step 100" and content(again.best()) == "step 20"
        assert (again.latest() / "optimizer/state.pt").read_text() == "step 100" * 2  # type: ignore[operator]


def test_saving_the_same_again_only_changes_what_is_said_of_it(tmp_path: Path) -> None:
    with stage_run("skeleton") as run:
        checkpoints = RunCheckpoints(run)
        checkpoints.save(write(tmp_path / "work", "a"), 10, False)
        written = (checkpoints.latest() / "model.safetensors").stat().st_ctime_ns  # type: ignore[operator]
        assert checkpoints.best() is None
        checkpoints.save(tmp_path / "work", 10, True)
        best = checkpoints.best()
        assert best is not None and (best / "model.safetensors").stat().st_ctime_ns == written
        checkpoints.save(write(tmp_path / "work", "b"), 10, True)
        assert content(checkpoints.best()) == "b" and checkpoints.steps() == [10]


def test_metrics_are_stored_before_the_checkpoint(tmp_path: Path) -> None:
    with stage_run("skeleton") as run:
        run.log_metrics({"loss": 1.0}, 7)
        RunCheckpoints(run).save(write(tmp_path / "work", "a"), 7, False)
        assert [m.step for m in mlflow.MlflowClient().get_metric_history(run.id, "loss")] == [7]


class Cut(BaseException):
    """The process ends here, as far as save can tell."""


@pytest.mark.parametrize("files", [0, 1, 2])
def test_an_end_anywhere_in_saving_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    copied = 0

    def dying(copy: Callable[..., object]) -> Callable[..., object]:
        def dies(*arguments: object, **more: object) -> object:
            nonlocal copied
            if copied == files:
                raise Cut
            copied += 1
            return copy(*arguments, **more)

        return dies

    with monkeypatch.context() as patch, pytest.raises(Cut), stage_run("skeleton") as run:
        RunCheckpoints(run).save(write(tmp_path / "first", "first"), 1, True)
        for name in ("copyfile", "copyfileobj"):
            patch.setattr(shutil, name, dying(getattr(shutil, name)))
        RunCheckpoints(run).save(write(tmp_path / "second", "second"), 2, True)
    check_a_cut_save(run.id, tmp_path)


def test_a_kill_while_saving_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    write(tmp_path / "first", "first")
    write(tmp_path / "second", "second")
    code = """
import os, shutil
from pathlib import Path
from sign_models.tracking import checkpoints, runs
with runs.stage_run("skeleton") as run:
    print(run.id, flush=True)
    saved = checkpoints.RunCheckpoints(run)
    saved.save(Path("first"), 1, True)
    shutil.copyfileobj = lambda *arguments, **more: os.kill(os.getpid(), 9)
    saved.save(Path("second"), 2, True)
"""
    done = warm.run([sys.executable, "-c", code])
    assert done.returncode == -9, done.stderr
    check_a_cut_save(done.stdout.strip(), tmp_path)


def check_a_cut_save(run_id: str, folder: Path) -> None:
    with stage_run("skeleton", run_id=run_id) as run:
        checkpoints = RunCheckpoints(run)
        assert checkpoints.steps() == [1] and content(checkpoints.latest()) == "first"
        checkpoints.save(folder / "second", 2, False)
        assert content(checkpoints.latest()) == "second" and content(checkpoints.best()) == "first"


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    with stage_run("skeleton") as run:
        checkpoints = RunCheckpoints(run)
        for step in (1, 2):
            checkpoints.save(write(tmp_path / "work", f"step {step}"), step, True)
        (checkpoints.latest() / "optimizer/state.pt").write_text("changed")  # type: ignore[operator]
        assert content(checkpoints.latest()) == content(checkpoints.best()) == "step 1"


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceError, match="no space"), stage_run("skeleton") as run:
        checkpoints = RunCheckpoints(run)
        checkpoints.save(write(tmp_path / "work", "first"), 1, True)
        real = LocalArtifactRepository.log_artifacts

        def full(*arguments: object) -> None:
            real(*arguments)  # type: ignore[arg-type]
            raise shutil.Error([("a", "b", "[Errno 28] No space left on device")])

        monkeypatch.setattr(LocalArtifactRepository, "log_artifacts", full)
        checkpoints.save(write(tmp_path / "work", "second"), 2, True)
    assert content(RunCheckpoints(run).latest()) == "first"
    assert [f.path for f in mlflow.MlflowClient().list_artifacts(run.id, "checkpoints")] == [
        "checkpoints/step-00000001"
    ]
    assert mlflow.MlflowClient().get_run(run.id).info.status == "FAILED"
