"""How long a clip may be that a device has the memory to train on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import torch
from torch import Tensor

SHARE = 0.5  # of the device's memory that one clip may take: the rest is for weights, their optimizer, the corpus
PER_SAVED = 2.0  # bytes in use at most for one that autograd keeps; measured: 1.4 (docs/experiments.md)
PROBED_FRAMES = (512, 1024, 2048)
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def device_memory(device: torch.device) -> int:
    """Bytes of memory that the device has, in use or not: the same whenever it is asked."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [int(psutil.virtual_memory().total)]
    for path in map(Path, CGROUP_LIMITS):
        if path.exists() and (said := path.read_text().strip()).isdigit():
            limits.append(int(said))
    return min(limits)


def saved_bytes(forward: Callable[[], Tensor]) -> int:
    """Bytes of the tensors that autograd keeps for the backward pass of `forward`."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # alive, so that its address is no other one's
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def longest_clip(forward: Callable[[int], Tensor], memory: float) -> int:
    """Frames of the longest clip whose training takes at most `memory` bytes.

    Measures three short clips. What autograd keeps grows with the frames and, where attention is not fused, with their
    square, so that three points tell the curve.

    Args:
        forward: Frames of one clip -> its loss.
        memory: In bytes.
    """
    n = PROBED_FRAMES[0]
    a, b, c = (PER_SAVED * saved_bytes(partial(forward, frames)) for frames in PROBED_FRAMES)
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
