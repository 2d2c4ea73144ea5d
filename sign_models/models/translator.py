"""Keypoints in, text out: the temporal model, the alignment model and the tokenizer as one.

B clips, S vectors, D width.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sign_models.models.alignment import AlignmentModel
    from sign_models.models.temporal import TemporalModel


@dataclass(frozen=True)
class Hypothesis:
    """A text and its mean log probability a token."""

    text: str
    score: float


@dataclass(frozen=True)
class Generation:
    """How text is looked for, by params.schema.GenerationParams. window: frames of the longest clips
    that training saw; longer ones are translated in windows."""

    beams: int
    max_length: int
    length_penalty: float
    ctc_weight: float
    window: int


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
        """x (B, T, K, 3 or 4), mask (B, T) -> representations (B, S, D), their mask (B, S)."""
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


def join_windows(windows: Sequence[Sequence[Hypothesis]], frames: Sequence[int], most: int = 1) -> list[Hypothesis]:
    """The `most` best texts of a clip, of its windows' hypotheses, best first each; one window's are as they were.

    frames: of each window. A clip's score is the mean of its windows' scores, each of the weight of its frames.
    """
    if len(windows) == 1:
        return list(windows[0][:most])
    best, total = [Hypothesis("", 0.0)], sum(frames)
    for found, count in zip(windows, frames, strict=True):
        longer = (
            Hypothesis(_concatenate(a.text, b.text), a.score + b.score * count / total) for a in best for b in found
        )
        best = nlargest(most, longer, key=lambda h: h.score)
    return best


def describe_window(begin: int, end: int, fps: float | None, best: Hypothesis) -> dict[str, Any]:
    """A window of a clip, frames begin to end, as results name it; its seconds where the frame rate is known."""
    start, stop = (None if fps is None else round(frame / fps, 3) for frame in (begin, end))
    return {"frames": [begin, end], "start": start, "end": stop, "text": best.text, "score": best.score}


def _concatenate(first: str, second: str) -> str:
    """Two texts with a space between them, but for scripts that have none."""
    if not first or not second or _is_unspaced(first[-1]) or _is_unspaced(second[0]):
        return first + second
    return f"{first} {second}"


def _is_unspaced(character: str) -> bool:
    """Of Chinese or Japanese, or of their punctuation; Korean words have spaces between them."""
    return unicodedata.east_asian_width(character) in "WF" and "HANGUL" not in unicodedata.name(character, "")
