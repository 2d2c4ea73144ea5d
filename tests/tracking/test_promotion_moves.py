"""What a promotion or rollback says is what happened, whoever stops, kills or beats it."""

from __future__ import annotations

import signal
from collections.abc import Callable

import mlflow
import pytest
from filelock import FileLock
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from sign_models import interruption
from sign_models.errors import UpstreamError
from sign_models.tracking import locks
from sign_models.tracking.registered import promotion
from sign_models.tracking.registered.promotion import Gate, promote, rollback
from sign_models.tracking.registered.registry import ModelRef, resolve
from tests.tracking.versions import NAME, aliases

pytestmark = pytest.mark.usefixtures("four")


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


def test_scoring_holds_no_lock_and_can_be_stopped(asked: Callable[[], None]) -> None:
    promote(NAME, "1")
    scored = []

    def score(model: ModelRef) -> dict[str, float]:
        with others_lock().acquire(timeout=1):
            scored.append(model.version)
        if len(scored) == 2:
            asked()
        return {"test.chrf": model.version}

    with pytest.raises(KeyboardInterrupt):
        promote(NAME, "4", gate=Gate(score=score))
    heeded()
    assert sorted(scored) == [1, 4] and aliases() == {"champion": 1}
    assert "sign.promotion.champion" not in resolve("4", "translator").tags


@pytest.mark.parametrize("move", ["promote", "rollback"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_move_that_has_begun_is_ended_whole_and_said(
    asked: Callable[[], None], monkeypatch: pytest.MonkeyPatch, move: str, number: int
) -> None:
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
    asked: Callable[[], None], monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
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


def test_an_alias_that_somebody_else_moves_meanwhile_stays_there() -> None:
    promote(NAME, "1")

    def score(model: ModelRef) -> dict[str, float]:
        mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "3")
        return {"test.chrf": model.version}

    with pytest.raises(UpstreamError, match="moved from version 1 to 3 meanwhile"):
        promote(NAME, "4", gate=Gate(score=score))
    assert aliases() == {"champion": 3}


def test_two_that_move_one_alias_at_once_both_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real, failed = mlflow.MlflowClient.set_registered_model_alias, []

    def beaten(*arguments: str) -> None:
        if not failed:
            failed.append(arguments)
            raise mlflow.MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed", BAD_REQUEST)
        real(*arguments)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", beaten)
    promote(NAME, "1")
    assert failed and aliases() == {"champion": 1}


@pytest.mark.parametrize("calls", [0, 1])
def test_a_kill_between_two_aliases_leaves_a_champion(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
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
