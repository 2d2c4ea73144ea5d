"""A store that cannot be used is refused in one message, with exit code 2, before any work: also one that broke."""

from __future__ import annotations

import http.server
import importlib
import logging
import os
import re
import sqlite3
import stat
import threading
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import mlflow
import pytest

from sign_models.errors import ResourceError, SignError, UpstreamError
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
    "http://[::1": "Invalid IPv6 URL",
    "sqlite:///:memory:": "a database in memory",
    "sqlite://": "a database in memory",
    "sqlite:///{here}/x.db ": "a space before or after it",
    "sqlite:///{here}/other.db": "a database of another program, with the table 'songs'",
    "sqlite:///{here}/pipe": "unable to open database file",
    "sqlite:///{here}/nowhere.db": "unable to open database file",
    "sqlite:///{here}/" + "x" * 300: "File name too long",
    "sqlite:///file:{here}/whole.db?mode=ro&uri=true": "write the path alone",
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
    (tmp_path / "whole.db").write_bytes(whole)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    os.mkfifo(tmp_path / "pipe")  # what is no file must not be replaced
    (tmp_path / "nowhere.db").symlink_to(tmp_path / "gone" / "x.db")
    return tmp_path


@pytest.mark.parametrize("uri", STORES)
def test_a_store_that_cannot_be_used_is_one_message(here: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(here=here))
    with pytest.raises(ResourceError, match="tracking store") as caught:
        store.connect()
    assert STORES[uri] in str(caught.value) and "secret" not in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.remedy
    assert (here / "pipe").is_fifo() and (here / "nowhere.db").is_symlink()
    with closing(sqlite3.connect(here / "other.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


def refused_server(handler: type[http.server.BaseHTTPRequestHandler], monkeypatch: pytest.MonkeyPatch) -> ResourceError:
    """What connecting to a server on loopback raises."""
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(ResourceError, match="tracking store http://127.0.0.1:") as caught:
            store.connect()
    finally:
        server.shutdown()
        server.server_close()
    return caught.value


def test_a_server_that_is_none_of_mlflow_is_one_message(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\n" not in str(refused_server(http.server.BaseHTTPRequestHandler, monkeypatch))


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_server_in_trouble_is_not_asked_for_minutes(
    here: Path, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """MLflow's own seven retries take four minutes, in which nothing would be said but each of them."""
    asked = []

    class Troubled(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    assert {int(value) for value in store.FIRST_ASKED.values()} == {2, 20}
    monkeypatch.setitem(store.FIRST_ASKED, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the second waits for seconds
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    error = refused_server(Troubled, monkeypatch)
    assert len(asked) == 2 and "\n" not in str(error) and error.remedy
    assert "Retrying" not in capfd.readouterr().err
    assert not {*store.FIRST_ASKED} & {*os.environ}  # a run waits for its server as MLflow has it


PLACES = {
    "s3://bucket/x": "No module named .boto",
    "foo://x": "Could not find a registered artifact repository",
    "file:///proc/none/x": "No such file or directory",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_of_artifacts_that_cannot_be_used_is_refused_before_any_work(
    tracking: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place.startswith("s3") and find_spec("boto3"):
        pytest.skip("boto3 is installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setitem(store.FIRST_ASKED, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.MlflowClient().create_experiment("elsewhere", place)
    with pytest.raises(ResourceError, match=f"its artifacts go to {re.escape(place)}.*: .*({PLACES[place]})") as caught:
        store.connect("elsewhere")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_database_that_may_only_be_read_is_refused_before_any_work(tracking: Path) -> None:
    (tracking / "mlflow.db").chmod(stat.S_IRUSR)
    with pytest.raises(ResourceError, match="readonly database"):
        store.connect()


def test_a_name_that_no_experiment_can_have_is_one_message(tracking: Path) -> None:
    with pytest.raises(UpstreamError, match="no name of an experiment .*exceeds.*another name"):
        store.connect("x" * 600)


def test_an_empty_run_id_is_none(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "")
    with stage_run("skeleton") as run:
        assert run.id


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_it_before_any_work(
    here: Path, name: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/text.db")
    before = {path: path.lstat().st_mtime_ns for path in here.rglob("*")}
    stage = importlib.import_module(f"entrypoints.{name}").main
    done = command(name, *COMMANDS[name], data="data" in {p.name for p in stage.params}, params=hasattr(stage, "stage"))
    assert done.code == 2 and done.err.count("\n") == 1, done.err
    assert done.err.startswith("ResourceError: tracking store sqlite:///") and "not a database" in done.err
    made = {path for path in here.rglob("*") if before.get(path) != path.lstat().st_mtime_ns}
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
