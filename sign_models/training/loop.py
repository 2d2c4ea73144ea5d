"""The training loop of all stages: devices, precision and processes are its business, not a stage's.

What happens in step s depends on the weights, (seed, s) and the data only, never on how the process came to step s.
So a training that was killed goes on from its checkpoint to the very weights that it would have reached, on a device of
the same kind and, on a CPU, with as many threads: sums are rounded in the order in which threads share them.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from sign_models import interruption
from sign_models.errors import ParamsError, ResourceError
from sign_models.training.device import Device
from sign_models.training.step import TrainStep
from sign_models.training.task import MetricLogger, Progress, Task

HEARTBEAT_S = 60.0  # a log that is no terminal gets a line at least so often
LOG_STEPS = 20  # train metrics are averaged over this many steps, read from the device and recorded together


def total_steps(steps: int | None, epochs: float | None, min_steps: int, epoch_steps: int) -> int:
    """How long params.schema.Training says, in optimizer steps."""
    if epochs is not None:
        return max(1, min_steps, round(epochs * epoch_steps))
    assert steps is not None  # params.load refuses both null
    return steps


def learning_rate(step: int, total: int, warmup: float) -> float:
    """Share of the peak rate: a linear rise, then a cosine down to 0."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def fit(
    task: Task,
    device: Device,
    logger: MetricLogger,
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
    total = total_steps(steps, epochs, min_steps, task.epoch_steps)
    every = -(-total // evaluations)
    stepper = TrainStep(
        task,
        device,
        lr=lr,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        ema=ema,
        seed=seed,
        log=logger.log,
    )
    process_group = device.process_group
    if task.sampler.batch_size < process_group.world_size:
        raise ParamsError(
            f"{task.sampler.batch_size} clips a step for {process_group.world_size} processes",
            place="training.batch_size",
            wanted="at least one for each",
            remedy="raise it, or take fewer processes",
        )
    averaged = stepper.average.module
    logger.log(f"{name}: {device.describe(stepper.graphs is not None)}")
    for fact in task.facts.values():
        logger.log(f"{name}: {fact}")
    progress = Progress()
    best: dict[str, Tensor] = {}
    folder = logger.restore()
    if folder is not None:
        progress, best = _restore(folder, task, averaged, stepper.optimizer)
        progress.parts = (
            progress.parts if process_group.world_size == 1 else 1
        )  # as many processes as before may not be there
        logger.log(f"{name}: goes on from step {progress.step} of {total}")
    silent = not (process_group.is_main_process and sys.stderr.isatty())
    bar = tqdm(total=total, initial=progress.step, desc=name, unit="step", disable=silent)
    pending: list[Tensor] = []
    saved = clock = noted = started = time.monotonic()
    began = progress.step
    while progress.step < total and not _enough(progress, patience):
        interruption.check()
        step = progress.step
        rate = learning_rate(step, total, warmup)
        pending.append(stepper.step(progress, rate, step / total))
        progress.step += 1
        bar.update()
        last = progress.step == total
        if progress.step % LOG_STEPS == 0 or progress.step % every == 0 or last:
            values = process_group.all_reduce_mean(torch.stack(pending).mean(0))
            logged = dict(zip(stepper.names, values.tolist(), strict=True))
            progress.frames += round(logged.pop("frames") * process_group.world_size * len(pending))
            pending = []
            progress.seconds += time.monotonic() - clock
            _record(logger, logged, lr * rate, progress, task.epoch_steps, step)
            bar.set_postfix(loss=f"{logged['loss']:.3f}")
            clock = time.monotonic()
            if bar.disable and clock - noted > HEARTBEAT_S:
                done = f"{name}: step {progress.step}/{total}  train loss {logged['loss']:.3f}"
                logger.log(f"{done}  about {_remaining(clock - started, progress.step - began, total - began)} left")
                noted = clock
        if progress.step % every == 0 or last:
            metrics = process_group.broadcast_object(partial(_evaluate, task, averaged, device))
            _check_finite("validation score", metrics["score"], step)
            better = metrics["score"] > progress.highest_score
            progress.highest_score = max(progress.highest_score, metrics["score"])
            progress.without_better = 0 if better else progress.without_better + 1
            # of scores that chance could have put in another order, the one after more training is taken
            if metrics["score"] >= progress.highest_score - task.tolerance:
                progress.best_score, progress.best_step, progress.best_metrics = metrics["score"], step, metrics
                best = {k: v.detach().clone() for k, v in averaged.state_dict().items()}
            if not last:
                _advance(task, averaged, device, progress.step / total)
            logger.metrics({f"validation/{k}": v for k, v in metrics.items()}, step)
            shown = "  ".join(f"{k} {v:.3f}" for k, v in metrics.items())
            logger.log(f"{name}: step {progress.step}/{total}  train loss {logged['loss']:.3f}  {shown}")
            noted = time.monotonic()
            if last or _enough(progress, patience) or time.monotonic() - saved > 60 * checkpoint_minutes:
                if process_group.is_main_process:
                    _save(logger, task, averaged, stepper.optimizer, best, progress)
                saved = time.monotonic()
            clock = time.monotonic()
    bar.close()
    task.objective.load_state_dict(best)
    task.objective.eval()
    return progress


def _remaining(seconds: float, done: int, total: int) -> str:
    """Time that `total - done` more steps take, as `done` took `seconds`."""
    left = seconds / done * (total - done)
    return f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min" if left < 7200 else f"{left / 3600:.1f} h"


def _enough(progress: Progress, patience: int) -> bool:
    return bool(patience) and progress.without_better >= patience


def _evaluate(task: Task, module: nn.Module, device: Device) -> dict[str, float]:
    module.eval()
    with torch.no_grad(), device.autocast():
        metrics = task.evaluate(module)
    module.train()
    return metrics


def _advance(task: Task, module: nn.Module, device: Device, done: float) -> None:
    if device.process_group.is_main_process:
        module.eval()
        with torch.no_grad(), device.autocast():
            task.advance(module, done)
        module.train()
    if device.process_group.world_size > 1:
        task.restore(device.process_group.broadcast_object(task.state))


def _record(
    logger: MetricLogger, logged: dict[str, float], rate: float, progress: Progress, epoch_steps: int, step: int
) -> None:
    _check_finite("loss", logged["loss"], step)
    of_loop = {
        "learning_rate": rate,
        "frames_per_second": progress.frames_per_second,
        "epoch": (step + 1) / epoch_steps,
    }
    logger.metrics({f"train/{k}": v for k, v in (logged | of_loop).items()}, step)


def _check_finite(name: str, value: float, step: int) -> None:
    """No model comes of a training that has left the numbers."""
    if not math.isfinite(value):
        raise ResourceError(f"the {name} is {value} at step {step}", place="training", remedy="lower training.lr")


def _save(
    logger: MetricLogger,
    task: Task,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    progress: Progress,
) -> None:
    with tempfile.TemporaryDirectory(prefix="sign-checkpoint-") as folder:
        tensors = {f"model.{k}": v for k, v in task.objective.state_dict().items()}
        tensors |= {f"task.{k}": v for k, v in task.state().items()}
        tensors |= {f"averaged.{k}": v for k, v in averaged.state_dict().items()}
        state = optimizer.state_dict()["state"]
        tensors |= {f"optimizer.{i}.{k}": v for i, entry in state.items() for k, v in entry.items()}
        tensors |= {f"best.{k}": v for k, v in best.items()}
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, f"{folder}/state.safetensors")
        (Path(folder) / "progress.json").write_text(json.dumps(asdict(progress)))
        logger.checkpoint(Path(folder), progress.step, progress.best_step == progress.step - 1)


def _restore(
    folder: Path, task: Task, averaged: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    content = json.loads((folder / "progress.json").read_text())
    progress = Progress(**{k: v for k, v in content.items() if k in Progress.__annotations__})  # earlier ones had more
    tensors = load_file(folder / "state.safetensors", device=str(next(task.objective.parameters()).device))
    shapes = {name: value.shape for name, value in task.objective.state_dict().items()}

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    def weights(prefix: str) -> dict[str, Tensor]:
        return {k: task.migrate(k, v, shapes.get(k, v.shape)) for k, v in under(prefix).items()}

    task.objective.load_state_dict(weights("model."))
    task.restore(under("task."))
    averaged.load_state_dict(weights("averaged."))
    full = optimizer.state_dict()
    names = {id(parameter): name for name, parameter in task.objective.named_parameters()}
    optimized = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in under("optimizer.").items():
        place, kind = key.split(".", 1)
        name = optimized[int(place)]
        state.setdefault(int(place), {})[kind] = task.migrate(name, value, shapes[name]) if value.ndim else value
    optimizer.load_state_dict({"state": state, "param_groups": full["param_groups"]})
    return progress, weights("best.")
