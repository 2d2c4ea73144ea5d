"""What the figures of a version must be to be promoted."""

from __future__ import annotations

import json

import pytest

from sign_models.cli.registry import parse_promote
from sign_models.errors import ParamsError, UpstreamError
from sign_models.tracking.registered import promotion
from sign_models.tracking.registered.promotion import Gate, promote
from sign_models.tracking.registered.registry import resolve
from tests.tracking.versions import NAME, aliases

pytestmark = pytest.mark.usefixtures("four")


def requirements(text: str) -> tuple[promotion.Requirement, ...]:
    names = ("model", "version", "alias", "metric", "force", "reason", "rollback", "data", "scoring", "experiment")
    return parse_promote(dict.fromkeys((*names, "relative_to"), "") | {"require": text}).gate.require


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("chrf>=50", True),
        ("chrf >= 50.5", False),
        ("test/chrf<=50,character_error_rate<=50", True),
        ("chrf>=40,character_error_rate<=49.9", False),
        ("test.chrf>=50", True),
        ("dev/chrf>=1", False),
        ("coverage>=0.5", False),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_a_version_that_does_not_keep_what_is_required_is_refused_by_force_too(
    text: str, kept: bool, force: bool
) -> None:
    if not kept:
        with pytest.raises(UpstreamError, match=r"models:/sign-translator/1.*wanted.*[<>]="):
            promote(NAME, "1", gate=Gate(require=requirements(text), force=force), reason="a test")
        assert aliases() == {}
        return
    said = promote(NAME, "1", gate=Gate(require=requirements(text), force=force), reason="a test")
    assert aliases() == {"champion": 1} and len(said.required) == text.count("=")
    assert json.loads(resolve("champion", "translator").tags["sign.promotion.champion"])["required"]


def test_what_is_required_holds_for_the_scores_that_were_compared() -> None:
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match=r"test/coverage 0.4; wanted coverage >= 0.5"):
        promote(
            NAME,
            "4",
            gate=Gate(score=lambda m: {"test/chrf": 60.0, "test/coverage": 0.4}, require=requirements("coverage>=0.5")),
        )
    assert aliases() == {"champion": 1}
    promote(
        NAME,
        "4",
        gate=Gate(score=lambda m: {"test/chrf": 60.0, "test/coverage": 0.6}, require=requirements("coverage>=0.5")),
    )
    assert aliases()["champion"] == 4


@pytest.mark.parametrize(
    "text", ["coverage", "coverage>", "coverage=0.5", ">=0.5", "coverage>=half", "coverage>=1.2.3"]
)
def test_a_requirement_that_says_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ParamsError, match="require.*such as coverage>=0.5"):
        requirements(text)


@pytest.mark.parametrize("figure", ["aurc", "ece", "false_accepts"])
def test_of_figures_that_are_better_when_lower_the_lower_one_is_promoted(figure: str) -> None:
    promote(NAME, "1")
    values = {1: 0.1, 4: 0.2}
    with pytest.raises(UpstreamError, match=figure):
        promote(NAME, "4", gate=Gate(metric=f"test/{figure}", score=lambda m: {f"test/{figure}": values[m.version]}))
    values[4] = 0.05
    promote(NAME, "4", gate=Gate(metric=f"test/{figure}", score=lambda m: {f"test/{figure}": values[m.version]}))
    assert aliases()["champion"] == 4
