"""What lies in a folder that may be read: regular files, and links to them that do not lead out of the folder."""

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
    """DataError where a device, a FIFO or a socket lies at the path: reading one may never end."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _refused(next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no regular file"), str(path))


def listed(folder: Path | str, root: str) -> tuple[list[os.DirEntry[str]], list[DataError]]:
    """The entries of a folder by name, hidden ones left out; and for each that may not be read, why.

    Args:
        folder: the folder.
        root: real path of the folder that was asked for.
    Returns:
        Regular files and folders; errors about devices, FIFOs, sockets, and links that lead out of `root` or nowhere.
        A link to a folder in `root` is logged and left out, since its files are read where they lie.
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
    """Whether a regular file lies at the path, and no link leads it out of `root`."""
    return path.is_file() and Path(os.path.realpath(path)).is_relative_to(root)


def _is_readable(entry: os.DirEntry[str], root: str) -> bool:
    """False for a link to a folder. DataError where the entry may not be read."""
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
