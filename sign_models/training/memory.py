"""The longest clip that a device has the memory to train on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import torch
from torch import Tensor

MAX_CLIP_MEMORY_SHARE = (
    0.5  # of the device's memory that one clip may take: the rest is for weights, their optimizer, the corpus
)
BYTES_PER_SAVED_BYTE = 2.0  # bytes in use at most for one that autograd keeps; measured: 1.4 (docs/experiments.md)
PROBED_FRAMES = (512, 1024, 2048)
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def device_memory(device: torch.device) -> int:
    """Memory of a device.

    Args:
        device: A GPU, or the CPU with the limits of its control group.

    Returns:
        Bytes, in use or not, so that the answer is the same whenever it is asked.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [int(psutil.virtual_memory().total)]
    for path in map(Path, CGROUP_LIMITS):
        if path.exists() and (said := path.read_text().strip()).isdigit():
            limits.append(int(said))
    return min(limits)


def saved_bytes(forward: Callable[[], Tensor]) -> int:
    """Memory that autograd keeps for a backward pass.

    Args:
        forward: Computes a tensor with a gradient.

    Returns:
        Bytes of the tensors that are kept.
    """
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # alive, so that its address is no other one's
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def longest_clip(forward: Callable[[int], Tensor], memory: float) -> int:
    """Find the longest clip that can be trained on.

    Three short clips are measured. What autograd keeps grows with the frames and, where attention is not fused, with
    their square, so three points determine the curve.

    Args:
        forward: Computes the loss of one clip of so many frames.
        memory: Bytes that training may take.

    Returns:
        Frames.
    """
    n = PROBED_FRAMES[0]
    a, b, c = (BYTES_PER_SAVED_BYTE * saved_bytes(partial(forward, frames)) for frames in PROBED_FRAMES)
    # through (n, a), (2 n, b), (4 n, c)
    square = max(0.0, ((c - b) / 2 - (b - a)) / 3) / n**2
    slope = max((b - a) / n - 3 * square * n, 1.0)
    least, most = 1, 2**40
    while least < most:
        frames = (least + most + 1) // 2
        if slope * frames + square * frames**2 <= memory:
            least = frames
        else:
            most = frames - 1
    return least
