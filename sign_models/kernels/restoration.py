"""models.restoration.restoration_loss as one kernel that weighs and one that compares, where torch takes forty.

B batch, T frames, K landmarks, P parts; row: a frame of any clip. A program goes through its rows in order, so that it
loads each once, and sums up what they give. torch sums up the programs, always in the same order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 8  # a program, which is one warp: sums over a part's landmarks wait for no other


@triton.jit
def _weight(x, mask, masked, row, N, k, K: tl.constexpr, VISIBLE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Landmarks k of a row -> their weight, the masked part of it, and where they count; 0 without the row."""
    there = tl.load(mask + row, (row >= 0) & (row < N), 0) & (k < K)
    weight = tl.load(x + row * K * 3 + k * 3 + 2, there, 0.0)
    unseen = tl.load(masked + row * K + k, there, 0)
    return tl.where(unseen, weight, VISIBLE * weight), tl.where(unseen, weight, 0.0), there


@triton.jit
def _frame(  # type: ignore[no-untyped-def]
    restored, x, mask, masked, row, T, N, clip, frame, k, K: tl.constexpr, VISIBLE: tl.constexpr
):
    """Errors in x and y of a row, and the weights of _weight(). clip, frame: strides of restored."""
    weight, unseen, there = _weight(x, mask, masked, row, N, k, K, VISIBLE)
    made, wanted = restored + row // T * clip + row % T * frame + k * 2, x + row * K * 3 + k * 3
    error_x = tl.load(made, there, 0.0).to(tl.float32) - tl.load(wanted, there, 0.0)
    error_y = tl.load(made + 1, there, 0.0).to(tl.float32) - tl.load(wanted + 1, there, 0.0)
    return error_x, error_y, weight, unseen


@triton.jit
def _huber(x, y, weight, BETA: tl.constexpr):  # type: ignore[no-untyped-def]
    """Errors in x and y -> the weighted loss of both, and its gradients."""
    clipped_x, clipped_y = tl.clamp(x, -BETA, BETA), tl.clamp(y, -BETA, BETA)
    weight = weight / BETA
    loss = (x - 0.5 * clipped_x) * clipped_x + (y - 0.5 * clipped_y) * clipped_y
    return loss * weight, clipped_x * weight, clipped_y * weight


@triton.jit(do_not_specialize=["T", "N"])
def _weigh(  # type: ignore[no-untyped-def]
    x, mask, masked, share, anchor, sums, T, N,
    K: tl.constexpr, LANES: tl.constexpr, ROWS: tl.constexpr, VISIBLE: tl.constexpr,
):  # fmt: skip
    """Write sums (4, programs) of the weights of masked landmarks, coordinates, shapes and motions."""
    program, programs, k = tl.program_id(0).to(tl.int64), tl.num_programs(0), tl.arange(0, LANES)
    part, a = tl.load(share + k, k < K, 0.0), tl.load(anchor + k, k < K, 0)
    none = tl.zeros([LANES], tl.float32)
    unseen_sum, place_sum, shape_sum, motion_sum = none, none, none, none
    before, _, _ = _weight(x, mask, masked, program * ROWS - 1, N, k, K, VISIBLE)
    for i in range(ROWS):
        row = program * ROWS + i
        weight, unseen, _ = _weight(x, mask, masked, row, N, k, K, VISIBLE)
        anchors, _, _ = _weight(x, mask, masked, row, N, a, K, VISIBLE)
        unseen_sum += unseen
        place_sum += weight * part
        shape_sum += weight * part * anchors
        motion_sum += tl.where(row % T > 0, weight * part * before, 0.0)
        before = weight
    tl.store(sums + program, tl.sum(unseen_sum))
    tl.store(sums + programs + program, tl.sum(place_sum))
    tl.store(sums + 2 * programs + program, tl.sum(shape_sum))
    tl.store(sums + 3 * programs + program, tl.sum(motion_sum))


@triton.jit(do_not_specialize=["T", "N", "clip", "frame"])
def _compare(  # type: ignore[no-untyped-def]
    restored, x, mask, masked, share, anchor, parts, totals, gradient, sums, velocity, T, N, clip, frame,
    K: tl.constexpr, P: tl.constexpr, LANES: tl.constexpr, ROWS: tl.constexpr,
    VISIBLE: tl.constexpr, SCALE: tl.constexpr, BETA: tl.constexpr, MOTION_BETA: tl.constexpr,
):  # fmt: skip
    """Write sums (2, programs) of loss and distance, and the gradient (B, T, K, 2) of the loss."""
    program, programs, k = tl.program_id(0).to(tl.int64), tl.num_programs(0), tl.arange(0, LANES)
    part, a = tl.load(share + k, k < K, 0.0), tl.load(anchor + k, k < K, 0)
    masked_scale, place, shape = 1 / tl.load(totals), part / tl.load(totals + 1), part / tl.load(totals + 2)
    motion = part * (velocity / tl.load(totals + 3))
    loss_sum, distance_sum = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
    row = program * ROWS
    x_was, y_was, was, _ = _frame(restored, x, mask, masked, row - 1, T, N, clip, frame, k, K, VISIBLE)
    x_is, y_is, weight, unseen = _frame(restored, x, mask, masked, row, T, N, clip, frame, k, K, VISIBLE)
    moved = tl.where(row % T > 0, was * weight * motion, 0.0)
    _, x_back, y_back = _huber(x_is - x_was, y_is - y_was, moved, MOTION_BETA)  # its loss is the program's before
    for i in range(ROWS):
        row, after = program * ROWS + i, program * ROWS + i + 1
        x_will, y_will, will, unseen_will = _frame(restored, x, mask, masked, after, T, N, clip, frame, k, K, VISIBLE)
        x_anchor, y_anchor, anchors, _ = _frame(restored, x, mask, masked, row, T, N, clip, frame, a, K, VISIBLE)
        placed, x_slope, y_slope = _huber(x_is, y_is, weight * place, BETA)
        moved = tl.where(after % T > 0, weight * will * motion, 0.0)
        moved, x_on, y_on = _huber(x_will - x_is, y_will - y_is, moved, MOTION_BETA)
        x_shape, y_shape = (x_is - x_anchor) * SCALE, (y_is - y_anchor) * SCALE
        shaped, x_shape, y_shape = _huber(x_shape, y_shape, weight * anchors * shape * SCALE, BETA)
        loss_sum += placed + moved + shaped / SCALE
        distance_sum += tl.sqrt(x_is * x_is + y_is * y_is) * unseen * masked_scale
        x_slope += x_back - x_on + x_shape
        y_slope += y_back - y_on + y_shape
        for p in tl.static_range(P):  # what a part's landmarks are measured from moves against all of them
            at = tl.load(parts + p)
            x_slope -= tl.where(k == at, tl.sum(tl.where(a == at, x_shape, 0.0)), 0.0)
            y_slope -= tl.where(k == at, tl.sum(tl.where(a == at, y_shape, 0.0)), 0.0)
        target, mine = gradient + row * K * 2 + k * 2, (row < N) & (k < K)
        tl.store(target, x_slope.to(gradient.dtype.element_ty), mine)
        tl.store(target + 1, y_slope.to(gradient.dtype.element_ty), mine)
        x_is, y_is, weight, unseen, x_back, y_back = x_will, y_will, will, unseen_will, x_on, y_on
    tl.store(sums + program, tl.sum(loss_sum))
    tl.store(sums + programs + program, tl.sum(distance_sum))


def weigh(x: Tensor, mask: Tensor, masked: Tensor, landmarks: tuple[Tensor, Tensor, Tensor], visible: float) -> Tensor:
    """Compute models.restoration.restoration_weights().

    Args:
        x: (B, T, K, C).
        mask: (B, T) bool.
        masked: (B, T, K) bool.
        landmarks: Share and anchor of each landmark (K,), and anchor of each part (P,).
        visible: Weight of a landmark that was not masked.

    Returns:
        (4,) sums of the weights of masked landmarks, coordinates, shapes and motions.
    """
    B, T, K, _ = x.shape
    share, anchor, _ = landmarks
    x, mask, masked = x[..., :3].float().contiguous(), mask.contiguous(), masked.contiguous()
    lanes, programs = triton.next_power_of_2(K), triton.cdiv(B * T, ROWS)
    sums = x.new_empty(4, programs)
    _weigh[(programs,)](x, mask, masked, share, anchor, sums, T, B * T, K, lanes, ROWS, visible, num_warps=1)
    return sums.sum(1)


class FusedRestorationLoss(torch.autograd.Function):
    """models.restoration.restoration_loss with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, restored: Tensor, x: Tensor, mask: Tensor, masked: Tensor, landmarks: tuple[Tensor, Tensor, Tensor],
        velocity_weight: float, scales: tuple[float, float, float, float], totals: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Compute loss, distance, and the gradient of the loss.

        Args:
            ctx: Keeps the gradient.
            restored: (B, T, K, 2).
            x: (B, T, K, C).
            mask: (B, T) bool.
            masked: (B, T, K) bool.
            landmarks: Share and anchor of each landmark (K,), and anchor of each part (P,).
            velocity_weight: Weight of the motion.
            scales: Weight of visible landmarks, scale of shapes, and where Huber's loss bends: of errors, of motions.
            totals: (4,), of weigh(). None: of this batch.

        Returns:
            Loss and distance, scalars.
        """
        B, T, K, _ = x.shape
        share, anchor, parts = landmarks
        x, mask, masked = x[..., :3].float().contiguous(), mask.contiguous(), masked.contiguous()
        restored = restored if restored.stride()[2:] == (2, 1) else restored.contiguous()
        gradient = torch.empty(restored.shape, dtype=restored.dtype, device=restored.device)
        N, lanes, programs = B * T, triton.next_power_of_2(K), triton.cdiv(B * T, ROWS)
        sums = x.new_empty(2, programs)
        totals = (weigh(x, mask, masked, landmarks, scales[0]) if totals is None else totals).clamp(min=1e-6)
        _compare[(programs,)](
            restored, x, mask, masked, share, anchor, parts, totals, gradient, sums, float(velocity_weight),
            T, N, *restored.stride()[:2], K, len(parts), lanes, ROWS, *scales, num_warps=1,
        )  # fmt: skip
        loss, distance = (of_programs.sum() for of_programs in sums)
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(distance)
        return loss, distance

    @staticmethod
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradient of forward().

        Args:
            ctx: Of forward().
            outer: Gradient of the loss.
            _: Gradient of the distance, which has none.

        Returns:
            Gradient of `restored`; None for the other arguments.
        """
        (gradient,) = ctx.saved_tensors
        return (gradient * outer.to(gradient.dtype), *[None] * 7)
