"""data.augment of clips gathered from a corpus, in one kernel where torch takes 80: frames are read and written once.

B batch, T frames, K landmarks, F frames of the corpus. Random numbers, and what is small, are left to torch.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256  # landmarks of a clip's frames a program


@triton.jit
def _interpolate(  # type: ignore[no-untyped-def]
    frames, first, second, share, row, real, source, K: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """x, y, depth and confidence of landmarks `source` between two frames; depth is 0 where C is 3."""
    one = frames + tl.load(first + row, real, 0) * (K * C) + source * C
    other = frames + tl.load(second + row, real, 0) * (K * C) + source * C
    sure, next_sure = tl.load(one + 2, real, 0.0).to(tl.float32), tl.load(other + 2, real, 0.0).to(tl.float32)
    way = tl.load(share + row, real, 0.0)
    way = tl.where(sure > 0, way, tl.where(way > 0, 1.0, 0.0))  # what one frame does not show is where the other has it
    way = tl.where(next_sure > 0, way, 0.0)
    x, y = tl.load(one, real, 0.0).to(tl.float32), tl.load(one + 1, real, 0.0).to(tl.float32)
    x += (tl.load(other, real, 0.0).to(tl.float32) - x) * way
    y += (tl.load(other + 1, real, 0.0).to(tl.float32) - y) * way
    sure += (next_sure - sure) * way
    z = tl.zeros_like(x)
    if C == 4:
        z = tl.load(one + 3, real, 0.0).to(tl.float32)
        z += (tl.load(other + 3, real, 0.0).to(tl.float32) - z) * way
    return x, y, z, sure


@triton.jit
def _move_body(  # type: ignore[no-untyped-def]
    x, y, b, row, k, real, group, landmark_jitter, stretch, moved, K: tl.constexpr, MOVED: tl.constexpr,
):  # fmt: skip
    """Move x and y by a clip's own proportions and movements."""
    if landmark_jitter is not None:
        at = landmark_jitter + (b * K + k) * 2
        x += tl.load(at)
        y += tl.load(at + 1)
    if stretch is not None:
        at = stretch + (b * 2 + group) * 2
        x *= tl.load(at, group < 2, 1.0)
        y *= tl.load(at + 1, group < 2, 1.0)
    if moved is not None:
        at = moved + (row * MOVED + group) * 2
        x += tl.load(at, real & (group < MOVED), 0.0)
        y += tl.load(at + 1, real & (group < MOVED), 0.0)
    return x, y


@triton.jit
def _move_camera(x, y, z, b, camera, shift, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """x, y and depth as a clip's own camera sees them."""
    if camera is not None:
        at = camera + b * (9 if C == 4 else 4)
        to_x, to_y = x * tl.load(at) + y * tl.load(at + 1), x * tl.load(at + 2) + y * tl.load(at + 3)
        if C == 4:
            to_x += z * tl.load(at + 4)
            to_y += z * tl.load(at + 5)
            z = z * tl.load(at + 8) + x * tl.load(at + 6) + y * tl.load(at + 7)
        x, y = to_x, to_y
    if shift is not None:
        x += tl.load(shift + b * 2)
        y += tl.load(shift + b * 2 + 1)
    return x, y, z


@triton.jit(do_not_specialize=["T"])
def _augment(  # type: ignore[no-untyped-def]
    frames, first, second, share, mask, mirrored, mirror, landmark_jitter, groups, stretch, moved, camera, shift, noise,
    strength, lost, flat, out, T, K: tl.constexpr, C: tl.constexpr, MOVED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """See gather_augmented() for the arguments. A None is known when this is compiled, and leaves its lines out."""
    b = tl.program_id(0).to(tl.int64)  # a corpus has more than 2^31 numbers
    # one axis: of two Triton would let a warp go along frames first, whose landmarks lie far apart
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = n < T * K
    k, t = n % K, n // K
    row = b * T + t
    n = b * T * K + n
    real = tl.load(mask + row, there, 0)  # the other frames come out as 0

    source = k
    if mirrored is not None:
        swapped = tl.load(mirrored + b)
        source = tl.where(swapped, tl.load(mirror + k), k)
    x, y, z, sure = _interpolate(frames, first, second, share, row, real, source, K, C)
    known = z != 0
    if mirrored is not None:
        x = tl.where(swapped, -x, x)

    group = tl.load(groups + k)
    x, y = _move_body(x, y, b, row, k, real, group, landmark_jitter, stretch, moved, K, MOVED)
    x, y, z = _move_camera(x, y, z, b, camera, shift, C)
    if noise is not None:
        at, much = noise + n * (C - 1), tl.load(strength + b)
        x += tl.load(at, real, 0.0) * much
        y += tl.load(at + 1, real, 0.0) * much
        if C == 4:
            z += tl.load(at + 2, real, 0.0) * much
    if lost is not None:
        sure = tl.where(tl.load(lost + (b * 2 + group) * T + t, real & (group < 2), 0), 0.0, sure)

    to = out + n * C
    tl.store(to, tl.where(sure > 0, x, 0.0), there)
    tl.store(to + 1, tl.where(sure > 0, y, 0.0), there)
    tl.store(to + 2, sure, there)
    if C == 4:
        if flat is not None:
            known = known & (tl.load(flat + b) == 0)
        tl.store(to + 3, tl.where(known & (sure > 0), z, 0.0), there)


def gather_augmented(
    frames: Tensor,
    first: Tensor,
    second: Tensor,
    share: Tensor,
    mask: Tensor,
    *,
    mirrored: Tensor | None,
    mirror: Tensor,
    landmark_jitter: Tensor | None,
    groups: Tensor,
    stretch: Tensor | None,
    moved: Tensor | None,
    camera: Tensor | None,
    shift: Tensor | None,
    noise: tuple[Tensor, Tensor] | None,
    lost: Tensor | None,
    flat: Tensor | None,
) -> Tensor:
    """Gather clips and augment them, in the order of the arguments. Axes of length 1 may stand between those named.

    Args:
        frames: (F, K, C), frames of the corpus.
        first: (B, T), frame before each position.
        second: (B, T), frame after it.
        share: (B, T), how far from `first` to `second` it is.
        mask: (B, T) bool, True where there is a position.
        mirrored: (B,) bool, clips whose landmarks come from those at `mirror`, with x negated. None: none.
        mirror: (K,), landmark of the other side.
        landmark_jitter: (B, K, 2), added. None: nothing.
        groups: (K,), group of each landmark, for the next two arguments and `lost`.
        stretch: (B, 2, 2), factors of x and y in groups 0 and 1. None: 1.
        moved: (B, T, G, 2), added to x and y in the groups below G. None: nothing.
        camera: (B, 4), or (B, 9) with depth: matrix of data.augment.Augmentation. None: as it is.
        shift: (B, 2), added. None: nothing.
        noise: (B, T, K, C - 1), and its strength (B,): their product is added. None: nothing.
        lost: (B, 2, T) bool, where groups 0 and 1 are unseen. None: nowhere.
        flat: (B,) bool, clips that lose their depth. None: none.

    Returns:
        (B, T, K, C) float32. Coordinates that are unseen or masked are 0.
    """
    (B, T), (_, K, C) = mask.shape, frames.shape
    out = torch.empty(B, T, K, C, device=frames.device)
    optional = [landmark_jitter, groups, stretch, moved, camera, shift, *(noise or (None, None)), lost, flat]
    small = [mirrored, mirror, *optional]
    given = [tensor if tensor is None else tensor.contiguous() for tensor in (first, second, share, mask, *small)]
    G = 0 if moved is None else moved.shape[2]
    _augment[B, triton.cdiv(T * K, BLOCK)](frames, *given, out, T, K, C, G, BLOCK)
    return out
