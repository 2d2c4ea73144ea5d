"""Where a stage computes: device, precision, and other processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sign_models.data.batching import BatchPlan
from sign_models.data.memory import keep_freed_memory
from sign_models.kernels import fused, is_eager
from sign_models.models.precision import has_bf16, train_autocast
from sign_models.training.distributed import ALONE, ProcessGroup, current_group


@dataclass(frozen=True)
class Device:
    """Where a stage computes.

    Attributes:
        torch_device: A GPU or the CPU.
        process_group: Processes that train together.
    """

    torch_device: torch.device
    process_group: ProcessGroup = ALONE

    def describe(self, captured: bool) -> str:
        """Describe the device for the log.

        Args:
            captured: Whether steps are captured as CUDA graphs.

        Returns:
            Name, precision, what of graphs and kernels is used, and how many processes there are.
        """
        if self.torch_device.type == "cuda":
            name = torch.cuda.get_device_name(self.torch_device)
        else:
            name = f"CPU, {torch.get_num_threads()} threads"
        processes = f", {self.process_group.world_size} processes" if self.process_group.world_size > 1 else ""
        graphs = ", steps as CUDA graphs" if captured else ""
        kernels = ", fused kernels" if self.torch_device.type == "cuda" and fused() else ""
        kernels = ", eager: neither CUDA graphs nor fused kernels" if is_eager() else kernels
        return f"{name}, {'bfloat16' if has_bf16(self.torch_device) else 'float32'}{graphs}{kernels}{processes}"

    def autocast(self) -> torch.autocast:
        """Autocast for training on this device.

        Returns:
            The context.
        """
        return train_autocast(self.torch_device)


def find_device() -> Device:
    """Find the device of this process: its GPU, or else the CPU.

    Returns:
        The device, with the processes that have met in init_distributed().
    """
    torch.set_float32_matmul_precision("high")
    if not torch.cuda.is_available():
        keep_freed_memory(-1)  # the next step wants what this one frees (docs/experiments.md)
        return Device(torch.device("cpu"), current_group())
    return Device(torch.device("cuda", torch.cuda.current_device()), current_group())


def to_device(plan: BatchPlan, device: torch.device) -> BatchPlan:
    """Move the plan of a batch.

    Args:
        plan: Of the batch.
        device: Where to.

    Returns:
        The same tensors on the device.
    """
    return {name: values.to(device) for name, values in plan.items()}
