"""Beam search with a decoder that goes on by one token in every beam of every clip at once.

It finds the beams of transformers' `generate`, several times as fast: that runs the whole forward of a decoder for each
token, makes masks and positions anew, and copies the caches of all beams into their new order.
tests/models/test_beam.py holds both to the same beams.

B clips, K beams, S vectors, L tokens, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import torch
from torch import Tensor

LOG_ZERO = -1e9  # log probability of what may not be chosen


class Cache(Protocol):
    """What a decoder keeps between two tokens."""

    def reorder(self, parents: Tensor) -> None:
        """Let each beam go on from another one. parents: (B, K), which beam each of them was before."""


C = TypeVar("C", bound=Cache)


class Decoder(Protocol[C]):
    """What beam search asks of a decoder."""

    bos_id: int
    eos_id: int
    pad_id: int

    def start(self, encoded: Tensor, mask: Tensor, beams: int, max_length: int) -> C:
        """A cache for texts of clips.

        Args:
            encoded: (B, S, D).
            mask: (B, S) bool.
            beams: K, of each clip.
            max_length: Calls of step() at most.
        """
        ...

    def step(self, tokens: Tensor, cache: C) -> Tensor:
        """Go on by one token in every beam.

        Args:
            tokens: (B, K), that the beams have just taken.
            cache: What they wrote so far; takes the tokens in.

        Returns:
            Logits of their next tokens (B, K, V) float32.
        """
        ...


@torch.no_grad()
def beam_search(
    decoder: Decoder[C], encoded: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
) -> tuple[Tensor, Tensor]:
    """The best token sequences of each clip.

    As `generate` with early_stopping: a clip is done when as many beams have ended as there are; the best are those of
    the highest log likelihood over the number of tokens to the power of length_penalty.

    Args:
        decoder: What writes.
        encoded: (B, S, D), what it reads.
        mask: (B, S) bool.
        beams: K. One is greedy search.
        max_length: Tokens of a sequence at most.
        length_penalty: Exponent of the number of tokens.

    Returns:
        The token ids (B, K, L), best first, padding behind the end of each; and the log likelihood of each with its end
        (B, K).
    """
    B, K, device = len(encoded), beams, encoded.device
    cache = decoder.start(encoded, mask, K, max_length + 1)
    running = torch.full((B, K, max_length), decoder.pad_id, device=device)
    scores = torch.full((B, K), LOG_ZERO, device=device)
    scores[:, 0] = 0.0  # the beams are one at first
    done, done_scores, likelihoods = running.clone(), torch.full_like(scores, LOG_ZERO), torch.zeros_like(scores)
    ended = torch.zeros_like(scores, dtype=torch.bool)
    tokens = torch.full((B, K), decoder.bos_id, device=device)
    for step in range(max_length):
        log_p = decoder.step(tokens, cache).log_softmax(-1)
        V, last = log_p.shape[-1], step + 1 == max_length
        best, place = (log_p + scores.unsqueeze(-1)).flatten(1).topk(2 * K)  # enough to go on where half of them end
        came = place // V
        token = place - came * V
        ends = token == decoder.eos_id
        if last or device.type != "cpu" or bool(ends[:, :K].any()):
            full = ended.all(1, keepdim=True)
            finishing = (ends[:, :K] | last) & ~full
            score = torch.where(finishing, best[:, :K] / (step + 1) ** length_penalty, LOG_ZERO)
            likelihood = best[:, :K]
            if last:  # what is cut ends here
                cache.reorder(came[:, :K])
                closing = decoder.step(token[:, :K], cache).log_softmax(-1)[..., decoder.eos_id]
                likelihood = likelihood + closing.masked_fill(ends[:, :K], 0.0)
            texts = running.gather(1, came[:, :K, None].expand(-1, -1, max_length))
            texts[:, :, step] = token[:, :K]
            done_scores, kept = torch.cat([done_scores, score], 1).topk(K)
            done = torch.cat([done, texts], 1).gather(1, kept.unsqueeze(-1).expand_as(done))
            likelihoods = torch.cat([likelihoods, likelihood], 1).gather(1, kept)
            ended = torch.cat([ended, finishing], 1).gather(1, kept)
            if bool(ended.all()):
                break
        scores, kept = torch.where(ends, best + LOG_ZERO, best).topk(K)
        parents, tokens = came.gather(1, kept), token.gather(1, kept)
        cache.reorder(parents)
        running = running.gather(1, parents.unsqueeze(-1).expand_as(running))
        running[:, :, step] = tokens
    return done, likelihoods
