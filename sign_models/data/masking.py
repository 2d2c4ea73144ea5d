"""Masking of keypoints for the self-supervised stages.

B batch, T frames, K landmarks, C channels, P body parts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sign_models.data.augment import random_spans
from sign_models.data.rng import ALL, RngSlice
from sign_models.keypoints.layouts import PARTS


class MaskedBatch(NamedTuple):
    """Masked clips.

    Attributes:
        x: (B, T, K, C) clips in which masked single landmarks are 0. Masked parts are left in. The model puts its
            learned mask token in their place.
        parts: (B, T, P) bool, whether a part is masked as a whole.
        landmarks: (B, T, K) bool, all masked landmarks, which the loss is computed on.
    """

    x: Tensor
    parts: Tensor
    landmarks: Tensor


def mask_keypoints(
    x: Tensor, *, joints: float, parts: float, frames: float, span: int, rows: RngSlice = ALL
) -> MaskedBatch:
    """Mask single landmarks, whole body parts and whole frames at random.

    Args:
        x: (B, T, K, C) clips.
        joints: Share of single landmarks of a frame.
        parts: Share of the frames of each body part, in spans.
        frames: Share of frames, in spans.
        span: Length of a span, in frames.
        rows: Which rows of the step's batch `x` is.

    Returns:
        The masked clips and the masks.
    """
    B, T, K, _ = x.shape
    joint_mask = rows.rand(B, T, K, device=x.device) < joints
    share = torch.full((B, 1), frames, device=x.device)
    part_masks = [random_spans(B, T, torch.full_like(share, parts), span, x.device, rows) for _ in PARTS]
    part_mask = torch.stack(part_masks, -1) | random_spans(B, T, share, span, x.device, rows).unsqueeze(-1)
    landmarks = joint_mask.clone()
    for i, places in enumerate(PARTS.values()):
        landmarks[:, :, places] |= part_mask[:, :, i : i + 1]
    return MaskedBatch(x * ~joint_mask.unsqueeze(-1), part_mask, landmarks)
