"""Rotary positions (Su et al. 2021): attention sees distances, so any length works.

B batch, T positions, H heads, D width of a head.
"""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn


class Rotary(nn.Module):
    frequency: Tensor

    def __init__(self, head_width: int) -> None:
        super().__init__()
        frequency = 10_000.0 ** (-torch.arange(0, head_width, 2).float() / head_width)
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """-> cosine, and sine with the signs that heads() wants, each (T, 1, 1, D), float32."""
        angle = torch.outer(torch.arange(length, device=self.frequency.device), self.frequency)[:, None, None]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


@cache
def fused() -> Any | None:
    """`rotary_kernels`, where Triton is there and finds what it builds with: a C compiler and Python's headers."""
    if not find_spec("triton"):
        return None
    try:
        from sign_models.models import rotary_kernels

        rotary_kernels.try_out()
    except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError):
        return None
    return rotary_kernels


def heads(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """qkv (B, T, 3, H, D) -> queries and keys turned by their positions, and values, each (B, H, T, D)."""
    if qkv.is_cuda and (kernels := fused()):
        return kernels.Heads.apply(qkv, cos, sin)
    return split_heads(qkv, cos, sin)


def split_heads(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    turned, v = qkv.split([2, 1], 2)
    turned = turned * cos.to(qkv.dtype) + turned.roll(qkv.shape[-1] // 2, -1) * sin.to(qkv.dtype)
    q, k = turned.permute(2, 0, 3, 1, 4)
    return q, k, v.squeeze(2).transpose(1, 2)
