"""The kernels' restoration loss, distance and gradient are torch's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sign_models.models.restoration import _weights, fused_loss, plain_loss
from tests.models import clips


def given(device: torch.device, lengths: tuple[int, ...], unseen: float = 0.2, masked: float = 0.3) -> list[Tensor]:
    """restored, x, mask, masked. Errors lie on both sides of where Huber's loss bends; confidences are shares."""
    x, mask = clips.batch(lengths, unseen=unseen)
    generator = torch.Generator().manual_seed(1)
    x[..., 2] *= torch.rand(x.shape[:3], generator=generator)
    away = torch.rand(x.shape[:3], generator=generator) < masked
    restored = x[..., :2] + 0.1 * torch.randn(*x.shape[:3], 2, generator=generator)
    return [tensor.to(device) for tensor in (restored, x, mask, away)]


def found(way: Callable, restored: Tensor, *rest: object) -> list[Tensor]:
    """Loss, distance, and the gradient of three times the loss."""
    restored = restored.detach().requires_grad_()
    loss, distance = way(restored, *rest)
    assert not distance.requires_grad
    gradient = torch.autograd.grad(3 * loss, restored)[0]
    assert gradient.dtype == restored.dtype
    return [loss.detach(), distance, gradient.float()]


def check(*rest: object, relative: float = 1e-5) -> list[Tensor]:
    mine, torchs = found(fused_loss, *rest), found(plain_loss, *rest)
    for a, b in zip(mine, torchs, strict=True):
        assert a.shape == b.shape and (a - b).abs().max() <= relative * b.abs().max()
    return mine


@pytest.mark.parametrize("velocity_weight", [0.5, 0])
@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (8, 8), (33, 20, 1), (13, 8, 16)])
def test_padded_clips(lengths: tuple[int, ...], velocity_weight: float, device: torch.device) -> None:
    loss, distance, gradient = check(*given(device, lengths), velocity_weight)
    assert loss > 0 and distance > 0
    assert all(not gradient[i, length:].any() for i, length in enumerate(lengths))


@pytest.mark.parametrize(("unseen", "masked"), [(0.0, 0.3), (0.6, 1.0), (0.2, 0.0), (1.0, 0.3)])
def test_unseen_and_masked_landmarks(unseen: float, masked: float, device: torch.device) -> None:
    loss, distance, gradient = check(*given(device, (9, 5), unseen, masked), 0.5)
    assert (loss > 0) == (unseen < 1) and (distance > 0) == (unseen < 1 and masked > 0)
    assert gradient.any() == (unseen < 1)


def test_half_precision(device: torch.device) -> None:
    restored, *rest = given(device, (17, 9))
    check(restored.bfloat16(), *rest, 0.5, relative=2**-7)  # what is kept is rounded, and again where it is multiplied


@pytest.mark.parametrize("layout", ["cut", "planes", "transposed"])
def test_restored_and_clips_in_other_layouts(layout: str, device: torch.device) -> None:
    """As the temporal model's, cut to the clips' length; as no model's."""
    restored, x, mask, masked = given(device, (11, 7))
    wanted = found(fused_loss, restored, x, mask, masked, 0.5)
    if layout == "cut":
        longer = torch.full((2, 12, *restored.shape[2:]), torch.nan, device=device)
        longer[:, :11] = restored
        restored = longer[:, :11]
        mask, masked = mask.repeat(1, 2)[:, :11], masked.repeat(1, 2, 1)[:, :11]
    elif layout == "planes":
        restored, x = (t.movedim(-1, 0).contiguous().movedim(0, -1) for t in (restored, x))
    else:
        restored, x, mask, masked = (
            t.transpose(0, 1).contiguous().transpose(0, 1) for t in (restored, x, mask, masked)
        )
    assert not restored.is_contiguous()
    assert all(
        torch.equal(a, b) for a, b in zip(found(fused_loss, restored, x, mask, masked, 0.5), wanted, strict=True)
    )


def test_one_of_two_processes_adds_its_share(device: torch.device) -> None:
    clips_ = given(device, (9, 5))
    _, x, mask, masked = clips_
    both = 2 * torch.stack([weight.sum() for weight in _weights(x, mask, masked)])
    alone, half = check(*clips_, 0.5), check(*clips_, 0.5, both)
    assert all(torch.allclose(a, 2 * b, rtol=1e-5) for a, b in zip(alone, half, strict=True))


def test_a_process_without_a_clip(device: torch.device) -> None:
    loss, distance, gradient = found(fused_loss, *(t[:0] for t in given(device, (5,))), 0.5)
    assert loss == 0 and distance == 0 and gradient.shape[0] == 0


def test_a_graph_records_it(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    clips_ = given(device, (33, 20))
    wanted, graph = found(fused_loss, *clips_, 0.5), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = found(fused_loss, *clips_, 0.5)
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(recorded, wanted, strict=True))
