"""Layers that several models share.

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
    """Check the mask of a batch.

    Args:
        mask: (B, T), True where there is a frame.
        like: (B, T, ...), what it masks.

    Raises:
        ValueError: The mask is not bool, or not of shape (B, T).
    """
    if mask.dtype != torch.bool or mask.shape != like.shape[:2]:
        raise ValueError(f"mask is {mask.dtype} {tuple(mask.shape)}; wanted bool {tuple(like.shape[:2])}")


def mlp(width: int, out: int, hidden: int, bias: bool = True) -> nn.Sequential:
    """Make two linear layers with a ReLU between them.

    Args:
        width: Width of the input.
        out: Width of the output.
        hidden: Width between the layers.
        bias: Whether the layers have biases.

    Returns:
        The module: (..., width) to (..., out).
    """
    return nn.Sequential(nn.Linear(width, hidden, bias=bias), nn.ReLU(), nn.Linear(hidden, out, bias=bias))


def norm(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Layer norm without weights.

    The linear layer after it has weights of its own. On a GPU the gradients of the norm's would take longer than the
    norm. Half precision is kept on a GPU, whose kernel sums in float32: under autocast, torch would copy the input to
    float32 and the result back, three times the memory traffic.

    Args:
        x: (B, T, D).
        mask: (B, T) bool. None: all True.

    Returns:
        (B, T, D), normalised over D, and 0 where the mask is False.
    """
    if x.is_cuda and fused():
        from sign_models.kernels.norm import Norm

        return cast(Tensor, Norm.apply(x, mask))
    with torch.autocast("cuda", enabled=False):
        y = F.layer_norm(x, x.shape[-1:])
    return y if mask is None else y * mask.unsqueeze(-1)


class Dropout(nn.Dropout):
    """Dropout that is cheap on a CPU: it draws 16 random bits a value, where torch draws a random float."""

    def forward(self, x: Tensor) -> Tensor:
        """Set a share p of the values to 0 in training, and scale the others by 1 / (1 - p).

        Args:
            x: Any shape.

        Returns:
            The same shape.
        """
        if x.is_cuda or not self.training or not self.p:
            return super().forward(x)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        kept = bits[: x.numel()].view(x.shape) >= round(2**16 * self.p) - 2**15
        return x * (kept.to(x.dtype) / (1 - self.p))


class ConvBlock(nn.Module):
    """Residual block over time: a convolution over 2 * context + 1 frames, then a linear layer.

    The convolution is dense. Depthwise ones were many times slower to train on a GPU (docs/experiments.md).
    """

    def __init__(self, width: int, context: int, dropout: float) -> None:
        """Make the layers.

        Args:
            width: Width of input and output, D.
            context: Frames on each side that the convolution sees.
            dropout: Dropout of what the block adds.
        """
        super().__init__()
        self.conv = nn.Conv1d(width, 2 * width, 2 * context + 1, padding=context, bias=False)
        self.out = nn.Linear(2 * width, width, bias=False)
        self.context, self.dropout = context, Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: (B, T, D).
            mask: (B, T) bool. Padded frames count as 0, so that the length of the padding changes nothing.

        Returns:
            (B, T, D).
        """
        y = norm(x, mask).transpose(1, 2)
        if y.is_cuda and y.dtype == torch.float32:
            y = self.conv(y)
        else:  # a sequence would be copied to another layout first, a picture of height 1 is taken as it is
            y = F.conv2d(y.unsqueeze(2), self.conv.weight.unsqueeze(2), padding=(0, self.context)).squeeze(2)
        return cast(Tensor, x + self.dropout(self.out(F.relu(y.transpose(1, 2)))))


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: self-attention with rotary positions, then an MLP of four times the width."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Make the layers.

        Args:
            width: Width of input and output, D.
            heads: Attention heads, H.
            dropout: Dropout of what attention and MLP add.
        """
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp = mlp(width, width, 4 * width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, within: PackedSelfAttention, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: (B, T, D); a row may hold several clips.
            within: Attention of this batch, which knows where its clips are.
            cos: (T, 1, 1, D / H), of Rotary.
            sin: (T, 1, 1, D / H), of Rotary.

        Returns:
            (B, T, D).
        """
        B, T, D = x.shape
        q, k, v = apply_rotary(self.qkv(norm(x)).view(B, T, 3, self.heads, -1), cos, sin)
        x = x + self.dropout(self.out(within(q, k, v).reshape(B, T, D)))
        return cast(Tensor, x + self.dropout(self.mlp(norm(x))))
