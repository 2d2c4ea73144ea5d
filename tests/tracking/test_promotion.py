from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from sign_models import interruption
from sign_models.cli.registry import parse_promote
from sign_models.errors import ParamsError, UpstreamError
from sign_models.tracking import locks, promotion
from sign_models.tracking.promotion import promote, rollback
from sign_models.tracking.registration import register
from sign_models.tracking.registry import ModelRef, aliases_of, resolve
from sign_models.tracking.runs import stage_run
from tests.tracking import fakes

pytestmark = pytest.mark.usefixtures("tracking", "fakes")
NAME = "sign-translator"
Train = Callable[..., ModelRef]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def train(
        chrf: float, data: str = "same", stage: str = "translator", weight: float = 1.0, scoring: str = "cased",
        old_names: bool = False,
    ) -> ModelRef:  # fmt: skip
        folder = fakes.write(tmp_path / "out", stage, weight)
        metrics = {"test/chrf": chrf, "test/character_error_rate": 100 - chrf, "validation/score": chrf}
        if old_names:
            metrics = {"test.chrf": chrf, "test.character_error_rate": 100 - chrf, "score": chrf}
        with stage_run(stage, tags={"sign.data.training": data}) as run:
            return register(
                run, stage, folder, metrics=metrics, upstream={}, step=1,
                tags={"sign.fingerprint.fields": json.dumps({"params.generate.scoring": scoring})},
            )  # fmt: skip

    return train


def aliases() -> dict[str, int]:
    return {k: v for k, v in aliases_of(NAME).items() if k != "candidate"}


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
        promote(NAME, metric="test.character_error_rate")
    with pytest.raises(ParamsError, match="reason"):
        promote(NAME, force=True, reason=" ")
    assert aliases() == {"champion": 1}
    forced = promote(NAME, force=True, reason="it is smaller")
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
@pytest.mark.parametrize("metric", ["", "today's", "of 0.1.0"])
def test_versions_scored_under_earlier_names_are_compared(train: Train, stage: str, metric: str) -> None:
    new, old = ("test/chrf", "test.chrf") if stage == "translator" else ("validation/score", "score")
    asked = {"": "", "today's": new, "of 0.1.0": old}[metric]
    name = train(50.0, stage=stage, old_names=True).name
    promote(name)
    train(40.0, stage=stage)
    with pytest.raises(UpstreamError, match=f"{new} 40, the present champion .* has 50"):
        promote(name, metric=asked)
    train(60.0, stage=stage, old_names=True)
    assert promote(name, metric=asked).metric == new
    train(70.0, stage=stage)
    assert promote(name, metric=asked).previous_score == 60.0


def test_scores_of_other_data_are_not_compared(train: Train) -> None:
    train(90.0, data="easy")
    train(50.0, data="hard")
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match="other data.*data=DIR"):
        promote(NAME)
    now = {1: 45.0, 2: 50.0}
    said = promote(NAME, score=lambda model: {"test.chrf": now[model.version]})
    assert said.scored_again and (said.score, said.previous_score) == (50.0, 45.0)
    with pytest.raises(UpstreamError, match="45.*has 50"):
        promote(NAME, "1", score=lambda model: {"test.chrf": now[model.version]})


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
        promote(NAME, metric="test.bleu")


def test_a_version_that_does_not_load_or_answer_is_never_promoted(train: Train) -> None:
    good, gone = train(50.0), train(60.0)
    promote(NAME, "1")
    shutil.rmtree(gone.location)
    with pytest.raises(UpstreamError, match="gone"):
        promote(NAME, "2", force=True, reason="x")
    nonsense = train(70.0)
    (Path(nonsense.location) / "artifacts/model/model.safetensors").write_text("nan")
    with pytest.raises(UpstreamError, match="changed in the store"):
        promote(NAME, "3", force=True, reason="x")
    assert aliases() == {"champion": good.version}


def test_a_version_whose_score_is_no_number_is_never_promoted(train: Train) -> None:
    for data in ("easy", "hard"):
        train(50.0, data=data)
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match="test.chrf nan"):
        promote(NAME, score=lambda model: {"test.chrf": 50.0 if model.version == 1 else float("nan")})
    assert aliases() == {"champion": 1}


# What is said is what happened --------------------------------------------------------------------------------------


def others_lock() -> FileLock:
    """The store's lock as another process would take it."""
    return FileLock(locks.lock_file(mlflow.get_tracking_uri()))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Asks this process to stop, as Ctrl-C does."""
    state = interruption._State()
    monkeypatch.setattr(interruption, "_state", state)

    def ask() -> None:
        state.signum = signal.SIGINT

    return ask


def heeded() -> None:
    """The request is over: this process goes on to look at the store."""
    interruption._state.signum = None


def test_scoring_holds_no_lock_and_can_be_stopped(train: Train, asked: Callable[[], None]) -> None:
    train(50.0, data="easy")
    train(60.0, data="hard")
    promote(NAME, "1")
    scored = []

    def score(model: ModelRef) -> dict[str, float]:
        with others_lock().acquire(timeout=1):
            scored.append(model.version)
        if len(scored) == 2:
            asked()
        return {"test.chrf": model.version}

    with pytest.raises(KeyboardInterrupt):
        promote(NAME, "2", score=score)
    heeded()
    assert sorted(scored) == [1, 2] and aliases() == {"champion": 1}
    assert "sign.promotion.champion" not in resolve("2", "translator").tags


@pytest.mark.parametrize("move", ["promote", "rollback"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_move_that_has_begun_is_ended_whole_and_said(
    train: Train, asked: Callable[[], None], monkeypatch: pytest.MonkeyPatch, move: str, number: int
) -> None:
    for chrf in (50.0, 60.0, 70.0):
        train(chrf)
    promote(NAME, "1")
    promote(NAME, "2")
    real, calls = mlflow.MlflowClient.set_registered_model_alias, []

    def ask_in_between(*arguments: str) -> None:
        calls.append(arguments)
        if len(calls) == number:
            asked()
        real(*arguments)

    told = []
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", ask_in_between)
        said = promote(NAME, "3", done=told.append) if move == "promote" else rollback(NAME, done=told.append)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()
    heeded()
    assert told == [said] and aliases() == {"champion": said.version, "previous": 2}


@pytest.mark.parametrize("move", ["promote", "rollback"])
def test_a_request_before_the_move_moves_nothing(
    train: Train, asked: Callable[[], None], monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
    for chrf in (50.0, 60.0, 70.0):
        train(chrf)
    promote(NAME, "1")
    promote(NAME, "2")
    real = promotion.store_lock

    def ask_first(uri: str) -> object:
        asked()
        return real(uri)

    monkeypatch.setattr(promotion, "store_lock", ask_first)
    with pytest.raises(KeyboardInterrupt):
        promote(NAME, "3") if move == "promote" else rollback(NAME)
    heeded()
    assert aliases() == {"champion": 2, "previous": 1}
    assert not {"sign.rollback.champion"} & resolve("2", "translator").tags.keys()
    assert "sign.promotion.champion" not in resolve("3", "translator").tags


def test_an_alias_that_somebody_else_moves_meanwhile_stays_there(train: Train) -> None:
    for data in ("easy", "hard", "other"):
        train(50.0, data=data)
    promote(NAME, "1")

    def score(model: ModelRef) -> dict[str, float]:
        mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "3")
        return {"test.chrf": model.version}

    with pytest.raises(UpstreamError, match="moved from version 1 to 3 meanwhile"):
        promote(NAME, "2", score=score)
    assert aliases() == {"champion": 3}


def test_two_that_move_one_alias_at_once_both_do(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    train(50.0)
    real, failed = mlflow.MlflowClient.set_registered_model_alias, []

    def beaten(*arguments: str) -> None:
        if not failed:
            failed.append(arguments)
            raise mlflow.MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed", BAD_REQUEST)
        real(*arguments)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", beaten)
    promote(NAME)
    assert failed and aliases() == {"champion": 1}


def test_a_broken_champion_is_replaced_by_force_only(train: Train) -> None:
    first = train(50.0)
    promote(NAME)
    train(60.0)
    mlflow.MlflowClient().delete_logged_model(first.model_id)
    with pytest.raises(UpstreamError, match="deleted"):
        promote(NAME)
    promote(NAME, force=True, reason="the champion's files are gone")
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


@pytest.mark.parametrize("calls", [0, 1])
def test_a_kill_between_two_aliases_leaves_a_champion(
    train: Train, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    for chrf in (50.0, 60.0, 70.0):
        train(chrf)
    promote(NAME, "1")
    promote(NAME, "2")
    real, made = mlflow.MlflowClient.set_registered_model_alias, []

    def dying(*arguments: str) -> None:
        if len(made) == calls:
            raise KeyboardInterrupt
        made.append(arguments)
        real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", dying)
        promote(NAME, "3")
    assert aliases()["champion"] == 2
    promote(NAME, "3")
    assert aliases() == {"champion": 3, "previous": 2}


# What else a version must be ------------------------------------------------------------------------------------------


def requirements(text: str) -> tuple[promotion.Requirement, ...]:
    names = ("model", "version", "alias", "metric", "force", "reason", "rollback", "data", "scoring", "experiment")
    return parse_promote(dict.fromkeys((*names, "relative_to"), "") | {"require": text}).require


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
    train: Train, text: str, kept: bool, force: bool
) -> None:
    train(50.0)
    if not kept:
        with pytest.raises(UpstreamError, match=r"models:/sign-translator/1.*wanted.*[<>]="):
            promote(NAME, require=requirements(text), force=force, reason="a test")
        assert aliases() == {}
        return
    said = promote(NAME, require=requirements(text), force=force, reason="a test")
    assert aliases() == {"champion": 1} and len(said.required) == text.count("=")
    assert json.loads(resolve("champion", "translator").tags["sign.promotion.champion"])["required"]


def test_what_is_required_holds_for_the_scores_that_were_compared(train: Train) -> None:
    for data in ("easy", "hard"):
        train(50.0, data=data)
    promote(NAME, "1")
    with pytest.raises(UpstreamError, match=r"test/coverage 0.4; wanted coverage >= 0.5"):
        promote(
            NAME, "2", score=lambda m: {"test/chrf": 60.0, "test/coverage": 0.4}, require=requirements("coverage>=0.5")
        )
    assert aliases() == {"champion": 1}
    promote(NAME, "2", score=lambda m: {"test/chrf": 60.0, "test/coverage": 0.6}, require=requirements("coverage>=0.5"))
    assert aliases()["champion"] == 2


@pytest.mark.parametrize(
    "text", ["coverage", "coverage>", "coverage=0.5", ">=0.5", "coverage>=half", "coverage>=1.2.3"]
)
def test_a_requirement_that_says_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ParamsError, match="require.*such as coverage>=0.5"):
        requirements(text)


@pytest.mark.parametrize("figure", ["aurc", "ece", "false_accepts"])
def test_of_figures_that_are_better_when_lower_the_lower_one_is_promoted(train: Train, figure: str) -> None:
    for data in ("easy", "hard"):
        train(50.0, data=data)
    promote(NAME, "1")
    values = {1: 0.1, 2: 0.2}
    with pytest.raises(UpstreamError, match=figure):
        promote(NAME, "2", metric=f"test/{figure}", score=lambda m: {f"test/{figure}": values[m.version]})
    values[2] = 0.05
    promote(NAME, "2", metric=f"test/{figure}", score=lambda m: {f"test/{figure}": values[m.version]})
    assert aliases()["champion"] == 2
