"""Reading of files in child processes, whose time and memory the kernel limits. A hostile file ends only its child.

    this process --- socket --- server, which has imported the readers and has no thread --- forks a child for a task

A fork of this process itself would inherit its threads, and a new interpreter takes a second to start. The child runs a
generator and sends what it yields. It says which file it reads (`at_work`), so that its end is reported as an error of
that file.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sign_models.errors import DataError, ResourceError, SignError
from sign_models.keypoints.handover import receive, send, widen_pipe
from sign_models.keypoints.trees import memory_for

MAX_CPU_S: float = 60  # of the processor's time, from one sample of a file to the next
_REQUEST = struct.Struct("<cq64s")  # kind of request, process id of the child, module to import
_START, _END, _IMPORT = b"s", b"e", b"i"
_ANSWER = struct.Struct("<q")  # process id of the child, or its exit status
_PRELOAD = "sign_models.keypoints.formats"


@dataclass(frozen=True)
class FileAtWork:
    """Message of a child that reads a file next.

    Attributes:
        key: Identifies the file within the task.
        place: What an error message names.
        size: Size of the file, in bytes.
    """

    key: Any
    place: str
    size: int


@dataclass(frozen=True)
class _Raised:
    """An error that a child's generator raised. An error that it yields is a value."""

    error: Exception


class ChildDied(Exception):
    """A child process was ended by the kernel.

    Attributes:
        at: The file that it read, None before the first.
        why: What ended it.
    """

    def __init__(self, at: FileAtWork | None, status: int) -> None:
        """Explain the end of a child.

        Args:
            at: The file that it read.
            status: Its exit status.
        """
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        self.at = at
        self.why = {
            int(signal.SIGPROF): f"reading it took more than {MAX_CPU_S} s of the processor",
            int(signal.SIGKILL): "the process that read it was killed, as when memory runs out",
        }.get(number, f"the process that read it crashed (signal {number})" if number else "its reader ended early")
        super().__init__(self.why)

    def error(self) -> DataError:
        """Convert it to an error of the file.

        Returns:
            The error, to be raised or collected.

        Raises:
            ResourceError: The child did not read a file yet.
        """
        if self.at is None:
            raise ResourceError(f"a process that reads files ended: {self.why}", remedy="start the command again")
        return DataError(
            self.why, place=self.at.place, wanted="a file that can be read", remedy="export it again, or leave it out"
        )


# In a child -----------------------------------------------------------------------------------------------------------

_child: Connection | None = None


def at_work(key: Any, place: str, size: int) -> None:
    """Announce the file that is read next, and limit the memory and time of this child. Outside a child do nothing.

    Args:
        key: Identifies the file within the task.
        place: What an error message names.
        size: Size of the file, in bytes.
    """
    if _child is not None:
        send(_child, FileAtWork(key, place, size))
        with suppress(FileNotFoundError), open("/proc/self/status", "rb") as status:  # Linux
            used = int(status.read().partition(b"VmData:")[2].split(maxsplit=1)[0]) * 1024
            most = resource.getrlimit(resource.RLIMIT_DATA)[1]
            resource.setrlimit(resource.RLIMIT_DATA, (used + memory_for(size), most))
        _start_clock()


def as_data_error(error: DataError | MemoryError, place: str, size: int) -> DataError:
    """Convert an error of reading a file, which may be a lack of memory.

    Args:
        error: What was raised.
        place: What the message names.
        size: Size of the file, in bytes.

    Returns:
        `error`, or an error that states the limit of memory.
    """
    if isinstance(error, DataError) and not isinstance(error.__cause__, MemoryError):
        return error
    return DataError(
        f"takes more than {memory_for(size) / 2**20:,.0f} MiB of memory to read",
        place=place,
        wanted="4 times its size and 256 MiB at most",
        remedy="split the file, or unzip it",
    )


def _start_clock() -> None:
    signal.setitimer(signal.ITIMER_PROF, MAX_CPU_S)  # not caught: it ends the process


class _ToParent(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        if _child is not None:
            send(_child, record)


def _run(task: int, result: int) -> None:
    """Run the task of a child."""
    global _child
    _child = result_end = Connection(result, readable=False)
    try:
        logger = logging.getLogger("sign_models")
        logger.handlers, logger.propagate = [_ToParent()], False
        logger.setLevel(logging.INFO)
        with Connection(task, writable=False) as order:
            function, args = pickle.loads(order.recv_bytes())
        _start_clock()
        for found in function(*args):
            send(_child, found)
            _start_clock()
        send(_child, StopIteration())
    except (BrokenPipeError, EOFError):  # the other end is closed
        pass
    except Exception as error:
        if not isinstance(error, SignError):  # a bug, whose traceback the parent would not have
            error.add_note(traceback.format_exc())
        with suppress(OSError):
            send(result_end, _Raised(error))


def serve(fd: int) -> None:
    """Run the server, which ends with the process that started it.

    Args:
        fd: File descriptor of its socket.
    """
    importlib.import_module(_PRELOAD)
    link, children = socket.socket(fileno=fd), set[int]()
    while True:
        message, fds, *_ = socket.recv_fds(link, _REQUEST.size, 2)
        if len(message) < _REQUEST.size:
            break
        asked, number, module = _REQUEST.unpack(message)
        if asked == _START:
            number = os.fork()
            if not number:
                link.close()
                _run(*fds)
                os._exit(0)
            children.add(number)
            for one in fds:
                os.close(one)
        elif asked == _END:
            os.kill(number, signal.SIGKILL)  # not waited for yet, so the process id is still its own
            children.discard(number)
            number = os.waitpid(number, 0)[1]
        else:
            importlib.import_module(module.rstrip(b"\0").decode())
        link.sendall(_ANSWER.pack(number))
    for child in children:
        os.kill(child, signal.SIGKILL)


# In the process that asks ---------------------------------------------------------------------------------------------


class _Server:
    """The server of this process. It is started on the first request, and again if it ended or this process forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner, self._link = 0, socket.socket()
        self.process: subprocess.Popen[bytes] | None = None
        self._imported = set[str]()

    def prepare(self) -> None:
        """Start the server where there is none, and do not wait for it."""
        with self._lock:
            if self._gone():
                self._start()

    def ask(self, what: bytes, number: int = 0, module: str = "", fds: tuple[int, ...] = ()) -> int:
        """Send a request and return the answer. OSError where the server has ended."""
        with self._lock:
            if self._gone():
                self._start()
            return self._asked(what, number, module, fds)

    def end(self, number: int, started_by: subprocess.Popen[bytes] | None) -> int:
        """End a child and return its exit status. OSError where the server that started it has ended.

        A later server is no parent of that child, and its process id may be somebody else's by now.
        """
        with self._lock:
            if self._gone() or started_by is not self.process:
                raise OSError("the process that started the reader is gone")
            return self._asked(_END, number)

    def _gone(self) -> bool:
        return self._owner != os.getpid() or self.process is None or self.process.poll() is not None

    def _asked(self, what: bytes, number: int = 0, module: str = "", fds: tuple[int, ...] = ()) -> int:
        """Send a request to the server that is there and wait for the answer."""
        if module and module in self._imported:
            return 0
        self._imported.add(module)
        socket.send_fds(self._link, [_REQUEST.pack(what, number, module.encode())], fds)
        answer = self._link.recv(_ANSWER.size)
        if len(answer) < _ANSWER.size:
            raise OSError("the process that starts readers is gone")
        return int(_ANSWER.unpack(answer)[0])

    def _start(self) -> None:
        """Start the server, with the import path of this process.

        The package is this process's own: a model that was loaded puts the one that it was made by first on the path.
        """
        here, there = socket.socketpair()
        own = str(Path(__file__).resolve().parents[2])
        code = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # the process that asks handles it
        code += f"sys.path[:] = {[own, *sys.path]!r}; from {__name__} import serve; del sys.path[0]; "
        code += f"serve({there.fileno()})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[there.fileno()]
        )
        there.close()
        self._owner, self._link, self._imported = os.getpid(), here, set()


_server = _Server()


def prepare() -> None:
    """Start what forks the children, beside other work of this process: its imports take a third of a second."""
    with suppress(OSError):  # the first child would meet it too, and say it
        _server.prepare()


class Child:
    """A process that runs a generator function.

    Attributes:
        at: The file that it announced last.
    """

    def __init__(self, function: Callable[..., Iterator[Any]], *args: Any) -> None:
        """Start the process.

        Args:
            function: Generator function of an importable module.
            *args: Its arguments, which are pickled.

        Raises:
            ResourceError: No process can be started.
        """
        self.at: FileAtWork | None = None
        self._pid, self._started_by = 0, _server.process
        task, order = os.pipe()
        result, results = os.pipe()
        self._results = Connection(result, writable=False)
        try:
            with Connection(order, readable=False) as sender, Connection(results, readable=False) as writer:
                widen_pipe(writer)
                try:
                    _server.ask(_IMPORT, module=function.__module__)
                    self._pid = _server.ask(_START, fds=(task, results))
                    self._started_by = _server.process
                finally:
                    os.close(task)
                sender.send_bytes(pickle.dumps((function, args), 5))
        except OSError as error:
            self.end()
            raise ResourceError(f"no process could be started to read files ({error})") from error

    def receive(self) -> Any:
        """Wait for the next value.

        Returns:
            What the generator yields, or a StopIteration at its end.

        Raises:
            ChildDied: The kernel ended the child.
            Exception: What the generator raised.
        """
        while True:
            try:
                found = receive(self._results)
            except EOFError:
                raise ChildDied(self.at, self.end()) from None
            if isinstance(found, FileAtWork):
                self.at = found
            elif isinstance(found, logging.LogRecord):
                if (logger := logging.getLogger(found.name)).isEnabledFor(found.levelno):
                    logger.handle(found)
            elif isinstance(found, _Raised):
                raise found.error
            else:
                return found

    def end(self) -> int:
        """End the child if it still runs.

        Returns:
            Its exit status.
        """
        self._results.close()
        pid, self._pid = self._pid, 0
        with suppress(OSError):
            return _server.end(pid, self._started_by) if pid else 0
        return 0


def isolated(function: Callable[..., Iterator[Any]], *args: Any) -> Iterator[Any]:
    """Run a generator function in a child process. Within a child it is run directly.

    Args:
        function: Generator function of an importable module.
        *args: Its arguments, which are pickled.

    Yields:
        What the generator yields.

    Raises:
        ChildDied: The kernel ended the child.
        SignError: The generator raised it, or no process can be started.
    """
    if _child is not None:
        yield from function(*args)
        return
    child = Child(function, *args)
    try:
        while not isinstance(found := child.receive(), StopIteration):
            yield found
    finally:
        child.end()
