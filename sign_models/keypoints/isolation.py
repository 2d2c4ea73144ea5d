"""Read files in a process of its own, whose time and memory the kernel bounds: whatever a file says, only it is lost.

    this process --- socket --- server, which has the readers imported and no thread --- forks a child a task

A fork of this process itself would inherit its threads, and a new interpreter takes a second. The child runs a
generator and hands over what it yields. It says which file it is at (`at_work`), so that its end can be told as that
file's fault.
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
from typing import Any

from sign_models.errors import DataError, ResourceError, SignError
from sign_models.keypoints.handover import hand_over, take, widen
from sign_models.keypoints.trees import memory_for

SECONDS: float = 60  # of the processor's time, from one sample of a file to the next
_REQUEST = struct.Struct("<cq64s")  # what is asked; the child's process id; the module to import
_START, _END, _IMPORT = b"s", b"e", b"i"
_ANSWER = struct.Struct("<q")  # the child's process id, or the status it ended with
_PRELOAD = "sign_models.keypoints.formats"


@dataclass(frozen=True)
class At:
    """What a child says before it reads a file. key: what tells the file apart. place: what messages name."""

    key: Any
    place: str
    size: int


@dataclass(frozen=True)
class _Raised:
    """What ended a child's generator; an error that it yields is a value like others."""

    error: Exception


class Died(Exception):
    """A child was ended by the kernel. at: the file that it was at, None before the first; why: what ended it."""

    def __init__(self, at: At | None, status: int) -> None:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        self.at = at
        self.why = {
            int(signal.SIGPROF): f"reading it took more than {SECONDS} s of the processor",
            int(signal.SIGKILL): "the process that read it was killed, as when memory runs out",
        }.get(number, f"the process that read it crashed (signal {number})" if number else "its reader ended early")
        super().__init__(self.why)

    def error(self) -> DataError:
        """As the error of the file. ResourceError where no file was at work."""
        if self.at is None:
            raise ResourceError(f"a process that reads files ended: {self.why}", remedy="start the command again")
        return DataError(
            self.why, place=self.at.place, wanted="a file that can be read", remedy="export it again, or leave it out"
        )


# In a child -----------------------------------------------------------------------------------------------------------

_child: Connection | None = None


def at_work(key: Any, place: str, size: int) -> None:
    """In a child: say that a file comes next, and bound what reading it may take. Elsewhere: nothing."""
    if _child is not None:
        hand_over(_child, At(key, place, size))
        with suppress(FileNotFoundError), open("/proc/self/status", "rb") as status:  # Linux
            held = int(status.read().partition(b"VmData:")[2].split(maxsplit=1)[0]) * 1024
            most = resource.getrlimit(resource.RLIMIT_DATA)[1]
            resource.setrlimit(resource.RLIMIT_DATA, (held + memory_for(size), most))
        _start_clock()


def told(error: DataError | MemoryError, place: str, size: int) -> DataError:
    """The error of a file, which says so where memory was what it lacked."""
    if isinstance(error, DataError) and not isinstance(error.__cause__, MemoryError):
        return error
    return DataError(
        f"takes more than {memory_for(size) / 2**20:,.0f} MiB of memory to read",
        place=place,
        wanted="4 times its size and 256 MiB at most",
        remedy="split the file, or unzip it",
    )


def _start_clock() -> None:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # not caught: it ends the process


class _ToParent(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        if _child is not None:
            hand_over(_child, record)


def _run(task: int, result: int) -> None:
    """A child's whole life."""
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
            hand_over(_child, found)
            _start_clock()
        hand_over(_child, StopIteration())
    except (BrokenPipeError, EOFError):  # nobody listens any more
        pass
    except Exception as error:
        if not isinstance(error, SignError):  # a bug, whose place the asking process would not know
            error.add_note(traceback.format_exc())
        with suppress(OSError):
            hand_over(result_end, _Raised(error))


def serve(fd: int) -> None:
    """The server's loop, which ends with the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of the process that asked
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
            os.kill(number, signal.SIGKILL)  # not yet waited for: the number is still its own
            children.discard(number)
            number = os.waitpid(number, 0)[1]
        else:
            importlib.import_module(module.rstrip(b"\0").decode())
        link.sendall(_ANSWER.pack(number))
    for child in children:
        os.kill(child, signal.SIGKILL)


# In the process that asks ---------------------------------------------------------------------------------------------


class _Server:
    """The server of this process; started when it is first asked, and anew where it died or this process forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner, self._link = 0, socket.socket()
        self._process: subprocess.Popen[bytes] | None = None
        self._imported = set[str]()

    def ask(self, what: bytes, number: int = 0, module: str = "", fds: tuple[int, ...] = ()) -> int:
        """The server's answer. OSError where it is gone."""
        with self._lock:
            if self._owner != os.getpid() or self._process is None or self._process.poll() is not None:
                self._start()
            if module and module in self._imported:
                return 0
            self._imported.add(module)
            socket.send_fds(self._link, [_REQUEST.pack(what, number, module.encode())], fds)
            answer = self._link.recv(_ANSWER.size)
            if len(answer) < _ANSWER.size:
                raise OSError("the process that starts readers is gone")
            return int(_ANSWER.unpack(answer)[0])

    def _start(self) -> None:
        here, there = socket.socketpair()
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({there.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[there.fileno()]
        )
        there.close()
        self._owner, self._link, self._imported = os.getpid(), here, set()


_server = _Server()


class Child:
    """A process that runs a generator function of an importable module.

    at: the file it was at when it last said so.
    """

    def __init__(self, function: Callable[..., Iterator[Any]], *args: Any) -> None:
        self.at: At | None = None
        self._pid = 0
        task, order = os.pipe()
        result, results = os.pipe()
        self._results = Connection(result, writable=False)
        try:
            with Connection(order, readable=False) as sender, Connection(results, readable=False) as writer:
                widen(writer)
                try:
                    _server.ask(_IMPORT, module=function.__module__)
                    self._pid = _server.ask(_START, fds=(task, results))
                finally:
                    os.close(task)
                sender.send_bytes(pickle.dumps((function, args), 5))
        except OSError as error:
            self.end()
            raise ResourceError(f"no process could be started to read files ({error})") from error

    def receive(self) -> Any:
        """The next that it yields; StopIteration at its end. Raises what it raised, or Died."""
        while True:
            try:
                found = take(self._results)
            except EOFError:
                raise Died(self.at, self.end()) from None
            if isinstance(found, At):
                self.at = found
            elif isinstance(found, logging.LogRecord):
                if (logger := logging.getLogger(found.name)).isEnabledFor(found.levelno):
                    logger.handle(found)
            elif isinstance(found, _Raised):
                raise found.error
            else:
                return found

    def end(self) -> int:
        """End it if it is still at work. The status that it ended with."""
        self._results.close()
        pid, self._pid = self._pid, 0
        with suppress(OSError):
            return _server.ask(_END, pid) if pid else 0
        return 0


def isolated(function: Callable[..., Iterator[Any]], *args: Any) -> Iterator[Any]:
    """What a generator function yields, run in a child; in a child itself, run there. Raises Died and SignError."""
    if _child is not None:
        yield from function(*args)
        return
    child = Child(function, *args)
    try:
        while not isinstance(found := child.receive(), StopIteration):
            yield found
    finally:
        child.end()
