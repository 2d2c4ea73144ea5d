"""What a step costs in training.fit and in transformers.Trainer, given the same task, draws, optimizer and averaging.

usage: python -m benchmarks.trainer_overhead [--rounds N]

The skeleton stage on generated clips, on the CPU, with one thread. A step is timed from batch to batch, in seconds of
the processor, so that other work on the machine counts little; saving and evaluating are left out. Both read their
metrics every LOG_STEPS steps. Rounds alternate, the first one is not counted: medians (least - most) of the others.
Both must end with the same weights to the bit.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PrinterCallback, Trainer, TrainingArguments

from sign_models.data.batching import BatchPlan
from sign_models.data.corpus import Corpus
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.params import load
from sign_models.params.schema import SkeletonParams
from sign_models.stages.skeleton import SkeletonTask
from sign_models.training.device import Device, find_device
from sign_models.training.loop import LOG_STEPS, fit, learning_rate
from sign_models.training.step import seed_step
from sign_models.training.task import ALL, TrainingOptions
from tests import tiny
from tests.stages.recorders import Memory

SIZES = {"tiny": (tiny.params(), 100), "default": (load.resolve(), 20)}  # params, steps
WARM = 2  # batches before the clock starts
EMA = 0.0  # fit's decay grows, torch's does not: at 0 both averages are the weights, at the same cost


class TimedTask(SkeletonTask):
    """Notes when each batch is asked for."""

    def __init__(self, params: SkeletonParams, corpus: Corpus, device: Device) -> None:
        super().__init__(params, corpus, device)
        self.asked: list[float] = []

    def plan_batch(self, step: int, part: slice, micro_batch: slice = ALL) -> BatchPlan:
        self.asked.append(time.process_time())
        return super().plan_batch(step, part, micro_batch)

    def milliseconds(self) -> float:
        return 1000 * float(np.diff(self.asked[WARM:]).mean())


class StepTrainer(Trainer):
    placement: Device

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
        torch.set_rng_state(inputs["drawn"])
        with self.placement.autocast():
            return model(inputs["batch"])["loss"]


def train_with_trainer(params: SkeletonParams, task: TimedTask, device: Device, folder: str) -> None:
    given, steps, raw = params.training, params.training.steps or 0, task.objective
    parts = [[p for p in raw.parameters() if (p.ndim > 1) == decayed] for decayed in (True, False)]
    groups = [{"params": parts[0], "weight_decay": given.weight_decay}, {"params": parts[1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=given.lr, betas=(0.9, 0.98), fused=True)
    averaged = AveragedModel(raw, multi_avg_fn=get_ema_multi_avg_fn(EMA))
    optimizer.register_step_post_hook(lambda *_: averaged.update_parameters(raw))
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(learning_rate, total=steps, warmup=given.warmup))

    def collate(items: list[int]) -> dict[str, Any]:
        seed_step(device.torch_device, given.seed, items[0])
        batch, _ = task.batch(task.plan_batch(items[0], slice(0, task.sampler.batch_size)))
        # accelerate makes the next batch before this one is used: what the objective draws must start from here
        return {"batch": batch, "drawn": torch.get_rng_state()}

    arguments = TrainingArguments(
        folder, max_steps=steps, per_device_train_batch_size=1, max_grad_norm=given.clip_norm, save_strategy="no",
        logging_steps=LOG_STEPS, report_to="none", disable_tqdm=True, remove_unused_columns=False, use_cpu=True,
        train_sampling_strategy="sequential", dataloader_pin_memory=False, seed=given.seed,
    )  # fmt: skip
    trainer = StepTrainer(raw, arguments, collate, range(steps), optimizers=(optimizer, rate))
    trainer.placement = device
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    clips = [(str(i), tiny.clip(i, 12 + 7 * (i % 5))) for i in range(256)]
    corpus = Corpus.from_sequences(
        KeypointSequence(name, c[..., :2], c[..., 2], tiny.LAYOUT, fps=tiny.FPS) for name, c in clips
    )
    for size, (whole, steps) in SIZES.items():
        fixed = {"steps": steps, "epochs": None, "evaluations": 1, "ema": EMA}
        params = whole.skeleton.model_copy(update={"training": whole.skeleton.training.model_copy(update=fixed)})
        device = find_device()
        options = TrainingOptions(**params.training.model_dump(exclude={"batch_size"}))
        took = np.zeros((rounds + 1, 2))
        for row in took:
            ours, theirs = (TimedTask(params, corpus, device) for _ in range(2))
            with tempfile.TemporaryDirectory() as folder:
                fit(ours, device, Memory(Path(folder) / "fit"), "skeleton", options)
                train_with_trainer(params, theirs, device, folder)
            weights = theirs.objective.state_dict()
            if not all(torch.equal(value, weights[key]) for key, value in ours.objective.state_dict().items()):
                raise SystemExit(f"{size}: the two trained to different weights")
            row[:] = ours.milliseconds(), theirs.milliseconds()
        both = [*took[1:].T, took[1:, 1] / took[1:, 0]]
        shown = [f"{np.median(values):.2f} ({values.min():.2f} - {values.max():.2f})" for values in both]
        print(f"{size}, {steps} steps: fit {shown[0]} ms a step, Trainer {shown[1]}, ratio {shown[2]}", flush=True)


if __name__ == "__main__":
    main()
