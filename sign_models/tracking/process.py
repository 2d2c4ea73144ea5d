"""This process among others: tags that name it, whether another one still lives, and how it is ended.

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from sign_models import interruption

logger = logging.getLogger(__name__)
HOST, BOOT, PID, STARTED = "sign.host", "sign.boot", "sign.pid", "sign.started"
HEAD_START_S = 5.0  # that rank 0 has to end its run, before the other ranks end
WORKER_ERROR_GRACE_S = 15.0  # s that a process waits for the first one to say what went wrong, before it says so itself
LAUNCHER_POLL_S = 0.5  # s between two looks at whether `mlflow run` still lives


def identity() -> dict[str, str]:
    """Tags by which process_alive() recognises this process.

    Returns:
        Value by name.
    """
    started = f"{psutil.Process().create_time():.2f}"
    return {HOST: _machine(), BOOT: _process_table(), PID: str(os.getpid()), STARTED: started}


def process_alive(tags: Mapping[str, str]) -> bool | None:
    """Whether the process that wrote identity() into tags still runs.

    Args:
        tags: Of a run.

    Returns:
        None where nobody can tell.
    """
    if tags.get(HOST) != _machine() or not {BOOT, PID, STARTED} <= tags.keys():
        return None
    boot, mine = tags[BOOT].split("/"), _process_table().split("/")
    if boot[0] != mine[0]:
        return False if "/" in tags[HOST] else None  # started anew; but a bare host name may name another machine
    if boot != mine:
        return None  # a container beside this one: its process numbers mean nothing here
    try:
        # the kernel's clock of start times moves by up to a second when the wall clock is set
        return bool(abs(psutil.Process(int(tags[PID])).create_time() - float(tags[STARTED])) <= 2.0)
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
        return f"{boot.read_text().strip()}/{space.readlink()}"
    return f"{psutil.boot_time():.0f}/"


def launched() -> bool:
    """Whether torchrun has started this process, as one of several.

    Returns:
        True in each process of torchrun with more than one.
    """
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def worker_context() -> Iterator[None]:
    """Have this worker rank wait for rank 0 to exit first, so that rank 0's error message is the one shown.

    A signal ends this process HEAD_START_S later. After an error torchrun ends it as soon as rank 0 has ended.

    Yields:
        Nothing.
    """
    interruption.prolong(HEAD_START_S)
    try:
        yield
    except BaseException:
        interruption.prolong(0)
        time.sleep(WORKER_ERROR_GRACE_S)
        raise


def guard_process() -> None:
    """Let signals ask this process to stop (see `interruption`), and treat the death of `mlflow run` as a SIGTERM.

    Call it in the main thread. A second call changes nothing.
    """
    interruption.guard()
    interruption.at_forced_end(_kill_children)
    watched = os.environ.get("MLFLOW_RUN_ID") or launched()
    if watched and not any(t.name == _watch.__name__ for t in threading.enumerate()):
        if not launched() and _adopted():  # torchrun gives each process a session of its own
            logger.warning("mlflow run has ended already; so does its step")
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Thread(target=_watch, args=(_launchers(),), name=_watch.__name__, daemon=True).start()


def _kill_children() -> None:
    """Kill processes that read or extract for this one: they would wait for it for ever."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _adopted() -> bool:
    """Whether `mlflow run` died before anybody could watch it: an orphan's new parent has nothing to do with it.

    `mlflow run` starts its step in its own session. Where a container's first process is `mlflow run`, so is that.
    """
    parent = psutil.Process().parent()
    if parent is None or (parent.pid != 1 and parent.name() != "systemd"):
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
    """Send SIGTERM to this process once a launcher has ended.

    PR_SET_PDEATHSIG would see the parent only, which is bash where bash does not exec, and Linux only.
    """
    while all(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in launchers):
        time.sleep(LAUNCHER_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
