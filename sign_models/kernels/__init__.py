"""Triton kernels for functions in which torch's own operations go over a GPU's memory many times.

Each module stands beside the torch function that it does the work of. That function runs everywhere else, and
tests/kernels compares the two. torch.compile was no faster, and took minutes (docs/experiments.md).

A kernel takes each tensor, stride and constant as an argument of its own, so kernels have more arguments than other
functions of this package.
"""

from __future__ import annotations

import logging
import subprocess
from functools import cache
from importlib.util import find_spec

logger = logging.getLogger(__name__)
_switch = {"eager": False}


def set_eager(eager: bool) -> None:
    """Choose how a GPU runs training steps from now on.

    Args:
        eager: Run them operation by operation: no CUDA graphs, no kernels of this room.
    """
    _switch["eager"] = eager
    fused.cache_clear()


def is_eager() -> bool:
    """Whether steps run operation by operation.

    Returns:
        What set_eager() was given last.
    """
    return _switch["eager"]


@cache
def fused() -> bool:
    """Whether kernels of this room are used.

    Returns:
        Whether they are wanted, and Triton is installed and finds what it builds with: a C compiler, Python's headers.
    """
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
