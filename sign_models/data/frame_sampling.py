"""Which moments of clips a batch shows: time warping, dropped frames, linear interpolation between frames.

B batch, T frames of the batch, K landmarks, C channels, F frames of the corpus.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sign_models.data.rng import ALL, RngSlice

KNOT_FRAMES = 16  # a warped clip changes its speed about once in so many frames


class InterpolationIndex(NamedTuple):
    """Fractional frame positions.

    Attributes:
        first: (B, T) int64 frame of the corpus before the position.
        second: (B, T) int64 frame of the corpus after it.
        share: (B, T) how far the position is from the first to the second frame, in [0, 1).
        mask: (B, T) bool, False where the batch is padded.
    """

    first: Tensor
    second: Tensor
    share: Tensor
    mask: Tensor


def interpolation_index(offsets: Tensor, frames: Tensor, where: Tensor, lengths: Tensor) -> InterpolationIndex:
    """Look up the frames around fractional positions.

    Args:
        offsets: (B,) first frame of each clip in the corpus.
        frames: (B,) frames of each clip.
        where: (B, T) positions within the clips, in [0, frames - 1].
        lengths: (B,) how many of the positions count. The others are padding.

    Returns:
        The frames before and after each position.
    """
    last, begin = (frames - 1).unsqueeze(1), offsets.unsqueeze(1)
    mask = torch.arange(where.shape[1], device=where.device) < lengths.unsqueeze(1)
    low = where.floor()
    first = low.long().clamp(min=0).minimum(last)
    return InterpolationIndex(begin + first, begin + (first + 1).minimum(last), where - low, mask)


def interpolate(x: Tensor, y: Tensor, at: InterpolationIndex) -> Tensor:
    """Interpolate linearly between frames. A landmark seen in one of them only keeps its place there.

    Args:
        x: (B, T, ..., C) float32, the first frames. They are overwritten.
        y: (B, T, ..., C) float32, the second frames. They are overwritten.
        at: The positions between them.

    Returns:
        `x`, with 0 where the batch is padded.
    """
    share, mask = at.share[..., None, None], at.mask[..., None, None]
    x_seen, y_seen = x[..., 2:3] > 0, y[..., 2:3] > 0
    share = torch.where(x_seen, share, (share > 0).float()) * y_seen
    return x.addcmul_(y.sub_(x), share).mul_(mask)


def warp_time(start: Tensor, span: Tensor, count: Tensor, length: int, tempo: float, rows: RngSlice = ALL) -> Tensor:
    """Spread positions over a window of each clip, at a speed that changes smoothly.

    Args:
        start: (B,) first position, in frames of the clip.
        span: (B,) length of the window, in frames.
        count: (B,) positions that cover the window. Later ones exceed it.
        length: Positions of a clip, T.
        tempo: Strength. The speed within a clip differs about half as much as that of whole clips, in logarithms.
        rows: Which rows of the step's batch the clips are.

    Returns:
        (B, T) rising positions. They are whole numbers where `tempo` is 0.
    """
    steps = torch.ones(len(start), length, device=start.device)
    if tempo:
        knots = rows.randn(len(start), 1, max(2, length // KNOT_FRAMES), device=start.device) * (math.log1p(tempo) / 2)
        steps = F.interpolate(knots, length, mode="linear", align_corners=True).squeeze(1).exp()
    where = steps.cumsum(1)
    where = where - where[:, :1]
    end = where.gather(1, (count - 1).unsqueeze(1)).clamp(min=1e-6)
    where = start.unsqueeze(1) + where / end * (span - 1).clamp(min=0).unsqueeze(1)
    return where if tempo else where.round()


def drop_frames(where: Tensor, count: Tensor, kept: Tensor, length: int, rows: RngSlice = ALL) -> Tensor:
    """Drop random positions of each clip. The first one stays.

    Args:
        where: (B, W) positions.
        count: (B,) how many of them count.
        kept: (B,) how many of those stay.
        length: Positions of a clip afterwards, T.
        rows: Which rows of the step's batch the clips are.

    Returns:
        (B, T) positions in their order, of which the first `kept` count.
    """
    B, W = where.shape
    counts = torch.arange(W, device=where.device) < count.unsqueeze(1)
    chance = rows.rand(B, W, device=where.device)
    chance[:, 0] = -1.0
    chance = torch.where(counts, chance, 2.0)
    dropped = chance > chance.sort(1).values.gather(1, (kept - 1).unsqueeze(1))
    order = torch.argsort(dropped.byte(), dim=1, stable=True)
    return where.gather(1, order[:, :length])
