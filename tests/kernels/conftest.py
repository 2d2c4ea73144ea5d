from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    """Where kernels run: a GPU, or Triton's interpreter, `TRITON_INTERPRET=1 pytest tests/kernels`."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if not os.environ.get("TRITON_INTERPRET"):
        pytest.skip("needs a GPU, or Triton and TRITON_INTERPRET=1")
    return torch.device("cpu")
