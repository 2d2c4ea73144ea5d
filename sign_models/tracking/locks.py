"""The lock of a store: of this user's processes on this machine, one at a time is inside.

The lock file lies in a folder that only this user can write to, so that nobody else can hold or plant it. Other users
and machines are not kept out: what is done inside must be safe beside them, see `registry.move_alias`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sign_models import interruption
from sign_models.errors import ResourceError
from sign_models.tracking.store_errors import public

LOCK_TIMEOUT_S = 60.0  # what is done inside takes milliseconds
POLL_S = 0.05
_TEMPORARY = Path(tempfile.gettempdir())


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Wait for the lock of a store. It may be entered again inside.

    Args:
        uri: Of the tracking store.

    Yields:
        Nothing.

    Raises:
        ResourceError: Another process holds it for longer than LOCK_TIMEOUT_S, or no folder can hold it.
    """
    path = lock_file(uri)
    lock = FileLock(path, mode=0o600, is_singleton=True)
    end = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            if time.monotonic() > end:
                raise _held(path, uri) from None
            interruption.wait(POLL_S)
    try:
        since = datetime.now().isoformat(" ", "seconds")
        path.with_suffix(".holder").write_text(f"process {os.getpid()} ({_command()}) since {since}")
        yield
    finally:
        lock.release()


def lock_file(uri: str) -> Path:
    """The file of a lock.

    Args:
        uri: Of the tracking store.

    Returns:
        The same path for every spelling of a database's path and every password of a server.

    Raises:
        ResourceError: No folder can hold it.
    """
    name = public(uri)
    scheme, found, path = name.partition(":///")
    if found and scheme == "sqlite":
        name = str(Path(path.partition("?")[0]).resolve())
    return _folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.lock"


def _folder() -> Path:
    """This user's own folder of locks: in the cache, else in the temporary folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for folder in (cache / "sign-models" / "locks", _TEMPORARY / f"sign-models-{os.getuid()}"):
        with suppress(OSError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
            own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            if own and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and os.access(folder, os.W_OK):
                return folder
    raise ResourceError(
        f"neither {cache} nor {_TEMPORARY} has room for a folder of this user's own",
        place="locks",
        wanted="a folder that this user alone can write to",
        remedy="set XDG_CACHE_HOME to one",
    )


def _held(path: Path, uri: str) -> ResourceError:
    holder = "another process"
    with suppress(OSError):
        holder = path.with_suffix(".holder").read_text()
    return ResourceError(
        f"held by {holder}",
        place=f"lock of {public(uri)}",
        wanted=f"its release within {LOCK_TIMEOUT_S:.0f} s",
        remedy="wait for that process, or end it, then type the same command again",
    )


def _command() -> str:
    return Path(sys.argv[0]).stem or "python"
