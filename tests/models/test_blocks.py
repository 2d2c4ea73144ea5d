"""Attention that can be learned through, whatever the length."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sign_models.models.blocks import TransformerBlock
from sign_models.models.rotary import Rotary


def test_cudnn_is_not_asked_to_attend() -> None:
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: the kernels are its own")
@pytest.mark.parametrize("T", [63, 64, 65, 192])
def test_gradients_are_numbers_where_all_scores_are_low(T: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, T, 64, device="cuda", dtype=torch.bfloat16) * 0.1 for _ in range(3))
    q, k = (q + 4).requires_grad_(), (k - 4).requires_grad_()  # scores of about -128
    mask = torch.ones(2, 1, 1, T, dtype=torch.bool, device="cuda")
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    y.float().square().sum().backward()
    assert q.grad.isfinite().all() and k.grad.isfinite().all()


def test_a_block_learns_over_such_a_length() -> None:
    block, x = TransformerBlock(16, 2, 0.0), torch.randn(2, 64, 16)
    mask = torch.ones(2, 1, 1, 64, dtype=torch.bool)
    block(x, mask, *Rotary(8)(64)).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in block.parameters())
