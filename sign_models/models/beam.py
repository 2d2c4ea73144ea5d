"""Beam search with a decoder that goes on by one token in every beam of every clip at once.

It finds the beams of transformers' `generate`, several times as fast: that runs the whole forward of a decoder for each
token, makes masks and positions anew, and copies the caches of all beams into their new order.
tests/models/test_beam.py holds both to the same beams.

B clips, K beams, S vectors, L tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

LOG_ZERO = -1e9  # log probability of what may not be chosen


class Cache(Protocol):
    """What a decoder keeps between two tokens."""

    def reorder(self, parents: Tensor) -> None:
        """Let each beam go on from another one.

        Args:
            parents: (B, K), which beam each of them was before.
        """

    def keep(self, clips: Tensor) -> None:
        """Forget all other clips.

        Args:
            clips: (N,) places of the clips that stay.
        """


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

        Returns:
            The cache.
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


@dataclass
class Ended:
    """The best texts of each clip that have ended, best first.

    Attributes:
        texts: (B, K, L) ids.
        scores: (B, K) log likelihoods over the length.
        likelihoods: (B, K) log likelihoods.
        there: (B, K) bool, False in the place of a text that is still to come.
    """

    texts: Tensor
    scores: Tensor
    likelihoods: Tensor
    there: Tensor

    @classmethod
    def none(cls, B: int, K: int, L: int, padding: int, device: torch.device) -> Ended:
        """Of clips none of whose texts have ended yet.

        Args:
            B: Clips.
            K: Texts of each.
            L: Tokens of a text.
            padding: Token id of what is not written.
            device: Of the search.

        Returns:
            Places for the texts.
        """
        texts = torch.full((B, K, L), padding, device=device)
        scores = torch.full((B, K), LOG_ZERO, device=device)
        return cls(texts, scores, torch.zeros_like(scores), torch.zeros_like(scores, dtype=torch.bool))

    def add(self, texts: Tensor, scores: Tensor, likelihoods: Tensor, ending: Tensor) -> None:
        """Take in those of some texts that end, for clips that are not full.

        Args:
            texts: (B, K, L).
            scores: (B, K).
            likelihoods: (B, K).
            ending: (B, K) bool.
        """
        ending = ending & ~self.there.all(1, keepdim=True)
        scores = torch.where(ending, scores, LOG_ZERO)
        self.scores, best = torch.cat([self.scores, scores], 1).topk(scores.shape[1])
        self.texts = torch.cat([self.texts, texts], 1).gather(1, best.unsqueeze(-1).expand_as(texts))
        self.likelihoods = torch.cat([self.likelihoods, likelihoods], 1).gather(1, best)
        self.there = torch.cat([self.there, ending], 1).gather(1, best)

    def keep(self, clips: Tensor) -> None:
        """Forget all other clips.

        Args:
            clips: (N,) places of the clips that stay.
        """
        self.texts, self.scores = self.texts[clips], self.scores[clips]
        self.likelihoods, self.there = self.likelihoods[clips], self.there[clips]


@torch.no_grad()
def beam_search(
    decoder: Decoder[C], encoded: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
) -> tuple[Tensor, Tensor]:
    """The best token sequences of each clip.

    As `generate` with early_stopping: a clip is done when as many beams have ended as there are; the best are those of
    the highest log likelihood over the number of tokens to the power of length_penalty. Clips that are done leave the
    batch when they are half of it.

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
    ended = Ended.none(B, K, max_length, decoder.pad_id, device)
    running, scores = ended.texts.clone(), ended.scores.clone()
    found, likelihoods, clips = running.clone(), torch.zeros_like(scores), torch.arange(B, device=device)
    scores[:, 0] = 0.0  # the beams are one at first
    tokens = torch.full((B, K), decoder.bos_id, device=device)
    for step in range(max_length):
        log_p = decoder.step(tokens, cache).log_softmax(-1)
        V, last = log_p.shape[-1], step + 1 == max_length
        best, place = (log_p + scores.unsqueeze(-1)).flatten(1).topk(2 * K)  # enough to go on where half of them end
        came = place // V
        token = place - came * V
        ends = token == decoder.eos_id
        going = clips  # places of the clips that go on
        if last or device.type != "cpu" or bool(ends[:, :K].any()):
            likelihood = best[:, :K]
            if last:
                likelihood = likelihood + _cut(decoder, cache, came[:, :K], token[:, :K])
            texts = running.gather(1, came[:, :K, None].expand(-1, -1, max_length))
            texts[:, :, step] = token[:, :K]
            ended.add(texts, best[:, :K] / (step + 1) ** length_penalty, likelihood, ends[:, :K] | last)
            going = (~ended.there.all(1)).nonzero().squeeze(1)  # waits for the device
        retire = 2 * len(going) <= len(clips)
        if last or retire:
            found[clips], likelihoods[clips] = ended.texts, ended.likelihoods
            if last or not len(going):
                break
        scores, kept = torch.where(ends, best + LOG_ZERO, best).topk(K)
        parents, tokens = came.gather(1, kept), token.gather(1, kept)
        cache.reorder(parents)
        running = running.gather(1, parents.unsqueeze(-1).expand_as(running))
        running[:, :, step] = tokens
        if retire:
            clips, running, scores, tokens = clips[going], running[going], scores[going], tokens[going]
            ended.keep(going)
            cache.keep(going)
    return found, likelihoods


def _cut(decoder: Decoder[C], cache: C, parents: Tensor, tokens: Tensor) -> Tensor:
    """Log likelihood of an end behind the last tokens (B, K); 0 where they are ends. parents: (B, K), of the tokens."""
    cache.reorder(parents)
    log_p = decoder.step(tokens, cache).log_softmax(-1)
    return log_p[..., decoder.eos_id].masked_fill(tokens == decoder.eos_id, 0.0)
