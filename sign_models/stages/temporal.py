"""Stage 2: restore masked spans of whole videos as they were before augmentation.

So what a video says is told from who signs it and where the camera stands. If asked for, a contrast loss tells two
views of a video from other videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sign_models.data.batching import Batch, BatchPlan, DeviceCorpus, augment_batch, sample_windows
from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import bring_to_rate, known_rate, rate_facts
from sign_models.data.masking import MaskedBatch, mask_keypoints
from sign_models.data.rng import RngSlice
from sign_models.data.sampler import Sampler
from sign_models.data.splits import hold_out
from sign_models.models.restoration import restoration_loss, restoration_weights
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.storage import load
from sign_models.models.temporal import TemporalModel, contrast_loss
from sign_models.params.schema import TemporalParams
from sign_models.stages.skeleton import Trained, restoration_scores, show_restoration
from sign_models.stages.work import Result, Work
from sign_models.training.device import Device, find_device
from sign_models.training.distributed import ALONE
from sign_models.training.loop import fit
from sign_models.training.task import ALL, FixedTask, Group, MetricLogger, TrainingOptions


class Views(NamedTuple):
    """Two views of the same clips, or one, and what of the first is masked."""

    first: Batch
    masked: MaskedBatch
    second: Batch | None


class TwoViews(nn.Module):
    """The losses of restoring what is masked and, if asked for, of telling a video's two views from other videos.

    An Objective.
    """

    def __init__(
        self,
        model: TemporalModel,
        params: TemporalParams,
        gather: Callable[[Tensor, RngSlice], Tensor] = ALONE.gather,
    ) -> None:
        """Train `model` by the weights of params.

        Args:
            model: What learns.
            params: Of the stage.
            gather: Embeddings of this process's rows of a step -> those of the whole step.
        """
        super().__init__()
        self.model, self.params, self.gather = model, params, gather

    def prepare(self, views: list[Batch]) -> Views:
        """Draw masks for the first view.

        Args:
            views: One, or two of the same clips.

        Returns:
            The views, the first masked.
        """
        first = views[0]
        masked = mask_keypoints(first.x, **self.params.mask.model_dump(), rows=first.rows)
        return Views(first, masked, views[1] if len(views) > 1 else None)

    def weights(self, views: Views) -> Tensor:
        """Count what losses are means over.

        Args:
            views: Of prepare().

        Returns:
            What restoration_weights() gives, and clips, (5,).
        """
        of_loss = restoration_weights(_wanted(views.first), views.first.mask, views.masked.landmarks)
        return torch.cat([of_loss, of_loss.new_full((1,), len(views.first.x))])

    def forward(self, given: list[Batch] | Views, totals: Tensor | None = None) -> dict[str, Tensor]:
        """Restore the first view, contrast it with the second where there is one.

        Args:
            given: One or two augmentations of the same clips, or what prepare() made of them.
            totals: (5,), of weights(): what the losses are divided by. None: the batch is all there is.

        Returns:
            Scalars: "loss", the weighted sum, "restoration", "distance" in shoulder widths, and "contrast" and
            "contrast_accuracy" of two views.
        """
        first, masked, second = given if isinstance(given, Views) else self.prepare(given)
        restored, a = self.model(masked.x, first.mask, masked.parts)
        loss, distance = restoration_loss(
            restored,
            _wanted(first),
            first.mask,
            masked.landmarks,
            self.params.velocity_weight,
            None if totals is None else totals[:4],
        )
        out = {"restoration": loss, "distance": distance, "loss": loss}
        if second is not None:
            _, b = self.model(second.x, second.mask)
            share: Tensor | float = 1.0
            if totals is not None:
                a, b, share = self.gather(a, first.rows), self.gather(b, first.rows), len(first.x) / totals[4]
            contrast, accuracy = contrast_loss(a, b)
            out["contrast"], out["contrast_accuracy"] = contrast * share, accuracy * share
            out["loss"] = loss + self.params.contrast_weight * out["contrast"]
        return out


def _wanted(batch: Batch) -> Tensor:
    """What is to be restored: the clips as they were before they were varied."""
    return batch.x if batch.unaugmented is None else batch.unaugmented


class TemporalTask(FixedTask):
    """What the stage brings to the training loop, see training.task.Task: whole videos, or windows of max_frames."""

    def __init__(
        self, params: TemporalParams, corpus: Corpus, skeleton: SkeletonModel, device: Device, fps: float | None = None
    ) -> None:
        """Split the clips and make the model on top of the skeleton model, with the seed of params.

        Args:
            params: The stage's parameters.
            corpus: Videos with splits.
            skeleton: A trained model; it becomes a part of this one.
            device: Device and processes that train.
            fps: Frames a second of the videos, which stands in the model.
        """
        self.params = params
        self.views = 2 if params.contrast_weight else 1
        self.frames = DeviceCorpus(corpus, device.torch_device)
        held_out = hold_out(corpus, params.validation, params.training.seed)
        self.validation, self.facts = held_out.validation, held_out.facts | self.frames.facts
        self.sampler = Sampler(corpus.lengths, held_out.train, params.training.batch_size, params.training.seed)
        torch.manual_seed(params.training.seed)
        self.objective = TwoViews(
            TemporalModel(skeleton, **params.model.model_dump(), window=params.max_frames, fps=fps),
            params,
            device.process_group.gather,
        )
        skeleton.parts.depth.requires_grad_(self.frames.has_depth)
        if not params.skeleton_lr:
            self.objective.model.skeleton.requires_grad_(False)

    def plan_batch(self, step: int, part: slice, micro_batch: slice = ALL) -> BatchPlan:
        """Draw a batch. See Task.plan_batch()."""
        p, clips = self.params, self.sampler[step][micro_batch]
        rng = np.random.default_rng([p.training.seed, step])
        views = [sample_windows(self.frames, clips, part, rng, p.max_frames, p.augment) for _ in range(self.views)]
        return {f"{name}{i}": values for i, plan in enumerate(views) for name, values in plan.items()}

    def batch(self, plan: BatchPlan) -> tuple[list[Batch], Tensor]:
        """Gather and augment the views of the clips. See Task.batch()."""
        views = [
            augment_batch(
                self.frames,
                {n[:-1]: v for n, v in plan.items() if n.endswith(str(i))},
                self.params.augment,
                unaugmented=i == 0,
            )
            for i in range(self.views)
        ]
        return views, torch.stack([view.lengths.sum() for view in views]).sum()

    def evaluate(self, objective: Any) -> dict[str, float]:
        """Loss and distance on the validation clips, each masked alike every time; "score" is the negative distance.

        See Task.evaluate().
        """
        torch.manual_seed(self.params.training.seed)

        def answer(batch: Batch) -> dict[str, Tensor]:
            out = objective([batch])
            return {"loss": out["restoration"], "distance": out["distance"]}

        return restoration_scores(answer, self.frames, self.validation)

    def groups(self) -> Iterable[Group]:
        """The skeleton part, at its share of the learning rate, and the rest. See Task.groups()."""
        skeleton = {id(p) for p in self.objective.model.skeleton.parameters()}
        if self.params.skeleton_lr:
            yield Group(list(self.objective.model.skeleton.parameters()), self.params.skeleton_lr)
        yield Group([p for p in self.objective.parameters() if id(p) not in skeleton])


def run(work: Work) -> Result:
    """Run the stage: train on the videos of the training split.

    Args:
        work: Videos and the skeleton model.

    Returns:
        The model with its scores.
    """
    skeleton = load(work.models["skeleton"])
    return train(work.params, work.inputs["videos"], skeleton, work.logger, work.settings["data.fps"]).result()


def train(
    params: TemporalParams, corpus: Corpus, skeleton: SkeletonModel, logger: MetricLogger, fps: float | None = None
) -> Trained:
    """Train a temporal model.

    Args:
        params: Of the stage.
        corpus: Videos with splits.
        skeleton: A trained model; its weights go on learning at params.skeleton_lr, inside the temporal model.
        logger: Where the training reports to.
        fps: Frames a second that clips are brought to which tell theirs, where `skeleton` has no rate. None: as they
            are.

    Returns:
        The best model, on the CPU.
    """
    device = find_device()
    if skeleton.fps is not None and skeleton.fps != fps:
        logger.log(f"temporal: the skeleton model reads {skeleton.fps:g} frames a second, which counts here")
        fps = skeleton.fps
    task = TemporalTask(params, bring_to_rate(corpus, fps), skeleton, device, known_rate(corpus, fps))
    task.facts |= rate_facts(corpus, fps)
    options = TrainingOptions(**params.training.model_dump(exclude={"batch_size"}))
    progress = fit(task, device, logger, "temporal", options)
    if device.process_group.is_main_process:
        show_restoration(task.objective.model, task.frames, task.validation, params.mask, logger)
    model = task.objective.model.cpu()
    return Trained(model, progress, sum(p.numel() for p in model.parameters()), task.facts)
