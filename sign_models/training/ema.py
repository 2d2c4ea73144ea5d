"""The exponential moving average of a training's weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    pass


class ExponentialMovingAverage:
    """Exponential moving average of the weights, whose memory grows with the number of updates, so that it forgets the
    random start. torch's AveragedModel reads its counter on the host, which waits for the GPU in every step."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module)
        self.decay = decay
        averaged = [*self.module.parameters()]
        self.share = torch.zeros((), device=averaged[0].device)  # of the current weights in the next average
        # one kernel that reads both and writes one: what a step with a weight decay of 1 along the weights comes to
        self.follow = torch.optim.SGD(averaged, lr=self.share, weight_decay=1.0, maximize=True, fused=True)
        for mean, current in zip(averaged, module.parameters(), strict=True):
            mean.grad = current.detach()

    def prepare(self, updates: int) -> None:
        """To be called before the update number `updates`, counted from 0."""
        self.share.fill_(1 - min(self.decay, (1 + updates) / (10 + updates)) if updates else 1.0)

    def update(self) -> None:
        """average += share * (weights - average)"""
        self.follow.step()
