"""A command's own temporary folder. What a kill leaves of it is removed by the next command.

All temporary files of the process are made in it, those of libraries too. A folder is in use as long as its process
holds a lock in it, which ends with the process however that ends, also in a container beside this one.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from sign_models import interruption

PREFIX, IN_USE = "sign-run-", ".in-use"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make temporary files in a folder of this process, after removing those of processes of this user that died.

    Yields:
        The folder.
    """
    before = tempfile.tempdir
    remove_left(Path(tempfile.gettempdir()))
    folder, lock = _own()
    interruption.at_forced_end(partial(shutil.rmtree, folder, ignore_errors=True))
    tempfile.tempdir = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def remove_left(root: Path) -> None:
    """Remove the folders that a command of this user left. A folder without its lock is somebody's own.

    Args:
        root: Folder that they are in.
    """
    for folder in root.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or not (folder / IN_USE).is_file():
                continue
            with FileLock(folder / IN_USE, timeout=0):
                shutil.rmtree(folder)


def _own() -> tuple[Path, FileLock]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / IN_USE, mode=0o600)
        with suppress(OSError, Timeout):  # another command, which cleans up, was a moment faster
            lock.acquire(timeout=0)
            if (folder / IN_USE).exists():
                return folder, lock
            lock.release()
