"""models.rotary.apply_rotary as one kernel forward and one backward, where torch takes 26."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 64  # heads of positions a program


@triton.jit(do_not_specialize=["T", "N"])
def _turn(  # type: ignore[no-untyped-def]
    qkv, q, k, v, cos, sin, T, N, q_clip, q_head, q_place, k_clip, k_head, k_place, v_clip, v_head, v_place,
    H: tl.constexpr, HALF: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BACK: tl.constexpr,
):  # fmt: skip
    """Rotate qkv (B, T, 3, H, 2 * HALF) into q, k, v of the given strides. BACK: from them into qkv, rotated back."""
    n = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    d = tl.arange(0, WIDE)[None, :]
    there = (n < N) & (d < HALF)
    h, row = n % H, n // H
    t, b = row % T, row // T
    c = tl.load(cos + t * 2 * HALF + d, there, 0.0)
    s = tl.load(sin + t * 2 * HALF + HALF + d, there, 0.0)
    for j in tl.static_range(3):
        joined = qkv + (row * 3 + j) * H * 2 * HALF + h * 2 * HALF + d
        if j == 0:
            apart = q + b * q_clip + h * q_head + t * q_place + d
        elif j == 1:
            apart = k + b * k_clip + h * k_head + t * k_place + d
        else:
            apart = v + b * v_clip + h * v_head + t * v_place + d
        source, target = (apart, joined) if BACK else (joined, apart)
        x = tl.load(source, there, 0.0).to(tl.float32)
        y = tl.load(source + HALF, there, 0.0).to(tl.float32)
        if j < 2:
            if BACK:
                x, y = x * c + y * s, y * c - x * s
            else:
                x, y = x * c - y * s, y * c + x * s
        tl.store(target, x.to(target.dtype.element_ty), there)
        tl.store(target + HALF, y.to(target.dtype.element_ty), there)


def _run(qkv: Tensor, parts: list[Tensor], cos: Tensor, sin: Tensor, back: bool) -> None:
    B, T, _, H, D = qkv.shape
    strides = [stride for part in parts for stride in part.stride()[:3]]
    grid = (triton.cdiv(B * T * H, ROWS),)
    wide = triton.next_power_of_2(D // 2)
    _turn[grid](qkv, *parts, cos, sin, T, B * T * H, *strides, H, D // 2, wide, ROWS, back)


class ApplyRotary(torch.autograd.Function):
    """Split a joint projection into heads, and rotate queries and keys."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotate.

        Args:
            ctx: Keeps what backward() needs.
            qkv: (B, T, 3, H, D).
            cos: (T, 1, 1, D), of models.rotary.Rotary.
            sin: (T, 1, 1, D), of models.rotary.Rotary.

        Returns:
            Queries, keys and values, each (B, H, T, D).
        """
        B, T, _, H, D = qkv.shape
        q, k, v = (qkv.new_empty(B, T, H, D).transpose(1, 2) for _ in range(3))  # as attention's output is wanted
        _run(qkv.contiguous(), [q, k, v], cos, sin, False)
        ctx.save_for_backward(cos, sin)
        return q, k, v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Rotate back.

        Args:
            ctx: Of forward().
            *gradients: Of queries, keys and values.

        Returns:
            Gradient of qkv; None for cosine and sine.
        """
        cos, sin = ctx.saved_tensors
        B, H, T, D = gradients[0].shape
        qkv = gradients[0].new_empty(B, T, 3, H, D)
        _run(qkv, [g if g.stride(-1) == 1 else g.contiguous() for g in gradients], cos, sin, True)
        return qkv, None, None


def smoke_test() -> None:
    """Build and run one small kernel.

    Raises:
        RuntimeError: Triton cannot build it. What its build tools raise is passed on.
    """
    try:
        ApplyRotary.apply(
            *(torch.zeros(shape, device="cuda") for shape in ((1, 1, 3, 1, 16), (1, 1, 1, 16), (1, 1, 1, 16)))
        )
    except triton.TritonError as error:
        raise RuntimeError(str(error)) from error
