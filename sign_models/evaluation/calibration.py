"""How far a confidence can be trusted, and how it is fitted on held-out examples. Arithmetic alone; numpy.

Terms as in the literature: reliability diagram and expected calibration error (Guo et al. 2017), selective prediction
by risk and coverage (El-Yaniv, Wiener 2010; Geifman, El-Yaniv 2017). docs/confidence.md says how they are used here.

N examples, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 10  # of equal width, in the expected calibration error
FOLDS = 5
RIDGE = 1.0  # of the standardised weights: what one example and a weight of 1 cost is alike
MAX_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Logistic:
    """A logistic regression.

    Attributes:
        mean: (D,) subtracted from each feature.
        scale: (D,) each feature is then divided by this; never 0.
        weights: (D,) of the standardised features.
        bias: Added.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Judge examples.

        Args:
            features: (N, D).

        Returns:
            Their probabilities, (N,).
        """
        return sigmoid((features - self.mean) / self.scale @ self.weights + self.bias)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow.

    Args:
        x: Any shape.

    Returns:
        1 / (1 + exp(-x)).
    """
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, small) / (1.0 + small))


def fit_logistic(
    features: np.ndarray, correct: np.ndarray, weight: np.ndarray | None = None, ridge: float = RIDGE
) -> Logistic:
    """Maximum likelihood with an L2 penalty on the weights, by Newton's method.

    The penalty makes the solution finite and unique where the examples can be separated, or are few. The bias has none.

    Args:
        features: (N, D).
        correct: (N,) bool; some true and some false.
        weight: (N,) of each example; None: 1.
        ridge: Half of it times the sum of the squared weights is added to the loss.

    Returns:
        The regression.

    Raises:
        ValueError: All examples are alike.
    """
    y = np.asarray(correct, bool).astype(float)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    if y.min(initial=1.0) == y.max(initial=0.0):
        raise ValueError("examples of one kind only")
    mean = np.average(features, axis=0, weights=w)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=w))
    scale = np.where(spread > 1e-9, spread, 1.0)
    x = np.column_stack([(features - mean) / scale, np.ones(len(y))])
    penalty = np.full(x.shape[1], ridge)
    penalty[-1] = 1e-6

    def loss(beta: np.ndarray) -> float:
        z = x @ beta
        return float(w @ (np.logaddexp(0, z) - y * z) + penalty @ beta**2 / 2)

    beta = np.zeros(x.shape[1])
    for _ in range(MAX_NEWTON_STEPS):
        p = sigmoid(x @ beta)
        gradient = x.T @ (w * (p - y)) + penalty * beta
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step, share = np.linalg.solve(hessian, gradient), 1.0
        while loss(beta - share * step) > loss(beta) and share > 1e-6:
            share /= 2
        beta = beta - share * step
        if np.abs(share * step).max() < 1e-9:
            break
    return Logistic(mean, scale, beta[:-1], float(beta[-1]))


def cross_fitted(
    features: np.ndarray, correct: np.ndarray, group: np.ndarray, weight: np.ndarray | None = None, folds: int = FOLDS
) -> np.ndarray:
    """The probability of each example, by a regression that was fitted without its group.

    Args:
        features: (N, D).
        correct: (N,) bool.
        group: (N,) int; examples of one group, such as those drawn from one clip, are in the same fold.
        weight: (N,) of each example.
        folds: How many regressions.

    Returns:
        (N,) probabilities. Where the rest of the examples is of one kind only, its share of right ones.
    """
    correct = np.asarray(correct, bool)
    w = np.ones(len(correct)) if weight is None else np.asarray(weight, float)
    _, number = np.unique(group, return_inverse=True)
    out = np.zeros(len(correct))
    for fold in range(folds):
        test = number % folds == fold
        train = ~test
        if correct[train].any() and not correct[train].all():
            out[test] = fit_logistic(features[train], correct[train], w[train])(features[test])
        else:
            out[test] = float(correct[train].any())
    return out


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over bins of equal width.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: How many.

    Returns:
        In [0, 1]; each bin has the weight of its examples.
    """
    rows = reliability(confidence, correct, bins)
    total = sum(count for _, _, count in rows)
    return sum(count * abs(said - right) for said, right, count in rows) / max(1, total)


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> list[tuple[float, float, int]]:
    """What a reliability diagram shows.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: Of equal width.

    Returns:
        Mean confidence, accuracy and number of examples of each bin that holds any.
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, bool)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        (float(confidence[place == b].mean()), float(correct[place == b].mean()), int((place == b).sum()))
        for b in range(bins)
        if (place == b).any()
    ]


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk as examples are accepted from the most confident on.

    Of examples of equal confidence, which no threshold parts, each counts as wrong as all of them together.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Returns:
        Coverage (N,), rising to 1, and the share of wrong ones among those accepted (N,).
    """
    confidence, wrong = np.asarray(confidence, float), 1.0 - np.asarray(correct, float)
    _, place = np.unique(-confidence, return_inverse=True)
    counts = np.bincount(place)
    shared = np.bincount(place, wrong) / counts
    number = np.arange(1, len(wrong) + 1)
    return number / len(wrong), np.cumsum(np.repeat(shared, counts)) / number


def area_under_risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Mean risk over all coverages (AURC), in [0, 1]; lower is better.

    0 where all are right; where confidence says nothing, the share of wrong ones.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Returns:
        The area.
    """
    return float(risk_coverage(confidence, correct)[1].mean())


def accepted(confidence: np.ndarray, correct: np.ndarray, threshold: float) -> tuple[float, float | None]:
    """Coverage and precision of a threshold.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        threshold: Examples of at least this confidence are accepted.

    Returns:
        The share of examples of at least that confidence, and the share of right ones among them. None: none is
        accepted.
    """
    chosen = np.asarray(confidence, float) >= threshold
    right = np.asarray(correct, bool)[chosen]
    return float(chosen.mean()), float(right.mean()) if len(right) else None


def choose_threshold(
    confidence: np.ndarray,
    correct: np.ndarray,
    negatives: np.ndarray,
    precision: float = 0.9,
    false_accepts: float = 0.02,
) -> float:
    """The confidence from which on texts are right often enough, and hardly any is given for what has no right one.

    It is at least `precision`: below, a calibrated confidence says itself that a text is not right often enough. That
    asks more than a mean of `precision` over all that is accepted, and is what new signers need: models are surer of
    them than they should be.

    Args:
        confidence: (N,) of held-out examples.
        correct: (N,) bool.
        negatives: (M,) confidences of what no answer is right for.
        precision: Wanted share of right ones among those accepted.
        false_accepts: Largest share of the negatives that may be accepted.

    Returns:
        The lowest threshold of at least `precision` that keeps both shares on the examples; 1 where none does.
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, bool)
    negatives = np.sort(np.asarray(negatives, float))[::-1]
    allowed = int(false_accepts * len(negatives))
    least = np.nextafter(negatives[allowed], 2.0) if allowed < len(negatives) else 0.0
    lowest = min(1.0, max(precision, float(least)))
    for threshold in (lowest, *np.unique(confidence[confidence > lowest])):
        _, right = accepted(confidence, correct, threshold)
        if right is None or right >= precision:
            return float(threshold)
    return 1.0
