"""Attention within clips of unequal length, by the kernel that is fastest where it runs (docs/experiments.md).

B clips, S vectors, H heads, D width of a head.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

# cuDNN's attention, which torch prefers on a GPU, plans each new shape for a tenth of a second. For 64 keys more than a
# multiple of 128 it gives gradients that are no numbers, where a query scores all of them low (pytorch/pytorch#196678).
torch.backends.cuda.enable_cudnn_sdp(False)
TILE = 64  # keys that a GPU's kernel takes at a time, however few there are
ALIGNED = 8  # FlashAttention takes heads of a multiple of this width
LONG = 208  # vectors from which on FlashAttention is faster on a GPU than the kernel that takes a mask


class PackedSelfAttention:
    """Which vectors see which: those of a clip each other. Few of a clip share a row with other clips, so that a GPU's
    tiles are filled."""

    def __init__(self, mask: Tensor, clips: int | None = None) -> None:
        """mask (B, S): True up to each clip's end. clips: in a row; a divisor of B, chosen where it is not given."""
        B, S = mask.shape
        self.clips = clips_a_row(B, S, mask.device) if clips is None else clips
        self.ends: Tensor | None = None
        if mask.is_cuda and S >= LONG:
            # padding is a clip of its own, so that nothing has to be moved
            lengths = mask.sum(1)
            parts = torch.stack([lengths, S - lengths], 1).flatten()
            self.ends = F.pad(parts.cumsum(0), (1, 0)).int()
        self.seen = mask.view(B // self.clips, 1, 1, -1)
        if self.clips > 1:
            owner = torch.arange(self.clips, device=mask.device).repeat_interleave(S)
            self.seen = self.seen & (owner.unsqueeze(1) == owner)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Each (rows, H, T, D), where T is S times the clips of a row -> (rows, T, H, D)."""
        if self.ends is not None and q.dtype == torch.bfloat16 and q.shape[-1] % ALIGNED == 0:
            from torch.nn.attention.varlen import varlen_attn

            T = q.shape[2]
            q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
            return cast(Tensor, varlen_attn(q, k, v, self.ends, self.ends, T, T)).unflatten(0, (-1, T))
        # no dropout on the attention itself: it would rule out the fused kernels
        if q.device.type == "cpu":  # whose kernel is twice as slow in half precision
            with torch.autocast("cpu", enabled=False):
                y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=self.seen)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.seen)
        return y.transpose(1, 2)


def clips_a_row(clips: int, vectors: int, device: torch.device) -> int:
    """As many as fill a GPU's tile, and divide a batch of `clips` of so many vectors."""
    return math.gcd(clips, 2 ** int(math.log2(max(1, TILE // vectors)))) if device.type == "cuda" else 1
