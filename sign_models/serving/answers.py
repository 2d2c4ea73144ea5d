"""A translator's answers as the page shows them: segments with times, a text, how sure it is, and other texts."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sign_models.keypoints.extractor import check_extractor
from sign_models.keypoints.sequence import KeypointSequence

UNSURE_BELOW = 0.5  # confidence
DEFAULT_FPS = 25.0  # of models that do not tell training's


class Predicting(Protocol):
    """What a serving.predictor.Predictor does."""

    def predict(
        self, sequences: list[KeypointSequence], *, n_best: int | None = None, windows: bool = False
    ) -> list[dict[str, Any]]:
        """Answer clips, as Predictor.predict().

        Args:
            sequences: The clips.
            n_best: Most texts of each. None: one.
            windows: Whether answers name the windows of a clip.

        Returns:
            One answer a clip, in order.
        """


@dataclass(frozen=True)
class Answering:
    """A translator and what is known of it.

    Attributes:
        extractor: Of the page's own frames.
        trained: Extractors of the training clips.
        fps: Frames a second of the training clips.
        longest_s: The longest segment that it reads at once, in seconds.
        strict: Whether clips of another extractor are refused.
    """

    predictor: Predicting
    extractor: str | None = None
    trained: Collection[str | None] = ()
    fps: float = DEFAULT_FPS
    longest_s: float = 10.0
    strict: bool = False

    def answer(self, clip: KeypointSequence, n_best: int = 1) -> dict[str, Any]:
        """Translate a clip.

        Args:
            clip: The clip.
            n_best: Most texts of it.

        Returns:
            {"segments": [...], "warning"}.

        Raises:
            DataError: The clip cannot be read, or is refused.
        """
        warning = check_extractor(clip, self.trained, strict=self.strict)
        [found] = self.predictor.predict([clip], n_best=n_best, windows=True)
        return {"segments": segments_of(found), "warning": warning}


def segments_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Segments of an answer, as {"start", "end", "text", "confidence", "unsure", "n_best"}.

    One whose text was rejected has a "guess" too.

    Other texts stand with a clip's only window: those of several windows are of the whole clip.

    Args:
        answer: Of Predictor.predict() with windows.

    Returns:
        A segment for each window.
    """
    windows = answer["windows"]
    others = answer.get("n_best", ())[1:] if len(windows) == 1 else ()
    return [
        {
            "start": w["start"],
            "end": w["end"],
            "text": w["text"],
            "confidence": confidence_of(w),
            "unsure": bool(w.get("unsure", not w["text"] or confidence_of(w) < UNSURE_BELOW)),
            "n_best": [{"text": h["text"], "confidence": _of_other(h, w)} for h in others],
            **({"guess": w["guess"]} if "guess" in w else {}),
        }
        for w in windows
    ]


def _of_other(other: Mapping[str, Any], best: Mapping[str, Any]) -> float:
    """How sure another text is: as much less than the best one as its score is less."""
    if best.get("confidence") is None:
        return confidence_of(other)
    return confidence_of(best) * math.exp(min(0.0, float(other["score"]) - float(best["score"])))


def confidence_of(found: Mapping[str, Any]) -> float:
    """How sure the model is of a text.

    Args:
        found: A window or text of an answer.

    Returns:
        In [0, 1]: the model's own confidence, else its mean probability a token, which is not calibrated.
    """
    if found.get("confidence") is not None:
        return float(found["confidence"])
    return math.exp(min(float(found["score"]), 0.0))
