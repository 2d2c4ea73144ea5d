"""Queries and keys are turned by their positions: what they say of each other depends on their distance only."""

from __future__ import annotations

import pytest
import torch

from sign_models.models.rotary import Rotary, apply_rotary

SIZES = [(2, 9, 3, 8), (1, 40, 2, 28), (3, 33, 8, 64)]


@pytest.mark.parametrize(("B", "T", "H", "D"), SIZES)
def test_attention_sees_distances_only(B: int, T: int, H: int, D: int) -> None:
    torch.manual_seed(0)
    one = torch.randn(B, 1, 3, H, D)
    q, k, v = apply_rotary(one.expand(B, T, 3, H, D), *Rotary(D)(T))
    assert q.shape == k.shape == v.shape == (B, H, T, D)
    scores = q @ k.transpose(-1, -2)
    for distance in range(1 - T, T):
        diagonal = scores.diagonal(distance, -2, -1)
        assert torch.allclose(diagonal, diagonal[..., :1].expand_as(diagonal), atol=1e-3)
    assert scores[0, 0, 0].std() > 0.1
    assert torch.equal(v, one[:, :, 2].transpose(1, 2).expand_as(v))
    assert torch.equal(q[:, :, 0], one[:, 0, 0])
