"""Tells from inside a command what it is doing: a line in a file whenever one of some functions begins or ends.

It comes in as `sitecustomize` (see `watched`), so that the command itself is the one that people type, also where
`mlflow run` starts it. A line is `PID + NAME [STAGE]` or `PID - NAME`.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

FILE, HOLD = "SIGN_MOMENTS_FILE", "SIGN_MOMENTS_HOLD"
STAGES = ("pipeline", "skeleton", "temporal", "represent", "alignment", "generate")
MOMENTS = {  # module -> what is watched in it
    "sign_models.tracking.store": ("connect", "close_dead_runs"),
    "sign_models.tracking.runs": ("Run.__init__", "Run.log_params", "Run.log_artifacts", "_end"),
    "sign_models.tracking.checkpoints": ("RunCheckpoints.save", "RunCheckpoints._delete"),
    "sign_models.tracking.registered.registration": ("_log_model", "_try_package", "_link", "_create_version"),
    "sign_models.training.loop": ("_evaluate", "_save"),
    "sign_models.training.step": ("TrainStep.step",),
    "sign_models.stages.represent": ("represent",),
    "sign_models.stages.generate": ("generate",),
    "mlflow.store.artifact.local_artifact_repo": (
        "LocalArtifactRepository.log_artifact", "LocalArtifactRepository.log_artifacts"
    ),
    "mlflow.tracking.client": ("MlflowClient.finalize_logged_model", "MlflowClient.set_registered_model_alias"),
}  # fmt: skip


def watched(folder: Path, root: Path, hold: str = "") -> dict[str, str]:
    """Environment of a command whose moments go to `folder`/moments.

    Args:
        folder: The command's working directory.
        root: Of this project.
        hold: A moment, which time it begins, and for how many seconds the command stands still there, as in
            "_save 2 1.5"; without the last, until it is killed.
    """
    (folder / "sitecustomize.py").write_text("from benchmarks import moments\nmoments.install()\n")
    return {FILE: str(folder / "moments"), HOLD: hold, "PYTHONPATH": os.pathsep.join([str(folder), str(root)])}


def install() -> None:
    """From now on, tell. What has been imported before is told of too, but for what others took out of it by name."""
    sys.meta_path.insert(0, _Finder())
    for name in MOMENTS.keys() & sys.modules.keys():
        _watch(sys.modules[name])


def _watch(module: ModuleType) -> None:
    for name in MOMENTS[module.__name__]:
        *outer, last = name.split(".")
        place = functools.reduce(getattr, outer, module)
        setattr(place, last, _marked(last if last != "__init__" else "begin", getattr(place, last)))


class _Finder:
    """Wraps the functions of MOMENTS before anybody can import them."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in MOMENTS:
            return None
        spec = PathFinder.find_spec(name, path)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _watch(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _marked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    file = os.open(os.environ[FILE], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    hold = os.environ.get(HOLD, "").split()
    held, number, seconds = [*hold, *("", "0", "inf")[len(hold) :]]
    times = 0

    @functools.wraps(function)
    def marked(*arguments: Any, **named: Any) -> Any:
        nonlocal times
        if threading.current_thread() is not threading.main_thread():
            return function(*arguments, **named)
        stage = next((a for a in arguments if isinstance(a, str) and a in STAGES), "")
        os.write(file, f"{os.getpid()} + {name} {stage}\n".encode())
        times += 1
        began = time.monotonic()
        while name == held and times == int(number) and time.monotonic() - began < float(seconds):
            time.sleep(0.05)
        try:
            return function(*arguments, **named)
        finally:
            os.write(file, f"{os.getpid()} - {name}\n".encode())

    return marked
