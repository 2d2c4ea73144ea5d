"""Queries and keys are turned by their positions: what they say of each other depends on their distance only."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest
import torch

from sign_models.models import rotary
from sign_models.models.rotary import Rotary, heads, split_heads

SIZES = [(2, 9, 3, 8), (1, 40, 2, 28), (3, 33, 8, 64)]


@pytest.mark.parametrize(("B", "T", "H", "D"), SIZES)
def test_attention_sees_distances_only(B: int, T: int, H: int, D: int) -> None:
    torch.manual_seed(0)
    one = torch.randn(B, 1, 3, H, D)
    q, k, v = heads(one.expand(B, T, 3, H, D), *Rotary(D)(T))
    assert q.shape == k.shape == v.shape == (B, H, T, D)
    scores = q @ k.transpose(-1, -2)
    for distance in range(1 - T, T):
        diagonal = scores.diagonal(distance, -2, -1)
        assert torch.allclose(diagonal, diagonal[..., :1].expand_as(diagonal), atol=1e-3)
    assert scores[0, 0, 0].std() > 0.1
    assert torch.equal(v, one[:, :, 2].transpose(1, 2).expand_as(v))
    assert torch.equal(q[:, :, 0], one[:, 0, 0])


@pytest.mark.parametrize("why", [None, RuntimeError("no C compiler"), subprocess.CalledProcessError(1, "gcc")])
def test_torch_does_it_where_kernels_cannot_be_built(why: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def try_out() -> None:
        if why:
            raise why

    kernels = ModuleType("sign_models.models.rotary_kernels")
    monkeypatch.setattr(kernels, "try_out", try_out, raising=False)
    monkeypatch.setitem(sys.modules, kernels.__name__, kernels)
    monkeypatch.setattr("sign_models.models.rotary_kernels", kernels, raising=False)
    monkeypatch.setattr(rotary, "find_spec", lambda name: object())
    assert rotary.fused.__wrapped__() is (None if why else kernels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: the kernels are its own")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("B", "T", "H", "D"), SIZES)
def test_the_kernels_do_what_torch_does(B: int, T: int, H: int, D: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    cos, sin = Rotary(D).cuda()(T)
    given = torch.randn(B, T, 3, H, D, device="cuda", dtype=dtype)
    weights = torch.randn(3, B, T, H, D, device="cuda", dtype=dtype).transpose(2, 3)
    found = []
    for function in (heads, split_heads):
        qkv = given.clone().requires_grad_()
        made = torch.stack(function(qkv, cos, sin))
        (made * weights).sum().backward()
        found.append((made.detach().float(), qkv.grad.float()))
    for mine, torchs in zip(*found, strict=True):
        assert (mine - torchs).abs().max() <= (1e-5 if dtype == torch.float32 else 0.05)
