"""Attention within clips: the same by every kernel, and learned through whatever the length."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sign_models.models.attention import MIN_VARLEN_VECTORS, PackedSelfAttention, clips_a_row
from sign_models.models.blocks import TransformerBlock
from sign_models.models.rotary import Rotary


def mask_of(lengths: list[int], S: int, device: str = "cpu") -> Tensor:
    return torch.arange(S, device=device) < torch.tensor(lengths, device=device).unsqueeze(1)


def by_definition(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Each (B, H, S, D) -> (B, S, H, D)."""
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~mask[:, None, None], float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2)


def test_cudnn_is_not_asked_to_attend() -> None:
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize("clips", [1, 2, 4])
def test_clips_of_a_row_attend_to_themselves_only(clips: int) -> None:
    mask = mask_of([5, 3, 1, 4], 5)
    q, k, v = torch.randn(3, 4, 2, 5, 8)
    rows = [x.transpose(1, 2).reshape(4 // clips, clips * 5, 2, 8).transpose(1, 2) for x in (q, k, v)]
    found = PackedSelfAttention(mask, clips)(*rows).reshape(4, 5, 2, 8)
    assert torch.allclose(found, by_definition(q, k, v, mask), atol=1e-6)


def test_as_many_clips_lie_in_a_row_as_fill_a_tile_of_a_gpu() -> None:
    gpu = torch.device("cuda")
    assert [clips_a_row(512, vectors, gpu) for vectors in (1, 15, 16, 17, 32, 33, 100)] == [64, 4, 4, 2, 2, 1, 1]
    assert [clips_a_row(count, 10, gpu) for count in (1, 6, 7)] == [1, 2, 1]
    assert clips_a_row(512, 16, torch.device("cpu")) == 1


@pytest.mark.gpu  # the kernels are its own
@pytest.mark.parametrize("S", [7, 16, 63, 64, 65, MIN_VARLEN_VECTORS, MIN_VARLEN_VECTORS + 64, MIN_VARLEN_VECTORS + 65])
def test_a_gpu_attends_and_learns_as_defined(S: int) -> None:
    torch.manual_seed(0)
    lengths = [S, 1, S // 2, S - 1]
    mask = mask_of(lengths, S, "cuda")
    q, k, v = (torch.randn(4, S, 2, 64, device="cuda").bfloat16().requires_grad_() for _ in range(3))
    within = PackedSelfAttention(mask)
    rows = [x.reshape(4 // within.clips, -1, 2, 64).transpose(1, 2) for x in (q, k, v)]
    y = within(*rows).reshape(4, S, 2, 64)[mask]
    gradients = torch.autograd.grad(y.float().square().sum(), (q, k, v))
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    z = by_definition(*(x.transpose(1, 2) for x in exact), mask)[mask]
    wanted = torch.autograd.grad(z.square().sum(), exact)
    assert torch.allclose(y.double(), z, atol=0.02)
    for found, right in zip(gradients, wanted, strict=True):
        assert (found.double() - right)[mask].norm() < 0.02 * right[mask].norm()


@pytest.mark.gpu  # the kernels are its own
@pytest.mark.parametrize("S", [63, 64, 65, 192, 576])
def test_gradients_are_numbers_where_all_scores_are_low(S: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, S, 64, device="cuda", dtype=torch.bfloat16) * 0.1 for _ in range(3))
    q, k = (q + 4).requires_grad_(), (k - 4).requires_grad_()  # scores of about -128
    y = PackedSelfAttention(mask_of([S, S], S, "cuda"))(q, k, v)
    y.float().square().sum().backward()
    assert q.grad.isfinite().all() and k.grad.isfinite().all()


def test_a_block_learns_over_such_a_length() -> None:
    block, x = TransformerBlock(16, 2, 0.0), torch.randn(2, 64, 16)
    block(x, PackedSelfAttention(mask_of([64, 64], 64)), *Rotary(8)(64)).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in block.parameters())
