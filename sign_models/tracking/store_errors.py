"""Troubles of the tracking store and of the disk as one ResourceError, without a password in it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from sign_models import interruption
from sign_models.errors import ResourceError

# Codes of MLflow that answer a question: there is no such thing, or there is one already. Callers handle them.
ANSWERS = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "NOT_FOUND"}
# Codes that asking again cannot change.
LASTING = ANSWERS | {"BAD_REQUEST"}
FULL = (errno.ENOSPC, errno.EDQUOT)
BARRED = (errno.EACCES, errno.EPERM, errno.EROFS)  # the store's files cannot be written, or not even read
MAX_FOUND = 300  # characters of a library's own message


def public(text: str) -> str:
    """Remove user names and passwords from the URIs in a text.

    Args:
        text: The text.

    Returns:
        The text without them.
    """
    return re.sub(r"://[^/\s@]*@", "://", text)


def first_line(error: object) -> str:
    """Shorten a library's message.

    Args:
        error: An exception or a message.

    Returns:
        Its first line, of bounded length, without passwords.
    """
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
    return public((lines or [type(error).__name__])[0])[:MAX_FOUND]


@contextmanager
def translate_store_errors(place: str) -> Iterator[None]:
    """Wrap calls of the store. Each is a place where a command stops that was asked to.

    Args:
        place: What is done, for the message.

    Yields:
        Nothing.

    Raises:
        ResourceError: The disk is full or barred, or the store fails once MLflow's own retries are used up.
        MlflowException: The store answered one of ANSWERS.
        Terminated: A signal asks for the end (KeyboardInterrupt for Ctrl-C).
    """
    from sign_models.tracking.store import load_mlflow

    interruption.check()
    load_mlflow()
    import mlflow
    from requests import RequestException

    with translate_disk_errors(place):
        try:
            yield
        except RequestException as error:
            raise store_away(place, error) from error
        except OSError as error:
            if error.errno not in BARRED:
                raise
            raise _barred(place, error) from error
        except mlflow.MlflowException as error:
            if error.error_code in ANSWERS or _full(error):
                raise
            raise store_away(place, error) from error


@contextmanager
def translate_disk_errors(place: str) -> Iterator[None]:
    """Wrap work that writes to a disk.

    Args:
        place: What is done, for the message.

    Yields:
        Nothing.

    Raises:
        ResourceError: The disk is full, whoever notices it: the system, sqlite or safetensors.
    """
    import mlflow
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, mlflow.MlflowException) as error:
        if _full(error):
            raise disk_full(place, error) from error
        raise


def _full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    # shutil.copytree collects those of its files in one without a number; safetensors and sqlite have none
    return os.strerror(errno.ENOSPC) in str(error) or "disk is full" in str(error)


def store_away(place: str, error: Exception) -> ResourceError:
    """Describe a store that does not answer, or answers with an error of its own.

    Args:
        place: What was done.
        error: What was raised.

    Returns:
        The error to raise.
    """
    found = first_line(error)
    remedy = "see that the server or disk is there, then type the same command again: it goes on where it was"
    if "out-of-date database schema" in found:
        remedy = "take a copy, then run `mlflow db upgrade` with that URI"
    if "readonly database" in found:
        remedy = "give this user the right to write it and its folder, or name another store in MLFLOW_TRACKING_URI"
    if "malformed" in found or "not a database" in found:
        remedy = "the database file is damaged: take a backup of it, or name another store in MLFLOW_TRACKING_URI"
    return ResourceError(found, place=place, wanted="a tracking store that answers", remedy=remedy)


def _barred(place: str, error: OSError) -> ResourceError:
    return ResourceError(
        f"{error.filename or 'a file'}: {error.strerror}",
        place=place,
        wanted="files of the store that this user may read and write",
        remedy="give this user the rights, or name another store in MLFLOW_TRACKING_URI",
    )


def disk_full(place: str, error: Exception) -> ResourceError:
    """Describe a full disk.

    Args:
        place: What was done.
        error: What was raised.

    Returns:
        The error to raise.
    """
    return ResourceError(
        f"no space is left on the disk ({str(error).splitlines()[0][:200]})",
        place=place,
        wanted="room for this run's checkpoints and models",
        remedy="free some, e.g. by `-e prune`, then resume the run: the last complete checkpoint is intact",
    )
