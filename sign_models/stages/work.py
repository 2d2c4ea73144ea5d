"""What a stage's function gets and gives, free of MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from sign_models.training.task import MetricLogger


@dataclass(frozen=True)
class Work:
    """All that a stage may read, as its declaration names it, and where it reports to.

    Attributes:
        params: The stage's own parameters.
        settings: Value by dotted name, of the other stages' parameters that it declares.
        inputs: Of `keypoints` (Corpus), `videos` (Corpus) and `texts` (str by video id), those that it reads.
        models: Folder by role, of the models that it builds on; models.storage.load reads them.
        artifact: The file of an earlier stage that it declares; None where it does not need it.
        logger: Where a training reports to and finds its last checkpoint.
        folder: An empty folder. What is in it at the end becomes artifacts of the stage's run.
        writes, report: Where in it the files of these names in the declaration belong.
    """

    params: Any
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    models: Mapping[str, Path]
    artifact: Path | None
    logger: MetricLogger
    folder: Path
    writes: Path
    report: Path


@dataclass(frozen=True)
class Result:
    """What a stage made.

    Attributes:
        model: To be registered, on the CPU; None where the stage registers none.
        metrics: Shown beside the model; of the run alone where there is no model.
        step: Training step of the model and its metrics.
        tags: Of the run.
        tables: Columns by path of a table that the tracking UI shows.
    """

    model: nn.Module | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    tags: Mapping[str, object] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, list[Any]]] = field(default_factory=dict)
