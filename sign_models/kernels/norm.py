"""models.blocks.norm as one kernel forward and one backward. torch is slow where rows are narrow."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

EPS = 1e-5  # torch's
VALUES_A_PROGRAM = 1024  # a program, which is one warp: sums over a row wait for no other


@triton.jit(do_not_specialize=["N"])
def _norm(  # type: ignore[no-untyped-def]
    x, mask, other, out, stats, N, D: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr, BACK: tl.constexpr,
    EPS: tl.constexpr,
):  # fmt: skip
    """Normalise x (N, D) -> out, and stats (2, N): mean and 1 / deviation.

    BACK: from `other`, the gradient of out, to the gradient of x.
    """
    n = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, WIDE)[None, :]
    real = n < N
    if mask is not None:
        real = real & tl.load(mask + n, n < N, 0)
    place, there = n[:, None] * D + d, real[:, None] & (d < D)
    value = tl.load(x + place, there, 0.0).to(tl.float32)
    if BACK:
        mean, scale = tl.load(stats + n, real, 0.0), tl.load(stats + N + n, real, 0.0)
        gradient = tl.load(other + place, there, 0.0).to(tl.float32)
        value = tl.where(there, (value - mean[:, None]) * scale[:, None], 0.0)
        flat, along = tl.sum(gradient, 1) / D, tl.sum(gradient * value, 1) / D
        made = (gradient - flat[:, None] - value * along[:, None]) * scale[:, None]
    else:
        mean = tl.sum(value, 1) / D
        value = tl.where(there, value - mean[:, None], 0.0)
        scale = 1 / tl.sqrt(tl.sum(value * value, 1) / D + EPS)
        made = value * scale[:, None]
        tl.store(stats + n, mean, n < N)
        tl.store(stats + N + n, scale, n < N)
    made = tl.where(there, made, 0.0)
    tl.store(out + place, made.to(out.dtype.element_ty), (n < N)[:, None] & (d < D))


def _run(x: Tensor, mask: Tensor | None, other: Tensor | None, stats: Tensor) -> Tensor:
    out, (N, D) = torch.empty_like(x), (x.numel() // x.shape[-1], x.shape[-1])
    wide = triton.next_power_of_2(D)
    rows = max(1, VALUES_A_PROGRAM // wide)
    _norm[(triton.cdiv(N, rows),)](x, mask, other, out, stats, N, D, rows, wide, other is not None, EPS, num_warps=1)
    return out


class Norm(torch.autograd.Function):
    """Layer norm and mask in one kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor | None) -> Tensor:
        """Normalise over the last axis.

        Args:
            ctx: Keeps what backward() needs.
            x: (..., D).
            mask: (...) bool. None: all True.

        Returns:
            (..., D), 0 where the mask is False.
        """
        x, mask = x.contiguous(), None if mask is None else mask.contiguous()
        stats = torch.empty(2, x.numel() // x.shape[-1], dtype=torch.float32, device=x.device)
        out = _run(x, mask, None, stats)
        ctx.save_for_backward(x, mask, stats)
        return out

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        """Compute the gradient of x.

        Args:
            ctx: Of forward().
            *outer: Gradient of the output (..., D), one tensor.

        Returns:
            Gradient of x; None for the mask.
        """
        x, mask, stats = ctx.saved_tensors
        return _run(x, mask, outer[0].to(x.dtype).contiguous(), stats), None
