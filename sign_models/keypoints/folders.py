"""Listing of folders: regular files, and links to them that do not lead out of the folder."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from sign_models.errors import DataError

log = logging.getLogger(__name__)

_KINDS = (
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
)  # fmt: skip


def check_regular(path: Path | str) -> None:
    """Check that a path can be read to its end, unlike a device.

    Args:
        path: Path of a file or folder.

    Raises:
        DataError: The path is a device, a FIFO or a socket.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _refused(next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no regular file"), str(path))


def list_folder(folder: Path | str, root: str) -> tuple[list[os.DirEntry[str]], list[DataError]]:
    """List a folder by name, without hidden entries.

    Args:
        folder: The folder.
        root: Real path of the folder that the user named.

    Returns:
        Regular files and folders, and an error for each device, FIFO, socket, and link that leads out of `root` or
        nowhere. A link to a folder in `root` is logged and left out, since its files are read in their own folder.
    """
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    good, bad = [], []
    for entry in entries:
        try:
            if _is_readable(entry, root):
                good.append(entry)
        except DataError as error:
            bad.append(error)
    return good, bad


def is_inside(path: Path, root: str) -> bool:
    """Check that a file is inside a folder.

    Args:
        path: Path of the file.
        root: Real path of the folder.

    Returns:
        Whether the path, links resolved, is a regular file inside the folder.
    """
    return path.is_file() and Path(os.path.realpath(path)).is_relative_to(root)


def _is_readable(entry: os.DirEntry[str], root: str) -> bool:
    """False for a link to a folder. DataError for an entry that must not be read."""
    place = os.path.relpath(entry.path, root) if entry.path.startswith(root) else entry.name
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not Path(target).is_relative_to(root):
            raise _refused("a link that leads out of the folder", place)
        if not os.path.exists(target):
            raise _refused("a link that leads nowhere", place)
        if entry.is_dir():
            log.info("%s is a link to a folder in the same source, whose files are read where they lie", place)
            return False
    if not (entry.is_dir() or entry.is_file()):
        check_regular(entry.path)
    return True


def _refused(found: str, place: str) -> DataError:
    remedy = "copy the file to this place, or leave it out with `-e import -P on_bad_sample=reject`"
    return DataError(found, place=place, wanted="regular files in the folder itself", remedy=remedy)
