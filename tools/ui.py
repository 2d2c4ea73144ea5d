"""`make ui`: MLflow's server on the store that commands typed here use, with the artifact root that they use.

`mlflow server` typed on a fresh database would name a root of its own, which no command without a server can write to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

DEFAULT = "sqlite:///mlflow.db"


def server_command(tracking_uri: str) -> list[str]:
    """Arguments of `mlflow` that show this store.

    Args:
        tracking_uri: A database, as MLFLOW_TRACKING_URI names it.

    Raises:
        SystemExit: It is a server already, or no database.
    """
    if tracking_uri.startswith(("http://", "https://")):
        sys.exit(f"MLFLOW_TRACKING_URI is a server already: open {tracking_uri} in the browser")
    if "://" not in tracking_uri:
        sys.exit(f"MLFLOW_TRACKING_URI is {tracking_uri}; wanted a database, e.g. {DEFAULT}")
    command = ["server", "--workers", "1", "--backend-store-uri", tracking_uri]
    if tracking_uri.startswith("sqlite:"):
        root = Path(make_url(tracking_uri).database or "").absolute().with_name("mlruns")
        command += ["--default-artifact-root", str(root)]
    return command


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    given = server_command(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT)
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *given, *sys.argv[1:]])
