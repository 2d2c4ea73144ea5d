"""A store that cannot be used is refused in one message, with exit code 2, before any work: also one that broke."""

from __future__ import annotations

import http.server
import importlib
import logging
import os
import sqlite3
import stat
import threading
from pathlib import Path

import mlflow
import pytest

from sign_models.errors import ResourceError, SignError
from sign_models.tracking import store
from sign_models.tracking.runs import stage_run
from tests.conftest import Command

COMMANDS = {
    "pipeline": (),
    "skeleton": (),
    "temporal": (),
    "represent": (),
    "alignment": (),
    "generate": (),
    "evaluate": (),
    "promote": (),
    "lineage": (),
    "prune": (),
    "import_": ("--source", "clips", "--out", "out"),
    "translate": ("--videos", "clips"),
}
STORES = {
    "file://{here}/mlruns": "a folder of files",
    "{here}/mlruns": "a folder of files",
    "sqlit:///x.db": "unsupported URI",
    "postgresql://me:secret@localhost/db": "its driver is not installed",
    "sqlite:///{here}/text.db": "not a database",
    "sqlite:///{here}/torn.db": "malformed",
    "sqlite:///{here}/mlruns": "unable to open database file",
    "sqlite:///{here}/text.db/deep/x.db": "Not a directory",
    "sqlite:/x.db": "Could not parse",
    "http://me:secret@127.0.0.1:9": "API request",
}


@pytest.fixture
def here(tmp_path: Path, fresh_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what people take for a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "clips").mkdir()
    (tmp_path / "text.db").write_text("hello\n" * 1000)
    whole = fresh_store.read_bytes()
    (tmp_path / "torn.db").write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    return tmp_path


@pytest.mark.parametrize("uri", STORES)
def test_a_store_that_cannot_be_used_is_one_message(here: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(here=here))
    with pytest.raises(ResourceError, match="tracking store") as caught:
        store.connect()
    assert STORES[uri] in str(caught.value) and "secret" not in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.remedy


def test_a_server_that_is_none_of_mlflow_is_one_message(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(ResourceError, match="tracking store http://127.0.0.1:") as caught:
            store.connect()
    finally:
        server.shutdown()
        server.server_close()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_it_before_any_work(
    here: Path, name: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/text.db")
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    stage = importlib.import_module(f"entrypoints.{name}").main
    done = command(name, *COMMANDS[name], data="data" in {p.name for p in stage.params}, params=hasattr(stage, "stage"))
    assert done.code == 2 and done.err.count("\n") == 1, done.err
    assert done.err.startswith("ResourceError: tracking store sqlite:///") and "not a database" in done.err
    made = {path for path in here.rglob("*") if before.get(path) != path.stat().st_mtime_ns}
    assert not made


@pytest.mark.parametrize("how", ["unknown", "deleted", "no number"])
def test_an_experiment_that_cannot_be_used_is_one_message(
    tracking: Path, how: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient()
    given = {"unknown": "99", "deleted": client.create_experiment("gone"), "no number": "x'y"}[how]
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", given)
    for name in ("skeleton", "prune"):
        done = command(name, data=name == "skeleton", params=name == "skeleton")
        assert done.code == 2 and done.err.count("\n") == 1 and "experiment" in done.err, done.err
        assert "deleted" in done.err if how == "deleted" else "no such experiment" in done.err
    assert not client.search_runs([e.experiment_id for e in client.search_experiments()])


def test_a_registry_of_its_own_is_looked_at_before_any_work(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tracking / "text.db").write_text("hello\n" * 1000)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tracking}/text.db")
    with pytest.raises(ResourceError, match="model registry sqlite.*not a database"):
        store.connect()


def test_a_database_that_breaks_in_the_middle_is_one_message(tracking: Path) -> None:
    with pytest.raises(ResourceError, match="malformed|not a database"), stage_run("skeleton") as run:
        whole = (tracking / "mlflow.db").read_bytes()
        (tracking / "mlflow.db").write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
        try:
            run.set_tags({"a": "b"})
        finally:
            (tracking / "mlflow.db").write_bytes(whole)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_artifacts_that_may_not_be_written_are_one_message(tracking: Path) -> None:
    folder = tracking / "artifacts"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(SignError, match="rights"), stage_run("skeleton") as run:
        run.log_text("x", "x.txt")


def test_read_only_is_one_message_whoever_says_it(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/store/x.txt")

    monkeypatch.setattr(mlflow.MlflowClient, "log_text", refuse)
    with pytest.raises(ResourceError, match="/store/x.txt: Permission denied.*rights"), stage_run("skeleton") as run:
        run.log_text("x", "x.txt")


def test_a_locked_database_leaves_no_traceback_in_the_log(
    tracking: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    import sqlalchemy

    store.connect()
    monkeypatch.setattr(
        "mlflow.store.db.utils.sql.text", lambda text: sqlalchemy.text(text.replace("20000", "50"))
    )  # ms that MLflow waits for a lock
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with sqlite3.connect(tracking / "mlflow.db") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResourceError, match="database is locked") as caught:
            store.connect("another")
        other.rollback()
    told = capfd.readouterr()
    assert "Traceback" not in told.err + told.out and "\n" not in str(caught.value)
