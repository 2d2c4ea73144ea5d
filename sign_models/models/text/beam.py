"""Beam search with a decoder that goes on by one token in every beam of every clip at once.

It finds the beams of transformers' `generate`, several times as fast: that runs the whole forward of a decoder for each
token, makes masks and positions anew, and copies the caches of all beams into their new order.
tests/models/test_beam.py holds both to the same beams.

B clips, K beams, S vectors, L tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sign_models.kernels.replay import Replay
from sign_models.models.text.decoding import DecoderWeights, IncrementalDecoder

LOG_ZERO = -1e9  # log probability of what may not be chosen
FEWEST = 64  # clips that a GPU is no slower with than with half as many


class Decoder(Protocol):
    """What beam search asks of a decoder."""

    bos_id: int
    eos_id: int
    pad_id: int

    def weights(self) -> DecoderWeights:
        """The weights as a step takes them.

        Returns:
            The parameters themselves, low-rank changes added, but for one product in place of three.
        """
        ...


@dataclass
class FinishedBeams:
    """The best texts of each clip that have ended, best first.

    Attributes:
        texts: (B, K, L) ids.
        scores: (B, K) log likelihoods over the length.
        likelihoods: (B, K) log likelihoods.
        filled: (B, K) bool, False in the place of a text that is still to come.
    """

    texts: Tensor
    scores: Tensor
    likelihoods: Tensor
    filled: Tensor

    @classmethod
    def none(cls, B: int, K: int, L: int, padding: int, device: torch.device) -> FinishedBeams:
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
        ending = ending & ~self.filled.all(1, keepdim=True)
        scores = torch.where(ending, scores, LOG_ZERO)
        scores, best = torch.cat([self.scores, scores], 1).topk(scores.shape[1])
        self.scores.copy_(scores)
        self.texts.copy_(torch.cat([self.texts, texts], 1).gather(1, best.unsqueeze(-1).expand_as(texts)))
        self.likelihoods.copy_(torch.cat([self.likelihoods, likelihoods], 1).gather(1, best))
        self.filled.copy_(torch.cat([self.filled, ending], 1).gather(1, best))

    def keep(self, clips: Tensor) -> None:
        """Forget all other clips.

        Args:
            clips: (N,) places of the clips that stay.
        """
        self.texts, self.scores = self.texts[clips], self.scores[clips]
        self.likelihoods, self.filled = self.likelihoods[clips], self.filled[clips]


class Search:
    """Beams of some clips, and what has ended of them. Its tensors stay where they are but for keep()."""

    def __init__(self, decoder: Decoder, encoded: Tensor, mask: Tensor, beams: int, lengths: list[float]) -> None:
        """Begin texts.

        Args:
            decoder: What writes.
            encoded: (B, S, D), what it reads.
            mask: (B, S) bool.
            beams: K.
            lengths: By tokens of a text less one, what its log likelihood is divided by.
        """
        B, device = len(encoded), encoded.device
        self.end, self.lengths = decoder.eos_id, torch.tensor(lengths, device=device)
        self.decoder = IncrementalDecoder(decoder.weights(), encoded, mask, beams, len(lengths) + 1)
        self.finished = FinishedBeams.none(B, beams, len(lengths), decoder.pad_id, device)
        self.running, self.scores = self.finished.texts.clone(), self.finished.scores.clone()
        self.scores[:, 0] = 0.0  # the beams are one at first
        self.tokens = torch.full((B, beams), decoder.bos_id, device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)  # of the next tokens in a text

    def advance(self) -> None:
        """Go on by one token. Without questions to a GPU, which replays it."""
        came, token, best = self._next()
        ends, K = token == self.end, self.scores.shape[1]
        if not token.is_cpu or bool(ends[:, :K].any()):
            self._end(came, token, best, best[:, :K], ends[:, :K])
        scores, kept = torch.where(ends, best + LOG_ZERO, best).topk(K)
        self.scores.copy_(scores)
        self.tokens.copy_(token.gather(1, kept))
        parents = came.gather(1, kept)
        self.decoder.reorder(parents)
        self.running.copy_(self._go_on(parents, self.tokens))
        self.place += 1

    def finish(self) -> None:
        """Take the last token, behind which every text is cut."""
        came, token, best = self._next()
        K = self.scores.shape[1]
        self.decoder.reorder(came[:, :K])
        behind = self.decoder.step(token[:, :K]).log_softmax(-1)[..., self.end]
        likelihood = best[:, :K] + behind.masked_fill(token[:, :K] == self.end, 0.0)
        self._end(came, token, best, likelihood, torch.ones_like(likelihood, dtype=torch.bool))

    def keep(self, clips: Tensor) -> None:
        """Forget all other clips.

        Args:
            clips: (N,) places of the clips that stay.
        """
        self.running, self.scores, self.tokens = self.running[clips], self.scores[clips], self.tokens[clips]
        self.finished.keep(clips)
        self.decoder.keep(clips)

    def _next(self) -> tuple[Tensor, Tensor, Tensor]:
        """The best tokens to go on with (B, 2 K): the beam that each is of, the token, the log likelihood."""
        log_p = self.decoder.step(self.tokens).log_softmax(-1)
        V, K = log_p.shape[-1], log_p.shape[1]
        best, place = (log_p + self.scores.unsqueeze(-1)).flatten(1).topk(2 * K)  # enough where half of them end
        came = place // V
        return came, place - came * V, best

    def _end(self, came: Tensor, token: Tensor, best: Tensor, likelihood: Tensor, ending: Tensor) -> None:
        K = ending.shape[1]
        texts = self._go_on(came[:, :K], token[:, :K])
        self.finished.add(texts, best[:, :K] / self.lengths[self.place], likelihood, ending)

    def _go_on(self, parents: Tensor, tokens: Tensor) -> Tensor:
        """Texts (B, K, L) of these beams with one token more."""
        texts = self.running.gather(1, parents.unsqueeze(-1).expand_as(self.running))
        return texts.index_copy_(2, self.place, tokens.unsqueeze(-1))


@torch.no_grad()
def beam_search(
    decoder: Decoder, encoded: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
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
    B, device = len(encoded), encoded.device
    search = Search(decoder, encoded, mask, beams, [(n + 1) ** length_penalty for n in range(max_length)])
    found, likelihoods = search.running.clone(), torch.zeros_like(search.scores)
    clips = torch.arange(B, device=device)
    advance = Replay(search.advance, device)
    fewest = 0 if device.type == "cpu" else FEWEST
    for _ in range(max_length - 1):
        advance()
        going = (~search.finished.filled.all(1)).nonzero().squeeze(1)  # waits for the device
        if not len(going):
            break
        if 2 * len(going) <= len(clips) > fewest:
            found[clips], likelihoods[clips] = search.finished.texts, search.finished.likelihoods
            clips = clips[going]
            search.keep(going)
            advance = Replay(search.advance, device)
    else:
        search.finish()
    found[clips], likelihoods[clips] = search.finished.texts, search.finished.likelihoods
    return found, likelihoods
