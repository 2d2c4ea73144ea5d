"""Norm and mask in one kernel are torch's two."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 16), (3, 7, 96), (2, 33, 256), (2, 5, 1024)])
def test_values_and_gradients(
    shape: tuple[int, int, int], masked: bool, dtype: torch.dtype, device: torch.device
) -> None:
    from sign_models.kernels.norm import Norm

    torch.manual_seed(0)
    given = (torch.randn(shape, device=device) * 3 + 1).to(dtype)
    given[:, 0] = 0  # a row without any spread
    weights = torch.randn(shape, device=device).to(dtype)
    mask = torch.rand(shape[:2], device=device) < 0.7 if masked else None
    found = []
    for kernel in (True, False):
        x = given.clone().requires_grad_()
        if kernel:
            y = Norm.apply(x, mask)
        else:
            y = F.layer_norm(x.float(), shape[-1:])
            y = (y if mask is None else y * mask.unsqueeze(-1)).to(dtype)
        (y * weights).sum().backward()
        found.append((y.detach().float(), x.grad.float()))
    for one, other in zip(*found, strict=True):
        bound = 2e-5 if dtype == torch.float32 else 2**-7
        assert (one - other).abs().max() <= bound * max(1.0, float(other.abs().max()))
    if masked:
        assert (found[0][0][~mask] == 0).all() and (found[0][1][~mask] == 0).all()
