"""The kernels do what torch does."""

from __future__ import annotations

import pytest
import torch

from sign_models.models.rotary import Rotary, apply_rotary


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("B", "T", "H", "D"), [(2, 9, 3, 8), (1, 40, 2, 28), (3, 33, 8, 64)])
def test_heads(
    B: int, T: int, H: int, D: int, dtype: torch.dtype, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sign_models.kernels.rotary import ApplyRotary

    torch.manual_seed(0)
    cos, sin = Rotary(D).to(device)(T)
    given = torch.randn(B, T, 3, H, D, device=device, dtype=dtype)
    weights = torch.randn(3, B, T, H, D, device=device, dtype=dtype).transpose(2, 3)
    found = []
    monkeypatch.setattr("sign_models.models.rotary.fused", lambda: False)
    for function in (ApplyRotary.apply, apply_rotary):
        qkv = given.clone().requires_grad_()
        made = torch.stack(function(qkv, cos, sin))
        (made * weights).sum().backward()
        found.append((made.detach().float(), qkv.grad.float()))
    for mine, torchs in zip(*found, strict=True):
        assert (mine - torchs).abs().max() <= (1e-5 if dtype == torch.float32 else 0.05)
