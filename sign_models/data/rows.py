"""Random numbers for some rows of a batch: what these rows would get in the whole.

So a process that computes its share of a batch varies and hides what one process for all of it would have.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RngSlice:
    """Rows of a step's batch: `before` others stand before them, `after` others behind. Draws from torch's global
    generator, which the caller has seeded for the step."""

    before: int = 0
    after: int = 0

    def rand(self, B: int, *shape: int, device: torch.device) -> Tensor:
        """(B, *shape), uniform in [0, 1)."""
        return self._mine(torch.rand(self.before + B + self.after, *shape, device=device), B)

    def randn(self, B: int, *shape: int, device: torch.device) -> Tensor:
        """(B, *shape), normal."""
        return self._mine(torch.randn(self.before + B + self.after, *shape, device=device), B)

    def _mine(self, drawn: Tensor, B: int) -> Tensor:
        return drawn[self.before : self.before + B]


ALL = RngSlice()
