"""Any of the models, answering keypoint sequences as files and requests bring them.

B clips, T frames, S vectors, K landmarks, D width.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.models.translator import Translator

BATCH_FRAMES = 16_384  # padded frames at once


@dataclass(eq=False)
class _Question:
    """Normalised clips (T, K, 3) of one caller; answers: None until they are there."""

    clips: list[np.ndarray]
    options: tuple[int | None, int | None]  # beams, n_best
    answers: list[dict[str, Any]] | None = None

    @property
    def frames(self) -> int:
        return sum(map(len, self.clips))


class Predictor:
    """On a GPU where there is one. Full precision on the CPU, so that a clip's text does not depend on its batch.

    Threads may ask at once: one at a time uses the model, and answers those that wait for it in the same batch.
    """

    def __init__(self, model: nn.Module) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).eval()
        self._waiting: list[_Question] = []
        self._in_use = threading.Lock()

    def predict(
        self, sequences: Sequence[KeypointSequence], *, beams: int | None = None, n_best: int | None = None
    ) -> list[dict[str, Any]]:
        """One answer a sequence, in order.

        skeleton: {"distance"}, the mean distance in shoulder widths of the restored from the seen landmarks.
        temporal: {"representation": (S, D) as nested lists}. translator: {"text", "score"}, and {"n_best": [...]} where
        more than one text is asked for. DataError where a sequence cannot be normalised.
        """
        # half precision, as a corpus holds clips: the same clip gets the same answer
        clips = [normalise(sequence).astype(np.float16).astype(np.float32) for sequence in sequences]
        question = _Question(clips, (beams, n_best))
        self._waiting.append(question)
        with self._in_use:
            if question.answers is None:
                self._waiting.remove(question)
                self._answer_with_others(question)
        assert question.answers is not None
        return question.answers

    def _answer_with_others(self, first: _Question) -> None:
        """Answer `first` and those that wait with the same options, as far as one batch holds them.

        Where that fails only `first` fails: the others still wait, and ask for themselves.
        """
        together, frames = [first], first.frames
        for other in list(self._waiting):
            if other.options == first.options and frames + other.frames <= BATCH_FRAMES:
                together.append(other)
                frames += other.frames
        answers = iter(self._answers([clip for question in together for clip in question.clips], *first.options))
        for question in together:
            question.answers = [next(answers) for _ in question.clips]
        for other in together[1:]:
            self._waiting.remove(other)

    def _answers(self, clips: list[np.ndarray], beams: int | None, n_best: int | None) -> list[dict[str, Any]]:
        answers: dict[int, dict[str, Any]] = {}
        for places in _batches([len(clip) for clip in clips]):
            x, mask = pad([clips[i] for i in places], self.device)
            answers.update(zip(places, self._answer(x, mask, beams, n_best), strict=True))
        return [answers[i] for i in range(len(clips))]

    @torch.inference_mode()
    def _answer(self, x: Tensor, mask: Tensor, beams: int | None, n_best: int | None) -> list[dict[str, Any]]:
        model = self.model
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            if isinstance(model, Translator):
                y, kept = model(x, mask)
                wanted = replace(model.generation, beams=max(beams or model.generation.beams, n_best or 1))
                return [_texts(found, n_best) for found in model.translate(y, kept, wanted)]
            if isinstance(model, TemporalModel):
                y, kept = model.encode(x, mask)
                return [{"representation": r[m].float().tolist()} for r, m in zip(y, kept, strict=True)]
            assert isinstance(model, SkeletonModel)
            distance = (model(x, mask).float() - x[..., :2]).norm(dim=-1)
            weight = x[..., 2] * mask.unsqueeze(-1)
            mean = (distance * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-6)
            return [{"distance": d} for d in mean.tolist()]


def _texts(found: list, n_best: int | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"text": found[0].text, "score": found[0].score}
    if n_best is not None and n_best > 1:
        answer["n_best"] = [{"text": h.text, "score": h.score} for h in found[:n_best]]
    return answer


def pad(clips: list[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """(T_i, K, 3) arrays -> (B, T, K, 3) float32 and mask (B, T)."""
    lengths = torch.tensor([len(clip) for clip in clips])
    x = nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)
    return x.to(device), (torch.arange(x.shape[1]) < lengths.unsqueeze(1)).to(device)


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Places of clips of like length, at most BATCH_FRAMES padded frames together."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[place] * (len(batch) + 1) > BATCH_FRAMES:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
