"""Variation of training clips as batched operations on the device.

B batch, T frames, K landmarks. Coordinates are in shoulder widths from the middle of the shoulders.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from sign_models.data.rows import ALL, Rows
from sign_models.keypoints.layouts import CANONICAL, MIRROR, PARTS, PLACE


@cache
def _mirror(device: torch.device) -> tuple[Tensor, Tensor]:
    """Each landmark's place in the mirror, and the signs of x, y and confidence; once a device, for graphs."""
    # a copy: MIRROR itself is read-only, which torch warns of
    return torch.from_numpy(MIRROR.copy()).to(device), torch.tensor([-1.0, 1.0, 1.0], device=device)


def augment(
    x: Tensor,
    *,
    rotate: float,
    turn: float,
    shear: float,
    scale: float,
    translate: float,
    proportions: float,
    mirror: float,
    reach: float,
    place: float,
    build: float,
    drop_hand: float,
    noise: float,
    rows: Rows = ALL,
) -> Tensor:
    """x (B, T, K, 3) -> a varied copy, by what `rows` draws.

    Angles in degrees; params.schema.Augment says what each strength means. A clip is varied as a whole (camera,
    body), its hands each on their own (proportions, depth under a turned camera), noise and lost hands by frame.
    What is unseen comes out with coordinates of 0.
    """
    B, T, K, _ = x.shape
    x = x.clone()  # of which all that follows works in place: it is memory that this waits for

    def uniform(*shape: int, to: float = 1.0) -> Tensor:
        return (rows.rand(B, *shape, device=x.device) * 2 - 1) * to

    if mirror:
        chosen = (rows.rand(B, device=x.device) < mirror).view(B, 1, 1, 1)
        places, sign = _mirror(x.device)
        x.copy_(torch.where(chosen, x[:, :, places] * sign, x))
    xy, seen = x[..., :2], x[..., 2:]
    if reach or place:
        _move_arms(xy, seen, uniform, reach, place)
    if build:
        xy += rows.randn(B, 1, K, 2, device=x.device) * _sizes(x.device) * build
    if proportions or turn:
        _move_hands(xy, uniform, proportions, turn)
    if rotate or turn or shear or scale:
        angle = uniform(1, 1, to=math.radians(rotate))
        lean = uniform(1, 1, to=shear)
        wide, high = 1 + uniform(1, 1, to=scale), 1 + uniform(1, 1, to=scale)
        wide = wide * uniform(1, 1, to=math.radians(turn)).cos()
        cos, sin = angle.cos(), angle.sin()
        x_axis, y_axis = xy.unbind(-1)  # by hand: a product of matrices is slow at a width of 2, and in TF32 inexact
        turned = (x_axis * (cos * wide)).addcmul_(y_axis, lean - sin * wide)
        y_axis.mul_(cos * high).addcmul_(x_axis, sin * high)
        x_axis.copy_(turned)
    if translate:
        xy += uniform(1, 1, 2, to=translate)
    if noise:
        xy.addcmul_(rows.randn(*xy.shape, device=x.device), rows.rand(B, 1, 1, 1, device=x.device) * noise)
    if drop_hand:
        for part in ("left_hand", "right_hand"):
            lost = spans(B, T, rows.rand(B, 1, device=x.device) * drop_hand, 6, x.device, rows)
            seen[:, :, PARTS[part]] *= ~lost[..., None, None]
    xy *= seen > 0
    return x


ARMS = {"left": ("body.left_wrist", "body.left_elbow"), "right": ("body.right_wrist", "body.right_elbow")}
HAND_SIZE = 0.25  # of a shoulder width


@cache
def _sizes(device: torch.device) -> Tensor:
    """(K, 1): 1, and of a hand's landmarks HAND_SIZE."""
    sizes = torch.ones(len(CANONICAL), 1, device=device)
    for side in ARMS:
        sizes[PARTS[f"{side}_hand"]] = HAND_SIZE
    return sizes


def _move_arms(xy: Tensor, seen: Tensor, uniform: Callable[..., Tensor], reach: float, place: float) -> None:
    """In place: each hand moves more or less far, about another place, and takes its wrist along; its elbow goes half
    the way."""
    for side, (wrist, elbow) in ARMS.items():
        hand = PARTS[f"{side}_hand"]
        where, there = xy[:, :, hand.start], seen[:, :, hand.start] > 0
        mean = (where * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
        shift = (where - mean) * there * uniform(1, 2, to=reach) + uniform(1, 2, to=place)
        xy[:, :, hand] += shift.unsqueeze(2)
        xy[:, :, PLACE[wrist]] += shift
        xy[:, :, PLACE[elbow]] += shift / 2


def _move_hands(xy: Tensor, uniform: Callable[..., Tensor], proportions: float, turn: float) -> None:
    """In place: hands grow, stretch and, as they stand before the body, shift sideways when the camera turns."""
    for part in ("left_hand", "right_hand"):
        hand = xy[:, :, PARTS[part]]
        wrist = hand[:, :, :1].clone()
        stretch = 1 + uniform(1, 1, 2, to=proportions)
        shift = torch.cat([uniform(1, 1, 1, to=0.5 * math.sin(math.radians(turn))), uniform(1, 1, 1, to=0.0)], -1)
        hand.sub_(wrist).mul_(stretch).add_(wrist + shift)


def spans(B: int, T: int, share: Tensor, length: int, device: torch.device, rows: Rows = ALL) -> Tensor:
    """Hidden spans: (B, T) bool, about `share` (B, 1) of the frames True, in stretches of about `length` frames."""
    start = rows.rand(B, T, device=device) < share / length
    kernel = torch.ones(1, 1, length, device=device)
    covered = torch.nn.functional.conv1d(start.float().unsqueeze(1), kernel, padding=length - 1)[:, 0, :T]
    return covered > 0
