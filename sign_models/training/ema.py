"""Exponential moving average of a model's weights during training."""

from __future__ import annotations

import copy

import torch
from torch import nn


class ExponentialMovingAverage:
    """Exponential moving average of weights.

    Its decay rises with the number of updates, so that the random start is forgotten. torch's AveragedModel reads its
    counter on the host, which waits for the GPU in every step.

    Attributes:
        module: A copy of the model, with the averaged weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Copy a model.

        Args:
            module: Whose weights are followed.
            decay: Of the average in the long run, in [0, 1).
        """
        self.module = copy.deepcopy(module)
        self.decay = decay
        averaged = [*self.module.parameters()]
        self.share = torch.zeros((), device=averaged[0].device)  # of the current weights in the next average
        # one kernel that reads both and writes one: what a step with a weight decay of 1 along the weights comes to
        self.follow = torch.optim.SGD(averaged, lr=self.share, weight_decay=1.0, maximize=True, fused=True)
        for mean, current in zip(averaged, module.parameters(), strict=True):
            mean.grad = current.detach()

    def prepare(self, updates: int) -> None:
        """Set the decay of the next update. Call it before the step, outside of any captured graph.

        Args:
            updates: Updates made so far.
        """
        self.share.fill_(1 - min(self.decay, (1 + updates) / (10 + updates)) if updates else 1.0)

    def update(self) -> None:
        """Move the average towards the weights: average += share * (weights - average)."""
        self.follow.step()
