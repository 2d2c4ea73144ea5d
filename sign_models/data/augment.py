"""Variation of training clips as batched operations on the device.

B batch, T frames, K landmarks, C channels: x, y, confidence, and depth where the corpus has it. Coordinates are in
shoulder widths from the middle of the shoulders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from sign_models.data.rows import ALL, RngSlice
from sign_models.keypoints.layouts import CANONICAL, MIRROR, PARTS, PLACE

HANDS = PARTS["left_hand"], PARTS["right_hand"]
WRISTS = PLACE["body.left_wrist"], PLACE["body.right_wrist"]
ELBOWS = PLACE["body.left_elbow"], PLACE["body.right_elbow"]
HAND_SIZE = 0.25  # of a shoulder width


@dataclass
class Variation:
    """What is drawn for a batch; None where its strength is 0. Of two hands the left one comes first."""

    mirrored: Tensor | None = None  # (B,) bool
    arms: tuple[Tensor, Tensor] | None = None  # arm_reach and hand_shift (B, 1, 2 hands, 2)
    landmark_jitter: Tensor | None = None  # (B, 1, K, 2)
    hands: tuple[Tensor, Tensor] | None = None  # factors, and how far aside (B, 1, 2 hands, 2)
    camera: Tensor | None = None  # (B, 4): how much there is of x in x, y in x, x in y, y in y; with depth (B, 9):
    # then of depth in x, depth in y, x in depth, y in depth, depth in depth
    shift: Tensor | None = None  # (B, 1, 1, 2)
    noise: tuple[Tensor, Tensor] | None = None  # (B, T, K, 2 or 3), and its strength (B, 1, 1, 1)
    lost: Tensor | None = None  # (B, 2 hands, T) bool
    flat: Tensor | None = None  # (B,) bool: loses its depth


def sample_variation(
    B: int,
    T: int,
    device: torch.device,
    *,
    rotate: float,
    yaw: float,
    shear: float,
    scale: float,
    translate: float,
    limb_scale: float,
    mirror: float,
    arm_reach: float,
    hand_shift: float,
    landmark_jitter: float,
    drop_hand: float,
    noise: float,
    drop_depth: float,
    pitch: float,
    rows: RngSlice = ALL,
    deep: bool = False,
) -> Variation:
    """How B clips of T frames are varied, from `rows`; deep: with depth.

    Angles in degrees; params.schema.Augment says what each strength means. A clip is varied as a whole (camera,
    body), its hands each on their own (limb_scale, depth under a turned camera), noise and lost hands by frame.
    """
    K, variation = len(CANONICAL), Variation()
    # a clip's own numbers are scaled together at the end: many small kernels are what a GPU waits for
    raw, bounds = [torch.empty(0, B, device=device)], list[float]()

    def uniform(*wanted: tuple[int, float]) -> slice:
        for count, bound in wanted:
            raw.append(rows.rand(B, count, device=device).T)
            bounds.extend([bound] * count)
        return slice(len(bounds) - sum(count for count, _ in wanted), len(bounds))

    arms = hands = camera = shift = None
    if mirror:
        variation.mirrored = rows.rand(B, device=device) < mirror
    if arm_reach or hand_shift:
        arms = uniform(*((2, arm_reach), (2, hand_shift)) * 2)
    if landmark_jitter:
        variation.landmark_jitter = rows.randn(B, 1, K, 2, device=device) * _sizes(device) * landmark_jitter
    if limb_scale or yaw:
        depth = 0.5 * math.sin(math.radians(yaw))
        hands = uniform(*((2, limb_scale), (1, depth), (1, 0.0)) * 2)
    if rotate or yaw or shear or scale or (deep and pitch):
        camera = uniform((1, math.radians(rotate)), (1, shear), (1, scale), (1, scale), (1, math.radians(yaw)))
    if translate:
        shift = uniform((2, translate))
    pitched = uniform((1, math.radians(pitch))) if deep and camera else None
    if noise:
        variation.noise = (
            rows.randn(B, T, K, 3 if deep else 2, device=device),
            rows.rand(B, 1, 1, 1, device=device) * noise,
        )
    if drop_hand:
        starts = [_starts(B, T, rows.rand(B, 1, device=device) * drop_hand, 6, device, rows) for _ in HANDS]
        variation.lost = _covered(torch.stack(starts, 1), 6)
    if deep and drop_depth:
        variation.flat = rows.rand(B, device=device) < drop_depth

    numbers = (torch.cat(raw) * 2 - 1) * _column(tuple(bounds), device)
    if arms:
        variation.arms = _of_hands(numbers[arms])
    if hands:
        stretch, aside = _of_hands(numbers[hands])
        variation.hands = 1 + stretch, aside
    if camera:
        angle, lean, wide, high, away = numbers[camera]
        cos, sin, near, far = angle.cos(), angle.sin(), away.cos(), away.sin()
        of_depth: list[Tensor] = []
        if pitched:  # the camera turns around the body, and up or down, before it is rolled
            (up,) = numbers[pitched]
            of_depth = [(1 + wide) * far, (1 + high) * up.sin(), -far, -up.sin(), near * up.cos()]
            high = (1 + high) * up.cos() - 1
        wide, high = (1 + wide) * near, 1 + high
        variation.camera = torch.stack([cos * wide, lean - sin * wide, sin * high, cos * high, *of_depth], 1)
    if shift:
        variation.shift = numbers[shift].T.view(B, 1, 1, 2)
    return variation


@cache
def _column(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32, device=device).unsqueeze(1)


def _of_hands(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """(8, B): of each hand two kinds of x and y -> both kinds, (B, 1, 2 hands, 2)."""
    one, other = numbers.view(2, 2, 2, -1).permute(1, 3, 0, 2).unsqueeze(2)
    return one, other


def augment(x: Tensor, variation: Variation) -> Tensor:
    """x (B, T, K, C), varied in place: it is memory that this waits for. What is unseen gets coordinates of 0."""
    if variation.mirrored is not None:
        places, sign = in_mirror(x.device)
        x[..., :3] = torch.where(variation.mirrored.view(-1, 1, 1, 1), x[:, :, places, :3] * sign, x[..., :3])
        x[..., 3:] = torch.where(variation.mirrored.view(-1, 1, 1, 1), x[:, :, places, 3:], x[..., 3:])
    xy, seen, depth = x[..., :2], x[..., 2:3], x[..., 3:]
    if variation.arms:
        arm_reach, hand_shift = variation.arms
        for side, hand in enumerate(HANDS):
            first, mine = slice(hand.start, hand.start + 1), slice(side, side + 1)
            shift = _arms_shift(xy[:, :, first], seen[:, :, first] > 0, arm_reach[:, :, mine], hand_shift[:, :, mine])
            xy[:, :, hand] += shift
            xy[:, :, WRISTS[side]] += shift.squeeze(2)
            xy[:, :, ELBOWS[side]] += shift.squeeze(2) / 2
    if variation.landmark_jitter is not None:
        xy += variation.landmark_jitter
    if variation.hands:
        stretch, aside = variation.hands
        for side, hand in enumerate(HANDS):
            root, mine = xy[:, :, hand.start : hand.start + 1].clone(), slice(side, side + 1)
            xy[:, :, hand].sub_(root).mul_(stretch[:, :, mine]).add_(root + aside[:, :, mine])
    if variation.camera is not None:
        x_in_x, y_in_x, x_in_y, y_in_y, *of_depth = variation.camera[:, None, None].unbind(-1)
        x_axis, y_axis = xy.unbind(-1)  # by hand: a product of matrices is slow at a width of 2, and in TF32 inexact
        turned = (x_axis * x_in_x).addcmul_(y_axis, y_in_x)
        risen = (y_axis * y_in_y).addcmul_(x_axis, x_in_y)
        if of_depth:
            z_axis, known = depth.squeeze(-1), depth.squeeze(-1) != 0  # what has no depth gets none
            z_in_x, z_in_y, x_in_z, y_in_z, z_in_z = of_depth
            turned.addcmul_(z_axis, z_in_x)
            risen.addcmul_(z_axis, z_in_y)
            deeper = (z_axis * z_in_z).addcmul_(x_axis, x_in_z).addcmul_(y_axis, y_in_z)
            z_axis.copy_(deeper * known)
        x_axis.copy_(turned)
        y_axis.copy_(risen)
    if variation.shift is not None:
        xy += variation.shift
    if variation.noise:
        noise, strength = variation.noise
        xy.addcmul_(noise[..., :2], strength)
        if depth.shape[-1]:
            depth.addcmul_(noise[..., 2:] * (depth != 0), strength)
    if variation.lost is not None:
        for side, hand in enumerate(HANDS):
            seen[:, :, hand] *= ~variation.lost[:, side, :, None, None]
    xy *= seen > 0
    if depth.shape[-1]:
        if variation.flat is not None:
            depth *= ~variation.flat.view(-1, 1, 1, 1)
        depth *= seen > 0
    return x


def _arms_shift(root: Tensor, seen: Tensor, arm_reach: Tensor, hand_shift: Tensor) -> Tensor:
    """How far hands at root (B, T, hands, 2), seen (B, T, hands, 1), are moved: more or less far, about another place.

    They take their wrists along, and their elbows half the way."""
    mean = (root * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
    return (root - mean) * seen * arm_reach + hand_shift


def moves(roots: Tensor, variation: Variation) -> Tensor:
    """What of `arms` and `hands` changes from frame to frame, for kernels.variation: (B, T, 2 or 6, 2), in the order of
    groups(), to be added after a hand's factors. roots (B, T, 2 hands, 3): as gathered."""
    if variation.mirrored is not None:
        roots = torch.where(variation.mirrored.view(-1, 1, 1, 1), roots.flip(2) * in_mirror(roots.device)[1], roots)
    xy, seen = roots[..., :2], roots[..., 2:] > 0
    hands = shift = _arms_shift(xy, seen, *variation.arms) if variation.arms else torch.zeros_like(xy)
    if variation.hands:
        stretch, aside = variation.hands
        built = xy if variation.landmark_jitter is None else xy + variation.landmark_jitter[:, :, hand_roots(xy.device)]
        hands = built * (1 - stretch) + (shift + aside)
    return torch.cat([hands, shift, shift / 2], 2) if variation.arms else hands


@cache
def hand_roots(device: torch.device) -> Tensor:
    """(2,): each hand's first landmark."""
    return torch.tensor([hand.start for hand in HANDS], device=device)


@cache
def groups(device: torch.device) -> Tensor:
    """(K,): what moves as one: 0 and 1 the hands, 2 and 3 the body's wrists, 4 and 5 its elbows, 6 the rest."""
    found = torch.full((len(CANONICAL),), 6)
    for side, hand in enumerate(HANDS):
        found[hand], found[WRISTS[side]], found[ELBOWS[side]] = side, 2 + side, 4 + side
    return found.to(device)


@cache
def in_mirror(device: torch.device) -> tuple[Tensor, Tensor]:
    """Each landmark's place in the mirror, and the signs of x, y and confidence; once a device, for graphs."""
    # a copy: MIRROR itself is read-only, which torch warns of
    return torch.from_numpy(MIRROR.copy()).to(device), torch.tensor([-1.0, 1.0, 1.0], device=device)


@cache
def _sizes(device: torch.device) -> Tensor:
    """(K, 1): 1, and of a hand's landmarks HAND_SIZE."""
    sizes = torch.ones(len(CANONICAL), 1, device=device)
    for hand in HANDS:
        sizes[hand] = HAND_SIZE
    return sizes


def spans(B: int, T: int, share: Tensor, length: int, device: torch.device, rows: RngSlice = ALL) -> Tensor:
    """Hidden spans: (B, T) bool, about `share` (B, 1) of the frames True, in stretches of about `length` frames."""
    return _covered(_starts(B, T, share, length, device, rows), length)


def _starts(B: int, T: int, share: Tensor, length: int, device: torch.device, rows: RngSlice) -> Tensor:
    return rows.rand(B, T, device=device) < share / length


def _covered(starts: Tensor, length: int) -> Tensor:
    """starts (..., T) -> where one of the last `length` frames is a start. By sums up to a frame: a convolution of a
    shape that is new to cuDNN waits a third of a second for its plan."""
    until = starts.cumsum(-1)
    before = torch.nn.functional.pad(until, (length, 0))[..., : starts.shape[-1]]
    return until > before
