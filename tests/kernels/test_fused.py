"""Kernels are used where Triton can build them."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from sign_models import kernels


@pytest.mark.parametrize("why", [None, RuntimeError("no C compiler"), subprocess.CalledProcessError(1, "gcc")])
def test_torch_does_it_where_kernels_cannot_be_built(why: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def smoke_test() -> None:
        if why:
            raise why

    rotary = ModuleType("sign_models.kernels.rotary")
    monkeypatch.setattr(rotary, "smoke_test", smoke_test, raising=False)
    monkeypatch.setitem(sys.modules, rotary.__name__, rotary)
    monkeypatch.setattr("sign_models.kernels.rotary", rotary, raising=False)
    monkeypatch.setattr(kernels, "find_spec", lambda name: object())
    assert kernels.fused.__wrapped__() is (why is None)
