"""Where a stage computes: device, precision, processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import Accelerator

from sign_models.data.batching import Drawn
from sign_models.data.memory import keep_freed_memory
from sign_models.kernels import fused
from sign_models.models.precision import has_bf16, learning
from sign_models.training.distributed import ALONE, Processes, present


@dataclass(frozen=True)
class Hardware:
    """Where a stage computes, and beside which other processes."""

    accelerator: Accelerator
    among: Processes = ALONE

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def told(self, recorded: bool) -> str:
        """What was chosen, for the log."""
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            name = f"CPU, {torch.get_num_threads()} threads"
        processes = f", {self.among.size} processes" if self.among.size > 1 else ""
        graphs = ", steps as CUDA graphs" if recorded else ""
        kernels = ", fused kernels" if self.device.type == "cuda" and fused() else ""
        return f"{name}, {'bfloat16' if has_bf16(self.device) else 'float32'}{graphs}{kernels}{processes}"

    def autocast(self) -> torch.autocast:
        return learning(self.device)


def hardware() -> Hardware:
    """The device there is, in half precision where it multiplies in that."""
    torch.set_float32_matmul_precision("high")
    if not torch.cuda.is_available():
        keep_freed_memory(-1)  # the next step wants what this one frees (docs/experiments.md)
    return Hardware(Accelerator(), present())


def to_device(drawn: Drawn, device: torch.device) -> Drawn:
    return {name: values.to(device) for name, values in drawn.items()}
