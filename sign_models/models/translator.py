"""Keypoints in, text out: the temporal model, the alignment model and the tokenizer as one.

B clips, T frames, K landmarks, S vectors, D width.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sign_models.models.confidence import Confidence, evidence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sign_models.models.alignment import AlignmentModel
    from sign_models.models.pace import Pace
    from sign_models.models.temporal import TemporalModel
    from sign_models.models.text.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Hypothesis:
    """A text of a clip.

    Attributes:
        text: The text.
        score: Mean log probability a token.
        confidence: Calibrated probability that it is right. None where the model has none.
        evidence: Values of confidence.FEATURES. The best text of a clip has both, the others neither.
    """

    text: str
    score: float
    confidence: float | None = None
    evidence: tuple[float, ...] = field(default=(), compare=False)

    @property
    def sureness(self) -> float:
        """The confidence, else the mean probability a token, which is not calibrated. 0 of an empty text."""
        if not self.text:
            return 0.0
        return math.exp(min(self.score, 0.0)) if self.confidence is None else self.confidence


@dataclass(frozen=True)
class Generation:
    """How text is searched for. params.schema.GenerationParams documents each value.

    Attributes:
        beams: Hypotheses that the search keeps.
        max_length: Tokens of the longest text.
        length_penalty: Exponent of the length that a log likelihood is divided by.
        ctc_weight: Weight of the CTC score when ranking hypotheses.
        window: Frames of the longest training clip; longer clips are translated in windows.
        reject_below: Confidence below which no text is given.
        tempo: Of the signers, as a multiple of training's. None: told by what is read (models.pace).
    """

    beams: int
    max_length: int
    length_penalty: float
    ctc_weight: float
    window: int
    reject_below: float = 0.0
    tempo: float | None = None


class Translator(nn.Module):
    """A translator: what `alignment` registers.

    Attributes:
        temporal: Keypoints to representations.
        alignment: Representations to text.
        tokenizer: Between tokens and text.
        generation: How it searches by default.
        finetuned: Whether `temporal` was trained on in `alignment`. Its representations are then not the registered
            temporal model's.
        confidence: Fitted on held-out clips. None where there were too few.
        pace: Likewise. None: clips are read at the tempo that they have.
    """

    pace: Pace | None = None

    def __init__(
        self,
        temporal: TemporalModel,
        alignment: AlignmentModel,
        tokenizer: TextTokenizer | PreTrainedTokenizerBase,
        generation: Generation,
        finetuned: bool,
        confidence: Confidence | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            temporal: Keypoints to representations.
            alignment: Representations to text.
            tokenizer: Between tokens and text.
            generation: How to search by default.
            finetuned: See the attribute.
            confidence: See the attribute.
        """
        super().__init__()
        self.temporal, self.alignment = temporal, alignment
        self.tokenizer, self.generation, self.finetuned = tokenizer, generation, finetuned
        self.confidence = confidence

    @property
    def fps(self) -> float | None:
        """Frames a second of the clips that it reads. None: clips are read at their own rate."""
        return self.temporal.fps

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips.

        Args:
            x: (B, T, K, 3 or 4) normalised keypoints.
            mask: (B, T) bool, True where there is a frame.

        Returns:
            Representations (B, S, D), and their mask (B, S) bool.
        """
        return self.temporal.encode(x, mask)

    @torch.no_grad()
    def translate(
        self, representations: Tensor, mask: Tensor, generation: Generation | None = None, most: int | None = None
    ) -> list[list[Hypothesis]]:
        """Write texts of clips.

        Args:
            representations: (B, S, D), of forward().
            mask: (B, S) bool.
            generation: How to search. None: by `self.generation`.
            most: Hypotheses wanted of a clip. None: all.

        Returns:
            For each clip its hypotheses, best first.
        """
        wanted = generation or self.generation
        found = self.alignment.n_best(
            representations,
            mask,
            beams=wanted.beams,
            max_length=wanted.max_length,
            length_penalty=wanted.length_penalty,
            ask_ctc=bool(wanted.ctc_weight),
        )
        tokens, scores = found.ranked(len(mask), wanted.ctc_weight, wanted.length_penalty)
        texts = iter(
            self.decode([row for rows in tokens for row in rows[:most]])
        )  # a batch at once takes a tenth of the time
        told = zip(tokens, scores, mask.sum(1).tolist(), found.ctc_tokens, found.ctc_tokens_score, strict=True)
        return [self._hypotheses([*islice(texts, len(of[0][:most]))], *of) for of in told]

    def _hypotheses(
        self,
        texts: list[str],
        tokens: list[list[int]],
        scores: list[float],
        vectors: int,
        ctc_tokens: list[int],
        ctc: float,
    ) -> list[Hypothesis]:
        """texts: Of the first of `tokens`, as many as are wanted."""
        known = evidence(tokens, scores, vectors, ctc_tokens, ctc)
        sure = None if self.confidence is None else self.confidence(known)
        best = Hypothesis(texts[0], scores[0], sure, known)
        return [best, *(Hypothesis(text, score) for text, score in zip(texts[1:], scores[1:], strict=False))]

    def judge(self, best: Sequence[Hypothesis], reject_below: float) -> dict[str, Any]:
        """Say how sure a clip's texts are.

        A clip is as sure as its least sure window. An empty text is never sure.

        Args:
            best: The best text of each of its windows.
            reject_below: Confidence below which a text is unsure.

        Returns:
            {"confidence", "unsure"}; {} where the model has no calibrated confidence and nothing is to be rejected.
        """
        if self.confidence is None and not reject_below:
            return {}
        least = min((h.sureness for h in best), default=0.0)
        return {"confidence": least, "unsure": least < reject_below or not best or not all(h.text for h in best)}

    def decode(self, tokens: list[list[int]]) -> list[str]:
        """Turn tokens into texts.

        Args:
            tokens: The model's token ids of each text.

        Returns:
            The texts, without special tokens.
        """
        rows = [self.alignment.text.to_tokenizer_ids(row) for row in tokens]
        return [text.strip() for text in self.tokenizer.batch_decode(rows, skip_special_tokens=True)]


def join_windows(windows: Sequence[Sequence[Hypothesis]], frames: Sequence[int], most: int = 1) -> list[Hypothesis]:
    """Join the texts of a clip's windows.

    Args:
        windows: Hypotheses of each window, best first.
        frames: Frames of each window.
        most: Texts wanted.

    Returns:
        The `most` best texts of the clip, best first. A score is the mean of the windows' scores, weighted by their
        frames. A single window's hypotheses are returned as they are.
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


def refuse(answer: dict[str, Any]) -> dict[str, Any]:
    """Take the text out of an answer that is unsure.

    Args:
        answer: Of a clip or a window, with its text.

    Returns:
        The answer. Where it is unsure its text is "", and "guess" holds what it was.
    """
    return answer | {"text": "", "guess": answer["text"]} if answer.get("unsure") else answer


def describe_window(begin: int, end: int, fps: float | None, best: Hypothesis) -> dict[str, Any]:
    """A window of a clip as results show it.

    Args:
        begin: First frame.
        end: Frame after the last one.
        fps: Frames a second. None: unknown.
        best: What was translated.

    Returns:
        Frames, start and end in seconds (None without a frame rate), text and score.
    """
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
