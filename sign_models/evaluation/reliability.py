"""How far a system's confidence can be trusted, on texts with references and on clips without signing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sign_models.evaluation.calibration import (
    accepted,
    area_under_risk_coverage,
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from sign_models.evaluation.metrics import groundedness, right

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = ("coverage", "precision_accepted", "aurc", "ece", "groundedness", "false_accepts")


@dataclass(frozen=True)
class Reliability:
    """Shares in [0, 1], but for groundedness, which is in points of chrF.

    Attributes:
        coverage: Of the texts that are given: those that are sure enough.
        precision_accepted: Of those that are right (metrics.right); None where none is given.
        aurc: Mean share of wrong ones over all coverages; lower is better.
        ece: Expected calibration error; lower is better.
        groundedness: metrics.groundedness.
        false_accepts: Of clips without signing, those that a text is given for: the mean over their kinds. None where
            it was not measured.
        by_kind: The same of each kind.
        confidence, correct: Of each text, (N,).
        reject_below: Confidence from which on texts are given.
    """

    coverage: float
    precision_accepted: float | None
    aurc: float
    ece: float
    groundedness: float
    false_accepts: float | None
    by_kind: dict[str, float]
    reject_below: float
    confidence: np.ndarray = field(repr=False)
    correct: np.ndarray = field(repr=False)

    def metrics(self) -> dict[str, float]:
        """The figures alone.

        Returns:
            Those of FIGURES that there are, by name.
        """
        return {name: value for name in FIGURES if (value := getattr(self, name)) is not None}


def measure(
    hypotheses: Sequence[str],
    references: Sequence[str],
    confidence: Sequence[float],
    preset: str,
    reject_below: float,
    negatives: Mapping[str, Sequence[float]] | None = None,
) -> Reliability:
    """The reliability of a system.

    Args:
        hypotheses: Its texts, before any is rejected.
        references: What should stand there.
        confidence: Of each text, 0 of an empty one.
        preset: Of scoring.
        reject_below: Confidence below which no text is given. An empty text is never given.
        negatives: Confidences of the texts of clips without signing, by kind.

    Returns:
        Its figures.

    Raises:
        DataError: As `score` does.
    """
    correct = np.array(right(hypotheses, references, preset))
    least = max(reject_below, float(np.nextafter(0, 1)))
    sure = np.asarray(confidence, float)
    coverage, precision = accepted(sure, correct, least)
    by_kind = {kind: float((np.asarray(of) >= least).mean()) for kind, of in (negatives or {}).items() if len(of)}
    return Reliability(
        coverage,
        precision,
        area_under_risk_coverage(sure, correct),
        expected_calibration_error(sure, correct),
        groundedness(hypotheses, references, preset),
        float(np.mean([*by_kind.values()])) if by_kind else None,
        by_kind,
        reject_below,
        sure,
        correct,
    )


def diagram(found: Mapping[str, Reliability]) -> Figure:
    """Draw reliability diagrams, and curves of risk and coverage.

    Args:
        found: By name; each is a line.

    Returns:
        A matplotlib figure with two axes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right_side = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    for name, one in found.items():
        said, true, counts = zip(*reliability(one.confidence, one.correct), strict=True)
        (line,) = left.plot(said, true, label=f"{name} (ece {one.ece:.3f})")
        left.scatter(said, true, [10 + 200 * count / sum(counts) for count in counts], color=line.get_color())
        coverage, risk = risk_coverage(one.confidence, one.correct)
        right_side.plot(coverage, risk, color=line.get_color(), label=f"{name} (aurc {one.aurc:.3f})")
        if one.precision_accepted is not None:
            right_side.scatter(one.coverage, 1 - one.precision_accepted, color=line.get_color(), zorder=3)
    left.set(xlabel="confidence", ylabel="texts that are right", xlim=(0, 1), ylim=(0, 1), title="reliability")
    right_side.set(xlabel="coverage", ylabel="risk", xlim=(0, 1), ylim=(0, 1), title="risk and coverage")
    for axis in (left, right_side):
        axis.grid(alpha=0.3)
        axis.legend()
    return figure
