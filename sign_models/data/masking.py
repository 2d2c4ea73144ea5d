"""What the self-supervised stages mask. B batch, T frames, K landmarks, P parts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sign_models.data.augment import spans
from sign_models.data.rows import ALL, RngSlice
from sign_models.keypoints.layouts import PARTS


class MaskedBatch(NamedTuple):
    """x (B, T, K, 3) without the masked single joints; parts (B, T, P) bool: masked as a whole; landmarks (B, T, K)
    bool: all that is masked, for the loss."""

    x: Tensor
    parts: Tensor
    landmarks: Tensor


def mask_keypoints(
    x: Tensor, *, joints: float, parts: float, frames: float, span: int, rows: RngSlice = ALL
) -> MaskedBatch:
    """Mask shares of single joints a frame, of whole parts and of whole frames, the latter two in spans of `span`
    frames."""
    B, T, K, _ = x.shape
    single = rows.rand(B, T, K, device=x.device) < joints
    share = torch.full((B, 1), frames, device=x.device)
    masked_parts = torch.stack([spans(B, T, torch.full_like(share, parts), span, x.device, rows) for _ in PARTS], -1)
    masked_parts = masked_parts | spans(B, T, share, span, x.device, rows).unsqueeze(-1)
    landmarks = single.clone()
    for i, places in enumerate(PARTS.values()):
        landmarks[:, :, places] |= masked_parts[:, :, i : i + 1]
    return MaskedBatch(x * ~single.unsqueeze(-1), masked_parts, landmarks)
