"""The plugin behind `mlflow run`, `mlflow ui` and others on a sqlite store: MLflow's own, on a database made safely.

MLflow makes a fresh database without a lock, so that two commands that start together corrupt it. sign_models makes it,
in a process of its own: one that loads a registered model must find that model's copy of sign_models, not this one.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

if "run" in sys.orig_argv and any(Path(word).name == "mlflow" for word in sys.orig_argv):
    gc.disable()  # MLflow imports this while it imports itself; then `mlflow run` makes a run, waits for its step, ends

MAKE = "import sys; from sign_models.tracking.database import make_database; make_database(*sys.argv[1:])"


def sqlite_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Entry point `sqlite` of the group `mlflow.tracking_store`.

    artifact_uri: where new experiments keep artifacts; what a server says, else `mlruns` beside the database.
    """
    from mlflow.tracking._tracking_service.utils import _SERVER_ARTIFACT_ROOT_ENV_VAR, _get_sqlalchemy_store

    database = make_url(store_uri).database
    path = Path(database).absolute() if database and database != ":memory:" else None
    if path and artifact_uri is None and _SERVER_ARTIFACT_ROOT_ENV_VAR not in os.environ:
        artifact_uri = str(path.with_name("mlruns"))
    if path and not (path.exists() and path.stat().st_size):
        subprocess.run([sys.executable, "-c", MAKE, store_uri, *filter(None, [artifact_uri])], check=True)
    store = _get_sqlalchemy_store(store_uri, artifact_uri)
    _keep()
    return store


@cache
def _keep() -> None:
    """What MLflow has imported stays until the process ends: an end that searched it for garbage took a second."""
    gc.freeze()
