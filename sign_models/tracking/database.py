"""The sqlite database of a tracking store: made once whoever else starts, and looked at before MLflow opens it."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, unquote
from uuid import uuid4

from sign_models.tracking.locks import store_lock

SQLITE = "sqlite:///"
ARTIFACTS = "mlruns"  # beside the database file; `make ui` and sign_models_mlflow say the same
# Alembic says a line for each table; MLflow logs a traceback of what it raises, which its catcher says in one line.
QUIET = {
    "alembic": logging.WARNING,
    "mlflow.store.db.utils": logging.CRITICAL,
    "mlflow.utils.databricks_utils": logging.CRITICAL,
}
STALE_DATABASE_S = 600.0  # making one takes seconds
MLFLOW_TABLES = {"alembic_version", "experiments"}


def make_database(uri: str, artifact_root: str | None = None) -> None:
    """Make the sqlite database of a store where there is none; other databases make themselves.

    MLflow 3.17 migrates an empty database in place and without a lock: processes that start together corrupt it, and a
    kill in between leaves a database that never opens again. So it is made beside, then moved, under a lock. Also
    called by sign_models_mlflow.

    Args:
        uri: Of the store.
        artifact_root: Where its artifacts go. None: `mlruns` beside the database.

    Raises:
        ResourceError: Another process holds the lock for too long.
        ValueError: The path is that of a device or folder, or the database is another program's.
        OSError: It cannot be made there.
        sqlite3.DatabaseError: The file cannot be opened or written.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    if path.exists() and not path.is_file():
        raise ValueError("unable to open database file: it is none")  # a device would be replaced
    if _exists(path):
        _open_once(path)
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with store_lock(uri):
        if _exists(path):
            return
        for left in path.parent.glob(f"{path.name}.making-*"):  # of a process that was killed here
            with suppress(OSError):  # another user's
                if time.time() - left.stat().st_mtime > STALE_DATABASE_S:
                    left.unlink()
        making = path.with_name(f"{path.name}.making-{uuid4().hex}")
        making.touch()  # fails at once where MLflow would ask for two minutes
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)
        made = SqlAlchemyStore(SQLITE + str(making), artifact_root or str(path.with_name(ARTIFACTS)))
        made.engine.dispose()
        _put(making, path)
        _open_once(path)


def _open_once(path: Path) -> None:
    """Raises what sqlite says of a file that it cannot use: MLflow asks it again and again, for 100 seconds."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0)) as database:
        try:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and not tables & MLFLOW_TABLES:
                raise ValueError(f"a database of another program, with the table {sorted(tables)[0][:40]!r}")
            database.execute("BEGIN IMMEDIATE")  # fails where it cannot be written
            database.rollback()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # another process is writing: MLflow waits for it
                raise


def _put(making: Path, path: Path) -> None:
    """Give a database its name, unless another user was a moment faster: the lock keeps out this one's processes."""
    if path.exists() and not _exists(path):
        making.replace(path)
        return
    with suppress(FileExistsError):
        os.link(making, path)
    making.unlink()


def sqlite_path(uri: str, folder: str | None = None) -> Path | None:
    """Find the file of a store's database.

    Args:
        uri: Of the store.
        folder: Where a relative path begins. None: the working directory.

    Returns:
        The path, or None for another store.
    """
    if not uri.startswith(SQLITE) or ":memory:" in uri:
        return None
    return Path(folder or ".", unquote(uri[len(SQLITE) :].partition("?")[0])).absolute()


def absolute_uri(uri: str) -> str:
    """Name a store so that processes in other folders find it.

    Args:
        uri: Of the store.

    Returns:
        The same, with the absolute path of an sqlite database.
    """
    path = sqlite_path(uri)
    return uri if path is None else SQLITE + quote(str(path)) + "".join(uri.partition("?")[1:])


def _exists(path: Path) -> bool:
    """An empty file is what sqlite leaves where a process died before its first table."""
    return path.exists() and path.stat().st_size > 0
