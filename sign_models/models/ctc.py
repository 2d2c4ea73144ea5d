"""Connectionist temporal classification (Graves et al. 2006) that a CUDA graph can capture.

torch's own loss reads the lengths on the host. That waits for the GPU in every training step and cannot be captured.
This one is a scan over time that never leaves the device. B batch, S vectors, L tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_ZERO = -1e30  # log of nothing; finite, so that differences of it are numbers


def ctc_loss(
    log_p: Tensor, targets: Tensor, steps: Tensor, lengths: Tensor, *, blank: int, zero_infinity: bool
) -> Tensor:
    """Negative log likelihood of each text, as torch.nn.functional.ctc_loss with reduction "none".

    Args:
        log_p: (B, S, V) float32 log probabilities.
        targets: (B, L) int64 tokens, none of them `blank`.
        steps: (B,) vectors of each clip that count.
        lengths: (B,) tokens of each text that count.
        blank: Id of the blank.
        zero_infinity: Whether a text that is too long for its clip has loss 0 in place of infinity.

    Returns:
        (B,) float32, with a gradient for log_p.
    """
    if log_p.device.type == "cpu" or not torch.is_grad_enabled():  # where torch's loop is the faster one
        return F.ctc_loss(
            log_p.transpose(0, 1), targets, steps, lengths, blank=blank, reduction="none", zero_infinity=zero_infinity
        )
    loss: Tensor = Scan.apply(log_p, targets, steps, lengths, blank)
    return torch.where(loss.isinf(), 0.0, loss) if zero_infinity else loss


def reading_score(ctc: Tensor, mask: Tensor, blank: int) -> Tensor:
    """Mean log probability of CTC's first choice, over the vectors in which that is a token.

    Args:
        ctc: (B, S, V) log probabilities.
        mask: (B, S) bool, True where there is a vector.
        blank: CTC's.

    Returns:
        (B,). Where no vector has a token, over all vectors.
    """
    best, choice = ctc.max(-1)
    is_token = (choice != blank) & mask
    used = torch.where(is_token.any(1, keepdim=True), is_token, mask)
    return (best * used).sum(1) / used.sum(1).clamp(min=1)


class Scan(torch.autograd.Function):
    """CTC by one scan for both directions: backward is forward over the reversed clip and text."""

    @staticmethod
    def forward(ctx: Any, log_p: Tensor, targets: Tensor, steps: Tensor, lengths: Tensor, blank: int) -> Tensor:
        """Compute the loss of each text, and its gradient with it.

        Args:
            ctx: Keeps the gradient.
            log_p: (B, S, V) float32.
            targets: (B, L).
            steps: (B,).
            lengths: (B,).
            blank: Id of the blank.

        Returns:
            (B,), infinite where a text is too long for its clip.
        """
        B, S, _ = log_p.shape
        states = 2 * targets.shape[1] + 1
        place = torch.arange(states, device=log_p.device)
        last = 2 * lengths.unsqueeze(1)  # the state of the final blank
        tokens = torch.full((B, states), blank, device=log_p.device)
        tokens[:, 1::2] = targets
        emitted = log_p.gather(2, tokens.unsqueeze(1).expand(-1, S, -1))
        emitted = emitted.masked_fill((place > last).unsqueeze(1), LOG_ZERO)
        # what is reversed: time within each clip, states within each text
        time = torch.arange(S, device=log_p.device)
        back = (steps.unsqueeze(1) - 1 - time).clamp(min=0)
        turned = (last - place).clamp(min=0)
        reverse = emitted.gather(1, back.unsqueeze(2).expand_as(emitted))
        reverse = reverse.gather(2, turned.unsqueeze(1).expand_as(reverse)).masked_fill(
            (place > last).unsqueeze(1), LOG_ZERO
        )
        both = torch.cat([emitted, reverse])
        # a token may follow the one before the blank only if it is another
        skips = torch.cat([_skips(tokens, blank), _skips(tokens.gather(1, turned), blank)])
        state = torch.full((2 * B, states + 2), LOG_ZERO, device=log_p.device)  # two states before the first
        state[:, 2] = 0.0
        count = torch.cat([steps, steps])
        history = torch.empty(S, 2 * B, states, device=log_p.device)
        for t in range(S):
            came = torch.logaddexp(torch.logaddexp(state[:, 2:], state[:, 1:-1]), state[:, :-2] + skips)
            if t == 0:  # starts in the first blank or the first token
                came = torch.where(place < 2, 0.0, LOG_ZERO).expand(2 * B, -1)
            torch.add(came, both[:, t], out=history[t])
            state[:, 2:] = torch.where((t < count).unsqueeze(1), history[t], state[:, 2:])
        end = state[:B, 2:].gather(1, last).squeeze(1)
        before = state[:B, 2:].gather(1, (last - 1).clamp(min=0)).squeeze(1)
        likelihood = torch.where(lengths > 0, torch.logaddexp(end, before), end)
        possible = likelihood > LOG_ZERO / 2
        # log of the share of all paths that are in a state at a time: alpha + beta - emission - likelihood
        alpha, beta = history[:, :B].transpose(0, 1), history[:, B:].transpose(0, 1)
        beta = beta.gather(1, back.unsqueeze(2).expand_as(beta))
        beta = beta.gather(2, turned.unsqueeze(1).expand_as(beta))
        share = (alpha + beta - emitted - likelihood[:, None, None]).exp()
        there = (time < steps.unsqueeze(1)).unsqueeze(2) & (place <= last).unsqueeze(1) & possible[:, None, None]
        gradient = torch.zeros_like(log_p).scatter_add_(
            2, tokens.unsqueeze(1).expand_as(share), torch.where(there, -share, 0.0)
        )
        ctx.save_for_backward(gradient)
        return torch.where(possible, -likelihood, torch.inf)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradient of forward().

        Args:
            ctx: Holds the gradient.
            *outer: Gradient of the losses (B,), one tensor.

        Returns:
            Gradient of log_p (B, S, V); None for the other arguments.
        """
        (gradient,) = ctx.saved_tensors
        # an impossible text has no gradient, whatever comes from outside
        return gradient * torch.nan_to_num(outer[0])[:, None, None], None, None, None, None


def _skips(tokens: Tensor, blank: int) -> Tensor:
    """0 where a state may be reached from two before it, LOG_ZERO elsewhere: tokens (B, states) -> (B, states)."""
    before = F.pad(tokens, (2, 0), value=blank)[:, : tokens.shape[1]]
    return torch.where((tokens != blank) & (tokens != before), 0.0, LOG_ZERO)
