"""Augmentation of training clips as batched operations on the device.

B batch, T frames, K landmarks, C channels: x, y, confidence, and depth where the corpus has it. Coordinates are in
shoulder widths from the middle of the shoulders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sign_models.data.rng import ALL, RngSlice
from sign_models.keypoints.layouts import CANONICAL, MIRROR, PARTS, PLACE

if TYPE_CHECKING:
    from sign_models.params.schema import Augment

HANDS = PARTS["left_hand"], PARTS["right_hand"]
WRISTS = PLACE["body.left_wrist"], PLACE["body.right_wrist"]
ELBOWS = PLACE["body.left_elbow"], PLACE["body.right_elbow"]
HAND_JITTER = 0.25  # jitter of a hand's landmarks, as a share of that of the others
DROP_SPAN_FRAMES = 6  # length of a span in which a hand is dropped


@dataclass
class Augmentation:
    """Random numbers by which a batch is augmented. None: not augmented in this way. The left hand comes first.

    Attributes:
        mirrored: (B,) bool, whether left and right are swapped.
        arms: Factor of each hand's distance from its mean position, less 1, and shift of that position, (B, 1, 2, 2)
            each.
        landmark_jitter: (B, 1, K, 2) offset of each landmark.
        hands: Factor of each hand's size, and its shift as the camera turns, (B, 1, 2, 2) each.
        camera: (B, 4) or, with depth, (B, 9) entries of a linear map: x to x, y to x, x to y, y to y, then depth to x,
            depth to y, x to depth, y to depth, depth to depth.
        shift: (B, 1, 1, 2) offset of the whole body.
        noise: (B, T, K, 2 or 3) standard normal noise, and its standard deviation (B, 1, 1, 1).
        lost: (B, 2, T) bool, whether a hand is dropped.
        flat: (B,) bool, whether depth is dropped.
    """

    mirrored: Tensor | None = None
    arms: tuple[Tensor, Tensor] | None = None
    landmark_jitter: Tensor | None = None
    hands: tuple[Tensor, Tensor] | None = None
    camera: Tensor | None = None
    shift: Tensor | None = None
    noise: tuple[Tensor, Tensor] | None = None
    lost: Tensor | None = None
    flat: Tensor | None = None


def sample_augmentation(
    B: int, T: int, device: torch.device, strengths: Augment, rows: RngSlice = ALL, has_depth: bool = False
) -> Augmentation:
    """Sample how clips are augmented.

    Camera, body and arms are sampled once a clip, noise and dropped hands once a frame. Tempo and dropped frames are
    not sampled here (data.moments).

    Args:
        B: Clips.
        T: Frames.
        device: Where the numbers are used.
        strengths: Largest changes, in degrees, shoulder widths and shares.
        rows: Which rows of the step's batch the clips are.
        has_depth: Whether the clips have depth.

    Returns:
        The sampled numbers.
    """
    s, K, sampled = strengths, len(CANONICAL), Augmentation()
    clip_numbers = _UniformNumbers(B, device, rows)
    uniform = clip_numbers.sample
    arms = hands = camera = shift = None
    if s.mirror:
        sampled.mirrored = rows.rand(B, device=device) < s.mirror
    if s.arm_reach or s.hand_shift:
        arms = uniform(*((2, s.arm_reach), (2, s.hand_shift)) * 2)
    if s.landmark_jitter:
        sampled.landmark_jitter = rows.randn(B, 1, K, 2, device=device) * _jitter_scale(device) * s.landmark_jitter
    if s.limb_scale or s.yaw:
        hand_depth = 0.5 * math.sin(math.radians(s.yaw))
        hands = uniform(*((2, s.limb_scale), (1, hand_depth), (1, 0.0)) * 2)
    if s.rotate or s.yaw or s.shear or s.scale or (has_depth and s.pitch):
        roll, yaw = (1, math.radians(s.rotate)), (1, math.radians(s.yaw))
        camera = uniform(roll, (1, s.shear), (1, s.scale), (1, s.scale), yaw)
    if s.translate:
        shift = uniform((2, s.translate))
    pitch = uniform((1, math.radians(s.pitch))) if has_depth and camera else None
    if s.noise:
        noise = rows.randn(B, T, K, 3 if has_depth else 2, device=device)
        sampled.noise = noise, rows.rand(B, 1, 1, 1, device=device) * s.noise
    if s.drop_hand:
        sampled.lost = _dropped_hands(B, T, s.drop_hand, device, rows)
    if has_depth and s.drop_depth:
        sampled.flat = rows.rand(B, device=device) < s.drop_depth

    numbers = clip_numbers.scaled()
    if arms:
        sampled.arms = _per_hand(numbers[arms])
    if hands:
        size_change, hand_offset = _per_hand(numbers[hands])
        sampled.hands = 1 + size_change, hand_offset
    if camera:
        sampled.camera = _camera(numbers[camera], numbers[pitch] if pitch else None)
    if shift:
        sampled.shift = numbers[shift].T.view(B, 1, 1, 2)
    return sampled


def _dropped_hands(B: int, T: int, share: float, device: torch.device, rows: RngSlice) -> Tensor:
    """Sample spans in which hands are dropped, (B, 2, T) bool. share: of the frames at most."""
    starts = [_span_starts(B, T, rows.rand(B, 1, device=device) * share, DROP_SPAN_FRAMES, device, rows) for _ in HANDS]
    return _extend(torch.stack(starts, 1), DROP_SPAN_FRAMES)


class _UniformNumbers:
    """Uniform numbers of clips, scaled all at once: a GPU would wait for many small kernels."""

    def __init__(self, B: int, device: torch.device, rows: RngSlice) -> None:
        self.B, self.device, self.rows = B, device, rows
        self.raw = [torch.empty(0, B, device=device)]
        self.bounds: list[float] = []

    def sample(self, *wanted: tuple[int, float]) -> slice:
        """Sample counts of numbers, each with its largest absolute value. Returns their rows in scaled()."""
        start = len(self.bounds)
        for count, bound in wanted:
            self.raw.append(self.rows.rand(self.B, count, device=self.device).T)
            self.bounds += [bound] * count
        return slice(start, len(self.bounds))

    def scaled(self) -> Tensor:
        """All numbers sampled so far, (N, B)."""
        return (torch.cat(self.raw) * 2 - 1) * _column(tuple(self.bounds), self.device)


def _camera(numbers: Tensor, pitch: Tensor | None) -> Tensor:
    """Entries of the camera's linear map, as Augmentation.camera.

    Args:
        numbers: (5, B) roll, shear, change of width and of height, yaw. Angles in radians.
        pitch: (1, B) in radians. None: the clips have no depth.
    """
    roll, shear, width, height, yaw = numbers
    cos, sin, cos_yaw, sin_yaw = roll.cos(), roll.sin(), yaw.cos(), yaw.sin()
    of_depth: list[Tensor] = []
    if pitch is not None:  # the camera turns around the body, and up or down, before it is rolled
        (up,) = pitch
        of_depth = [(1 + width) * sin_yaw, (1 + height) * up.sin(), -sin_yaw, -up.sin(), cos_yaw * up.cos()]
        height = (1 + height) * up.cos() - 1
    width, height = (1 + width) * cos_yaw, 1 + height
    return torch.stack([cos * width, shear - sin * width, sin * height, cos * height, *of_depth], 1)


@cache
def _column(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32, device=device).unsqueeze(1)


def _per_hand(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Split (8, B): for each hand two kinds of x and y. Returns both kinds, (B, 1, 2 hands, 2) each."""
    first, second = numbers.view(2, 2, 2, -1).permute(1, 3, 0, 2).unsqueeze(2)
    return first, second


def augment(x: Tensor, augmentation: Augmentation) -> Tensor:
    """Augment clips in place, since the speed of this is that of memory.

    Args:
        x: (B, T, K, C) float32 clips. They are overwritten.
        augmentation: What to do.

    Returns:
        `x`. Coordinates of landmarks with confidence 0 are 0.
    """
    a = augmentation
    if a.mirrored is not None:
        places, sign = mirror_index(x.device)
        x[..., :3] = torch.where(a.mirrored.view(-1, 1, 1, 1), x[:, :, places, :3] * sign, x[..., :3])
        x[..., 3:] = torch.where(a.mirrored.view(-1, 1, 1, 1), x[:, :, places, 3:], x[..., 3:])
    xy, confidence, depth = x[..., :2], x[..., 2:3], x[..., 3:]
    if a.arms:
        arm_reach, hand_shift = a.arms
        for side, hand in enumerate(HANDS):
            root, mine = slice(hand.start, hand.start + 1), slice(side, side + 1)
            seen = confidence[:, :, root] > 0
            shift = _wrist_shift(xy[:, :, root], seen, arm_reach[:, :, mine], hand_shift[:, :, mine])
            xy[:, :, hand] += shift
            xy[:, :, WRISTS[side]] += shift.squeeze(2)
            xy[:, :, ELBOWS[side]] += shift.squeeze(2) / 2
    if a.landmark_jitter is not None:
        xy += a.landmark_jitter
    if a.hands:
        size, offset = a.hands
        for side, hand in enumerate(HANDS):
            wrist, mine = xy[:, :, hand.start : hand.start + 1].clone(), slice(side, side + 1)
            xy[:, :, hand].sub_(wrist).mul_(size[:, :, mine]).add_(wrist + offset[:, :, mine])
    if a.camera is not None:
        _turn_camera(xy, depth, a.camera)
    if a.shift is not None:
        xy += a.shift
    if a.noise:
        noise, strength = a.noise
        xy.addcmul_(noise[..., :2], strength)
        if depth.shape[-1]:
            depth.addcmul_(noise[..., 2:] * (depth != 0), strength)
    if a.lost is not None:
        for side, hand in enumerate(HANDS):
            confidence[:, :, hand] *= ~a.lost[:, side, :, None, None]
    xy *= confidence > 0
    if depth.shape[-1]:
        if a.flat is not None:
            depth *= ~a.flat.view(-1, 1, 1, 1)
        depth *= confidence > 0
    return x


def _turn_camera(xy: Tensor, depth: Tensor, camera: Tensor) -> None:
    """Apply the linear map `camera` to xy (B, T, K, 2) and depth (B, T, K, 0 or 1) in place."""
    x_in_x, y_in_x, x_in_y, y_in_y, *of_depth = camera[:, None, None].unbind(-1)
    x_axis, y_axis = xy.unbind(-1)  # by hand: a matrix product is slow at a width of 2, and inexact in TF32
    new_x = (x_axis * x_in_x).addcmul_(y_axis, y_in_x)
    new_y = (y_axis * y_in_y).addcmul_(x_axis, x_in_y)
    if of_depth:
        z_axis, known = depth.squeeze(-1), depth.squeeze(-1) != 0  # what has no depth gets none
        z_in_x, z_in_y, x_in_z, y_in_z, z_in_z = of_depth
        new_x.addcmul_(z_axis, z_in_x)
        new_y.addcmul_(z_axis, z_in_y)
        new_z = (z_axis * z_in_z).addcmul_(x_axis, x_in_z).addcmul_(y_axis, y_in_z)
        z_axis.copy_(new_z * known)
    x_axis.copy_(new_x)
    y_axis.copy_(new_y)


def _wrist_shift(root: Tensor, seen: Tensor, arm_reach: Tensor, hand_shift: Tensor) -> Tensor:
    """Shift of hands that move more or less far around another mean position. Elbows take half of it.

    Args:
        root: (B, T, hands, 2) positions.
        seen: (B, T, hands, 1) bool.
        arm_reach: (B, 1, hands, 2) factor of the distance from the mean position, less 1.
        hand_shift: (B, 1, hands, 2) shift of the mean position.
    """
    mean = (root * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
    return (root - mean) * seen * arm_reach + hand_shift


def hand_offsets(roots: Tensor, augmentation: Augmentation) -> Tensor:
    """Offsets by `arms` and `hands` that change from frame to frame, for kernels.variation.

    Args:
        roots: (B, T, 2, 3) first landmark of each hand, as gathered: x, y, confidence.
        augmentation: The augmentation of the batch.

    Returns:
        (B, T, G, 2) offsets to be added after the factors of hands: of the first G groups of `landmark_groups`. G is 6
        with `arms`, else 2.
    """
    a = augmentation
    if a.mirrored is not None:
        roots = torch.where(a.mirrored.view(-1, 1, 1, 1), roots.flip(2) * mirror_index(roots.device)[1], roots)
    xy, seen = roots[..., :2], roots[..., 2:] > 0
    offsets = shift = _wrist_shift(xy, seen, *a.arms) if a.arms else torch.zeros_like(xy)
    if a.hands:
        size, offset = a.hands
        jittered = xy if a.landmark_jitter is None else xy + a.landmark_jitter[:, :, hand_roots(xy.device)]
        offsets = jittered * (1 - size) + (shift + offset)
    return torch.cat([offsets, shift, shift / 2], 2) if a.arms else offsets


@cache
def hand_roots(device: torch.device) -> Tensor:
    """Index of each hand's first landmark, on the device.

    Args:
        device: Where the index is used.

    Returns:
        (2,) int64, the left hand first.
    """
    return torch.tensor([hand.start for hand in HANDS], device=device)


@cache
def landmark_groups(device: torch.device) -> Tensor:
    """Group of landmarks that move as one.

    Args:
        device: Where the groups are used.

    Returns:
        (K,) int64: 0 and 1 the left and right hand, 2 and 3 the body's wrists, 4 and 5 its elbows, 6 all others.
    """
    groups = torch.full((len(CANONICAL),), 6)
    for side, hand in enumerate(HANDS):
        groups[hand], groups[WRISTS[side]], groups[ELBOWS[side]] = side, 2 + side, 4 + side
    return groups.to(device)


@cache
def mirror_index(device: torch.device) -> tuple[Tensor, Tensor]:
    """How to mirror landmarks. Made once a device, so that CUDA graphs can use it.

    Args:
        device: Where the index is used.

    Returns:
        (K,) int64 index of the landmark on the other side, and (3,) signs of x, y and confidence.
    """
    # a copy: MIRROR itself is read-only, which torch warns of
    return torch.from_numpy(MIRROR.copy()).to(device), torch.tensor([-1.0, 1.0, 1.0], device=device)


@cache
def _jitter_scale(device: torch.device) -> Tensor:
    """(K, 1): HAND_JITTER for landmarks of hands, 1 for all others."""
    scale = torch.ones(len(CANONICAL), 1, device=device)
    for hand in HANDS:
        scale[hand] = HAND_JITTER
    return scale


def random_spans(B: int, T: int, share: Tensor, length: int, device: torch.device, rows: RngSlice = ALL) -> Tensor:
    """Sample spans of frames. Spans may overlap, so that somewhat less than the share is covered.

    Args:
        B: Clips.
        T: Frames.
        share: (B, 1) share of frames to cover.
        length: Length of a span, in frames.
        device: Where the spans are used.
        rows: Which rows of the step's batch the clips are.

    Returns:
        (B, T) bool, True within spans.
    """
    return _extend(_span_starts(B, T, share, length, device, rows), length)


def _span_starts(B: int, T: int, share: Tensor, length: int, device: torch.device, rows: RngSlice) -> Tensor:
    return rows.rand(B, T, device=device) < share / length


def _extend(starts: Tensor, length: int) -> Tensor:
    """Spans of `length` frames from starts (..., T) bool."""
    # By cumulative sums: cuDNN takes a third of a second to plan a convolution of a shape that it has not seen.
    until = starts.cumsum(-1)
    before = torch.nn.functional.pad(until, (length, 0))[..., : starts.shape[-1]]
    return until > before
