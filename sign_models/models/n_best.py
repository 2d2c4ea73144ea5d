"""Texts that were found for clips, and their order by what both heads say of them.

B clips, K texts of each, N texts, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sign_models.models.text import IGNORED


class NBest(NamedTuple):
    """N texts for the clips of a batch, with what each head says of them."""

    labels: Tensor  # (N, L) token ids of each, its end among them, IGNORED behind it
    clip_index: Tensor  # (N,) rising, the clip of each
    decoder_log_likelihood: Tensor  # (N,) by the text model, its end included
    ctc_log_likelihood: Tensor | None  # (N,) by CTC, where it was asked
    ctc_tokens: Sequence[list[int]] = ()  # what CTC alone reads of each clip
    ctc_tokens_score: Sequence[float] = ()  # as ctc.reading_score gives it

    def ranked(
        self, clips: int, ctc_weight: float, length_penalty: float
    ) -> tuple[list[list[list[int]]], list[list[float]]]:
        """The texts of each clip by the score of both heads.

        Args:
            clips: Of the batch.
            ctc_weight: Of CTC's log likelihood, 0 to 1; the text model's has the rest.
            length_penalty: Exponent of a text's length, which its log likelihood is divided by.

        Returns:
            For each clip its texts as token ids without their end, best first, and their scores.
        """
        lengths = (self.labels != IGNORED).sum(1)
        score = joint(self.decoder_log_likelihood, self.ctc_log_likelihood, ctc_weight) / lengths**length_penalty
        order = torch.argsort(score, descending=True, stable=True)
        texts: list[list[list[int]]] = [[] for _ in range(clips)]
        scores: list[list[float]] = [[] for _ in range(clips)]
        columns = (self.clip_index, self.labels, lengths, score)
        for clip, tokens, length, value in zip(*(column[order].tolist() for column in columns), strict=True):
            texts[clip].append(tokens[: length - 1])
            scores[clip].append(value)
        return texts, scores


def joint(decoder: Tensor, ctc: Tensor | None, ctc_weight: float) -> Tensor:
    """Log likelihoods of whole texts by both heads (Watanabe et al. 2017).

    Args:
        decoder: (N,) by the text model.
        ctc: (N,) by CTC; None: it was not asked.
        ctc_weight: Of CTC, 0 to 1.

    Returns:
        (N,).
    """
    if not ctc_weight or ctc is None:
        return decoder
    return (1 - ctc_weight) * decoder + ctc_weight * ctc


def padded_labels(rows: Sequence[list[int]], end: int) -> Tensor:
    """Labels of texts.

    Args:
        rows: Token ids of each.
        end: Id of the end.

    Returns:
        (N, L), each text with its end, IGNORED behind it.
    """
    lengths = torch.tensor([len(row) + 1 for row in rows])
    labels = torch.full((len(rows), int(lengths.max())), IGNORED)
    tokens = [token for row in rows for token in (*row, end)]
    labels[torch.arange(labels.shape[1]) < lengths.unsqueeze(1)] = torch.tensor(tokens)
    return labels


def searched_labels(tokens: Tensor, end: int, padding: int | None) -> tuple[Tensor, Tensor]:
    """Labels of what a search wrote.

    Args:
        tokens: (B, K, L) ids; a text is what stands before its first end, or all.
        end: Id of the end.
        padding: Id of padding, which is taken out of texts; None: there is none.

    Returns:
        (B, K, L + 1), each text with its end, IGNORED behind it; and whether any padding was in it (B, K).
    """
    before = (tokens == end).cumsum(-1) == 0
    kept = before if padding is None else before & (tokens != padding)
    count, place = kept.sum(-1, keepdim=True), torch.arange(tokens.shape[-1] + 1, device=tokens.device)
    labels = F.pad(tokens.gather(-1, (~kept).byte().argsort(dim=-1, stable=True)), (0, 1))
    labels = labels.masked_fill(place >= count, IGNORED).masked_fill(place == count, end)
    return labels, (kept != before).any(-1)


def first_of_alike(labels: Tensor) -> Tensor:
    """Find the texts that no earlier one of their clip equals.

    Args:
        labels: (B, K, L).

    Returns:
        (B, K) bool.
    """
    alike = (labels.unsqueeze(2) == labels.unsqueeze(1)).all(-1)
    return ~alike.tril(-1).any(-1)
