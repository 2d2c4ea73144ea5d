"""Self-attention within clips of unequal length, by whichever kernel is fastest (docs/experiments.md).

B clips, S vectors a clip, H heads, D width of a head.
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
TILE_KEYS = 64  # keys that a GPU's kernel takes at a time, however few there are
HEAD_WIDTH_MULTIPLE = 8  # FlashAttention takes heads of a multiple of this width
MIN_VARLEN_VECTORS = 208  # vectors from which on FlashAttention is faster on a GPU than the kernel that takes a mask


class PackedSelfAttention:
    """Self-attention in which vectors attend to vectors of their own clip only.

    Short clips share a row, so that the tiles of a GPU's kernel are filled.

    Attributes:
        clips: Clips in a row.
        ends: (2 B + 1,) int32, where each clip and its padding end, counted over the batch. None: a mask is used.
        seen: (B / clips, 1, 1 or T, T) bool, True where a query may see a key; T is clips * S.
    """

    def __init__(self, mask: Tensor, clips: int | None = None) -> None:
        """Plan the attention of one batch.

        Args:
            mask: (B, S) bool, True up to the end of each clip.
            clips: Clips in a row, a divisor of B. None: chosen by clips_a_row().
        """
        B, S = mask.shape
        self.clips = clips_a_row(B, S, mask.device) if clips is None else clips
        self.ends: Tensor | None = None
        if mask.is_cuda and S >= MIN_VARLEN_VECTORS:
            # padding is a clip of its own, so that nothing has to be moved
            lengths = mask.sum(1)
            parts = torch.stack([lengths, S - lengths], 1).flatten()
            self.ends = F.pad(parts.cumsum(0), (1, 0)).int()
        self.seen = mask.view(B // self.clips, 1, 1, -1)
        if self.clips > 1:
            clip_index = torch.arange(self.clips, device=mask.device).repeat_interleave(S)
            self.seen = self.seen & (clip_index.unsqueeze(1) == clip_index)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend within each clip.

        Args:
            q: Queries (B / clips, H, T, D), where T is clips * S.
            k: Keys of the same shape.
            v: Values of the same shape.

        Returns:
            (B / clips, T, H, D).
        """
        if self.ends is not None and q.dtype == torch.bfloat16 and q.shape[-1] % HEAD_WIDTH_MULTIPLE == 0:
            from torch.nn.attention.varlen import varlen_attn

            T = q.shape[2]
            q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
            attended = cast(Tensor, varlen_attn(q, k, v, self.ends, self.ends, T, T))
            return cast(Tensor, attended.unflatten(0, (-1, T)))
        # no dropout on the attention itself: it would rule out the fused kernels
        if q.device.type == "cpu":  # whose kernel is twice as slow in half precision
            with torch.autocast("cpu", enabled=False):
                y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=self.seen)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.seen)
        return y.transpose(1, 2)


def clips_a_row(clips: int, vectors: int, device: torch.device) -> int:
    """Choose how many clips share a row.

    Args:
        clips: Clips in the batch.
        vectors: Vectors of each clip, padding included.
        device: Where attention runs.

    Returns:
        As many as fill one tile of a GPU's kernel and divide `clips`. 1 on a CPU.
    """
    return math.gcd(clips, 2 ** int(math.log2(max(1, TILE_KEYS // vectors)))) if device.type == "cuda" else 1
