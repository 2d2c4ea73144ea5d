"""What every test may rely on: no network, no telemetry, one thread a process, nobody else's MLflow store.

Tests of the whole pipeline share one that was run once, on tests.tiny, by each process of the tests.
"""

from __future__ import annotations

import base64
import gc
import importlib
import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from sign_models import interruption
from tests import tiny, warm

ROOT = Path(__file__).resolve().parents[1]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",  # xdist runs a process a core; more threads than cores only wait for each other
}
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
    os.environ.pop(name, None)


for signum in (signal.SIGINT, signal.SIGHUP):  # a shell's background and nohup ignore them, and children inherit that
    if signal.getsignal(signum) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


# the same examples on every machine and every day: looking for new ones is benchmarks/fuzz_formats.py's
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


warm.leave_writing_to_the_system()
warm.keep_answers()

# Python leaves byte code beside what it imports, in models too: for users it does, whatever it does where tests run
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What test files import stays: searching it for garbage takes a third of the time of importing it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(20_000)  # searching what is made later each 700 objects takes a twentieth of all tests' time


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The markers `gpu`, and `video`: tests that run MediaPipe."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")
    if item.get_closest_marker("video"):
        pytest.importorskip("mediapipe", reason="the optional extra `video` is not installed: make video")
        from sign_models.video.models import BUNDLES, cache_folder

        if missing := [name for name in BUNDLES if not (cache_folder() / name).is_file()]:
            pytest.skip(f"{', '.join(missing)} not in the cache folder: make video")


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A command that a test ran in this process leaves no handler: children inherit a signal that is ignored."""
    before = {signum: signal.getsignal(signum) for signum in interruption.SIGNALS}
    yield
    interruption.release()
    assert {signum: signal.getsignal(signum) for signum in interruption.SIGNALS} == before


@pytest.fixture(scope="session", autouse=True)
def paint() -> Iterator[Callable[..., None]]:
    """Figures are made and stored, as one pixel: painting them takes longer than the import that they describe.

    Returns:
        What paints one.
    """
    from matplotlib.figure import Figure

    paint = Figure.savefig
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda _, path, **more: Path(path).write_bytes(PIXEL))
        yield paint


@pytest.fixture
def painted(paint: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what a figure shows, or that it can be painted."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", paint)


@pytest.fixture
def root() -> Path:
    """The project's own folder."""
    return ROOT


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


def use_store(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Work in `folder`, with the store mlflow.db there."""
    patch.chdir(folder)
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    patch.setenv("PYTHONPATH", str(ROOT))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        patch.delenv(name, raising=False)


def exit_code(name: str, *arguments: object) -> int:
    """Run an entry point's command line in this process."""
    from sign_models.cli import commands

    with pytest.raises(SystemExit) as end:
        commands.run(importlib.import_module(f"entrypoints.{name}").main, [str(a) for a in arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the seed's three files and tiny.yaml. Copy it before you change anything."""
    folder = tiny.write_data(tmp_path_factory.mktemp("tiny") / "data")
    (folder / "tiny.yaml").write_text(tiny.PARAMS)
    return folder


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them: making one takes seconds."""
    from sign_models.tracking import store

    path = tmp_path_factory.mktemp("fresh") / "mlflow.db"
    store.make_database(f"sqlite:///{path}", str(path.with_name("mlruns")))
    warm.keep_schema_revision()
    return path


def copy_store(fresh_store: Path, folder: Path) -> Path:
    """The database that a first command would make in `folder`, with its artifacts beside it."""
    path = Path(shutil.copy(fresh_store, folder / "mlflow.db"))
    with closing(sqlite3.connect(path)) as database, database:
        moved = "update experiments set artifact_location = replace(artifact_location, ?, ?)"
        database.execute(moved, (str(fresh_store.parent), str(folder)))
    return path


@pytest.fixture(scope="session")
def built(
    tiny_data: Path, fresh_store: Path, paint: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder whose mlflow.db holds one finished pipeline. To be read only; `pipeline` gives a copy to work on."""
    from sign_models.cli import commands

    folder = tmp_path_factory.mktemp("built")
    shutil.copy(fresh_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        use_store(folder, patch)
        patch.setattr(commands, "guard_process", lambda: None)
        patch.setattr("matplotlib.figure.Figure.savefig", paint)
        assert exit_code("pipeline", "--data", tiny_data, "--config-override", tiny_data / "tiny.yaml") == 0
    return folder


@pytest.fixture
def finished(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The finished pipeline's own store, for tests that only look: opening a copy takes longer than most of them."""
    database = built / "mlflow.db"
    before = database.stat().st_mtime_ns
    use_store(built, monkeypatch)
    yield
    assert database.stat().st_mtime_ns == before, "it is to be read only"


@pytest.fixture
def command(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Command:
    """Runs an entry point in this process, by default on tiny data: command("pipeline", "--stage", "skeleton")."""
    from sign_models.cli import commands

    monkeypatch.setattr(commands, "guard_process", lambda: None)

    def run(name: str, *arguments: object, data: bool = True, params: bool = True) -> Done:
        given = [*(["--data", tiny_data] if data else []), *arguments]
        if params:
            given += ["--config-override", tiny_data / "tiny.yaml"]
        capfd.readouterr()
        code = exit_code(name, *given)
        told = capfd.readouterr()
        return Done(code, told.out, told.err)

    return run


@pytest.fixture
def empty(fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Command:
    """`command` in a folder of its own with an empty store."""
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    use_store(tmp_path, monkeypatch)
    return command


@pytest.fixture
def pipeline(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Command:
    """`command` in a folder of its own with a store that holds one finished pipeline."""
    shutil.copy(built / "mlflow.db", tmp_path / "mlflow.db")
    use_store(tmp_path, monkeypatch)
    return command
