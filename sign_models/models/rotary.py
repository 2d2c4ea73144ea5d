"""Rotary position embeddings (Su et al. 2021): attention sees distances, so that any length works.

B batch, T positions, H heads, D width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sign_models.kernels import fused


class Rotary(nn.Module):
    """Cosines and sines of the positions.

    Attributes:
        frequency: (D / 2,) radians a position.
    """

    frequency: Tensor

    def __init__(self, head_width: int) -> None:
        """Compute the frequencies.

        Args:
            head_width: Width of a head, D; even.
        """
        super().__init__()
        frequency = 10_000.0 ** (-torch.arange(0, head_width, 2).float() / head_width)
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """Compute the rotation of each position.

        Args:
            length: Positions, T.

        Returns:
            Cosine, and sine with the signs that apply_rotary() wants, each (T, 1, 1, D) float32.
        """
        angle = torch.outer(torch.arange(length, device=self.frequency.device), self.frequency)[:, None, None]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def apply_rotary(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split a joint projection into heads, and rotate queries and keys by their positions.

    Args:
        qkv: (B, T, 3, H, D), queries, keys and values.
        cos: (T, 1, 1, D), of Rotary.
        sin: (T, 1, 1, D), of Rotary.

    Returns:
        Queries, keys and values, each (B, H, T, D).
    """
    if qkv.is_cuda and fused():
        from sign_models.kernels.rotary import ApplyRotary

        q, k, v = ApplyRotary.apply(qkv, cos, sin)
        return q, k, v
    turned, v = qkv.split([2, 1], 2)
    turned = turned * cos.to(qkv.dtype) + turned.roll(qkv.shape[-1] // 2, -1) * sin.to(qkv.dtype)
    q, k = turned.permute(2, 0, 3, 1, 4)
    return q, k, v.squeeze(2).transpose(1, 2)
