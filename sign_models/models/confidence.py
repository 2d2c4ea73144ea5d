"""What a translator has of evidence for a text, and the probability that the text is right, fitted on held-out clips.

No torch here: exported translators judge by it too. S vectors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

# score: mean log probability a token. total: of the whole text. margin: by how much that of the next best text is less.
# ctc: mean log probability of what CTC reads where it reads something. agreement: share of tokens that CTC and the text
# have in common. length: log of vectors a token.
FEATURES = ("score", "total", "margin", "ctc", "agreement", "length")
MAX_MARGIN = 10.0
MIN_TOTAL = -50.0


@dataclass(frozen=True)
class Confidence:
    """A logistic regression on FEATURES. Called with their values it gives the probability that a text is right.

    Attributes:
        mean: What is subtracted from each feature.
        scale: What it is then divided by.
        weights: Of the features so standardised.
        bias: Added.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def __call__(self, evidence: Sequence[float]) -> float:
        """The probability that a text is right.

        Args:
            evidence: Values of FEATURES, in their order.

        Returns:
            0 to 1.
        """
        named = zip(evidence, self.mean, self.scale, self.weights, strict=True)
        x = self.bias + sum(w * (value - mean) / scale for value, mean, scale, w in named)
        return 1 / (1 + math.exp(-x)) if x > -700 else 0.0

    def config(self) -> dict[str, Any]:
        """Describe it so that of() makes it again.

        Returns:
            Numbers by name and feature, for a model's config.json.
        """
        columns = {name: dict(zip(FEATURES, getattr(self, name), strict=True)) for name in ("mean", "scale", "weights")}
        return columns | {"bias": self.bias}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Confidence:
        """Read what config() gave.

        Args:
            config: Of config.json.

        Returns:
            The regression.

        Raises:
            KeyError: It knows other features.
        """
        names = ("mean", "scale", "weights")
        if any(config[name].keys() != {*FEATURES} for name in names):
            raise KeyError("features")
        columns: Any = {name: tuple(float(config[name][feature]) for feature in FEATURES) for name in names}
        return cls(**columns, bias=float(config["bias"]))


def evidence(
    tokens: Sequence[Sequence[int]], scores: Sequence[float], vectors: int, ctc_tokens: Sequence[int], ctc: float
) -> tuple[float, ...]:
    """Values of FEATURES for the best text of a clip.

    Args:
        tokens: Of its texts, best first, without their end.
        scores: Mean log probability a token of each text.
        vectors: S of the clip.
        ctc_tokens: Tokens that CTC alone reads.
        ctc: As `ctc.reading_score` gives it.

    Returns:
        Numbers in the order of FEATURES.
    """
    best, count = tokens[0], len(tokens[0]) + 1
    # a search that knew no other text tells nothing of how near another one is
    margin = min(MAX_MARGIN, (scores[0] - scores[1]) * count) if len(scores) > 1 else 0.0
    equal = [*best] == [*ctc_tokens]  # as most are: the matcher would take as long as the search
    alike = 1.0 if equal else SequenceMatcher(None, best, ctc_tokens, autojunk=False).ratio()
    total = max(MIN_TOTAL, scores[0] * count)
    return (max(MIN_TOTAL, scores[0]), total, margin, max(MIN_TOTAL, ctc), alike, math.log(vectors / count))
