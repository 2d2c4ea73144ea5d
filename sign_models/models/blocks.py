"""Building blocks shared by the models.

B batch, T frames or vectors, D width, H heads.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sign_models.kernels import fused
from sign_models.models.attention import PackedSelfAttention
from sign_models.models.rotary import apply_rotary


def check_mask(mask: Tensor, like: Tensor) -> None:
    """A mask is bool, True where there is a frame, and has one value a frame of `like` (B, T, ...)."""
    if mask.dtype != torch.bool or mask.shape != like.shape[:2]:
        raise ValueError(f"mask is {mask.dtype} {tuple(mask.shape)}; wanted bool {tuple(like.shape[:2])}")


def mlp(width: int, out: int, hidden: int, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden, bias=bias), nn.ReLU(), nn.Linear(hidden, out, bias=bias))


def norm(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Layer norm over the last axis of x (B, T, D), 0 where mask (B, T) is False. It has no weights of its own: the
    product that follows has them, and their gradients cost a GPU more than the norm.

    Half precision stays what it is on a GPU, which counts in float32 inside: autocast would copy all of it to float32
    and the products that follow back, three times the traffic.
    """
    if x.is_cuda and fused():
        from sign_models.kernels.norm import Norm

        return cast(Tensor, Norm.apply(x, mask))
    with torch.autocast("cuda", enabled=False):
        y = F.layer_norm(x, x.shape[-1:])
    return y if mask is None else y * mask.unsqueeze(-1)


class Dropout(nn.Dropout):
    """On a CPU of 16 random bits a value: torch draws a number for each, which took a twentieth of a step."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda or not self.training or not self.p:
            return super().forward(x)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        kept = bits[: x.numel()].view(x.shape) >= round(2**16 * self.p) - 2**15
        return x * (kept.to(x.dtype) / (1 - self.p))


class ConvBlock(nn.Module):
    """Residual block over time: a convolution over 2 * context + 1 frames, then a pointwise layer.

    The convolution is dense: depthwise ones were many times slower to train on a GPU (docs/experiments.md).
    """

    def __init__(self, width: int, context: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, 2 * width, 2 * context + 1, padding=context, bias=False)
        self.out = nn.Linear(2 * width, width, bias=False)
        self.context, self.dropout = context, Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D), mask (B, T) -> (B, T, D). Padding counts as zero, so that it changes nothing."""
        y = norm(x, mask).transpose(1, 2)
        if y.is_cuda and y.dtype == torch.float32:
            y = self.conv(y)
        else:  # a sequence would be copied to another layout first, a picture of height 1 is taken as it is
            y = F.conv2d(y.unsqueeze(2), self.conv.weight.unsqueeze(2), padding=(0, self.context)).squeeze(2)
        return x + self.dropout(self.out(F.relu(y.transpose(1, 2))))


class TransformerBlock(nn.Module):
    """Pre-norm self-attention with rotary positions, then an MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp = mlp(width, width, 4 * width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, within: PackedSelfAttention, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, T, D), rows of clips -> (B, T, D)."""
        B, T, D = x.shape
        q, k, v = apply_rotary(self.qkv(norm(x)).view(B, T, 3, self.heads, -1), cos, sin)
        x = x + self.dropout(self.out(within(q, k, v).reshape(B, T, D)))
        return x + self.dropout(self.mlp(norm(x)))
