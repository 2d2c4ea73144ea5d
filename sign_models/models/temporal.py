"""The temporal model: a video as a sequence of vectors, on top of the skeleton model.

B batch, T frames, S = ceil(T / stride) vectors, K landmarks, C channels, P parts, D width.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sign_models.keypoints.layouts import CANONICAL
from sign_models.models.attention import PackedSelfAttention
from sign_models.models.blocks import TransformerBlock, mlp, norm
from sign_models.models.rotary import Rotary
from sign_models.models.skeleton import SkeletonModel


class TemporalModel(nn.Module):
    """Encoder of videos: features of `stride` frames at a time, then transformer blocks.

    Two heads serve its training: one restores masked landmarks, one gives a vector of each clip for the contrast of
    views.

    Attributes:
        config: The arguments of the constructor, by name, for models.storage.
        width: Width of a vector, D.
        stride: Frames a vector.
        window: Frames of the longest training clip; longer clips are represented in windows.
        fps: Frames a second of the clips that it is trained on and reads. None: clips are read at their own rate.
    """

    def __init__(  # noqa: PLR0913 - as config.json has them, flat: models know no params
        self,
        skeleton: SkeletonModel,
        width: int,
        layers: int,
        heads: int,
        stride: int,
        dropout: float,
        window: int,
        fps: float | None = None,
    ) -> None:
        """Make the layers.

        Args:
            skeleton: Encoder of frames, which becomes part of this model.
            width: Width of a vector, D.
            layers: Transformer blocks.
            heads: Attention heads of a block.
            stride: Frames a vector.
            dropout: Dropout of the blocks.
            window: Frames of the longest clips that it is trained on.
            fps: See the attribute.
        """
        super().__init__()
        self.config: dict[str, Any] = {
            "skeleton": skeleton.config,
            "width": width,
            "layers": layers,
            "heads": heads,
            "stride": stride,
            "dropout": dropout,
            "window": window,
            "fps": fps,
        }
        self.skeleton, self.width, self.stride, self.window = skeleton, width, stride, window
        self.reduce = nn.Linear(stride * skeleton.width, width)
        self.rotary = Rotary(width // heads)
        self.blocks = nn.ModuleList([TransformerBlock(width, heads, dropout) for _ in range(layers)])
        self.restore = mlp(width, stride * 2 * len(CANONICAL), 2 * width)
        self.project = mlp(width, 128, width)  # for the two-view contrast

    @property
    def fps(self) -> float | None:
        """See the class."""
        return cast("float | None", self.config["fps"])

    @fps.setter
    def fps(self, fps: float | None) -> None:
        """Set the rate.

        Args:
            fps: See the class.
        """
        self.config["fps"] = fps

    def encode(self, x: Tensor, mask: Tensor, masked_parts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode clips.

        Args:
            x: (B, T, K, C) normalised keypoints.
            mask: (B, T) bool, True where there is a frame.
            masked_parts: (B, T, P) bool, parts that the mask token stands for. None: none.

        Returns:
            Representations (B, S, D), and their mask (B, S) bool.

        Raises:
            ValueError: The mask is not bool (B, T).
        """
        features = self.skeleton.encode(x, mask, masked_parts)
        if short := -x.shape[1] % self.stride:
            features, mask = F.pad(features, (0, 0, 0, short)), F.pad(mask, (0, short))
        mask = mask.unflatten(1, (-1, self.stride)).any(-1)
        y = self.reduce(features.unflatten(1, (-1, self.stride)).flatten(2))
        (B, S, _), within = y.shape, PackedSelfAttention(mask)
        cos, sin = (turn.repeat(within.clips, 1, 1, 1) for turn in self.rotary(S))
        y = y.reshape(-1, within.clips * S, self.width)
        for block in self.blocks:
            y = block(y, within, cos, sin)
        return norm(y).view(B, S, -1), mask

    def forward(self, x: Tensor, mask: Tensor, masked_parts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode clips for training.

        Args:
            x: (B, T, K, C) normalised keypoints.
            mask: (B, T) bool.
            masked_parts: (B, T, P) bool. None: none.

        Returns:
            Restored coordinates (B, T, K, 2) in shoulder widths; a vector of each clip (B, 128) of length 1.
        """
        y, kept = self.encode(x, mask, masked_parts)
        restored = self.restore(y).unflatten(-1, (self.stride, len(CANONICAL), 2)).flatten(1, 2)[:, : x.shape[1]]
        return restored, F.normalize(self.project(pool(y, kept)).float(), dim=-1)


def pool(y: Tensor, mask: Tensor) -> Tensor:
    """Mean of the vectors that the mask marks.

    Args:
        y: (B, S, D).
        mask: (B, S) bool.

    Returns:
        (B, D).
    """
    weight = mask.unsqueeze(-1).to(y.dtype)
    return (y * weight).sum(1) / weight.sum(1).clamp(min=1)


def contrast_loss(a: Tensor, b: Tensor, temperature: float = 0.1) -> tuple[Tensor, Tensor]:
    """InfoNCE in both directions (van den Oord et al. 2018; Radford et al. 2021) between two views of the same clips.

    Args:
        a: (B, D), vectors of length 1.
        b: (B, D), the same clips in another view.
        temperature: Similarities are divided by it.

    Returns:
        The loss; the share of clips of `a` whose nearest vector in `b` is their own.
    """
    logits = a @ b.T / temperature
    target = torch.arange(len(a), device=a.device)
    accuracy = (logits.argmax(1) == target).float().mean()
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2, accuracy
