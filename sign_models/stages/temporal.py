"""Stage 2: restore masked spans of whole videos as they were before augmentation.

So what a video says is told from who signs it and where the camera stands. If asked for, a contrast loss tells two
views of a video from other videos.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sign_models.data.batching import Batch, BatchPlan, DeviceCorpus, Sampler, cut, in_order, vary
from sign_models.data.corpus import Corpus
from sign_models.data.masking import mask_keypoints
from sign_models.data.splits import hold_out
from sign_models.models.skeleton import SkeletonModel, restoration_loss
from sign_models.models.storage import load
from sign_models.models.temporal import TemporalModel, contrast_loss
from sign_models.params.schema import TemporalParams
from sign_models.stages.skeleton import EVALUATION_FRAMES, Trained, show_restoration
from sign_models.stages.work import Result, Work
from sign_models.training.device import Device, find_device
from sign_models.training.distributed import ALONE, ProcessGroup
from sign_models.training.loop import fit
from sign_models.training.task import ALL, FixedTask, Group, Recorder


class TwoViews(nn.Module):
    """The losses of restoring what is masked and, if asked for, of telling a video's two views from other videos."""

    def __init__(self, model: TemporalModel, params: TemporalParams) -> None:
        """Train `model` by the weights of params."""
        super().__init__()
        self.model, self.params = model, params

    def forward(self, views: list[Batch], process_group: ProcessGroup = ALONE) -> dict[str, Tensor]:
        """Mask and restore the first view, contrast it with the second where there is one.

        Args:
            views: One or two augmentations of the same clips.
            process_group: The processes that share the step.

        Returns:
            Scalars: "loss", the weighted sum, "restoration", "distance" in shoulder widths, and "contrast" and
            "contrast_accuracy" of two views.
        """
        first = views[0]
        hidden = mask_keypoints(first.x, **self.params.mask.model_dump(), rows=first.rows)
        restored, a = self.model(hidden.x, first.mask, hidden.parts)
        wanted = first.x if first.plain is None else first.plain
        loss, distance = restoration_loss(
            restored, wanted, first.mask, hidden.landmarks, self.params.velocity_weight, process_group
        )
        out = {"restoration": loss, "distance": distance, "loss": loss}
        for second in views[1:]:
            _, b = self.model(second.x, second.mask)
            contrast, accuracy = contrast_loss(process_group.gather(a), process_group.gather(b))
            out["contrast"], out["contrast_accuracy"] = contrast / process_group.size, accuracy / process_group.size
            out["loss"] = loss + self.params.contrast_weight * out["contrast"]
        return out


class TemporalTask(FixedTask):
    """What the stage brings to the training loop, see training.task.Task: whole videos, or windows of max_frames."""

    def __init__(self, params: TemporalParams, corpus: Corpus, skeleton: SkeletonModel, machine: Device) -> None:
        """Split the clips and make the model on top of `skeleton`, with the seed of params."""
        self.params = params
        self.views = 2 if params.contrast_weight else 1
        self.frames = DeviceCorpus(corpus, machine.device)
        held_out = hold_out(corpus, params.validation, params.training.seed)
        self.validation, self.facts = held_out.validation, held_out.facts | self.frames.facts
        self.sampler = Sampler(corpus.lengths, held_out.train, params.training.batch_size, params.training.seed)
        torch.manual_seed(params.training.seed)
        self.objective = TwoViews(
            TemporalModel(skeleton, **params.model.model_dump(), window=params.max_frames), params
        )
        if not params.skeleton_lr:
            self.objective.model.skeleton.requires_grad_(False)

    def draw(self, step: int, part: slice, micro_batch: slice = ALL) -> BatchPlan:
        """What the host draws for a process's `part` of a micro-batch of a step."""
        p, clips = self.params, self.sampler[step][micro_batch]
        rng = np.random.default_rng([p.training.seed, step])
        views = [cut(self.frames, clips, part, rng, p.max_frames, p.augment) for _ in range(self.views)]
        return {f"{name}{i}": values for i, drawn in enumerate(views) for name, values in drawn.items()}

    def batch(self, drawn: BatchPlan) -> tuple[list[Batch], Tensor]:
        """The views of the clips, augmented on the device, and their real frames."""
        views = [
            vary(
                self.frames,
                {n[:-1]: v for n, v in drawn.items() if n.endswith(str(i))},
                self.params.augment,
                plain=i == 0,
            )
            for i in range(self.views)
        ]
        return views, torch.stack([view.lengths.sum() for view in views]).sum()

    def evaluate(self, objective: Any) -> dict[str, float]:
        """Loss and distance on the validation clips, each masked alike every time; "score" is the negative distance."""
        torch.manual_seed(self.params.training.seed)
        sums = np.zeros(3)
        for clips in in_order(self.frames.corpus, self.validation, EVALUATION_FRAMES):
            batch = self.frames.whole(clips, EVALUATION_FRAMES)
            out = objective([batch])
            sums += len(clips) * np.array([1.0, float(out["restoration"]), float(out["distance"])])
        _, loss, distance = sums / sums[0]
        return {"loss": loss, "distance": distance, "score": -distance}

    def groups(self) -> Iterable[Group]:
        """The skeleton part, at its share of the learning rate, and the rest."""
        skeleton = {id(p) for p in self.objective.model.skeleton.parameters()}
        if self.params.skeleton_lr:
            yield Group(list(self.objective.model.skeleton.parameters()), self.params.skeleton_lr)
        yield Group([p for p in self.objective.parameters() if id(p) not in skeleton])


def run(work: Work) -> Result:
    """The stage: train on the videos of the training split, on top of a skeleton model."""
    return train(work.params, work.inputs["videos"], load(work.models["skeleton"]), work.recorder).result()


def train(params: TemporalParams, corpus: Corpus, skeleton: SkeletonModel, recorder: Recorder) -> Trained:
    """Train a temporal model.

    Args:
        params: Of the stage.
        corpus: Videos with splits.
        skeleton: A trained model; its weights go on learning at params.skeleton_lr, inside the temporal model.
        recorder: Where the training reports to.
    """
    machine = find_device()
    task = TemporalTask(params, corpus, skeleton, machine)
    progress = fit(task, machine, recorder, "temporal", **params.training.model_dump(exclude={"batch_size"}))
    if machine.process_group.first:
        show_restoration(task.objective.model, task.frames, task.validation, params.mask, recorder)
    model = task.objective.model.cpu()
    return Trained(model, progress, sum(p.numel() for p in model.parameters()), task.facts)
