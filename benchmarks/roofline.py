"""The hardware's own limit: what it multiplies and moves in a second, and how much of either some work asks for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from sign_models.models.precision import has_bf16

ROUNDS = 7
SIDE = {"cuda": 8192, "cpu": 2048}  # of the square matrices that are multiplied
COPIED = {"cuda": 2**30, "cpu": 2**27}  # bytes


@dataclass(frozen=True)
class Ceiling:
    """Measured on this device: FLOP/s of matrix products in bf16 (0 where it does not multiply in it) and in
    float32 as the stages run it, bytes/s of a copy (read and written)."""

    bf16: float
    float32: float
    bandwidth: float

    @property
    def products(self) -> float:
        return max(self.bf16, self.float32)


@dataclass(frozen=True)
class Work:
    """FLOPs of matrix products and convolutions, and bytes that unfused operations read and write, a unit."""

    flops: float
    bytes: float


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.name():
            self.bytes += sum(t.nbytes for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor))
        return out


def count(work: Callable[[], float]) -> Work:
    """Of `work`, which says how many units it did. Run without fused attention, whose FLOPs nobody counts on a CPU."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        units = work()
    return Work(flops.get_total_flops() / units, traffic.bytes / units)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[..., Any], device: torch.device, *arguments: Any, **named: Any) -> float:
    wait(device)
    began = time.perf_counter()
    work(*arguments, **named)
    wait(device)
    return time.perf_counter() - began


def ceiling(device: torch.device) -> Ceiling:
    torch.set_float32_matmul_precision("high")
    side, rates = SIDE[device.type], list[float]()
    for dtype in (torch.bfloat16, torch.float32):
        if dtype == torch.bfloat16 and not has_bf16(device):
            rates.append(0.0)
            continue
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        best = statistics.median(seconds(torch.matmul, device, a, b) for _ in range(ROUNDS))
        rates.append(2 * side**3 / best)
    source = torch.ones(COPIED[device.type], dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    copying = statistics.median(seconds(target.copy_, device, source) for _ in range(ROUNDS))
    bf16, float32 = rates
    return Ceiling(bf16, float32, 2 * source.nbytes / copying)
