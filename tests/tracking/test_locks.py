"""A store's lock is this user's own: nobody else can hold, plant or read it, and a wait for it ends and says why."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from sign_models.errors import ResourceError
from sign_models.tracking import locks
from sign_models.tracking.notes import describe_experiment
from tests.tracking.test_store import PIPELINES_AT_ONCE, forked

HOLD = """
import sys
from sign_models.tracking.locks import store_lock
with store_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's cache; the temporary folder is another empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(locks, "_TEMPORARY", tmp_path / "temporary")
    (tmp_path / "temporary").mkdir()
    return tmp_path / "cache" / "sign-models"


def test_nobody_else_can_write_or_read_a_lock(cache: Path, tmp_path: Path) -> None:
    os.umask(before := os.umask(0))
    try:
        os.umask(0)
        with locks.store_lock("http://server:5000"):
            pass
    finally:
        os.umask(before)
    files = [*(cache / "locks").iterdir()]
    assert stat.S_IMODE((cache / "locks").stat().st_mode) == 0o700 and len(files) == 2
    assert not [*(tmp_path / "temporary").iterdir()]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files if f.suffix == ".lock"} == {0o600}


@pytest.mark.parametrize("planted", ["symlink", "writable", "file"])
def test_a_folder_that_somebody_planted_is_not_used(cache: Path, tmp_path: Path, planted: str) -> None:
    def plant(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if planted == "symlink":
            (tmp_path / "theirs").mkdir(exist_ok=True)
            path.symlink_to(tmp_path / "theirs")
        elif planted == "writable":
            path.mkdir()
            path.chmod(0o777)
        else:
            path.touch()

    plant(cache / "locks")
    assert locks.lock_file("http://server").parent == tmp_path / "temporary" / f"sign-models-{os.getuid()}"
    plant(tmp_path / "temporary" / "sign-models-x")
    (tmp_path / "temporary" / f"sign-models-{os.getuid()}").rmdir()
    plant(tmp_path / "temporary" / f"sign-models-{os.getuid()}")
    with pytest.raises(ResourceError, match="XDG_CACHE_HOME"):
        locks.lock_file("http://server")


def test_a_lock_is_of_a_store_however_it_is_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    same = ["sqlite:///mlflow.db", f"sqlite:///{tmp_path}/mlflow.db", f"sqlite:///{tmp_path}/link/mlflow.db?timeout=3"]
    assert len({locks.lock_file(uri) for uri in same}) == 1
    assert locks.lock_file("http://a:b@server") == locks.lock_file("http://c:d@server")
    assert locks.lock_file("http://server") != locks.lock_file("http://server2")


def test_a_wait_ends_and_names_the_holder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOCK_TIMEOUT_S", 0.3)
    uri = "http://me:secret@server"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with pytest.raises(ResourceError, match=rf"http://server: held by process {holder.pid} \(.*\) since") as caught:
            with locks.store_lock(uri):
                raise AssertionError("entered")
        assert "secret" not in str(caught.value)
        holder.communicate("")
    with locks.store_lock(uri):
        pass


def test_users_without_a_common_lock_share_one_fresh_database(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has a cache of its own, as each user has."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracking}/new/mlflow.db")
    apart = "import os\n" + PIPELINES_AT_ONCE.replace(
        "def pipeline(number):",
        'def pipeline(number):\n    os.environ["XDG_CACHE_HOME"] = os.path.abspath(f"cache{number}")',
    ).replace("range(1, 5)", "range(1, 4)")
    done = forked(apart)
    _, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors
    assert len([*tracking.glob("cache*/sign-models/locks/*.lock")]) == 3 and not [*tracking.glob("new/*.making*")]


@pytest.mark.parametrize("was_faster", [True, False])
def test_another_user_may_describe_the_experiment_at_the_same_moment(
    was_faster: bool, tracking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store then refuses the second of two equal tags. Any other refusal is an error."""
    tag = mlflow.MlflowClient.set_experiment_tag

    def refused(self: mlflow.MlflowClient, *given: str) -> None:
        if was_faster:
            tag(self, *given)
        raise mlflow.MlflowException("UNIQUE constraint failed: experiment_tags.key")

    monkeypatch.setattr(mlflow.MlflowClient, "set_experiment_tag", refused)
    experiment = mlflow.create_experiment("signs")
    if was_faster:
        describe_experiment(experiment)
        assert mlflow.get_experiment(experiment).tags["mlflow.note.content"]
    else:
        with pytest.raises(mlflow.MlflowException, match="UNIQUE"):
            describe_experiment(experiment)
