"""A short version of benchmarks/kills.py at the worst moments, and other ways in which the world ends for a while."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import mlflow
import pytest

from benchmarks import stores
from benchmarks.stores import Aim, Store, command, faults, result
from sign_models.pipeline import runner
from sign_models.tracking import process, store
from sign_models.tracking.runs import STAGE
from tests import warm
from tests.conftest import Command, copy_store
from tests.tracking.servers import Server

run = partial(stores.run, start=warm.Popen)


@pytest.fixture
def killed(fresh_store: Path, tmp_path: Path) -> Store:
    copy_store(fresh_store, tmp_path)
    return Store(tmp_path)


def skeleton(data: Path, launched: bool = False) -> list[str]:
    return command("skeleton", f"data={data}", f"config_override={data / 'tiny.yaml'}", launched=launched)


def only_skeleton(built: Path) -> dict[str, object]:
    return {name: value for name, value in result(Store(built)).items() if name.startswith("skeleton")}


def test_a_stage_killed_at_its_worst_moments_ends_as_if_nobody_had(killed: Store, built: Path, tiny_data: Path) -> None:
    for moment, sent in [
        ("log_artifact 3", signal.SIGKILL),  # the manifest of the second checkpoint, whose files are there
        ("step 3", signal.SIGINT),  # counted from the checkpoint before
        ("finalize_logged_model 1", signal.SIGKILL),  # the model's files are in the store and answer
        ("set_registered_model_alias 1", signal.SIGKILL),  # the version is there, no alias leads to it
    ]:
        name, number = moment.split()
        end = run(skeleton(tiny_data), killed, Aim(sent, 0.0, name, int(number)), hold=moment)
        assert (end.stage, end.inside, end.sent) == ("skeleton", name, sent), end.log
        assert faults(killed, ended=sent != signal.SIGKILL) == []
        if name == "log_artifact":
            [cut] = [p for p in killed.folder.rglob("step-*") if not (p / "manifest.json").exists()]
            assert (cut / "state.safetensors").exists()
    end = run(skeleton(tiny_data), killed)
    assert end.code == 0 and "goes on with run" in end.log, end.log
    assert faults(killed, ended=True) == []
    assert result(killed) == only_skeleton(built)
    with killed.used() as client:
        assert [r.info.status for r in client.search_runs(["0"])] == ["FINISHED"]


def test_a_step_ends_with_the_mlflow_run_that_started_it(killed: Store, tiny_data: Path) -> None:
    end = run(skeleton(tiny_data, launched=True), killed, Aim(signal.SIGKILL, 0.0, "step", 2), hold="step 2")
    assert end.sent and end.stage == "skeleton", end.log
    assert faults(killed, ended=True) == []
    with killed.used() as client:
        assert [r.info.status for r in client.search_runs(["0"])] == ["KILLED"]


@pytest.mark.server
def test_a_run_goes_on_on_another_machine_with_an_empty_disk(
    tmp_path: Path, fresh_store: Path, built: Path, tiny_data: Path
) -> None:
    server = Server(tmp_path / "server")
    for name in ("server", "here", "there"):
        (tmp_path / name).mkdir()
    shutil.copy(fresh_store, server.folder / "mlflow.db")
    server.start()
    try:
        here, there = (Store(tmp_path / name, server.uri) for name in ("here", "there"))
        typed = [*skeleton(tiny_data), "--experiment", "remote"]  # its artifacts are the server's
        run(typed, here, Aim(signal.SIGKILL, 0.0, "step", 5), hold="step 5")
        shutil.rmtree(here.folder)
        with there.used() as client:
            [cut] = client.search_runs([client.get_experiment_by_name("remote").experiment_id])
            assert cut.info.status == "RUNNING"
            client.set_tag(cut.info.run_id, process.HOST, "elsewhere")  # nobody here can tell whether it still works
        end = run([*skeleton(tiny_data, launched=True), "--run-id", cut.info.run_id], there)
        assert end.code == 0 and "goes on from step 4" in end.log, end.log
        assert result(there) == only_skeleton(built)
    finally:
        server.stop()


def mount(*arguments: object) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs a disk of its own: {done.stderr}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 64 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", path)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)  # this process has the database open


def test_a_full_disk_is_told_and_the_last_checkpoint_is_intact(
    disk: Path, fresh_store: Path, built: Path, tiny_data: Path
) -> None:
    copy_store(fresh_store, disk)
    full = Store(disk)
    run(skeleton(tiny_data), full, Aim(signal.SIGKILL, 0.0, "step", 5), hold="step 5")
    used = shutil.disk_usage(disk).used
    mount("-o", f"remount,size={used // 1024 + 100}k", disk)  # the next checkpoint is larger
    environment = {**os.environ, "MLFLOW_TRACKING_URI": full.uri, "PYTHONPATH": str(store.PROJECT)}
    done = warm.run(skeleton(tiny_data), env=environment, cwd=disk.parent)
    assert done.returncode == 2 and "no space is left on the disk" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    mount("-o", "remount,size=64m", disk)
    assert faults(full, ended=False) == []
    checkpoints = {path.parent.name for path in disk.rglob("manifest.json")}
    assert checkpoints == {"step-00000002", "step-00000004"}
    end = run(skeleton(tiny_data), full)
    assert end.code == 0 and "goes on from step 4" in end.log, end.log
    assert faults(full, ended=True) == []
    assert result(full) == only_skeleton(built)


def test_a_cut_off_run_that_another_command_took_is_left_to_it(empty, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = mlflow.MlflowClient().create_run("0", tags={STAGE: "skeleton", **process.identity()}).info.run_id
    monkeypatch.setattr(runner, "find_unfinished", lambda wanted, experiment: taken)
    done = empty("skeleton")
    assert done.code == 0, done.err
    assert {r.info.run_id: r.info.status for r in mlflow.MlflowClient().search_runs(["0"])} == {
        taken: "RUNNING",
        mlflow.MlflowClient().search_runs(["0"], "attributes.status = 'FINISHED'")[0].info.run_id: "FINISHED",
    }


def test_a_pipeline_typed_again_goes_on_and_a_finished_one_begins_anew(
    empty: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ("pipeline", "--no-inference", "--steps", "2")

    def versions() -> list[int]:
        found = mlflow.MlflowClient().search_model_versions("name = 'sign-skeleton'")
        return sorted(int(version.version) for version in found)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sign_models.stages.temporal.train", cut)
        assert empty(*typed).code == 130
        assert empty(*typed).code == 130  # goes on with the skeleton model of the first
    assert versions() == [1]
    assert empty(*typed, "--seed", "5", "--stage", "skeleton").code == 0  # another command
    assert versions() == [1, 2]
    assert empty(*typed).code == 0
    assert versions() == [1, 2]
    assert empty(*typed, "--stage", "skeleton").code == 0
    assert empty(*typed).code == 0
    assert versions() == [1, 2, 3, 4]
