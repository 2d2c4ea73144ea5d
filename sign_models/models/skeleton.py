"""The skeleton model: features of single frames, learned by restoring masked landmarks.

A frame is one token for each body part. B batch, T frames, K landmarks, C channels (x, y, confidence, and depth where
the corpus has it), P parts, D width.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sign_models.kernels import fused
from sign_models.keypoints.layouts import CANONICAL, PARTS, PLACE
from sign_models.models.blocks import ConvBlock, check_mask, mlp, norm

ANCHORS = {
    "body": PLACE["body.nose"],
    "left_hand": PLACE["left_hand.wrist"],
    "right_hand": PLACE["right_hand.wrist"],
    "face": PLACE["face.nose_tip"],
}
HAND_SCALE = 4  # a hand is about a quarter of a shoulder width: this brings it to about 1
SCALES = {"body": 1, "left_hand": HAND_SCALE, "right_hand": HAND_SCALE, "face": 1}
EMBEDDED_AS = {"body": "body", "left_hand": "hand", "right_hand": "hand", "face": "face"}
EMBEDDED = list(dict.fromkeys(EMBEDDED_AS.values()))


class PartTokens(nn.Module):
    """Landmarks to one token for each body part.

    A token is made of the part's shape relative to its anchor, the place of the anchor, and which landmarks are seen.
    The two hands share weights: the left one is mirrored first, so that both look alike. Depth, where there is any, is
    added after the first layer. Its weights begin at 0, so that a model that never saw depth ignores it.

    Attributes:
        reads_confidence: Whether confidences are read as they are. Only models of before 2026-11-30 do: confidence says
            more of the detector than of the signer, so later ones read whether it is above 0.
        mask_token: (P, D), stands for a masked part.
    """

    mirrored: Tensor

    def __init__(self, width: int, reads_confidence: bool = False) -> None:
        """Make the layers.

        Args:
            width: Width of a token, D.
            reads_confidence: See the attribute.
        """
        super().__init__()
        self.reads_confidence = reads_confidence
        self.register_load_state_dict_pre_hook(_migrate_weights)
        self.register_buffer("mirrored", torch.tensor([-1.0, 1.0]), persistent=False)
        self.embed, self.depth = nn.ModuleDict(), nn.ParameterDict()
        for part, places in PARTS.items():
            name = EMBEDDED_AS[part]
            if name not in self.embed:
                features = 3 * (places.stop - places.start) + 3
                self.embed[name] = nn.Sequential(
                    nn.Linear(features, 2 * width), nn.ReLU(), nn.Linear(2 * width, width, bias=False)
                )
                self.depth[name] = nn.Parameter(torch.zeros(2 * width, places.stop - places.start + 1))
        self.mask_token = nn.Parameter(torch.zeros(len(PARTS), width))  # stands for a masked part

    def forward(self, x: Tensor, masked_parts: Tensor | None = None) -> Tensor:
        """Embed the parts of each frame.

        Args:
            x: (B, T, K, C) normalised keypoints.
            masked_parts: (B, T, P) bool, True where mask_token stands for the part. None: nowhere.

        Returns:
            (B, T, P, D).
        """
        depths = self.depths(x) if x.shape[-1] > 3 else {}
        if x.is_cuda and fused():
            from sign_models.kernels import parts

            dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
            anchors, scales = tuple(ANCHORS.values()), tuple(SCALES.values())
            features = parts.features(x, anchors, scales, dtype, self.reads_confidence)
            alike = {name: [d for part, d in depths.items() if EMBEDDED_AS[part] == name] for name in EMBEDDED}
            tokens = [
                y
                for name, f in zip(EMBEDDED, features, strict=True)
                for y in self._embed(name, f, torch.stack(alike[name]) if depths else None)
            ]
        else:
            tokens = [self._embed(EMBEDDED_AS[part], f, depths.get(part)) for part, f in self.features(x).items()]
        out = torch.stack(tokens, 2)
        if masked_parts is not None:
            out = torch.where(masked_parts.unsqueeze(-1), self.mask_token.to(out.dtype), out)
        return out

    def _embed(self, name: str, features: Tensor, depth: Tensor | None) -> Tensor:
        """Embed features (..., F) and depth (..., n + 1) of a part -> (..., D)."""
        layers = cast(nn.Sequential, self.embed[name])
        first = cast(nn.Linear, layers[0])
        if features.shape[-1] == first.in_features:
            y = first(features)
        else:
            # what kernels.parts makes ends in a column of ones, which is the bias', and columns for no weight
            columns = torch.cat([first.weight, first.bias.unsqueeze(1)], 1)
            y = F.linear(features, F.pad(columns, (0, features.shape[-1] - columns.shape[1])))
        if depth is not None:
            y = y + F.linear(depth, self.depth[name])
        return cast(Tensor, layers[1:](y))

    def depths(self, x: Tensor) -> dict[str, Tensor]:
        """Depth of each part.

        Args:
            x: (B, T, K, 4) normalised keypoints with depth, in shoulder widths.

        Returns:
            By part, (B, T, n + 1): depth of its n landmarks behind its anchor (of the body: behind the shoulders), 0
            where it is not seen; then whether the frame has any depth.
        """
        x, made = x.float(), {}
        depth, seen = x[..., 3], x[..., 2] > 0
        known = (depth != 0).any(-1, keepdim=True)
        for part, places in PARTS.items():
            shape, there = depth[:, :, places], seen[:, :, places]
            if part != "body":
                anchor = slice(ANCHORS[part], ANCHORS[part] + 1)
                there = there & seen[:, :, anchor]
                shape = (shape - depth[:, :, anchor]) * SCALES[part]
            made[part] = torch.cat([shape * there, known], -1)
        return made

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Shape and place of each part.

        Args:
            x: (B, T, K, C) normalised keypoints, in shoulder widths.

        Returns:
            By part, (B, T, 3 n + 3): x and y of its n landmarks relative to its anchor; whether each is seen; x and y
            of the anchor; whether it is seen. Coordinates that are not seen are 0.
        """
        x, made = x.float(), {}
        for part, places in PARTS.items():
            xy, seen = x[:, :, places, :2], (x[:, :, places, 2:3] > 0).float()
            anchor_xy, anchor_seen = x[:, :, ANCHORS[part], :2], (x[:, :, ANCHORS[part], 2:3] > 0).float()
            told = (seen, anchor_seen)
            if self.reads_confidence:
                told = x[:, :, places, 2:3], x[:, :, ANCHORS[part], 2:3]
            shape = xy
            if part != "body":
                shape = (xy - anchor_xy.unsqueeze(2)) * SCALES[part] * anchor_seen.unsqueeze(2)
            if part == "left_hand":
                shape, anchor_xy = shape * self.mirrored, anchor_xy * self.mirrored
            made[part] = torch.cat(
                [(shape * seen).flatten(2), told[0].flatten(2), anchor_xy * anchor_seen, told[1]], -1
            )
        return made


def _migrate_weights(parts: PartTokens, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Read weights of before 2026-11-30: `mask_token` is `hidden` there; those of depth are absent and mean 0."""
    if (token := weights.pop(f"{prefix}hidden", None)) is not None:
        weights[f"{prefix}mask_token"] = token
    for name, weight in parts.depth.items():
        weights.setdefault(f"{prefix}depth.{name}", torch.zeros_like(weight))


class SkeletonModel(nn.Module):
    """Encoder of frames with a head that restores landmarks.

    Attributes:
        config: The arguments of the constructor, by name, for models.storage.
        width: Width of a frame's feature, D.
        fps: Frames a second of the clips that it is trained on and reads. None: clips are read at their own rate.
    """

    def __init__(
        self,
        part_width: int,
        width: int,
        layers: int,
        context: int,
        dropout: float,
        reads_confidence: bool = False,
        fps: float | None = None,
    ) -> None:
        """Make the layers.

        Args:
            part_width: Width of a part's token.
            width: Width of a frame's feature, D.
            layers: Residual blocks over time.
            context: Frames on each side that a block sees.
            dropout: Dropout of the blocks.
            reads_confidence: As in PartTokens.
            fps: See the attribute.
        """
        super().__init__()
        self.config: dict[str, Any] = {
            "part_width": part_width,
            "width": width,
            "layers": layers,
            "context": context,
            "dropout": dropout,
            "reads_confidence": reads_confidence,
            "fps": fps,
        }
        self.width, self.fps = width, fps
        self.parts = PartTokens(part_width, reads_confidence)
        self.mix = nn.Linear(len(PARTS) * part_width, width, bias=False)
        self.blocks = nn.ModuleList([ConvBlock(width, context, dropout) for _ in range(layers)])
        self.restore = mlp(width, 2 * len(CANONICAL), 2 * width)

    def encode(self, x: Tensor, mask: Tensor, masked_parts: Tensor | None = None) -> Tensor:
        """Encode frames.

        Args:
            x: (B, T, K, C) normalised keypoints.
            mask: (B, T) bool, True where there is a frame.
            masked_parts: (B, T, P) bool, parts that mask_token stands for. None: none.

        Returns:
            (B, T, D), 0 where there is no frame.

        Raises:
            ValueError: The mask is not bool (B, T).
        """
        check_mask(mask, x)
        y = self.mix(self.parts(x, masked_parts).flatten(2))
        for block in self.blocks:
            y = block(y, mask)
        return norm(y, mask)

    def forward(self, x: Tensor, mask: Tensor, masked_parts: Tensor | None = None) -> Tensor:
        """Encode frames and restore their landmarks.

        Args:
            x: (B, T, K, C) normalised keypoints.
            mask: (B, T) bool.
            masked_parts: (B, T, P) bool. None: none.

        Returns:
            Coordinates (B, T, K, 2), in shoulder widths.
        """
        restored = self.restore(self.encode(x, mask, masked_parts))
        return cast(Tensor, restored.unflatten(-1, (len(CANONICAL), 2)))
