"""The quick ones of `benchmarks/attacks.py` are held; those that are not held are told."""

import sys
from pathlib import Path

import pytest

from benchmarks import attacks
from benchmarks.attacks import ATTACKS, Attack, run

QUICK = [one for one in ATTACKS if one.quick]


@pytest.mark.parametrize("one", QUICK, ids=lambda one: one.name)
def test_an_attack_is_held(one: Attack, tmp_path: Path) -> None:
    assert run(one).failure == ""


def bad(program: str, says: str = "") -> str:
    return run(Attack("", says, lambda _: [sys.executable, "-c", program], True)).failure


def test_what_is_not_held_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bad("print('all is well')") == ""
    assert "exit code 0" in bad("print('well')", "refused") and "no 'refused'" in bad("print('well')", "refused")
    assert "a traceback" in bad("1 / 0")
    monkeypatch.setattr(attacks, "_BARE", 10)
    assert "MiB" in bad("held = bytearray(b'x') * 2**29; import time; time.sleep(0.5)")
    monkeypatch.setattr(attacks, "SECONDS", 0.2)
    assert " s" in bad("import time; time.sleep(60)")
