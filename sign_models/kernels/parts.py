"""models.skeleton.PartTokens.features as one kernel, where torch takes a dozen for each body part."""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from sign_models.keypoints.layouts import PARTS

ROWS = 8  # frames a program
ALIGNED = 8  # columns: a row of a product's operand then begins where the GPU can fetch it in one piece
WIDE = 128  # columns of the widest part at most


@triton.jit(do_not_specialize=["N"])
def _features(  # type: ignore[no-untyped-def]
    x, out, table, N, K: tl.constexpr, C: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr, COLUMNS: tl.constexpr,
    CONFIDENCE: tl.constexpr,
):  # fmt: skip
    """Write for each part (N, width): x and y of its landmarks, whether they are seen, its anchor's three, 1, zeros.

    x is (N, K, C). CONFIDENCE: in place of whether a landmark is seen, its confidence.
    """
    # one axis: of two Triton would let a warp go along frames first, whose landmarks lie far apart
    lane = tl.arange(0, ROWS * WIDE)
    n, j = tl.program_id(0).to(tl.int64) * ROWS + lane // WIDE, lane % WIDE
    row = table + tl.program_id(1) * COLUMNS
    first, count, anchor, scale = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    relative, mirrored, width, begin = tl.load(row + 4), tl.load(row + 5), tl.load(row + 6), tl.load(row + 7)
    inside = n < N
    frame = x + n * K * C
    anchor_x = tl.load(frame + anchor * C, inside, 0.0).to(tl.float32)
    anchor_y = tl.load(frame + anchor * C + 1, inside, 0.0).to(tl.float32)
    anchor_seen = tl.load(frame + anchor * C + 2, inside, 0.0).to(tl.float32)
    held = (anchor_seen > 0).to(tl.float32)
    place, tail = j < 2 * count, j - 3 * count
    landmark = frame + (first + tl.where(place, j // 2, j - 2 * count)) * C
    given = inside & (tail < 0)
    value = tl.load(landmark + tl.where(place, j % 2, 2), given, 0.0).to(tl.float32)
    seen = tl.load(landmark + 2, given, 0.0).to(tl.float32) > 0
    base = tl.where(j % 2 == 0, anchor_x, anchor_y)
    shape = tl.where(relative > 0, (value - base) * scale.to(tl.float32) * held, value)
    told = value if CONFIDENCE else seen.to(tl.float32)
    value = tl.where(place, tl.where(seen, shape, 0.0), told)
    value = tl.where(tail == 0, anchor_x * held, value)
    value = tl.where(tail == 1, anchor_y * held, value)
    value = tl.where(tail == 2, anchor_seen if CONFIDENCE else held, value)
    value = tl.where(tail == 3, 1.0, value)
    value = tl.where((mirrored > 0) & ((place & (j % 2 == 0)) | (tail == 0)), -value, value)
    to = out + begin.to(tl.int64) * N + n * width + j
    tl.store(to, value.to(out.dtype.element_ty), inside & (j < width))


@cache
def _table(device: torch.device, anchors: tuple[int, ...], scales: tuple[int, ...]) -> tuple[Tensor, list[int]]:
    """Row of each part that _features() reads; and where the columns of each part begin, with the end of the last."""
    rows, begins = [], [0]
    for (part, places), anchor, scale in zip(PARTS.items(), anchors, scales, strict=True):
        count = places.stop - places.start
        width = -(-(3 * count + 4) // ALIGNED) * ALIGNED
        rows.append([places.start, count, anchor, scale, part != "body", part == "left_hand", width, begins[-1]])
        begins.append(begins[-1] + width)
    return torch.tensor(rows, dtype=torch.int32, device=device), begins


def features(
    x: Tensor, anchors: tuple[int, ...], scales: tuple[int, ...], dtype: torch.dtype, confidence: bool = False
) -> list[Tensor]:
    """Compute PartTokens.features().

    Args:
        x: (B, T, K, C), of any float type.
        anchors: Anchor landmark of each part.
        scales: Scale of each part.
        dtype: Of the result.
        confidence: Whether confidences are read as they are.

    Returns:
        Features of the body (1, B, T, F), of both hands (2, B, T, F) and of the face (1, B, T, F). After them come a
        column of ones, for the bias of the layer, and zeros up to a multiple of ALIGNED columns.
    """
    B, T, K, C = x.shape
    table, begins = _table(x.device, anchors, scales)
    out = torch.empty(B * T * begins[-1], dtype=dtype, device=x.device)
    grid = (triton.cdiv(B * T, ROWS), len(PARTS))
    _features[grid](x.contiguous(), out, table, B * T, K, C, ROWS, WIDE, table.shape[1], confidence)
    groups = [(begins[0], begins[1]), (begins[1], begins[3]), (begins[3], begins[4])]
    counts = (1, 2, 1)
    return [out[a * B * T : b * B * T].view(n, B, T, -1) for (a, b), n in zip(groups, counts, strict=True)]
