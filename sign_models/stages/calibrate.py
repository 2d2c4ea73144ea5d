"""The end of alignment: what the evidence for a text is worth, by held-out clips, and from where on to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.data.negatives import FITTED
from sign_models.data.windows import WindowedCorpus
from sign_models.evaluation.calibration import Logistic, choose_threshold, cross_fitted, fit_logistic
from sign_models.evaluation.metrics import right
from sign_models.evaluation.reliability import Reliability, diagram, measure
from sign_models.models.confidence import Confidence
from sign_models.models.pace import Pace
from sign_models.models.translator import Hypothesis, Translator
from sign_models.stages.generate import unsigned
from sign_models.stages.reading import text_of
from sign_models.training.task import MetricLogger

MIN_CLIPS, MIN_RIGHT = 20, 5  # held-out clips, and right ones among them, below which nothing is fitted
PRECISION = 0.9  # wanted of what is accepted
FALSE_ACCEPTS = 0.02  # of clips without signing, at most
NEGATIVE_WEIGHT = 0.5  # of all clips without signing together in the fit, against all others
NEGATIVES_SEED, BATCH_FRAMES = 0, 16_384
DECIMALS = 6  # of what is stored
RAW = "confidence is the mean probability a token, not calibrated, and nothing is rejected"


@dataclass(frozen=True)
class Examples:
    """Clips that a translator has been asked about.

    Attributes:
        corpus: Holds them.
        clips: Their places in it.
        cut: The corpus in windows.
        found: The best text of each of their windows in which somebody signs, by its place in `cut`.
        references: Of each clip.
        scoring: Preset by which a text is right.
    """

    corpus: Corpus
    clips: np.ndarray
    cut: WindowedCorpus
    found: Mapping[int, Hypothesis]
    references: Sequence[str]
    scoring: str


@dataclass(frozen=True)
class Calibrated:
    """What came out.

    Attributes:
        note: A sentence for the log.
        reliability: Of the held-out clips by regressions that were fitted without them; None where none was.
    """

    note: str
    reliability: Reliability | None = None

    def report(self, logger: MetricLogger, step: int) -> None:
        """Log the note, the figures and their diagram.

        Args:
            logger: Where to.
            step: Of the training.
        """
        logger.log(f"alignment: {self.note}")
        figures = {"calibrated": 0.0}
        if self.reliability is not None:
            figures = {"calibrated": 1.0, "reject_below": self.reliability.reject_below} | self.reliability.metrics()
            logger.figure("reliability.png", diagram({"validation": self.reliability}))
        logger.metrics({f"validation/{name}": value for name, value in figures.items()}, step)


def calibrate(model: Translator, dev: Examples, held_out: bool) -> Calibrated:
    """Give a model a pace, a confidence and the threshold below which it rejects, where the held-out clips are enough.

    Examples are the clips of one window, each right or wrong, and clips without signing made of them, all wrong. The
    threshold is chosen by confidences of regressions that were fitted without the clip in question.

    Args:
        model: Changed in its place.
        dev: Held-out clips.
        held_out: Whether they were not trained on.

    Returns:
        The figures, and a note of what was done.
    """
    if not held_out:
        return Calibrated(f"{RAW}: no clip is held out to fit it on")
    texts = [text_of(dev.cut, clip, dev.found).text for clip in dev.clips]
    correct = np.array(right(texts, dev.references, dev.scoring), bool)
    places = [dev.cut.signed_windows(clip) for clip in dev.clips]
    single = np.array([len(of) == 1 and bool(text) for of, text in zip(places, texts, strict=True)])
    count, good = int(single.sum()), int(correct[single].sum())
    if count >= MIN_CLIPS:
        model.pace = Pace.of(dev.found[of[0]] for of, alone in zip(places, single, strict=True) if alone)
    if count < MIN_CLIPS or good < MIN_RIGHT:
        few = f"{good} of {count} held-out clips of one window have a right text"
        return Calibrated(f"{RAW}: {few}, wanted at least {MIN_RIGHT} of {MIN_CLIPS}")
    kinds = unsigned(model, dev.corpus, dev.clips, [*FITTED], NEGATIVES_SEED, model.generation, BATCH_FRAMES)
    drawn = [(clip, windows) for of_kind in kinds.values() for clip, windows in of_kind]
    wrong = [(clip, windows[0]) for clip, windows in drawn if len(windows) == 1 and windows[0].text]
    known = [dev.found[of[0]] for of, alone in zip(places, single, strict=True) if alone] + [h for _, h in wrong]
    x, y = np.array([h.evidence for h in known]), np.concatenate([correct[single], np.zeros(len(wrong), bool)])
    weight = np.concatenate([np.ones(count), np.full(len(wrong), NEGATIVE_WEIGHT * count / max(1, len(wrong)))])
    unseen = cross_fitted(x, y, np.array([*dev.clips[single], *(clip for clip, _ in wrong)]), weight)
    # 0: what has no text, or several windows, is not accepted here
    sure, refused = np.zeros(len(dev.clips)), np.zeros(len(drawn))
    sure[single], refused[: len(wrong)] = unseen[:count], unseen[count:]
    below = choose_threshold(sure, correct, refused, PRECISION, FALSE_ACCEPTS)
    model.confidence = _stored(fit_logistic(x, y, weight))
    model.generation = replace(model.generation, reject_below=below)
    found = measure(texts, dev.references, sure.tolist(), dev.scoring, below, {"fitted": refused.tolist()})
    of_these = "none" if found.precision_accepted is None else f"{found.precision_accepted:.0%} right"
    return Calibrated(
        f"confidence fitted on {count} held-out clips, {good} of them right, and {len(wrong)} without signing; below "
        f"{below:.3f} a text is rejected; accepted of the held-out clips {found.coverage:.0%}, {of_these}",
        found,
    )


def _stored(fitted: Logistic) -> Confidence:
    """In the digits that a model's config holds."""
    names = ("mean", "scale", "weights")
    mean, scale, weights = (tuple(round(float(v), DECIMALS) for v in getattr(fitted, name)) for name in names)
    return Confidence(mean, scale, weights, round(fitted.bias, DECIMALS))
