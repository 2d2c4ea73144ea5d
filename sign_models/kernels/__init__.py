"""Kernels of a GPU's own, written in Triton, each for a function that torch would go over memory many times for.

Each module stands beside the function in torch that it does the work of, which is what runs everywhere else and what
tests/kernels compares it with. torch.compile was no faster, and took minutes (docs/experiments.md).
"""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.util import find_spec


@cache
def fused() -> bool:
    """Whether Triton is there and finds what it builds with: a C compiler and Python's headers."""
    if not find_spec("triton"):
        return False
    try:
        from sign_models.kernels import rotary

        rotary.smoke_test()
    except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError):
        return False
    return True
