"""Each training stage as a function of its logger, on models that are fresh and the same each time."""

from __future__ import annotations

import torch

from sign_models.datasets.inputs import Inputs
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.stages import alignment, skeleton, temporal
from sign_models.stages.skeleton import Trained
from sign_models.training.task import MetricLogger
from tests import tiny


def train(inputs: Inputs, stage: str, logger: MetricLogger, **more: object) -> Trained:
    """train(inputs, "temporal", logger, temporal__training__steps=3)"""
    params = tiny.params(**more)
    torch.manual_seed(1)
    first = SkeletonModel(**params.skeleton.model.model_dump())
    if stage == "skeleton":
        return skeleton.train(params.skeleton, inputs.keypoints, logger)
    if stage == "temporal":
        return temporal.train(params.temporal, inputs.videos, first, logger)
    second = TemporalModel(first, **params.temporal.model.model_dump(), window=64)
    return alignment.train(params.alignment, inputs.videos, inputs.texts, second, logger, "cased")
