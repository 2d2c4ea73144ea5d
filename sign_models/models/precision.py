"""Half precision on devices that multiply in it."""

from __future__ import annotations

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16. One that only emulates it is many times slower than in float32.

    Args:
        device: A CPU or a GPU.

    Returns:
        Whether it has the instructions.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())


def train_autocast(device: torch.device) -> torch.autocast:
    """Autocast for training: bfloat16 where the device has it.

    Args:
        device: Where the model computes.

    Returns:
        The context.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device))


def inference_autocast(device: torch.device) -> torch.autocast:
    """Autocast for inference: bfloat16 on a GPU that has it, float32 on a CPU.

    In float32 the answer for a clip does not depend on the batch that it is in.

    Args:
        device: Where the model computes.

    Returns:
        The context.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and has_bf16(device))
