"""A request to stop (Ctrl-C, SIGTERM, SIGHUP) is a flag that loops, phases and waits look at.

A signal handler that raised would lose the request: Python drops an exception that comes up in a weakref callback or in
`__del__`. So the handler of `guard` sets a flag, and `check` raises where it is safe to stop. A thread that the signal
wakes as well, whatever the main thread computes, ends a process that has not stopped by itself after GRACE_S.

Only the standard library is used here: every room may import this module.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 1.5  # in which the main thread is expected at the next `check`
DEFERRED_S = 10.0  # of a `deferred` block, after which it is ended all the same
FORCED_END_CALLBACKS_S = 5.0  # that the callbacks of `at_forced_end` have together
SAME_REQUEST_S = 3.0  # Ctrl-C comes from the terminal, then again from `mlflow run`


class Terminated(SystemExit):
    """SIGTERM or SIGHUP was received. The exit code is 128 + signal, without a traceback.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        """Make the exception of a signal.

        Args:
            signum: The signal.
        """
        super().__init__(128 + signum)
        self.signum = signum


class _State:
    """What is known of signals that ask this process to end."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.signum: int | None = None
        self.depth = 0  # of `deferred` blocks
        self.what = ""
        self.complete = False
        self.grace_s = grace_s
        self.arrived = threading.Event()


_state = _State()
_last_words: list[Callable[[], None]] = []
_handlers: dict[int, Any] = {}  # before `guard`
_wakeup: tuple[int, int] | None = None  # read and write end of the pipe that a signal writes to


def requested() -> int | None:
    """Signal that asked this process to stop.

    Returns:
        Its number. None: nobody has asked.
    """
    return _state.signum


def check() -> None:
    """Stop here if that was asked for.

    Does nothing in other threads than the main one, in a `deferred` block, nor where all is done (`complete`).

    Raises:
        KeyboardInterrupt: SIGINT was received.
        Terminated: SIGTERM or SIGHUP was received.
    """
    if _state.signum is None or _state.depth or _state.complete:
        return
    if threading.current_thread() is not threading.main_thread():
        return
    raise KeyboardInterrupt if _state.signum == signal.SIGINT else Terminated(_state.signum)


def wait(seconds: float) -> None:
    """Sleep, but not longer than until a request to stop arrives.

    Args:
        seconds: How long.

    Raises:
        KeyboardInterrupt: SIGINT was received.
        Terminated: SIGTERM or SIGHUP was received.
    """
    check()
    _state.arrived.wait(seconds)
    check()


@contextmanager
def deferred(what: str = "") -> Iterator[None]:
    """Run a short block that is not stopped in the middle, such as the move of an alias. No check follows at its end.

    Args:
        what: Named in the message where it has to be ended all the same, so that nobody takes it for not begun.

    Yields:
        Nothing.
    """
    state, before = _state, _state.what
    state.depth, state.what = state.depth + 1, what or before
    try:
        yield
    finally:
        state.depth, state.what = state.depth - 1, before


def begin() -> None:
    """Say that there is work to do, if `complete` was said of other work before: signals count again."""
    _state.complete = False


def complete() -> None:
    """Say that what was asked for is done: from now on a first signal changes nothing, nor does one just before."""
    _state.complete = True


def finish() -> None:
    """Say that the exit code is decided: from here until the process is gone, a signal changes nothing.

    Python puts back the default handlers before it takes its modules down, which can take a second with torch loaded. A
    signal in that second would end a command that is done, and has said so, as if it had been interrupted. Signals are
    ignored from Python's own end on, not from here: a caller of a command within a process that goes on keeps its own.
    """
    complete()
    atexit.register(_ignore_all)


def prolong(grace_s: float) -> None:
    """Change how long this process may go on after a signal.

    Args:
        grace_s: Seconds.
    """
    _state.grace_s = grace_s


def at_forced_end(callback: Callable[[], None]) -> None:
    """Have a function called, in another thread, before this process is ended by force.

    Args:
        callback: The function. It must be quick.
    """
    if callback not in _last_words:
        _last_words.append(callback)


def guard() -> None:
    """Handle signals as this module says. Call it in the main thread; a second call changes nothing.

    A signal that is ignored (nohup) stays ignored.
    """
    global _state, _wakeup
    if _wakeup is not None:
        return
    _state = _State()
    _wakeup = os.pipe()
    os.set_blocking(_wakeup[1], False)
    signal.set_wakeup_fd(_wakeup[1], warn_on_full_buffer=False)
    for signum in SIGNALS:
        if (before := signal.getsignal(signum)) != signal.SIG_IGN:
            _handlers[signum] = before
            signal.signal(signum, _request)
    threading.Thread(target=_watch, args=(_wakeup[0], _state), name="signals", daemon=True).start()


def release() -> None:
    """Undo `guard`: signals do what they did before."""
    global _wakeup
    if _wakeup is None:
        return
    atexit.unregister(_ignore_all)
    signal.set_wakeup_fd(-1)
    for signum, before in _handlers.items():
        signal.signal(signum, before)
    _handlers.clear()
    os.close(_wakeup[1])  # the watching thread reads the end of the pipe, and closes the other one
    _wakeup = None


def _ignore_all() -> None:
    for signum in _handlers:
        signal.signal(signum, signal.SIG_IGN)


def _request(signum: int, frame: object) -> None:
    if _state.signum is None:
        _state.signum = signum


def _watch(pipe: int, state: _State) -> None:
    """Wake waits, and end the process where the main thread does not stop in time."""
    began = 0.0
    while True:
        if state.signum is None or select.select([pipe], [], [], 0.05)[0]:
            received = [number for number in os.read(pipe, 64) or [0] if number in (0, *SIGNALS)]
            if 0 in received:
                os.close(pipe)
                return
            if not received:
                continue
            if began and time.monotonic() - began > SAME_REQUEST_S:
                _end(received[0])  # asked again: at once
            began = began or time.monotonic()
            state.signum = state.signum or received[0]
            state.arrived.set()
        if began and not state.complete:
            limit = max(DEFERRED_S, state.grace_s) if state.depth else state.grace_s
            if time.monotonic() - began > limit:
                _end_by_force(state.signum or signal.SIGTERM)


def _end_by_force(signum: int) -> None:
    timer = threading.Timer(FORCED_END_CALLBACKS_S, _end, [signum])
    timer.daemon = True
    timer.start()
    for callback in reversed(_last_words):
        try:
            callback()
        except Exception as error:  # the process ends in any case
            print(f"at the end: {error}", file=sys.stderr)
    _end(signum)


def _end(signum: int) -> None:
    what = f"; look at what became of this: {_state.what}" if _state.what else ""
    os.write(2, f"interrupted{what}\n".encode())
    os._exit(128 + signum)


def _in_child() -> None:
    """A forked child has no watching thread, and must not write to its parent's pipe."""
    global _state, _wakeup
    if _wakeup is None:
        return
    signal.set_wakeup_fd(-1)
    for signum, before in _handlers.items():
        signal.signal(signum, before)
    _handlers.clear()
    _wakeup, _state = None, _State()


os.register_at_fork(after_in_child=_in_child)
