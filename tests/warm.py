"""Processes of their own that need not import the heavy libraries again: forked from one that has.

    warm.run([sys.executable, "-m", "entrypoints.skeleton", *options], cwd=folder)

A command's imports take most of a tiny training's time. What a test needs of a process is that it has a number, an
environment, streams and signals of its own, and an end. This project's own modules are imported by each process
itself, from its own PYTHONPATH. tests/test_warm.py holds both kinds of processes to the same behaviour.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import importlib.metadata
import json
import os
import runpy
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from types import ModuleType
from typing import IO, Any

IMPORTED = (
    *(
        "torch",
        "torch._dynamo",
        "torch.distributed",
        "torch.nn.parallel",
        "safetensors.torch",
        "tokenizers",
        "sacrebleu",
    ),
    *("mlflow", "mlflow.pyfunc", "mlflow.models", "mlflow.artifacts", "mlflow.projects"),
    *(
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.db.utils",
    ),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.collections", "pandas", "pydantic", "click"),
    *("git", "psutil", "filelock", "tqdm", "yaml", "rapidfuzz", "pyarrow", "pose_format"),
)
LARGEST_REQUEST = 2**17  # bytes
PIPE_SIZE = 2**20  # bytes


@cache  # conftest is imported twice
def leave_writing_to_the_system() -> None:
    """Databases of this process and of those forked from it are not waited for until they are on the disk.

    A process that is killed loses nothing by it, only a machine whose power fails. The wait is a third of the time in
    which a model is registered.
    """
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "connect")
    def unsynchronised(connection: Any, _: object) -> None:
        with suppress(sqlite3.DatabaseError):  # of a damaged file, which MLflow is to find for itself
            connection.execute("PRAGMA synchronous = OFF")


@cache
def keep_answers() -> None:
    """What this process asks again for each database and each model is found out once.

    Each test has a database, and MLflow asks all of them the same: SQLAlchemy compiles its statements once. Which
    versions are installed is read from files, once. Together they are a third of a registration's time.
    """
    import importlib_metadata
    from sqlalchemy import Engine, create_engine

    modules: tuple[Any, ...] = (importlib.metadata, importlib_metadata)
    for module in modules:
        module.version = cache(module.version)
    common = create_engine("sqlite://", query_cache_size=10_000)
    common.connect().close()  # it asks sqlite what it can
    make = Engine.__init__

    @wraps(make)  # SQLAlchemy reads which arguments there are
    def share(self: Engine, pool: Any, dialect: Any, *more: Any, **named: Any) -> None:
        make(self, pool, dialect, *more, **named)
        if type(dialect) is type(common.dialect):
            self.dialect, self._compiled_cache = common.dialect, common._compiled_cache

    Engine.__init__ = share  # type: ignore[method-assign]


@cache
def keep_schema_revision() -> None:
    """MLflow reads all of its migrations for each database that is opened, to find the last one."""
    utils: Any = importlib.import_module("mlflow.store.db.utils")
    utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)


class Server:
    """A process that has imported IMPORTED, and forks for each command. It ends with the process that made it."""

    def __init__(self) -> None:
        self.here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line = [sys.executable, __file__, str(there.fileno())]
        self.process = subprocess.Popen(line, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL)
        there.close()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it, and wait: its processor time counts as this process's."""
        self.here.close()
        self.process.wait()

    def ask(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
        """Send a request, and descriptors to take over. Returns the answer."""
        socket.send_fds(self.here, [json.dumps(request).encode()], [*descriptors])
        return int(json.loads(self.here.recv(LARGEST_REQUEST)))


@cache
def server() -> Server:
    """The one of this process, started when it is first needed."""
    return Server()


class Popen:
    """A forked process, in the parts of subprocess.Popen that tests use. Its streams are text."""

    def __init__(
        self,
        line: Sequence[str],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        text: bool = True,
        start_new_session: bool = False,
    ) -> None:
        """As subprocess.Popen, of this Python.

        Args:
            line: sys.executable, -m or -c, module or code, arguments.
            cwd: Working directory. None: this process's.
            env: Environment. None: this process's.
            stdout: A file, PIPE or DEVNULL. None: this process's.
            stderr: Likewise, or STDOUT.
            text: Always.
            start_new_session: Whether it gets a session of its own.
        """
        python, kind, *words = line
        assert python == sys.executable and kind in ("-m", "-c") and text
        request = {
            "kind": kind, "words": words, "session": start_new_session, "cwd": str(cwd or Path.cwd()),
            "env": {**(os.environ if env is None else env)},
        }  # fmt: skip
        self.stdout, out = _stream(stdout, 1)
        self.stderr, err = (None, os.dup(out)) if stderr == subprocess.STDOUT else _stream(stderr, 2)
        self.pid = server().ask(request, [out, err])
        os.close(out)
        os.close(err)
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Exit code once it has ended. Raises TimeoutExpired after `timeout` seconds."""
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(["process", str(self.pid)], timeout)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to its pipes, once it has ended. It must fit into PIPE_SIZE."""
        self.wait(timeout)
        out, err = (pipe.read() if pipe else "" for pipe in (self.stdout, self.stderr))
        return out, err

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, signum)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._descriptor], [], [], timeout)[0]:
            self.returncode = server().ask({"wait": self.pid})
            os.close(self._descriptor)
        return self.returncode


def _stream(asked: int | IO[Any] | None, usual: int) -> tuple[IO[str] | None, int]:
    """Where a stream is read here, and the descriptor to which it is written there."""
    if asked == subprocess.PIPE:
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return os.fdopen(reading, encoding="utf-8"), writing
    if asked == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, os.dup(usual if asked is None else asked if isinstance(asked, int) else asked.fileno())


def run(line: Sequence[str], timeout: float = 600, **more: Any) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with capture_output and text.

    Args:
        line: As of Popen.
        timeout: Seconds.
        **more: Of Popen.

    Returns:
        Exit code and what it has written.
    """
    process = Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess([*line], process.wait(), out, err)


def serve(there: socket.socket) -> dict[str, Any]:
    """Answer requests until the other end is closed. Returns in a process that was forked, with what it is to run."""
    while True:
        message, given, *_ = socket.recv_fds(there, LARGEST_REQUEST, 2)
        if not message:
            os._exit(0)
        request = json.loads(message)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif (answer := os.fork()) == 0:
            there.close()
            become(request, *given)
            return request
        for descriptor in given:
            os.close(descriptor)
        there.send(json.dumps(answer).encode())


def become(request: Mapping[str, Any], stdout: int, stderr: int) -> None:
    """Take over streams, folder, environment and import path, as a fresh interpreter would have them."""
    if request["session"]:
        os.setsid()
    for descriptor, place in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    first = request["cwd"] if request["kind"] == "-m" else ""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [first, *paths, *sys.path[1:]]  # the first is this file's folder
    sys.argv = ["-m" if request["kind"] == "-m" else "-c", *request["words"][1:]]
    for path in paths:
        if (customised := Path(path, "sitecustomize.py")).is_file():
            runpy.run_path(str(customised))
            break


def main() -> None:
    """Import, serve, and in a forked process run what was asked for as __main__."""
    sys.path[:] = [str(Path(__file__).parent), *(path for path in sys.path[1:] if path not in _paths())]
    for name in IMPORTED:
        importlib.import_module(name)
    # which package each module is of: a process that registers a model looks it up once, a third of its time
    importlib.import_module("mlflow.utils.requirements_utils")._init_modules_to_packages_map()
    leave_writing_to_the_system()
    keep_answers()
    keep_schema_revision()
    importlib.import_module("mlflow.store.db.utils")._get_latest_schema_revision()
    importlib.import_module("sqlalchemy.orm").configure_mappers()
    assert threading.active_count() == 1, "a fork keeps one thread of several"
    assert not {name.partition(".")[0] for name in sys.modules} & {"sign_models", "entrypoints", "benchmarks"}
    gc.freeze()
    # Python 3.12 counts the thread of pyarrow's allocator, which knows of forks
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request["kind"] == "-m":
        runpy.run_module(request["words"][0], run_name="__main__", alter_sys=True)
    else:
        module = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(request["words"][0], "<string>", "exec"), module.__dict__)


def _paths() -> list[str]:
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)


if __name__ == "__main__":
    main()
