"""A request is measured by its bytes before anything of it is parsed."""

import json
import sys
from types import SimpleNamespace

import pytest

from sign_models.errors import DataError
from sign_models.serving.request_limits import _PARSE, _SERVER, MAX_OBJECTS, check_body, guard_server

CLIP = {"keypoints": [[[0.123456, 0.5, 1.0]] * 133] * 300, "fps": 25.0}
BOMBS = {
    "objects": b'{"inputs": [' + b"{}," * 300_000 + b"{}]}",
    "frames as lists": b'{"inputs": [{"keypoints": [' + b"[]," * 300_000 + b"[]]}]}",
    "values, which take": b'{"inputs": [' + b"[]," * 4_000_000 + b"0]}",
    "levels of lists": b'{"inputs": ' + b"[" * 40 + b"]" * 40 + b"}",
}


@pytest.mark.parametrize("message", BOMBS)
def test_a_bomb_is_refused(message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_body(BOMBS[message])


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": [CLIP] * 8},
        {"inputs": [{"npz": "A" * 2**20}] * 64, "params": {"n_best": 3}},
        {"dataframe_split": {"columns": ["keypoints"], "data": [[CLIP["keypoints"]]]}},
        {"inputs": [{"keypoints": [[[1, 2, 3]] * 75] * 10_000}]},
        {},
    ],
)
def test_what_clients_send_is_let_through(content: object) -> None:
    check_body(json.dumps(content).encode())


def test_mlflow_s_parser_is_wrapped_once_and_asked_after_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    server = SimpleNamespace(**{_PARSE: lambda body: asked.append(body)})
    monkeypatch.setitem(sys.modules, _SERVER, server)
    guard_server(ValueError)
    wrapped = getattr(server, _PARSE)
    guard_server(ValueError)
    assert getattr(server, _PARSE) is wrapped
    with pytest.raises(ValueError, match=f"at most {MAX_OBJECTS}"):
        wrapped(BOMBS["objects"])
    with pytest.raises(ValueError, match="levels of lists"):
        wrapped(BOMBS["levels of lists"].decode())
    assert not asked
    wrapped(b"{}")
    assert asked == [b"{}"]


def test_an_mlflow_without_that_parser_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, _SERVER, SimpleNamespace())
    guard_server(ValueError)
    assert "parses requests before their size is checked" in caplog.text
    monkeypatch.delitem(sys.modules, _SERVER)
    guard_server(ValueError)


def test_mlflow_has_the_parser_that_is_wrapped() -> None:
    from mlflow.pyfunc import scoring_server

    assert callable(getattr(scoring_server, _PARSE))
