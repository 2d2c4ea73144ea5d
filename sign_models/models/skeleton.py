"""The skeleton model: what a body looks like in one frame, learned by restoring hidden landmarks.

One token a body part a frame. B batch, T frames, K landmarks, P parts, D width.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sign_models.keypoints.layouts import CANONICAL, PARTS, PLACE
from sign_models.models.blocks import ConvBlock, check_mask, mlp, norm
from sign_models.processes import ALONE, Processes

ANCHORS = {
    "body": PLACE["body.nose"],
    "left_hand": PLACE["left_hand.wrist"],
    "right_hand": PLACE["right_hand.wrist"],
    "face": PLACE["face.nose_tip"],
}
HAND_SCALE = 4.0  # a hand is about a quarter of a shoulder width: this brings it to about 1
LANDMARK_SHARE = [
    1 / (places.stop - places.start) for places in PARTS.values() for _ in range(places.stop - places.start)
]
LANDMARK_ANCHOR = [ANCHORS[part] for part, places in PARTS.items() for _ in range(places.stop - places.start)]
VISIBLE_WEIGHT = 0.2  # of a landmark that was not hidden: restoring it is easy, but keeps the feature complete


class PartTokens(nn.Module):
    """Landmarks -> one token a body part: shape relative to the part's anchor, where the anchor is, confidences.

    The two hands share weights: the left one is mirrored first, so that both look alike.
    """

    mirrored: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mirrored", torch.tensor([-1.0, 1.0]), persistent=False)
        self.embed = nn.ModuleDict()
        for part, places in PARTS.items():
            name = "hand" if part.endswith("hand") else part
            if name not in self.embed:
                features = 3 * (places.stop - places.start) + 3
                self.embed[name] = nn.Sequential(
                    nn.Linear(features, 2 * width), nn.ReLU(), nn.Linear(2 * width, width, bias=False)
                )
        self.hidden = nn.Parameter(torch.zeros(len(PARTS), width))  # stands for a part that masking hides

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """x (B, T, K, 3); hidden (B, T, P) bool, True where the part may not be seen -> (B, T, P, D)."""
        tokens = []
        for part, places in PARTS.items():
            xy, seen = x[:, :, places, :2], x[:, :, places, 2:]
            anchor_xy, anchor_seen = x[:, :, ANCHORS[part], :2], x[:, :, ANCHORS[part], 2:]
            shape = xy
            if part != "body":
                scale = HAND_SCALE if part.endswith("hand") else 1.0
                shape = (xy - anchor_xy.unsqueeze(2)) * scale * (anchor_seen > 0).unsqueeze(2)
            if part == "left_hand":
                shape, anchor_xy = shape * self.mirrored, anchor_xy * self.mirrored
            features = torch.cat(
                [(shape * (seen > 0)).flatten(2), seen.flatten(2), anchor_xy * (anchor_seen > 0), anchor_seen], -1
            )
            tokens.append(self.embed["hand" if part.endswith("hand") else part](features))
        out = torch.stack(tokens, 2)
        if hidden is not None:
            out = torch.where(hidden.unsqueeze(-1), self.hidden.to(out.dtype), out)
        return out


class SkeletonModel(nn.Module):
    """Encoder of frames, and the head that restores landmarks from a frame's feature."""

    def __init__(self, part_width: int, width: int, layers: int, context: int, dropout: float) -> None:
        super().__init__()
        self.config = {
            "part_width": part_width,
            "width": width,
            "layers": layers,
            "context": context,
            "dropout": dropout,
        }
        self.width = width
        self.parts = PartTokens(part_width)
        self.mix = nn.Linear(len(PARTS) * part_width, width, bias=False)
        self.blocks = nn.ModuleList([ConvBlock(width, context, dropout) for _ in range(layers)])
        self.restore = mlp(width, 2 * len(CANONICAL), 2 * width)

    def encode(self, x: Tensor, mask: Tensor, hidden: Tensor | None = None) -> Tensor:
        """x (B, T, K, 3) normalised keypoints, mask (B, T) bool -> frame features (B, T, D)."""
        check_mask(mask, x)
        y = self.mix(self.parts(x, hidden).flatten(2))
        for block in self.blocks:
            y = block(y, mask)
        return norm(y)

    def forward(self, x: Tensor, mask: Tensor, hidden: Tensor | None = None) -> Tensor:
        """-> restored coordinates (B, T, K, 2), in shoulder widths."""
        return self.restore(self.encode(x, mask, hidden)).unflatten(-1, (len(CANONICAL), 2))


def restoration_loss(
    restored: Tensor,
    x: Tensor,
    mask: Tensor,
    hidden: Tensor,
    velocity_weight: float,
    among: Processes = ALONE,
) -> tuple[Tensor, Tensor]:
    """Huber loss on coordinates, on shape and on frame-to-frame motion, weighted by confidence.

    restored (B, T, K, 2), x (B, T, K, 3), mask (B, T), hidden (B, T, K) bool -> loss, and the mean distance of hidden
    landmarks in shoulder widths. Landmarks that were never seen and padded frames weigh nothing, visible ones little.
    Parts weigh the same, whatever their number of landmarks, and a hand's shape counts beside its place: it is small,
    and it is what carries the signs. Both are this process's share of what the whole batch has.
    """
    share, anchors = _landmarks(x.device)
    weight = x[..., 2] * mask.unsqueeze(-1) * torch.where(hidden, 1.0, VISIBLE_WEIGHT)
    error = restored.float() - x[..., :2]
    place = _mean(_huber(error, 0.1), weight * share, among)
    shape = _from_anchors(error, anchors) * HAND_SCALE
    loss = place + _mean(_huber(shape, 0.1), weight * weight[:, :, anchors] * share, among)
    if velocity_weight:
        motion = error[:, 1:] - error[:, :-1]
        seen_twice = weight[:, 1:] * weight[:, :-1]
        loss = loss + velocity_weight * _mean(_huber(motion, 0.05), seen_twice * share, among)
    with torch.no_grad():
        distance = _mean(error.norm(dim=-1), weight * hidden, among)
    return loss, distance


@cache
def _landmarks(device: torch.device) -> tuple[Tensor, Tensor]:
    """Each landmark's share of its part's weight, and its part's anchor; once a device."""
    return torch.tensor(LANDMARK_SHARE, device=device), torch.tensor(LANDMARK_ANCHOR, device=device)


def _from_anchors(error: Tensor, anchors: Tensor) -> Tensor:
    """(B, T, K, 2) less that of each part's anchor."""
    # the gradient of the same few landmarks, picked again and again, is slow on a GPU
    return from_anchors_by_part(error) if error.is_cuda else error - error[:, :, anchors]


def from_anchors_by_part(error: Tensor) -> Tensor:
    sizes = [places.stop - places.start for places in PARTS.values()]
    own = [ANCHORS[part] - places.start for part, places in PARTS.items()]
    return torch.cat([part - part[:, :, i : i + 1] for part, i in zip(error.split(sizes, 2), own, strict=True)], 2)


def _huber(error: Tensor, beta: float) -> Tensor:
    """(..., 2) -> (...): squared below `beta`, linear above."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none").sum(-1)


def _mean(values: Tensor, weight: Tensor, among: Processes) -> Tensor:
    return (values * weight).sum() / among.total(weight.sum()).clamp(min=1e-6)
