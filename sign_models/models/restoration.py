"""The loss of restoring masked landmarks.

B batch, T frames, K landmarks, C channels, P parts.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from sign_models.kernels import fused
from sign_models.keypoints.layouts import PARTS
from sign_models.models.skeleton import ANCHORS, HAND_SCALE

LANDMARK_SHARE = [
    1 / (places.stop - places.start) for places in PARTS.values() for _ in range(places.stop - places.start)
]
LANDMARK_ANCHOR = [ANCHORS[part] for part, places in PARTS.items() for _ in range(places.stop - places.start)]
BETA, MOTION_BETA = 0.1, 0.05  # up to these an error, and its change from frame to frame, counts by its square
VISIBLE_WEIGHT = 0.2  # of a landmark that was not masked: restoring it is easy, but keeps the feature complete


def restoration_loss(
    restored: Tensor, x: Tensor, mask: Tensor, masked: Tensor, velocity_weight: float, totals: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Huber loss of restored landmarks: of coordinates, shapes and frame-to-frame motion, weighted by confidence.

    Landmarks that were never seen and padded frames weigh nothing, visible ones little. Parts weigh the same, whatever
    their number of landmarks. The shape of a hand counts beside its place: it is small, and it carries the signs.

    Args:
        restored: (B, T, K, 2), in shoulder widths.
        x: (B, T, K, C), what was to be restored.
        mask: (B, T) bool.
        masked: (B, T, K) bool, landmarks that the model did not see.
        velocity_weight: Weight of the motion.
        totals: (4,), what to divide by, of restoration_weights(). None: the weights of this batch.

    Returns:
        The loss, a scalar with a gradient for `restored`; the mean distance of masked landmarks, in shoulder widths.
    """
    way = fused_loss if x.is_cuda and fused() else plain_loss
    return way(restored, x, mask, masked, velocity_weight, totals)


def restoration_weights(x: Tensor, mask: Tensor, masked: Tensor) -> Tensor:
    """What restoration_loss() divides by.

    Args:
        x: (B, T, K, C).
        mask: (B, T) bool.
        masked: (B, T, K) bool.

    Returns:
        (4,) sums of the weights of masked landmarks, coordinates, shapes and motions.
    """
    if x.is_cuda and fused():
        from sign_models.kernels.restoration import weigh

        return weigh(x, mask, masked, _landmarks(x.device), VISIBLE_WEIGHT)
    return torch.stack([weight.sum() for weight in _weights(x, mask, masked)])


def fused_loss(
    restored: Tensor, x: Tensor, mask: Tensor, masked: Tensor, velocity_weight: float, totals: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute restoration_loss() by two Triton kernels, with the same arguments.

    Args:
        restored: (B, T, K, 2).
        x: (B, T, K, C).
        mask: (B, T) bool.
        masked: (B, T, K) bool.
        velocity_weight: Weight of the motion.
        totals: (4,) or None.

    Returns:
        Loss and distance.
    """
    from sign_models.kernels.restoration import FusedRestorationLoss

    scales = (VISIBLE_WEIGHT, HAND_SCALE, BETA, MOTION_BETA)
    loss, distance = FusedRestorationLoss.apply(
        restored, x, mask, masked, _landmarks(x.device), velocity_weight, scales, totals
    )
    return loss, distance


def plain_loss(
    restored: Tensor, x: Tensor, mask: Tensor, masked: Tensor, velocity_weight: float, totals: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute restoration_loss() by torch's operations, with the same arguments.

    Args:
        restored: (B, T, K, 2).
        x: (B, T, K, C).
        mask: (B, T) bool.
        masked: (B, T, K) bool.
        velocity_weight: Weight of the motion.
        totals: (4,) or None.

    Returns:
        Loss and distance.
    """
    weights = _weights(x, mask, masked)
    totals = (torch.stack([w.sum() for w in weights]) if totals is None else totals).clamp(min=1e-6)
    for w, total in zip(weights, totals, strict=True):
        w /= total
    weights[-1] *= velocity_weight
    loss, distance = _RestorationLoss.apply(restored, x[..., :2], *weights)
    return loss, distance


def _weights(x: Tensor, mask: Tensor, masked: Tensor) -> list[Tensor]:
    """Weights of masked landmarks, coordinates and shapes (B, T, K), and of motions (B, T - 1, K)."""
    share, anchors, _ = _landmarks(x.device)
    weight = x[..., 2] * mask.unsqueeze(-1) * torch.where(masked, 1.0, VISIBLE_WEIGHT)
    shape, motion = weight * weight[:, :, anchors] * share, weight[:, 1:] * weight[:, :-1] * share
    return [weight * masked, weight * share, shape, motion]


class _RestorationLoss(torch.autograd.Function):
    """Weighted sums of Huber losses with their gradient, in place.

    As single operations of autograd they went over memory three times as often.
    """

    @staticmethod
    def forward(
        ctx: Any,
        restored: Tensor,
        wanted: Tensor,
        masked: Tensor,
        place: Tensor,
        shape: Tensor,
        motion: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Compute loss and gradient.

        Args:
            ctx: Keeps the gradient.
            restored: (B, T, K, 2).
            wanted: (B, T, K, 2).
            masked: (B, T, K) weights of masked landmarks.
            place: (B, T, K) weights of coordinates.
            shape: (B, T, K) weights of shapes.
            motion: (B, T - 1, K) weights of motions.

        Returns:
            Loss, and weighted distance of what was masked.
        """
        error = torch.sub(restored, wanted, out=torch.empty_like(wanted))  # laid out as what is wanted is
        distance = error.square().sum(-1).sqrt_().mul_(masked).sum()
        loss, gradient = _huber(error.clone(), place, BETA)
        more, moved = _huber(error[:, 1:] - error[:, :-1], motion, MOTION_BETA)
        loss += more
        gradient[:, 1:] += moved
        gradient[:, :-1] -= moved
        relative = error.clone()
        for part, places in PARTS.items():
            relative[:, :, places] -= error[:, :, _anchor(part)]
        more, moved = _huber(relative.mul_(HAND_SCALE), shape, BETA)
        gradient += moved.mul_(HAND_SCALE)
        for part, places in PARTS.items():
            gradient[:, :, _anchor(part)] -= moved[:, :, places].sum(2, keepdim=True)
        ctx.save_for_backward(gradient)
        ctx.dtype = restored.dtype
        ctx.mark_non_differentiable(distance)
        return loss + more, distance

    @staticmethod
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        of_restored = torch.empty(gradient.shape, dtype=ctx.dtype, device=gradient.device)
        return torch.mul(gradient, outer, out=of_restored), None, None, None, None, None


def _anchor(part: str) -> slice:
    return slice(ANCHORS[part], ANCHORS[part] + 1)


def _huber(error: Tensor, weight: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Weighted sum of 0.5 error^2 / beta below `beta` and |error| - beta / 2 above, and its gradient.

    error (..., 2) is overwritten; weight (...).
    """
    clipped = error.clamp(-beta, beta)
    error.sub_(clipped, alpha=0.5)
    clipped *= (weight / beta).unsqueeze(-1)
    return error.mul_(clipped).sum(), clipped


@cache
def _landmarks(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Share of each landmark in the weight of its part, anchor of its part (K,), anchor of each part (P,); cached."""
    share, anchors, parts = LANDMARK_SHARE, LANDMARK_ANCHOR, list(ANCHORS.values())
    return torch.tensor(share, device=device), torch.tensor(anchors, device=device), torch.tensor(parts, device=device)
