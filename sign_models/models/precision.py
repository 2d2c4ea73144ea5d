"""Half precision, where a device multiplies in it."""

from __future__ import annotations

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether it multiplies in bf16; one that does not is many times slower so than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())


def train_autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device))


def inference_autocast(device: torch.device) -> torch.autocast:
    """On a CPU in full precision, so that what a clip gets does not depend on its batch."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and has_bf16(device))
