"""The training loop of all stages, on accelerate: devices, precision and processes are its business, not a stage's.

What happens in step s depends on the weights, (seed, s) and the data only, never on how the process came to step s.
So a training that was killed goes on from its checkpoint to the very weights that it would have reached.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from sign_models.data.batching import Sampler
from sign_models.errors import ResourceError

WIDE = 512  # width from which a GPU gains by half precision
LOG_STEPS = 20  # train metrics are averaged over this many steps, read from the device and recorded together
OutOfMemory = torch.OutOfMemoryError


class Recorder(Protocol):
    """Where a training reports to. sign_models.tracking has the one that writes to MLflow."""

    def metrics(self, values: dict[str, float], step: int) -> None: ...

    def figure(self, name: str, figure: Any) -> None: ...

    def checkpoint(self, folder: Path, step: int, best: bool) -> None: ...

    def restore(self) -> Path | None:
        """Folder of the last whole checkpoint of an interrupted training, or None."""
        ...

    def note(self, message: str) -> None: ...


class Task(Protocol):
    """What a stage brings to the loop.

    objective: a module whose forward(batch) gives a dict of scalars, among them "loss".
    clips(step): the clips of a step. batch(step, part): clips(step)[part] as the objective wants them, and their real
    frames (a scalar tensor).
    evaluate(objective): metrics on the validation split; "score" among them, higher is better.
    """

    objective: Any
    sampler: Sampler

    def clips(self, step: int) -> np.ndarray: ...

    def batch(self, step: int, part: slice) -> tuple[Any, Tensor]: ...

    def evaluate(self, objective: Any) -> dict[str, float]: ...

    def groups(self) -> Iterable[tuple[float, list[nn.Parameter]]]:
        """Parameters with their share of the learning rate."""
        ...

    def advance(self, averaged: Any, done: float) -> None:
        """Called after each evaluation, with the share of training that is done: a task may make new data."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What advance() made, for checkpoints."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None: ...


class FixedTask:
    """The rest of a Task that trains on the clips of its sampler from beginning to end."""

    sampler: Sampler

    def clips(self, step: int) -> np.ndarray:
        return self.sampler[step]

    def advance(self, averaged: Any, done: float) -> None:
        return

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        return


@dataclass
class Progress:
    """What a checkpoint knows beside weights."""

    step: int = 0
    best_step: int = -1
    best_score: float = -math.inf
    best_metrics: dict[str, float] = field(default_factory=dict)
    without_better: int = 0
    parts: int = 1  # micro-batches a step; grows when memory ends
    seconds: float = 0.0
    frames: int = 0
    epoch: int = 0  # of the last step, counted from 1
    epoch_metrics: dict[str, float] = field(default_factory=dict)  # the latest of this epoch: its point of the curves

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Hardware:
    """Where a stage computes, and whether in half precision."""

    accelerator: Accelerator
    half: bool

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)


def hardware(width: int) -> Hardware:
    """The device there is, in the precision that is fastest there for a model of this width.

    Half precision multiplies faster wherever the hardware knows it, but casting costs a kernel launch a tensor: on a
    GPU, narrow models wait for launches, not for products (docs/experiments.md), and take TF32 instead.
    """
    torch.set_float32_matmul_precision("high")
    if torch.cuda.is_available():
        half = width >= WIDE and torch.cuda.is_bf16_supported()
    else:
        half = bool(torch.cpu._is_avx512_bf16_supported())
    # accelerate's own mixed precision is one for the whole process; stages of one pipeline may differ in width
    return Hardware(Accelerator(), half)


def total_steps(steps: int | None, epochs: float | None, min_steps: int, sampler: Sampler) -> int:
    """How long params.schema.Training says, in optimizer steps."""
    if epochs is not None:
        return max(1, min_steps, round(epochs * sampler.steps))
    assert steps is not None  # params.load refuses both null
    return steps


def learning_rate(step: int, total: int, warmup: float) -> float:
    """Share of the peak rate: a linear rise, then a cosine down to 0."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def seed_step(seed: int, step: int, part: int = 0, process: int = 0) -> None:
    """Every draw on the device in step `step` follows from here."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, part, process]).generate_state(1)[0]))


def fit(
    task: Task,
    machine: Hardware,
    recorder: Recorder,
    name: str,
    *,
    steps: int | None,
    epochs: float | None,
    min_steps: int,
    lr: float,
    weight_decay: float,
    warmup: float,
    clip_norm: float,
    ema: float,
    evaluations: int,
    patience: int,
    checkpoint_minutes: float,
    seed: int,
    **_: Any,
) -> Progress:
    """Train task.objective; on return it holds the best averaged weights. Parameters as in params.schema.Training."""
    total = total_steps(steps, epochs, min_steps, task.sampler)
    every = -(-total // evaluations)
    raw = task.objective.to(machine.device)
    shares, optimizer = _optimizer(task, lr, weight_decay)
    objective, optimizer = machine.accelerator.prepare(raw, optimizer)
    averaged = AveragedModel(raw, multi_avg_fn=_ema(ema), use_buffers=False)
    progress = Progress()
    best: dict[str, Tensor] = {}
    folder = recorder.restore()
    if folder is not None:
        progress, best = _restore(folder, task, averaged, optimizer)
        recorder.note(f"{name}: goes on from step {progress.step} of {total}")
    bar = tqdm(total=total, initial=progress.step, desc=name, unit="step", disable=not sys.stderr.isatty())
    pending: list[dict[str, Tensor]] = []
    saved = clock = time.monotonic()
    while progress.step < total and not _enough(progress, patience):
        step = progress.step
        rate = learning_rate(step, total, warmup)
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = lr * rate * share
        values = _step(task, objective, optimizer, machine, recorder, progress, seed, clip_norm)
        averaged.update_parameters(raw)
        pending.append(values)
        progress.step += 1
        bar.update()
        last = progress.step == total
        if progress.step % LOG_STEPS == 0 or progress.step % every == 0 or last:
            logged = _mean(pending)
            progress.frames += round(logged.pop("frames") * len(pending))
            pending = []
            progress.seconds += time.monotonic() - clock
            _record(recorder, logged, lr * rate, progress, task.sampler.steps, step)
            bar.set_postfix(loss=f"{logged['loss']:.3f}")
            clock = time.monotonic()
        if progress.step % every == 0 or last:
            metrics = _evaluate(task, averaged.module, machine)
            if metrics["score"] > progress.best_score:
                progress.best_score, progress.best_step, progress.best_metrics = metrics["score"], step, metrics
                progress.without_better = 0
                best = {k: v.detach().clone() for k, v in averaged.module.state_dict().items()}
            else:
                progress.without_better += 1
            if not last:
                _advance(task, averaged.module, machine, progress.step / total)
            recorder.metrics({f"validation.{k}": v for k, v in metrics.items()}, step)
            progress.epoch_metrics |= {f"epoch.validation.{k}": v for k, v in metrics.items()}
            if bar.disable:
                shown = "  ".join(f"{k} {v:.3f}" for k, v in metrics.items())
                recorder.note(f"{name}: step {progress.step}/{total}  train loss {logged['loss']:.3f}  {shown}")
            if last or _enough(progress, patience) or time.monotonic() - saved > 60 * checkpoint_minutes:
                _save(recorder, task, averaged, optimizer, best, progress)
                saved = time.monotonic()
            clock = time.monotonic()
    bar.close()
    recorder.metrics(progress.epoch_metrics, progress.epoch)
    raw.load_state_dict(best)
    raw.eval()
    return progress


def _enough(progress: Progress, patience: int) -> bool:
    return bool(patience) and progress.without_better >= patience


def _optimizer(task: Task, lr: float, weight_decay: float) -> tuple[list[float], torch.optim.Optimizer]:
    """AdamW; vectors (norms, biases, single tokens) are not decayed."""
    groups: list[dict[str, Any]] = []
    shares: list[float] = []
    for share, parameters in task.groups():
        for decay, chosen in (
            (weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim < 2]),
        ):
            groups.append({"params": chosen, "weight_decay": decay})
            shares.append(share)
    return shares, torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)


def _ema(decay: float) -> Callable[..., None]:
    """Exponential moving average whose memory grows with the number of updates, so that it forgets the random start."""

    def update(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        n = float(updates)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update


def _step(
    task: Task,
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    machine: Hardware,
    recorder: Recorder,
    progress: Progress,
    seed: int,
    clip_norm: float,
) -> dict[str, Tensor]:
    """One optimizer step; on a full memory the same step again in twice as many parts."""
    clips = len(task.clips(progress.step))
    while True:
        try:
            optimizer.zero_grad(set_to_none=True)
            values: dict[str, Tensor] = {}
            size = -(-clips // progress.parts)
            for place, begin in enumerate(range(0, clips, size)):
                part = slice(begin, min(begin + size, clips))
                seed_step(seed, progress.step, place, machine.accelerator.process_index)
                batch, frames = task.batch(progress.step, part)
                with machine.autocast():
                    out = objective(batch)
                share = (part.stop - part.start) / clips
                machine.accelerator.backward(out["loss"] * share)
                for key, value in out.items():
                    values[key] = values.get(key, 0) + value.detach() * share
                values["frames"] = values.get("frames", 0) + frames
            values["gradient_norm"] = machine.accelerator.clip_grad_norm_(objective.parameters(), clip_norm)
            optimizer.step()
            return values
        except OutOfMemory as error:
            if progress.parts >= clips:
                raise ResourceError(
                    "the device has too little memory for one clip",
                    place="training.batch_size",
                    remedy="lower max_frames or choose a smaller preset",
                ) from error
            progress.parts *= 2
            torch.cuda.empty_cache()
            recorder.note(
                f"out of memory: batches of {-(-clips // progress.parts)} clips, {progress.parts} of them a step; "
                f"the effective batch stays {clips}"
            )


def _evaluate(task: Task, module: nn.Module, machine: Hardware) -> dict[str, float]:
    module.eval()
    with torch.no_grad(), machine.autocast():
        metrics = task.evaluate(module)
    module.train()
    return metrics


def _advance(task: Task, module: nn.Module, machine: Hardware, done: float) -> None:
    module.eval()
    with torch.no_grad(), machine.autocast():
        task.advance(module, done)
    module.train()


def _mean(values: list[dict[str, Tensor]]) -> dict[str, float]:
    keys = list(values[0])
    table = torch.stack([torch.stack([torch.as_tensor(v[k]).float() for k in keys]) for v in values]).mean(0)
    return dict(zip(keys, table.tolist(), strict=True))


def _record(
    recorder: Recorder, logged: dict[str, float], rate: float, progress: Progress, epoch_steps: int, step: int
) -> None:
    if not math.isfinite(logged["loss"]):
        raise ResourceError(
            f"the loss is {logged['loss']} at step {step}",
            place="training",
            remedy="lower training.lr",
        )
    recorder.metrics(
        {f"train.{k}": v for k, v in logged.items()}
        | {"train.learning_rate": rate, "train.frames_per_second": progress.frames_per_second},
        step,
    )
    epoch = 1 + step // epoch_steps
    if epoch > progress.epoch:  # the one before is over
        recorder.metrics(progress.epoch_metrics, progress.epoch)
        progress.epoch, progress.epoch_metrics = epoch, {}
    progress.epoch_metrics |= {f"epoch.train.{k}": v for k, v in logged.items()}


def _save(
    recorder: Recorder,
    task: Task,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    progress: Progress,
) -> None:
    with tempfile.TemporaryDirectory(prefix="sign-checkpoint-") as folder:
        tensors = {f"model.{k}": v for k, v in task.objective.state_dict().items()}
        tensors |= {f"task.{k}": v for k, v in task.state().items()}
        tensors |= {f"averaged.{k}": v for k, v in averaged.module.state_dict().items()}
        tensors["updates"] = averaged.n_averaged.reshape(1)
        state = optimizer.state_dict()["state"]
        tensors |= {f"optimizer.{i}.{k}": v for i, entry in state.items() for k, v in entry.items()}
        tensors |= {f"best.{k}": v for k, v in best.items()}
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, f"{folder}/state.safetensors")
        (Path(folder) / "progress.json").write_text(json.dumps(asdict(progress)))
        recorder.checkpoint(Path(folder), progress.step, progress.best_step == progress.step - 1)


def _restore(
    folder: Path, task: Task, averaged: AveragedModel, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    progress = Progress(**json.loads((folder / "progress.json").read_text()))
    tensors = load_file(folder / "state.safetensors", device=str(next(task.objective.parameters()).device))

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    task.objective.load_state_dict(under("model."))
    task.restore(under("task."))
    averaged.module.load_state_dict(under("averaged."))
    averaged.n_averaged.copy_(tensors["updates"][0])
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in under("optimizer.").items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = value
    full = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": full["param_groups"]})
    return progress, under("best.")
