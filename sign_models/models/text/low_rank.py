"""Changes of few weights that a frozen text model learns (LoRA)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """A change of few weights, none at first: weight + b a (Hu et al. 2021).

    It is one of torch's parametrizations, which any module with a matrix can have, and which torch merges. `peft` does
    no more here and is one package more.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        """Start with no change.

        Args:
            weight: (N, D), frozen.
            rank: Rows and columns of the matrices that are learned.
        """
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.b = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Add the change.

        Args:
            weight: (N, D).

        Returns:
            The changed weight (N, D).
        """
        return weight + self.b @ self.a


def add_low_rank(model: Any, rank: int) -> None:
    """Freeze a model but for a LowRank on each of its matrices, embeddings and output layer aside.

    Args:
        model: Changed in its place.
        rank: As in LowRank.
    """
    model.requires_grad_(False)
    output = model.get_output_embeddings()
    for module in [*model.modules()]:
        weight = getattr(module, "weight", None)
        if weight is not None and weight.ndim == 2 and module is not output and not isinstance(module, nn.Embedding):
            parametrize.register_parametrization(module, "weight", LowRank(weight, rank))
