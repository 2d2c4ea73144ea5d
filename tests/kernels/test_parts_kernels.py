"""Features of body parts from one kernel are those that torch makes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sign_models.keypoints.layouts import CANONICAL, PARTS
from sign_models.models.skeleton import ANCHORS, SCALES, PartTokens


def clips(B: int, T: int, dtype: torch.dtype, device: torch.device, channels: int = 3) -> Tensor:
    """With landmarks, anchors and whole frames that are unseen."""
    torch.manual_seed(0)
    x = torch.randn(B, T, len(CANONICAL), channels)
    x[..., 2] = torch.rand(B, T, len(CANONICAL)) * (torch.rand(B, T, len(CANONICAL)) > 0.3)
    x[:, 1::4] = 0
    return x.to(device, dtype)


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(("B", "T", "channels"), [(1, 1, 3), (3, 7, 3), (2, 40, 3), (3, 7, 4)])
def test_features(B: int, T: int, channels: int, dtype: torch.dtype, confidence: bool, device: torch.device) -> None:
    from sign_models.kernels import parts

    x = clips(B, T, dtype, device, channels)
    wanted = PartTokens(8, confidence).to(device).features(x)
    body, hands, face = parts.features(x, tuple(ANCHORS.values()), tuple(SCALES.values()), torch.float32, confidence)
    found = dict(zip(PARTS, (*body, *hands, *face), strict=True))
    for part, values in wanted.items():
        width = values.shape[-1]
        assert found[part].shape[-1] % 8 == 0
        assert (found[part][..., width] == 1).all() and (found[part][..., width + 1 :] == 0).all(), part
        assert (found[part][..., :width] - values).abs().max() < 1e-5, part
        assert values.abs().max() > 0, part


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("half", [False, True])
def test_tokens_and_their_gradients(
    half: bool, channels: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device.type != "cuda":
        pytest.skip("needs a GPU, where the model takes the kernel")
    model, x = PartTokens(16).to(device), clips(3, 9, torch.float32, device, channels)
    masked = torch.rand(3, 9, len(PARTS), device=device) < 0.2
    found = []
    for kernels in (True, False):
        monkeypatch.setattr("sign_models.models.skeleton.fused", lambda answer=kernels: answer)
        model.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            tokens = model(x, masked)
        (tokens.float() ** 2).mean().backward()
        found.append([tokens.detach().float(), *(p.grad for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() <= (0.02 if half else 1e-3) * max(1.0, float(other.abs().max()))
