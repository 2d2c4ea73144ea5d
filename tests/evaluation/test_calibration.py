"""The arithmetic of confidence: properties that hold for any examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.evaluation.calibration import (
    accepted,
    area_under_risk_coverage,
    choose_threshold,
    cross_fitted,
    expected_calibration_error,
    fit_logistic,
    risk_coverage,
    sigmoid,
)

EXAMPLES = st.lists(st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans()), min_size=1, max_size=60)


def arrays(examples: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    confidence, correct = zip(*examples, strict=True)
    return np.array(confidence), np.array(correct)


@given(EXAMPLES, st.randoms(use_true_random=False))
def test_no_figure_depends_on_the_order_of_examples(examples: list[tuple[float, bool]], random: object) -> None:
    confidence, correct = arrays(examples)
    order = np.arange(len(correct))
    random.shuffle(order)  # type: ignore[attr-defined]
    for figure in (area_under_risk_coverage, expected_calibration_error):
        assert figure(confidence[order], correct[order]) == pytest.approx(figure(confidence, correct))
    assert choose_threshold(confidence[order], correct[order], confidence) == choose_threshold(
        confidence, correct, confidence
    )


@given(EXAMPLES)
def test_the_risk_at_full_coverage_is_the_share_of_wrong_ones(examples: list[tuple[float, bool]]) -> None:
    confidence, correct = arrays(examples)
    coverage, risk = risk_coverage(confidence, correct)
    assert coverage[-1] == 1.0 and risk[-1] == pytest.approx(1 - correct.mean())
    assert ((risk >= -1e-12) & (risk <= 1 + 1e-12)).all() and (np.diff(coverage) > 0).all()


@given(EXAMPLES)
def test_right_ones_first_is_the_best_order_and_last_the_worst(examples: list[tuple[float, bool]]) -> None:
    confidence, correct = arrays(examples)
    found = area_under_risk_coverage(confidence, correct)
    best, worst = (area_under_risk_coverage(sign * correct.astype(float), correct) for sign in (1, -1))
    assert best - 1e-12 <= found <= worst + 1e-12
    assert area_under_risk_coverage(np.full(len(correct), 0.5), correct) == pytest.approx(1 - correct.mean())


@given(EXAMPLES, st.integers(0, 20).map(lambda n: n / 20))
def test_what_is_accepted_is_what_a_curve_says(examples: list[tuple[float, bool]], threshold: float) -> None:
    confidence, correct = arrays(examples)
    coverage, precision = accepted(confidence, correct, threshold)
    chosen = confidence >= threshold
    assert coverage == chosen.mean()
    assert precision is None if not chosen.any() else precision == correct[chosen].mean()
    if precision is not None:
        of_curve, risk = risk_coverage(confidence, correct)
        assert 1 - risk[np.isclose(of_curve, coverage)][-1] == pytest.approx(precision)


def test_the_calibration_error_is_none_where_confidence_is_the_share_of_right_ones() -> None:
    confidence = np.repeat([0.25, 0.75], 40)
    correct = np.tile([True, False, False, False], 10).tolist() + np.tile([True, True, True, False], 10).tolist()
    assert expected_calibration_error(confidence, np.array(correct)) == pytest.approx(0)
    assert expected_calibration_error(np.ones(10), np.zeros(10, bool)) == 1.0
    assert expected_calibration_error(np.zeros(10), np.zeros(10, bool)) == 0.0
    assert expected_calibration_error(np.full(10, 0.75), np.arange(10) < 5) == pytest.approx(0.25)


@given(EXAMPLES, st.lists(st.floats(0, 1), max_size=60))
def test_the_threshold_is_the_lowest_that_keeps_all_conditions(
    examples: list[tuple[float, bool]], negatives: list[float]
) -> None:
    confidence, correct = arrays(examples)
    found = choose_threshold(confidence, correct, np.array(negatives), 0.9, 0.02)

    def keeps(threshold: float) -> bool:
        chosen = correct[confidence >= threshold]
        refused = sum(n >= threshold for n in negatives) <= 0.02 * len(negatives)
        return bool((not len(chosen) or chosen.mean() >= 0.9) and refused)

    assert 0.9 <= found <= 1
    assert found == 1 or keeps(found)
    tried = [0.9, *confidence.tolist(), *(float(np.nextafter(n, 2)) for n in negatives)]
    assert not any(keeps(t) for t in tried if 0.9 <= t < found)


def test_what_is_confident_and_wrong_raises_the_threshold_or_nothing_is_accepted() -> None:
    confidence = np.array([0.92, 0.93, 0.95, 0.99])
    assert choose_threshold(confidence, np.ones(4, bool), np.array([0.1])) == 0.9
    assert choose_threshold(confidence, np.array([False, True, True, True]), np.array([0.1])) == 0.93
    assert choose_threshold(confidence, np.zeros(4, bool), np.array([0.1])) == 1.0
    assert choose_threshold(confidence, np.ones(4, bool), np.array([0.94])) == np.nextafter(0.94, 2)


def test_the_fit_gives_back_the_regression_that_made_the_examples() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal([3, -2], [0.5, 4], (20_000, 2))
    truth = sigmoid(2 * (features[:, 0] - 3) / 0.5 - (features[:, 1] + 2) / 4 + 0.5)
    found = fit_logistic(features, rng.random(len(truth)) < truth)
    assert np.allclose(found(features), truth, atol=0.03)
    assert found.weights == pytest.approx([2, -1], abs=0.1) and found.bias == pytest.approx(0.5, abs=0.1)


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_the_fit_does_not_depend_on_units_and_its_mean_is_the_share_of_right_ones(
    seed: int, factor: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    features, correct = rng.normal(size=(30, 3)), np.arange(30) % 3 == 0
    found, other = fit_logistic(features, correct), fit_logistic(factor * features + shift, correct)
    assert np.allclose(found(features), other(factor * features + shift), atol=1e-4)
    assert found(features).mean() == pytest.approx(correct.mean(), abs=1e-3)


def test_the_fit_is_finite_where_examples_can_be_told_apart_or_a_feature_is_always_the_same() -> None:
    features = np.column_stack([np.arange(20.0), np.full(20, 7.0)])
    found = fit_logistic(features, np.arange(20) >= 10)
    assert np.isfinite(found.weights).all() and found.weights[1] == pytest.approx(0)
    p = found(features)
    assert (np.diff(p) > 0).all() and 0 < p[0] < 0.5 < p[-1] < 1
    assert found(np.array([[math.inf, 7.0], [-1e12, 7.0]])).tolist() == [1.0, 0.0]


def test_the_weight_of_an_example_is_how_often_it_counts() -> None:
    rng = np.random.default_rng(1)
    features, correct = rng.normal(size=(12, 2)), rng.random(12) < 0.5
    often = rng.integers(1, 5, 12)
    weighted = fit_logistic(features, correct, often.astype(float))
    repeated = fit_logistic(np.repeat(features, often, 0), np.repeat(correct, often))
    assert np.allclose(weighted(features), repeated(features))


def test_examples_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="one kind"):
        fit_logistic(np.zeros((5, 1)), np.ones(5, bool))


def test_nobody_is_judged_by_what_was_fitted_on_it() -> None:
    """Features that tell each group by heart: a fit that has seen it knows the answer, one that has not knows nothing."""
    groups = np.repeat(np.arange(20), 2)
    features, correct = np.eye(20)[groups], groups % 2 == 0
    seen = fit_logistic(features, correct, ridge=1e-3)(features)
    assert ((seen > 0.5) == correct).all()
    unseen = cross_fitted(features, correct, groups)
    of_group = unseen.reshape(20, 2)
    assert (of_group[:, 0] == of_group[:, 1]).all() and abs(unseen - 0.5).max() < 0.2


def test_a_fold_without_the_other_kind_takes_the_one_it_knows() -> None:
    found = cross_fitted(np.arange(4.0)[:, None], np.array([True, False, False, False]), np.arange(4), folds=4)
    assert found[0] == 0.0 and (found[1:] > 0).all()
