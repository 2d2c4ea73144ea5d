from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import mlflow
import pytest

from sign_models.errors import ParamsError, UpstreamError
from sign_models.tracking.registered.promotion import Gate, promote, rollback
from sign_models.tracking.registered.registry import resolve
from tests.tracking import fakes, versions
from tests.tracking.versions import NAME, Train, aliases

pytestmark = pytest.mark.usefixtures("tracking", "fakes")


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Registers a version, see versions.train()."""
    return partial(versions.train, tmp_path / "out")


def test_a_better_version_takes_over_and_the_old_one_is_kept(train: Train) -> None:
    train(50.0)
    first = promote(NAME)
    assert (first.version, first.previous, first.score) == (1, None, None) and aliases() == {"champion": 1}
    train(60.0)
    second = promote("translator", reason="better on test")
    assert aliases() == {"champion": 2, "previous": 1}
    assert (second.metric, second.score, second.previous_score) == ("test/chrf", 60.0, 50.0)
    kept = json.loads(resolve("champion", "translator").tags["sign.promotion.champion"])
    assert kept["reason"] == "better on test" and kept["by"] and kept["at"] and kept["score"] == 60.0


def test_a_worse_version_is_refused_unless_forced_for_a_reason(train: Train) -> None:
    for chrf in (50.0, 40.0):
        train(chrf)
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match="test/chrf 40, the present champion \\(version 1\\) has 50"):
        promote(NAME)
    with pytest.raises(UpstreamError, match="test.character_error_rate 60.*has 50"):  # lower is better
        promote(NAME, gate=Gate(metric="test.character_error_rate"))
    with pytest.raises(ParamsError, match="reason"):
        promote(NAME, gate=Gate(force=True), reason=" ")
    assert aliases() == {"champion": 1}
    forced = promote(NAME, gate=Gate(force=True), reason="it is smaller")
    assert aliases() == {"champion": 2, "previous": 1}
    assert forced.forced and json.loads(resolve("2", "translator").tags["sign.promotion.champion"])["score"] == 40.0


def test_an_equal_version_may_take_over_and_the_same_one_stays(train: Train) -> None:
    for _ in range(2):
        train(50.0)
    promote(NAME, "1")
    promote(NAME, "2")
    assert aliases() == {"champion": 2, "previous": 1}
    promote(NAME, "2")
    assert aliases() == {"champion": 2, "previous": 1}


@pytest.mark.parametrize("stage", ["translator", "skeleton"])
def test_versions_scored_under_earlier_names_are_compared(train: Train, stage: str) -> None:
    new, old = ("test/chrf", "test.chrf") if stage == "translator" else ("validation/score", "score")
    for chrf, old_names in ((50.0, True), (40.0, False), (60.0, True), (70.0, False)):
        name = train(chrf, stage=stage, old_names=old_names).name
    for asked in ("", new, old):
        promote(name, "1", gate=Gate(force=True), reason="from the beginning")
        with pytest.raises(UpstreamError, match=f"{new} 40, the present champion .* has 50"):
            promote(name, "2", gate=Gate(metric=asked))
        assert promote(name, "3", gate=Gate(metric=asked)).metric == new
        assert promote(name, "4", gate=Gate(metric=asked)).previous_score == 60.0


def test_scores_of_other_data_are_not_compared(train: Train) -> None:
    train(90.0, data="easy")
    train(50.0, data="hard")
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match="other data.*data=DIR"):
        promote(NAME)
    now = {1: 45.0, 2: 50.0}
    said = promote(NAME, gate=Gate(score=lambda model: {"test.chrf": now[model.version]}))
    assert said.scored_again and (said.score, said.previous_score) == (50.0, 45.0)
    with pytest.raises(UpstreamError, match="45.*has 50"):
        promote(NAME, "1", gate=Gate(score=lambda model: {"test.chrf": now[model.version]}))


def test_scores_by_other_presets_are_not_compared(train: Train) -> None:
    train(50.0)
    train(60.0, scoring="lowercased")
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match="other data.*or by another preset"):
        promote(NAME)


def test_a_metric_that_one_lacks_is_named(train: Train) -> None:
    for _ in range(2):
        train(50.0)
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match="not both scored by test.bleu.*test/chrf"):
        promote(NAME, gate=Gate(metric="test.bleu"))


def test_a_version_that_does_not_load_or_answer_is_never_promoted(train: Train) -> None:
    good, gone = train(50.0), train(60.0)
    promote(NAME, "1")
    shutil.rmtree(gone.location)
    with pytest.raises(UpstreamError, match="gone"):
        promote(NAME, "2", gate=Gate(force=True), reason="x")
    nonsense = train(70.0)
    (Path(nonsense.location) / "artifacts/model/model.safetensors").write_text("nan")
    with pytest.raises(UpstreamError, match="changed in the store"):
        promote(NAME, "3", gate=Gate(force=True), reason="x")
    assert aliases() == {"champion": good.version}


def test_a_version_whose_score_is_no_number_is_never_promoted(train: Train) -> None:
    for data in ("easy", "hard"):
        train(50.0, data=data)
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match="test.chrf nan"):
        promote(NAME, gate=Gate(score=lambda model: {"test.chrf": 50.0 if model.version == 1 else float("nan")}))
    assert aliases() == {"champion": 1}


def test_a_broken_champion_is_replaced_by_force_only(train: Train) -> None:
    first = train(50.0)
    promote(NAME)
    train(60.0)
    mlflow.MlflowClient().delete_logged_model(first.model_id)
    with pytest.raises(UpstreamError, match="deleted"):
        promote(NAME)
    promote(NAME, gate=Gate(force=True), reason="the champion's files are gone")
    assert aliases()["champion"] == 2


def test_rollback_goes_back_and_forth_and_is_recorded(train: Train) -> None:
    for chrf in (50.0, 60.0):
        train(chrf)
        promote(NAME)
    said = rollback(NAME, reason="complaints")
    assert aliases() == {"champion": 1, "previous": 2} and (said.version, said.previous) == (1, 2)
    assert json.loads(resolve("2", "translator").tags["sign.rollback.champion"])["reason"] == "complaints"
    rollback(NAME)
    assert aliases() == {"champion": 2, "previous": 1}


def test_there_must_be_something_to_roll_back_to(train: Train) -> None:
    train(50.0)
    with pytest.raises(UpstreamError, match="no version holds 'champion'"):
        rollback(NAME)
    promote(NAME)
    with pytest.raises(UpstreamError, match="no version held 'champion' before"):
        rollback(NAME)


def test_aliases_are_apart(train: Train) -> None:
    for chrf in (50.0, 60.0):
        train(chrf)
        promote(NAME)
    promote(NAME, "1", alias="staging")
    promote(NAME, "2", alias="staging")
    assert aliases() == {"champion": 2, "previous": 1, "staging": 2, "previous-staging": 1}
    rollback(NAME, "staging")
    assert aliases() == {"champion": 2, "previous": 1, "staging": 1, "previous-staging": 2}


def test_promoting_one_stage_leaves_the_others_as_they_are(train: Train) -> None:
    skeleton = train(50.0, stage="skeleton")
    train(50.0)
    promote(NAME)
    before = resolve("champion", "translator")
    train(60.0, stage="skeleton", weight=9.0)
    promote("sign-skeleton")
    shutil.rmtree(skeleton.location)
    after = resolve("champion", "translator")
    assert after == before and fakes.Fake(after.path()).predict(fakes.clips())


@pytest.mark.parametrize("alias", ["candidate", "latest", "previous", "3", "v3", "a/b", ""])
def test_aliases_with_a_meaning_of_their_own_are_refused(alias: str) -> None:
    with pytest.raises(ParamsError, match="alias"):
        promote(NAME, alias=alias)


def test_a_misspelt_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(ParamsError, match="did you mean 'sign-translator'"):
        promote("sign-translater")
