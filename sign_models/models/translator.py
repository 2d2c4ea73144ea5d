"""Keypoints in, text out: the temporal model, the alignment model and the tokenizer as one.

B clips, S vectors, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sign_models.models.alignment import AlignmentModel
from sign_models.models.temporal import TemporalModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Hypothesis:
    """A text and its mean log probability a token."""

    text: str
    score: float


@dataclass(frozen=True)
class Generation:
    """How text is looked for; params.schema.Generation says what each value means."""

    beams: int
    max_length: int
    length_penalty: float
    ctc_weight: float


class Translator(nn.Module):
    """finetuned says that `temporal` is no longer the registered temporal model: its representations are not ours."""

    def __init__(
        self,
        temporal: TemporalModel,
        alignment: AlignmentModel,
        tokenizer: PreTrainedTokenizerBase,
        generation: Generation,
        finetuned: bool,
    ) -> None:
        super().__init__()
        self.temporal, self.alignment = temporal, alignment
        self.tokenizer, self.generation, self.finetuned = tokenizer, generation, finetuned

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, K, 3), mask (B, T) -> representations (B, S, D), their mask (B, S)."""
        return self.temporal.encode(x, mask)

    @torch.no_grad()
    def translate(
        self, representations: Tensor, mask: Tensor, generation: Generation | None = None
    ) -> list[list[Hypothesis]]:
        """-> for each clip its hypotheses, best first."""
        wanted = generation or self.generation
        tokens, scores = self.alignment.translate(
            representations,
            mask,
            beams=wanted.beams,
            max_length=wanted.max_length,
            length_penalty=wanted.length_penalty,
            ctc_weight=wanted.ctc_weight,
        )
        return [
            [Hypothesis(text, score) for text, score in zip(self.decode(t), s, strict=True)]
            for t, s in zip(tokens, scores, strict=True)
        ]

    def decode(self, tokens: list[list[int]]) -> list[str]:
        rows = [self.alignment.text.for_tokenizer(row) for row in tokens]
        return [text.strip() for text in self.tokenizer.batch_decode(rows, skip_special_tokens=True)]
