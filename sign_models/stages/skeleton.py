"""Stage 1: restore masked joints, parts and frames of single clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sign_models.data.batching import Batch, BatchPlan, DeviceCorpus, augment_batch, sample_windows
from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import bring_to_rate, known_rate, rate_facts
from sign_models.data.masking import MaskedBatch, mask_keypoints
from sign_models.data.sampler import Sampler, batches_by_length
from sign_models.data.splits import hold_out
from sign_models.keypoints.pictures import restoration_figure
from sign_models.models.restoration import restoration_loss, restoration_weights
from sign_models.models.skeleton import SkeletonModel
from sign_models.params.schema import Mask, SkeletonParams
from sign_models.stages.work import Result, Work
from sign_models.training.device import Device, find_device
from sign_models.training.loop import fit
from sign_models.training.task import ALL, FixedTask, Group, MetricLogger, Progress, TrainingOptions

PICTURED = 4  # clips in the picture of restoration_figure
EVALUATION_FRAMES = 16_384  # padded frames a validation batch; a longer clip's first ones


@dataclass
class Trained:
    """The outcome of a training.

    Attributes:
        model: On the CPU, with the best weights.
        progress: Scores and steps.
        parameters: Number of weights.
        facts: Notes on the data for the run, by name, e.g. which videos were left out.
    """

    model: nn.Module
    progress: Progress
    parameters: int
    facts: dict[str, str] = field(default_factory=dict)

    def result(self) -> Result:
        """The best model with its scores.

        Returns:
            The model, for the runner.
        """
        p = self.progress
        tags: dict[str, object] = {"sign.parameters": self.parameters, "sign.best_step": p.best_step}
        tags |= {f"sign.data.{name}": fact for name, fact in self.facts.items()}
        metrics = {f"validation/{name}": value for name, value in p.best_metrics.items()}
        return Result(self.model, metrics, p.best_step, tags)


class MaskedClips(NamedTuple):
    """A batch, and what of it is masked."""

    batch: Batch
    masked: MaskedBatch


class RestorationObjective(nn.Module):
    """The loss of restoring what is masked. An Objective."""

    def __init__(self, model: SkeletonModel, params: SkeletonParams) -> None:
        """Train a model to restore what is masked.

        Args:
            model: To train.
            params: The stage's; mask says what is masked.
        """
        super().__init__()
        self.model, self.params = model, params

    def prepare(self, batch: Batch) -> MaskedClips:
        """Draw masks for a batch. See Objective.prepare()."""
        return MaskedClips(batch, mask_keypoints(batch.x, **self.params.mask.model_dump(), rows=batch.rows))

    def weights(self, inputs: MaskedClips) -> Tensor:
        """Count what losses are means over.

        Args:
            inputs: Of prepare().

        Returns:
            What restoration_weights() gives, (4,).
        """
        return restoration_weights(inputs.batch.x, inputs.batch.mask, inputs.masked.landmarks)

    def forward(self, given: Batch | MaskedClips, totals: Tensor | None = None) -> dict[str, Tensor]:
        """Restore a batch.

        Args:
            given: The batch, or what prepare() made of it.
            totals: (4,), of weights(): what the loss is divided by. None: the batch's own.

        Returns:
            Scalars: "loss", and "distance", the mean error of masked landmarks in shoulder widths.
        """
        batch, masked = given if isinstance(given, MaskedClips) else self.prepare(given)
        restored = self.model(masked.x, batch.mask, masked.parts)
        loss, distance = restoration_loss(
            restored, batch.x, batch.mask, masked.landmarks, self.params.velocity_weight, totals
        )
        return {"loss": loss, "distance": distance}


class SkeletonTask(FixedTask):
    """What the stage brings to the training loop, see training.task.Task: windows of clips."""

    def __init__(self, params: SkeletonParams, corpus: Corpus, device: Device, fps: float | None = None) -> None:
        """Split the clips and make the model, with the seed of params.

        Args:
            params: The stage's parameters.
            corpus: Clips of keypoints.
            device: Device and processes that train.
            fps: Frames a second of the clips, which stands in the model.
        """
        self.params = params
        self.frames = DeviceCorpus(corpus, device.torch_device)
        held_out = hold_out(corpus, params.validation, params.training.seed)
        self.validation, self.facts = held_out.validation, held_out.facts | self.frames.facts
        self.sampler = Sampler(corpus.lengths, held_out.train, params.training.batch_size, params.training.seed)
        torch.manual_seed(params.training.seed)
        self.objective = RestorationObjective(SkeletonModel(**params.model.model_dump(), fps=fps), params)
        self.objective.model.parts.depth.requires_grad_(self.frames.has_depth)

    def plan_batch(self, step: int, part: slice, micro_batch: slice = ALL) -> BatchPlan:
        """Draw a batch. See Task.plan_batch()."""
        p = self.params
        rng = np.random.default_rng([p.training.seed, step])
        return sample_windows(self.frames, self.sampler[step][micro_batch], part, rng, p.window, p.augment)

    def batch(self, plan: BatchPlan) -> tuple[Batch, Tensor]:
        """Gather and augment the clips. See Task.batch()."""
        batch = augment_batch(self.frames, plan, self.params.augment)
        return batch, batch.lengths.sum()

    def evaluate(self, objective: Any) -> dict[str, float]:
        """Loss and distance on the validation clips, each masked alike every time; "score" is the negative distance.

        See Task.evaluate().
        """
        torch.manual_seed(self.params.training.seed)
        return restoration_scores(objective, self.frames, self.validation)

    def groups(self) -> Iterable[Group]:
        """All parameters, at one learning rate. See Task.groups()."""
        yield Group(list(self.objective.parameters()))


def run(work: Work) -> Result:
    """Run the stage: train on the clips of `keypoints`.

    Args:
        work: Keypoints.

    Returns:
        The model with its scores.
    """
    return train(work.params, work.inputs["keypoints"], work.logger, work.settings["data.fps"]).result()


def train(params: SkeletonParams, corpus: Corpus, logger: MetricLogger, fps: float | None = None) -> Trained:
    """Train a skeleton model.

    Args:
        params: Of the stage.
        corpus: Clips, of all splits but test.
        logger: Where the training reports to.
        fps: Frames a second that clips are brought to which tell theirs. None: as they are.

    Returns:
        The best model, on the CPU.
    """
    device = find_device()
    task = SkeletonTask(params, bring_to_rate(corpus, fps), device, known_rate(corpus, fps))
    task.facts |= rate_facts(corpus, fps)
    options = TrainingOptions(**params.training.model_dump(exclude={"batch_size"}))
    progress = fit(task, device, logger, "skeleton", options)
    if device.process_group.is_main_process:
        show_restoration(task.objective.model, task.frames, task.validation, params.mask, logger)
    model = task.objective.model.cpu()
    return Trained(model, progress, sum(p.numel() for p in model.parameters()), task.facts)


def restoration_scores(
    answer: Callable[[Batch], dict[str, Tensor]], frames: DeviceCorpus, clips: np.ndarray
) -> dict[str, float]:
    """Mean loss and distance of restored clips, each masked once by torch's random numbers.

    Args:
        answer: "loss" and "distance" of a batch, means over it.
        frames: The corpus.
        clips: Places of the clips in it.

    Returns:
        "loss", "distance", and as "score" the negative distance.
    """
    sums = np.zeros(3)
    for some in batches_by_length(frames.corpus, clips, EVALUATION_FRAMES):
        out = answer(frames.unaugmented(some, EVALUATION_FRAMES))
        sums += len(some) * np.array([1.0, float(out["loss"]), float(out["distance"])])
    _, loss, distance = sums / sums[0]
    return {"loss": loss, "distance": distance, "score": -distance}


@torch.no_grad()
def show_restoration(
    model: nn.Module, frames: DeviceCorpus, clips: np.ndarray, mask: Mask, logger: MetricLogger
) -> None:
    """Record a picture of the middle frame of up to four validation clips: original, masked, restored.

    Args:
        model: In evaluation mode.
        frames: The corpus.
        clips: Places of validation clips.
        mask: What is masked.
        logger: Where to.
    """
    torch.manual_seed(0)
    batch = frames.unaugmented(clips[:PICTURED], EVALUATION_FRAMES)
    inputs = mask_keypoints(batch.x, **mask.model_dump())
    restored = model(inputs.x, batch.mask, inputs.parts)
    restored = restored[0] if isinstance(restored, tuple) else restored
    visible = batch.x * ~inputs.landmarks.unsqueeze(-1)
    # the frame in which most is masked
    rows = torch.arange(len(batch.x), device=batch.x.device)
    middle = (inputs.landmarks & (batch.x[..., 2] > 0)).sum(-1).argmax(1)
    seen = batch.x[..., 2:3]
    rebuilt = torch.cat([restored.float(), seen], -1)
    original, masked_, restored_ = (t[rows, middle].float().cpu().numpy() for t in (batch.x, visible, rebuilt))
    logger.figure(
        "pictures/restoration.png", restoration_figure(original, masked_, restored_, title="validation frames")
    )
