"""A short version of benchmarks/signals.py: what a signal ends at a moment of its own says so, and nothing moves after it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from benchmarks.signals import run
from benchmarks.stores import Store, command
from tests import warm

CASES = {  # entry point -> its options, the signal and the moment at which it comes
    "skeleton": ((), signal.SIGINT, "step 2"),
    "promote": (("version=1", "data={data}"), signal.SIGTERM, "set_registered_model_alias 1"),
    "prune": (("yes=true",), signal.SIGINT, "begin 1"),
    "lineage": (("model=sign-translator/1",), signal.SIGTERM, "begin 1"),
}


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Store:
    shutil.copy(built / "mlflow.db", tmp_path / "mlflow.db")
    return Store(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_a_command_ends_as_it_says(name: str, store: Store, tiny_data: Path) -> None:
    options, sent, moment = CASES[name]
    data = (f"data={tiny_data}", f"config_override={tiny_data / 'tiny.yaml'}") if name == "skeleton" else ()
    typed = command(name, *(o.format(data=tiny_data) for o in options), *data)
    ended = run(name, typed, store, sent, moment=moment, start=warm.Popen)
    assert ended.sent == sent, ended.log
    assert [*ended.faults()] == [], ended.log
    if name == "promote":  # the move had begun: it is ended whole, and said
        assert ended.code == 0 and "champion is version 1" in ended.log
        assert ended.after["sign-translator@champion"] == 1
    else:
        assert ended.code == 128 + sent and ended.statuses == ["KILLED"]
