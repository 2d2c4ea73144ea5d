"""Random numbers for a slice of a batch, equal to those that the slice gets in the whole batch.

So a process that computes its share of a batch augments and masks as a single process for the whole batch would.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RngSlice:
    """A slice of the rows of a step's batch. Samples from torch's global generator, seeded by the caller.

    Attributes:
        before: Rows of the batch before the slice.
        after: Rows of the batch after the slice.
    """

    before: int = 0
    after: int = 0

    def rand(self, B: int, *shape: int, device: torch.device) -> Tensor:
        """Sample uniformly from [0, 1).

        Args:
            B: Rows of the slice.
            *shape: Shape of a row.
            device: Device whose generator is used.

        Returns:
            (B, *shape) float32.
        """
        return self._slice(torch.rand(self.before + B + self.after, *shape, device=device), B)

    def randn(self, B: int, *shape: int, device: torch.device) -> Tensor:
        """Sample from the standard normal distribution.

        Args:
            B: Rows of the slice.
            *shape: Shape of a row.
            device: Device whose generator is used.

        Returns:
            (B, *shape) float32.
        """
        return self._slice(torch.randn(self.before + B + self.after, *shape, device=device), B)

    def _slice(self, numbers: Tensor, B: int) -> Tensor:
        return numbers[self.before : self.before + B]


ALL = RngSlice()
