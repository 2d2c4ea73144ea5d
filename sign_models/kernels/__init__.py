"""Kernels of a GPU's own, written in Triton, each for a function that torch would go over memory many times for.

Each module stands beside the function in torch that it does the work of, which is what runs everywhere else and what
tests/kernels compares it with. torch.compile was no faster, and took minutes (docs/experiments.md).
"""

from __future__ import annotations

import logging
import subprocess
from functools import cache
from importlib.util import find_spec

logger = logging.getLogger(__name__)
_switch = {"eager": False}


def set_eager(eager: bool) -> None:
    """Say whether a GPU runs each step operation by operation from now on: no CUDA graphs, no kernels of this room."""
    _switch["eager"] = eager
    fused.cache_clear()


def is_eager() -> bool:
    """What set_eager() said last."""
    return _switch["eager"]


@cache
def fused() -> bool:
    """Whether kernels are wanted, and Triton is there and finds what it builds with: a C compiler, Python's headers."""
    if is_eager():
        return False
    try:
        if not find_spec("triton"):
            raise ImportError("no package triton")
        from sign_models.kernels import rotary

        rotary.smoke_test()
    except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
        logger.warning(
            "Triton builds no kernel here (%s): torch's operations take their place, and a temporal training step of "
            "preset base takes 1.7 times as long; install a C compiler and Python's headers",
            str(error).partition("\n")[0],
        )
        return False
    return True
