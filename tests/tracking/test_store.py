from __future__ import annotations

import getpass
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock, Timeout
from safetensors import SafetensorError

import sign_models_mlflow
from sign_models.errors import ResourceError, UpstreamError
from sign_models.tracking import locks, process, store
from sign_models.tracking.registered.registry import resolve
from sign_models.tracking.runs import stage_run
from sign_models.tracking.store_errors import translate_store_errors
from tests import warm

HOLD_A_RUN = """
from sign_models import interruption
from sign_models.tracking.process import guard_process
from sign_models.tracking.runs import stage_run
guard_process()
with stage_run("skeleton") as run:
    run.log_metrics({"loss": 1.0}, 1)
    print(run.id, flush=True)
    interruption.wait(60)
"""


def python(code: str, arguments: Sequence[str] = (), **more) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=pipe, stderr=pipe, text=True, **more)


def forked(code: str) -> warm.Popen:
    """The same without the imports of libraries."""
    return warm.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def status(run_id: str) -> str:
    return mlflow.MlflowClient().get_run(run_id).info.status


PIPELINES_AT_ONCE = """
import multiprocessing, sys
from pathlib import Path
import mlflow.pyfunc
import sign_models.serving
from sign_models.tracking.registered.registration import register
from sign_models.tracking.runs import stage_run
from tests.tracking import fakes

sign_models.serving.load = fakes.Fake

def pipeline(number):
    with stage_run("pipeline"), stage_run("skeleton", nested=True) as run:
        folder = fakes.write(Path(str(number)), "skeleton", number)
        run.log_metrics({"loss": 1.0}, 1)
        register(run, "skeleton", folder, metrics={}, upstream={}, tags={}, step=1)

processes = [multiprocessing.get_context("fork").Process(target=pipeline, args=(i,)) for i in range(1, 5)]
for process in processes:
    process.start()
for process in processes:
    process.join()
sys.exit(sum(process.exitcode != 0 for process in processes))
"""


def test_four_pipelines_started_at_once_share_one_fresh_database(
    tracking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracking}/new/mlflow.db")
    done = forked(PIPELINES_AT_ONCE)
    _, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert len(runs) == 4 * 2 and {run.info.status for run in runs} == {"FINISHED"}
    versions = client.search_model_versions("name = 'sign-skeleton'")
    assert sorted(int(version.version) for version in versions) == list(range(1, 5))
    assert resolve("candidate", "skeleton").version in range(1, 5)
    assert not list(tracking.glob("new/*.making*"))


def test_the_plugin_makes_the_database_mlflow_would_make(fresh_store: Path, tmp_path: Path) -> None:
    path = tmp_path / "plugin.db"
    path.touch()  # what is left of a process killed before its first table
    made = sign_models_mlflow.sqlite_store(f"sqlite:///{path}", None)
    assert [e.name for e in made.search_experiments()] == ["Default"]
    with sqlite3.connect(path) as ours, sqlite3.connect(fresh_store) as theirs:
        names = "select name from sqlite_master order by name"
        assert ours.execute(names).fetchall() == theirs.execute(names).fetchall()


def test_what_mlflow_imports_is_not_searched_for_garbage_and_the_rest_is(tracking: Path) -> None:
    code = "import gc; from sign_models.tracking.store import connect; connect(); print(gc.isenabled()); "
    child = python(f"{code} print(len(gc.get_objects()) < gc.get_freeze_count())")
    shown, errors = child.communicate(timeout=120)
    assert shown.split() == ["True", "True"], errors


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_killed(tracking: Path, signum: signal.Signals) -> None:
    child = forked(HOLD_A_RUN)
    run_id = child.stdout.readline().strip()  # type: ignore[union-attr]
    child.send_signal(signum)
    child.send_signal(signal.SIGTERM)  # the echo that `mlflow run` sends
    _, errors = child.communicate(timeout=30)
    assert status(run_id) == "KILLED", errors
    assert child.returncode != 0
    assert len(mlflow.MlflowClient().get_metric_history(run_id, "loss")) == 1


def test_a_run_whose_process_was_killed_is_closed_by_the_next_command(tracking: Path) -> None:
    child = forked(HOLD_A_RUN)
    run_id = child.stdout.readline().strip()  # type: ignore[union-attr]
    store.connect()
    assert status(run_id) == "RUNNING"
    with pytest.raises(UpstreamError, match=f"process {child.pid}"), stage_run("skeleton", run_id=run_id):
        raise AssertionError("entered")
    child.kill()
    child.wait()
    assert status(run_id) == "RUNNING"
    store.connect()
    assert status(run_id) == "KILLED"


def test_the_death_of_the_launcher_ends_the_run_through_a_shell(tracking: Path) -> None:
    made = mlflow.MlflowClient().create_run("1").info.run_id
    launcher = python(
        "import subprocess, sys\nsubprocess.run(['bash', '-c', sys.argv[1] + ' -c \"$CODE\"; true', 'x'])".replace(
            "sys.argv[1]", repr(sys.executable)
        ),
        env={**os.environ, "CODE": HOLD_A_RUN, "MLFLOW_RUN_ID": made},
    )
    assert launcher.stdout.readline().strip() == made  # type: ignore[union-attr]
    launcher.kill()
    end = time.monotonic() + 15
    while status(made) == "RUNNING" and time.monotonic() < end:
        time.sleep(0.2)
    assert status(made) == "KILLED"


def test_a_step_whose_launcher_died_before_it_could_look_ends(tracking: Path) -> None:
    step = """
import sys, time
from pathlib import Path
from sign_models import interruption
from sign_models.tracking import process
time.sleep(1)
try:
    process.guard_process()
    interruption.wait(0.5)
except interruption.Terminated:
    Path("end").write_text("terminated")
else:
    Path("end").write_text("alive")
"""
    launch = "import os, subprocess, sys\nsubprocess.Popen([sys.executable, '-c', os.environ['STEP']])"
    env = {**os.environ, "STEP": step, "MLFLOW_RUN_ID": "0" * 32}
    assert python(launch, env=env, start_new_session=True).wait(20) == 0
    end, told = time.monotonic() + 15, tracking / "end"
    while not (told.exists() and told.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    assert told.read_text() == "terminated"


def others(**changes: str) -> dict[str, str]:
    tags = process.identity()
    tags[process.PID], tags[process.STARTED] = "4194305", "1.0"  # beyond the largest pid: dead, were it here
    return tags | changes


def test_only_a_process_known_to_be_dead_is_called_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_machine", lambda: "here/1234")
    monkeypatch.setattr(process, "_process_table", lambda: "boot/pid:[1]")
    assert process.process_alive(process.identity())
    assert process.process_alive(others()) is False
    assert (
        process.process_alive(process.identity() | {process.STARTED: "1.0"}) is False
    )  # its number was given to another
    assert process.process_alive(others(**{process.BOOT: "earlier/pid:[1]"})) is False
    assert process.process_alive(others(**{process.HOST: "there/5678"})) is None
    assert process.process_alive(others(**{process.BOOT: "boot/pid:[2]"})) is None
    assert process.process_alive({}) is None
    monkeypatch.setattr(process, "_machine", lambda: "container")
    assert process.process_alive(others(**{process.HOST: "container", process.BOOT: "earlier/pid:[1]"})) is None


def test_runs_of_others_stay_as_they_are(tracking: Path) -> None:
    client = mlflow.MlflowClient()
    strangers = [client.create_run("1"), client.create_run("0", tags=others(**{process.HOST: "there"}))]
    ours = client.create_run("0", tags=others())
    assert store.close_dead_runs() == [ours.info.run_id]
    assert {status(r.info.run_id) for r in strangers} == {"RUNNING"}


def test_a_run_that_mlflow_run_never_began_is_closed_only_for_this_project(tracking: Path) -> None:
    client = mlflow.MlflowClient()
    project = {
        "mlflow.project.entryPoint": "skeleton",
        "mlflow.source.name": f"file://{store.PROJECT}",
        "mlflow.user": getpass.getuser(),
    }
    inside = {"mlflow.source.name": f"file://{store.PROJECT.parent}#{store.PROJECT.name}"}
    abandoned = {client.create_run("1", tags=project | more).info.run_id for more in ({}, inside)}
    coming = client.create_run("1", tags=project).info.run_id
    client.create_run("1", tags=project | {"mlflow.source.name": str(tracking)})
    client.create_run("1", tags=project | {"mlflow.user": "somebody else"})
    sleep = "import time; print(flush=True); time.sleep(60)"
    started = [
        python(sleep, env={**os.environ, "MLFLOW_RUN_ID": coming}),
        python(sleep, arguments=["mlflow", "run"], env={**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///another.db"}),
    ]
    for other in started:
        other.stdout.readline()  # type: ignore[union-attr]
    launching = python(sleep, arguments=["mlflow", "run"])
    try:
        launching.stdout.readline()  # type: ignore[union-attr]
        assert store.close_dead_runs() == []
        launching.kill()
        launching.wait()
        assert set(store.close_dead_runs()) == abandoned
    finally:
        for other in (*started, launching):
            other.kill()
            other.wait()


def test_a_step_closes_what_an_earlier_mlflow_run_left_though_its_own_is_above_it(tracking: Path) -> None:
    client = mlflow.MlflowClient()
    project = {
        "mlflow.project.entryPoint": "skeleton",
        "mlflow.source.name": f"file://{store.PROJECT}",
        "mlflow.user": getpass.getuser(),
    }
    left, own = (client.create_run("1", tags=project).info.run_id for _ in range(2))
    step = "from sign_models.tracking import store; print(*store.close_dead_runs())"
    launch = "import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[4]], env={**os.environ, "
    launcher = python(f"{launch}'MLFLOW_RUN_ID': sys.argv[3]}})", arguments=["mlflow", "run", own, step])
    assert launcher.communicate(timeout=60)[0].split() == [left]
    assert (status(left), status(own)) == ("KILLED", "RUNNING")


def test_a_step_looks_at_no_process_for_its_own_run(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads what stands in the environment of every process of the machine."""
    tags = {
        "mlflow.project.entryPoint": "skeleton",
        "mlflow.source.name": f"file://{store.PROJECT}",
        "mlflow.user": getpass.getuser(),
    }
    own = mlflow.MlflowClient().create_run("1", tags=tags).info.run_id
    looked: list[object] = []
    monkeypatch.setattr(store.psutil, "process_iter", lambda asked: looked.append(asked) or iter(()))
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    assert (store.close_dead_runs(), looked, status(own)) == ([], [], "RUNNING")
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert (store.close_dead_runs(), len(looked), status(own)) == ([own], 1, "KILLED")


def test_an_experiment_is_found_made_or_refused(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = mlflow.MlflowClient()
    assert store.connect() == client.get_experiment_by_name("tests").experiment_id
    made = store.connect("another")
    assert store.connect("another") == made == client.get_experiment_by_name("another").experiment_id
    client.delete_experiment(made)
    with pytest.raises(UpstreamError, match="deleted"):
        store.connect("another")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    assert store.connect() == "0"


def test_troubles_of_the_store_are_told_without_a_password(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ResourceError, match="tracking store http://127.0.0.1:9") as caught:
        store.connect()
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_told() -> None:
    with pytest.raises(ResourceError, match="prune"), translate_store_errors("here"):
        raise OSError(28, "No space left on device")
    with pytest.raises(FileNotFoundError), translate_store_errors("here"):
        raise FileNotFoundError(2, "no")


def test_a_full_disk_that_only_safetensors_notices_is_told(tracking: Path) -> None:
    noticed = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(ResourceError, match="run .* of stage skeleton: no space"), stage_run("skeleton") as run:
        raise noticed
    assert status(run.id) == "FAILED"


def test_the_lock_of_a_store_can_be_taken_again_inside(tracking: Path) -> None:
    uri = mlflow.get_tracking_uri()
    with locks.store_lock(uri):
        with locks.store_lock(uri):
            pass
        with pytest.raises(Timeout):
            FileLock(locks.lock_file(uri), timeout=0.1).acquire()  # as another process would
    FileLock(locks.lock_file(uri), timeout=1).acquire().lock.release()
