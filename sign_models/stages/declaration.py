"""What each stage is, declared once: help, registry names, lineage, skipping and the summary follow from this list.

Light: no torch, no MLflow. What a stage does is in the module of its name beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAINING_OPTIONS = ("epochs", "steps", "batch_size", "lr", "seed")


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: Of the command, its parameters' file and its module.
        reads: The inputs that it reads, of `keypoints`, `videos` and `texts`. The first gives the example clips of the
            registered model. All of them are in its fingerprint.
        upstream: Roles of the registered models that it builds on.
        registers: Name of the registered model that it makes; "" where it writes artifacts only.
        role: What its model is called by those that build on it; "" means `name`.
        metrics: What two versions of its model are compared by: the first that both were scored with.
        trains: Whether it is a training: with epochs, steps, a learning rate, a seed, and in several processes.
        reads_representations: Whether it can read the arrays of a `represent` run.
        options: Further parameters that have a short option of their own.
    """

    name: str
    reads: tuple[str, ...]
    upstream: tuple[str, ...] = ()
    registers: str = ""
    role: str = ""
    metrics: tuple[str, ...] = ()
    trains: bool = False
    reads_representations: bool = False
    options: tuple[str, ...] = ()

    @property
    def model_role(self) -> str:
        """Role of the model that it registers."""
        return self.role or self.name

    @property
    def short_options(self) -> tuple[str, ...]:
        """Parameters that its command takes without their section, e.g. `--epochs`."""
        return (*(TRAINING_OPTIONS if self.trains else ()), *self.options)

    @property
    def upstream_options(self) -> tuple[str, ...]:
        """Options that name what it builds on, e.g. `temporal_model`."""
        return (
            *(f"{role}_model" for role in self.upstream),
            *(("representations",) if self.reads_representations else ()),
        )


# In the order in which a pipeline runs them.
STAGES: tuple[Stage, ...] = (
    Stage("skeleton", reads=("keypoints",), registers="sign-skeleton", metrics=("score",), trains=True),
    Stage(
        "temporal",
        reads=("videos", "texts"),
        upstream=("skeleton",),
        registers="sign-temporal",
        metrics=("score",),
        trains=True,
    ),
    Stage("represent", reads=("videos",), upstream=("temporal",)),
    Stage(
        "alignment",
        reads=("videos", "texts"),
        upstream=("temporal",),
        registers="sign-alignment",
        metrics=("score",),
        trains=True,
        reads_representations=True,
    ),
    Stage(
        "generate",
        reads=("videos", "texts"),
        upstream=("alignment",),
        registers="sign-translator",
        role="translator",
        metrics=("test.chrf", "dev.chrf", "none.chrf"),
        reads_representations=True,
        options=("batch_size",),
    ),
)
BY_NAME = {stage.name: stage for stage in STAGES}
BY_ROLE = {stage.model_role: stage for stage in STAGES if stage.registers}
UPSTREAM_ROLES = tuple(dict.fromkeys(role for stage in STAGES for role in stage.upstream))
