"""This process among others: what names it in a run's tags, whether another one still lives, and how it is ended.

A run is `RUNNING` as long as its process says so. A process that was killed says nothing any more; the tags written
here let the next command find out. They are trusted only where they can be checked: same machine, same process table.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

logger = logging.getLogger(__name__)
HOST, BOOT, PID, STARTED = "sign.host", "sign.boot", "sign.pid", "sign.started"
HEAD_START = 5.0  # s that the first of several processes has to end its run, before the others end
LAST_WORD = 15.0  # s that a process waits for the first one to say what went wrong, before it says so itself
SAME_REQUEST = 3.0  # s: Ctrl-C reaches us from the terminal, then again from `mlflow run`
LAUNCHER_LOOK = 0.5  # s between two looks at whether `mlflow run` still lives


class Terminated(SystemExit):
    """SIGTERM or SIGHUP, as an exception in the main thread; exit code 128 + signal, no traceback."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


def identity() -> dict[str, str]:
    """Tags by which `lives` recognises this process."""
    started = f"{psutil.Process().create_time():.2f}"
    return {HOST: _machine(), BOOT: _process_table(), PID: str(os.getpid()), STARTED: started}


def process_alive(tags: Mapping[str, str]) -> bool | None:
    """Whether the process that wrote `identity()` into these tags still runs; None where nobody can tell."""
    if tags.get(HOST) != _machine() or not {BOOT, PID, STARTED} <= tags.keys():
        return None
    boot, mine = tags[BOOT].split("/"), _process_table().split("/")
    if boot[0] != mine[0]:
        return False if "/" in tags[HOST] else None  # started anew; but a bare host name may name another machine
    if boot != mine:
        return None  # a container beside this one: its process numbers mean nothing here
    try:
        # the kernel's clock of start times moves by up to a second when the wall clock is set
        return abs(psutil.Process(int(tags[PID])).create_time() - float(tags[STARTED])) <= 2.0
    except psutil.NoSuchProcess:
        return False


def _machine() -> str:
    """Host name, and the machine's own number where it has one (a container has none, but a unique host name)."""
    number = Path("/etc/machine-id")
    name = number.read_text().strip()[:12] if number.exists() else ""
    return f"{socket.gethostname()}/{name}" if name else socket.gethostname()


def _process_table() -> str:
    """`boot/namespace`: process numbers can be compared only within one boot and one namespace."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and space.is_symlink():
        return f"{boot.read_text().strip()}/{os.readlink(space)}"
    return f"{psutil.boot_time():.0f}/"


class _Guard:
    """The first signal raises in the main thread, its echoes are ignored, a later one ends the process at once."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.holding = 0
        self.held: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.first is not None:
            if now - self.first > SAME_REQUEST:
                os._exit(128 + signum)
            return
        self.first = now
        if self.holding:
            self.held = signum
        else:
            self._raise(signum)

    @staticmethod
    def _raise(signum: int) -> None:
        raise KeyboardInterrupt if signum == signal.SIGINT else Terminated(signum)

    def release(self) -> None:
        self.holding -= 1
        if not self.holding and self.held is not None:
            signum, self.held = self.held, None
            self._raise(signum)


_guard = _Guard()


@contextmanager
def defer_signals() -> Iterator[None]:
    """A first signal that arrives inside is raised at the end; a later second one still ends the process."""
    _guard.holding += 1
    try:
        yield
    finally:
        _guard.release()


def launched() -> bool:
    """Whether torchrun has started this process, as one of several."""
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def worker_context() -> Iterator[None]:
    """For a process that works beside the one that has the run: that one ends before it, and has the first word.

    A signal ends this process a little later; so does an error, and where the first process has ended by then, torchrun
    ends this one without a word.
    """

    def end(signum: int, frame: FrameType | None) -> None:
        os._exit(128 + signum)

    def end_later(signum: int, frame: FrameType | None) -> None:
        timer = threading.Timer(HEAD_START, end, (signum, None))
        timer.daemon = True
        timer.start()

    _handle(end_later)
    try:
        yield
    except BaseException:
        _handle(end)
        time.sleep(LAST_WORD)
        raise


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # nohup
            signal.signal(signum, handler)


def guard_process() -> None:
    """SIGTERM and SIGHUP become `Terminated`, SIGINT stays KeyboardInterrupt, the death of `mlflow run` is a SIGTERM.

    Call it in the main thread; calling it again changes nothing. A signal that is ignored (nohup) stays ignored.
    """
    _handle(_guard)
    watched = os.environ.get("MLFLOW_RUN_ID") or launched()
    if watched and not any(t.name == _watch.__name__ for t in threading.enumerate()):
        if not launched() and _adopted():  # torchrun gives each process a session of its own
            logger.warning("mlflow run has ended already; so does its step")
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Thread(target=_watch, args=(_launchers(),), name=_watch.__name__, daemon=True).start()


def _adopted() -> bool:
    """Whether `mlflow run` died before anybody could watch it: an orphan's new parent has nothing to do with it.

    `mlflow run` starts its step in its own session. Where a container's first process is `mlflow run`, so is that.
    """
    parent = psutil.Process().parent()
    if parent is None or parent.pid != 1 and parent.name() != "systemd":
        return False
    return os.getsid(parent.pid) != os.getsid(0)


def _launchers() -> list[psutil.Process]:
    """The processes whose end leaves this one an orphan: the parent and, where that is a shell, the shell's parent."""
    parent = psutil.Process().parent()
    if parent is None:
        return []
    above = parent.parent() if parent.name() in ("bash", "sh", "dash") else None
    return [parent] if above is None else [parent, above]


def _watch(launchers: list[psutil.Process]) -> None:
    """PR_SET_PDEATHSIG would see the parent only, which is bash where bash does not exec, and Linux only."""
    while all(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in launchers):
        time.sleep(LAUNCHER_LOOK)
    os.kill(os.getpid(), signal.SIGTERM)
