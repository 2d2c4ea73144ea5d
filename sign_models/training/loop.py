"""The training loop of all stages. Device, precision and processes are handled here, not in a stage.

Step s depends on the weights, on (seed, s) and on the data only, never on how training came to step s. So a training
that was killed goes on from its checkpoint to the very weights that it would have reached, on a device of the same kind
and, on a CPU, with the same number of threads: sums are rounded in the order in which threads share them.
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

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from sign_models import interruption
from sign_models.errors import ParamsError, ResourceError
from sign_models.training.device import Device
from sign_models.training.step import TrainStep
from sign_models.training.task import MetricLogger, Progress, Task, TrainingOptions

HEARTBEAT_S = 60.0  # a log that is no terminal gets a line at least so often
LOG_STEPS = 20  # train metrics are averaged over this many steps, read from the device and recorded together


def total_steps(steps: int | None, epochs: float | None, min_steps: int, epoch_steps: int) -> int:
    """Length of a training.

    Args:
        steps: Optimizer steps. None: `epochs` says it.
        epochs: Passes over the training clips. None: `steps` says it.
        min_steps: Least number of steps, with `epochs`.
        epoch_steps: Steps of a pass.

    Returns:
        Optimizer steps.
    """
    if epochs is not None:
        return max(1, min_steps, round(epochs * epoch_steps))
    assert steps is not None  # params.load refuses both null
    return steps


def learning_rate(step: int, total: int, warmup: float) -> float:
    """Learning rate of a step: a linear rise, then a cosine down to 0.

    Args:
        step: From 0.
        total: Steps of the training.
        warmup: Share of the steps in which it rises.

    Returns:
        A share of the peak rate, in (0, 1].
    """
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def fit(task: Task, device: Device, logger: MetricLogger, name: str, options: TrainingOptions) -> Progress:
    """Train a task's objective.

    An unfinished training that the logger knows of goes on from its last checkpoint. On return the objective holds the
    averaged weights with the best validation score, in evaluation mode.

    Args:
        task: What is trained.
        device: Where it is trained, and with which other processes.
        logger: Where metrics, figures and checkpoints go.
        name: Of the stage, for messages.
        options: Length, optimizer and checkpoints.

    Returns:
        How the training went.

    Raises:
        ParamsError: A step has fewer clips than there are processes.
        ResourceError: Memory ran out, or loss or score is no longer finite.
        Terminated: A signal asks for the end (KeyboardInterrupt for Ctrl-C).
    """
    processes = device.process_group.world_size
    if task.sampler.batch_size < processes:
        raise ParamsError(
            f"{task.sampler.batch_size} clips a step for {processes} processes",
            place="training.batch_size",
            wanted="at least one for each",
            remedy="raise it, or take fewer processes",
        )
    return _Training(task, device, logger, name, options).run()


class _Training:
    """One training: its state between two steps."""

    def __init__(self, task: Task, device: Device, logger: MetricLogger, name: str, options: TrainingOptions) -> None:
        self.task, self.device, self.logger, self.name, self.options = task, device, logger, name, options
        self.total = total_steps(options.steps, options.epochs, options.min_steps, task.epoch_steps)
        self.every = -(-self.total // options.evaluations)
        self.train_step = TrainStep(task, device, options, logger.log)
        self.averaged = self.train_step.average.module
        where = device.describe(self.train_step.graphs is not None)
        logger.log(f"{name}: {where}")
        for fact in task.facts.values():
            logger.log(f"{name}: {fact}")
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        if (folder := logger.restore()) is not None:
            self.progress, self.best = _restore(folder, task, self.averaged, self.train_step)
            if device.process_group.world_size > 1:
                self.progress.parts = 1  # as many processes as before may not be there
            logger.log(f"{name}: goes on from step {self.progress.step} of {self.total}")
            if (before := self.progress.device) not in ("", where):
                logger.log(
                    f"{name}: began on {before}, goes on with {where}: sums are rounded in another order, so the "
                    "weights will differ from those of a training with either alone"
                )
        self.progress.device = where
        silent = not (device.process_group.is_main_process and sys.stderr.isatty())
        self.bar = tqdm(total=self.total, initial=self.progress.step, desc=name, unit="step", disable=silent)
        self.pending: list[Tensor] = []  # values of the steps since the last report
        self.first_step = self.progress.step
        self.started = self.saved = self.said = self.clock = time.monotonic()

    def run(self) -> Progress:
        """Train until the last step, or until patience ends. The objective then has the best weights."""
        progress = self.progress
        while progress.step < self.total and not self._out_of_patience():
            interruption.check()
            rate = learning_rate(progress.step, self.total, self.options.warmup)
            self.pending.append(self.train_step.step(progress, rate, progress.step / self.total))
            progress.step += 1
            self.bar.update()
            evaluates = progress.step % self.every == 0 or progress.step == self.total
            if evaluates or progress.step % LOG_STEPS == 0:
                loss = self._report(self.options.lr * rate)
            if evaluates:
                self._validate(loss)
        self.bar.close()
        self.task.objective.load_state_dict(self.best)
        self.task.objective.eval()
        return progress

    def _out_of_patience(self) -> bool:
        return bool(self.options.patience) and self.progress.without_better >= self.options.patience

    def _report(self, rate: float) -> float:
        """Log the means of the steps since the last report -> their loss."""
        progress, group = self.progress, self.device.process_group
        means = group.all_reduce_mean(torch.stack(self.pending).mean(0))
        logged = dict(zip(self.train_step.names, means.tolist(), strict=True))
        progress.frames += round(logged.pop("frames") * group.world_size * len(self.pending))
        self.pending = []
        progress.seconds += time.monotonic() - self.clock
        _check_finite("loss", logged["loss"], progress.step - 1)
        logged |= {
            "learning_rate": rate,
            "frames_per_second": progress.frames_per_second,
            "epoch": progress.step / self.task.epoch_steps,
        }
        self.logger.metrics({f"train/{name}": value for name, value in logged.items()}, progress.step - 1)
        self.bar.set_postfix(loss=f"{logged['loss']:.3f}")
        self.clock = time.monotonic()
        if self.bar.disable and self.clock - self.said > HEARTBEAT_S:
            done = progress.step - self.first_step
            left = _remaining(self.clock - self.started, done, self.total - self.first_step)
            self.logger.log(f"{self._so_far(logged['loss'])}  about {left} left")
            self.said = self.clock
        return float(logged["loss"])

    def _validate(self, loss: float) -> None:
        """Score the averaged weights, keep the best ones, and save a checkpoint where one is due."""
        task, progress, group = self.task, self.progress, self.device.process_group
        step, last = progress.step - 1, progress.step == self.total
        metrics = group.broadcast_object(partial(_evaluate, task, self.averaged, self.device))
        score = metrics["score"]
        _check_finite("validation score", score, step)
        progress.without_better = 0 if score > progress.highest_score else progress.without_better + 1
        progress.highest_score = max(progress.highest_score, score)
        # of scores that chance could have put in another order, the one after more training is taken
        if score >= progress.highest_score - task.tolerance:
            progress.best_score, progress.best_step, progress.best_metrics = score, step, metrics
            self.best = {name: value.detach().clone() for name, value in self.averaged.state_dict().items()}
        if not last:
            _advance(task, self.averaged, self.device, progress.step / self.total)
        self.logger.metrics({f"validation/{name}": value for name, value in metrics.items()}, step)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        self.logger.log(f"{self._so_far(loss)}  {shown}")
        self.said = time.monotonic()
        passed = self.said - self.saved > 60 * self.options.checkpoint_minutes
        if group.broadcast_object(lambda: last or self._out_of_patience() or passed):  # clocks differ
            state = self.train_step.optimizer_state()
            if group.is_main_process:
                _save(self.logger, task, self.averaged, state, self.best, progress)
            self.saved = time.monotonic()
        self.clock = time.monotonic()

    def _so_far(self, loss: float) -> str:
        return f"{self.name}: step {self.progress.step}/{self.total}  train loss {loss:.3f}"


def _remaining(seconds: float, done: int, total: int) -> str:
    """Time that `total - done` more steps take, as `done` took `seconds`."""
    left = seconds / done * (total - done)
    return f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min" if left < 7200 else f"{left / 3600:.1f} h"


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


def _check_finite(name: str, value: float, step: int) -> None:
    """Stop a training whose loss or score is no number any more.

    Raises:
        ResourceError: The value is infinite or NaN.
    """
    if not math.isfinite(value):
        raise ResourceError(f"the {name} is {value} at step {step}", place="training", remedy="lower training.lr")


def _save(
    logger: MetricLogger,
    task: Task,
    averaged: nn.Module,
    optimizer: dict[int, dict[str, Tensor]],
    best: dict[str, Tensor],
    progress: Progress,
) -> None:
    """Give the logger a checkpoint: weights, average, best weights, optimizer, and what the task made."""
    with tempfile.TemporaryDirectory(prefix="sign-checkpoint-") as folder:
        tensors = {f"model.{k}": v for k, v in task.objective.state_dict().items()}
        tensors |= {f"task.{k}": v for k, v in task.state().items()}
        tensors |= {f"averaged.{k}": v for k, v in averaged.state_dict().items()}
        tensors |= {f"optimizer.{i}.{k}": v for i, entry in optimizer.items() for k, v in entry.items()}
        tensors |= {f"best.{k}": v for k, v in best.items()}
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, f"{folder}/state.safetensors")
        (Path(folder) / "progress.json").write_text(json.dumps(asdict(progress)))
        logger.checkpoint(Path(folder), progress.step, progress.best_step == progress.step - 1)


def _restore(
    folder: Path, task: Task, averaged: nn.Module, train_step: TrainStep
) -> tuple[Progress, dict[str, Tensor]]:
    """Read a checkpoint of _save() into task, average and train step -> progress, and the best weights."""
    content = json.loads((folder / "progress.json").read_text())
    progress = Progress(**{k: v for k, v in content.items() if k in Progress.__annotations__})  # earlier ones had more
    device = "cpu" if train_step.sharded else str(next(task.objective.parameters()).device)  # it may not have the room
    tensors = load_file(folder / "state.safetensors", device=device)
    shapes = {name: value.shape for name, value in task.objective.state_dict().items()}

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    task.objective.load_state_dict(under("model."))  # models migrate weights of earlier versions as they load them
    task.restore(under("task."))
    averaged.load_state_dict(under("averaged."))
    names = {id(parameter): name for name, parameter in task.objective.named_parameters()}
    optimized = [names[id(parameter)] for group in train_step.optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in under("optimizer.").items():
        place, kind = key.split(".", 1)
        name = optimized[int(place)]
        state.setdefault(int(place), {})[kind] = task.migrate(name, value, shapes[name]) if value.ndim else value
    train_step.load_optimizer_state(state)
    return progress, under("best.")
