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


class Norm(nn.LayerNorm):
    """A layer norm that takes half precision as it is where a GPU has it, and counts in float32 inside: autocast would
    copy all of it to float32 and the products that follow back, three times the traffic."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda or x.dtype == torch.float32:
            return super().forward(x)
        with torch.autocast("cuda", enabled=False):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class ConvBlock(nn.Module):
    """Residual block over time: a convolution over 2 * context + 1 frames, then a pointwise layer.

    The convolution is dense: depthwise ones were many times slower to train on a GPU (docs/experiments.md).
    """

    def __init__(self, width: int, context: int, dropout: float) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.conv = nn.Conv1d(width, 2 * width, 2 * context + 1, padding=context)
        self.out = nn.Linear(2 * width, width)
        self.context, self.dropout = context, nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D), mask (B, T) -> (B, T, D). Padding counts as zero, so that it changes nothing."""
        y = self.norm(x) * mask.unsqueeze(-1)
        if y.is_cuda and y.dtype != torch.float32:
            # a sequence would be copied to another layout first, a picture of height 1 is taken as it is
            weight = self.conv.weight.unsqueeze(2)
            y = F.conv2d(y.transpose(1, 2).unsqueeze(2), weight, self.conv.bias, padding=(0, self.context)).squeeze(2)
        else:
            y = self.conv(y.transpose(1, 2))
        y = y.transpose(1, 2)
        return x + self.dropout(self.out(F.relu(y)))


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021): attention sees distances, so any length works."""

    frequency: Tensor

    def __init__(self, head_width: int) -> None:
        super().__init__()
        frequency = 10_000.0 ** (-torch.arange(0, head_width, 2).float() / head_width)
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """-> cosine, and sine with the signs that rotate() wants, each (T, 1, 1, D / H), float32."""
        angle = torch.outer(torch.arange(length, device=self.frequency.device), self.frequency)[:, None, None]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, T, 2, H, D / H), queries and keys, turned by their positions."""
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


class TransformerBlock(nn.Module):
    """Pre-norm self-attention with rotary positions, then an MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = Norm(width), Norm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = mlp(width, width, 4 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, T, D); bias (B, 1, 1, T), True or 0 where a vector may be looked at -> (B, T, D)."""
        B, T, D = x.shape
        turned, v = self.qkv(self.attention_norm(x)).view(B, T, 3, self.heads, -1).split([2, 1], 2)
        q, k = rotate(turned, cos.to(turned.dtype), sin.to(turned.dtype)).permute(2, 0, 3, 1, 4)
        v = v.squeeze(2).transpose(1, 2)
        # no dropout on the attention itself: it would rule out the fused kernels
        if q.device.type == "cpu":  # whose kernel is twice as slow in half precision (docs/experiments.md)
            with torch.autocast("cpu", enabled=False):
                y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=bias)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.dropout(self.out(y.transpose(1, 2).reshape(B, T, D)))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))
