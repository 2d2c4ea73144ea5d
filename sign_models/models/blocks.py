"""Building blocks shared by the models.

B batch, T frames or vectors, D width, H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def check_mask(mask: Tensor, like: Tensor) -> None:
    """A mask is bool, True where there is a frame, and has one value a frame of `like` (B, T, ...)."""
    if mask.dtype != torch.bool or mask.shape != like.shape[:2]:
        raise ValueError(f"mask is {mask.dtype} {tuple(mask.shape)}; wanted bool {tuple(like.shape[:2])}")


def mlp(width: int, out: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


class ConvBlock(nn.Module):
    """Residual block over time: a convolution over 2 * context + 1 frames, then a pointwise layer.

    The convolution is dense: depthwise ones were many times slower to train on a GPU (docs/experiments.md).
    """

    def __init__(self, width: int, context: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, 2 * width, 2 * context + 1, padding=context)
        self.out = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D), mask (B, T) -> (B, T, D). Padding counts as zero, so that it changes nothing."""
        y = self.norm(x) * mask.unsqueeze(-1)
        y = self.conv(y.transpose(1, 2)).transpose(1, 2)
        return x + self.dropout(self.out(F.relu(y)))


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021): attention sees distances, so any length works."""

    frequency: Tensor

    def __init__(self, head_width: int) -> None:
        super().__init__()
        frequency = 10_000.0 ** (-torch.arange(0, head_width, 2).float() / head_width)
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """-> cosine and sine, each (T, D / H), float32."""
        angle = torch.outer(torch.arange(length, device=self.frequency.device), self.frequency)
        angle = torch.cat([angle, angle], -1)
        return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, H, T, D / H) turned by its position."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class TransformerBlock(nn.Module):
    """Pre-norm self-attention with rotary positions, then an MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = mlp(width, width, 4 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, T, D); bias (B, 1, 1, T), True or 0 where a vector may be looked at -> (B, T, D)."""
        B, T, D = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        # no dropout on the attention itself: it would rule out the fused kernels
        if q.device.type == "cpu":  # whose kernel is twice as slow in half precision (docs/experiments.md)
            with torch.autocast("cpu", enabled=False):
                y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=bias)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.dropout(self.out(y.transpose(1, 2).reshape(B, T, D)))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))
