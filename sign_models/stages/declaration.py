"""What each stage is, declared once. Everything else that knows the stages follows from this list.

Commands and their help, parameters, skipping, registry names, promotion, lineage and the summary read it; MLproject is
held to it by a test. Light: no torch, no MLflow. What a stage does is a function that `Stage.run` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, create_model

from sign_models.params.schema import (
    TRAINING_OPTIONS,
    AlignmentParams,
    GenerateParams,
    PipelineParams,
    RepresentParams,
    SkeletonParams,
    TemporalParams,
)

if TYPE_CHECKING:
    from sign_models.stages.work import Result, Work


def _never(params: Any, configs: Mapping[str, Mapping[str, Any]]) -> bool:
    return False


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    All that its function reads is named here, and the runner hands it nothing else: so all of it is in the fingerprint,
    by which a stage is skipped or resumed.

    Attributes:
        name: Of the command and of the parameters' section and file.
        params: Type of its parameters.
        run: `module:function` that does the work; takes a Work and returns a Result. Imported when the stage works.
        help: First lines of its command's help.
        examples: Command lines that end the help.
        reads: Inputs that it reads, of `keypoints`, `videos` and `texts`. The clips of the first one are the input
            example of the registered model.
        upstream: Roles of the registered models that it builds on.
        artifact: Role of an earlier stage's file that it reads where `needs_artifact` says so; "" where of none.
        needs_artifact: Takes the parameters and the upstream models' configs by role.
        settings: Parameters of other stages that it reads, e.g. `generate.scoring`.
        contents: Parameters that name a folder or a model of Hugging Face, whose content it reads.
        execution: Parameters that say how the work is done and not what comes out.
        needs_texts: Whether some video of the training split must have a text.
        check: `module:function` that takes the parameters and refuses what they name before the first stage of a
            command works; "" for none.
        registers: Name of the registered model that it makes; "" where it makes none.
        writes: Path of the file that it leaves for later stages, in its run's artifacts.
        role: What its model or its file is called by those that build on it; "" means `name`.
        metrics: What two versions of its model are compared by: the first that both were scored with.
        report: Path of the JSON file with texts and scores that it leaves for the command's summary.
        trains: Whether it is a training: with epochs, steps, a learning rate, a seed, and in several processes.
        inference: Whether a pipeline leaves it out where no inference is asked for.
        options: Further parameters that have a short option of their own.
    """

    name: str
    params: type[BaseModel]
    run: str
    help: str = ""
    examples: str = ""
    reads: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    artifact: str = ""
    needs_artifact: Callable[[Any, Mapping[str, Mapping[str, Any]]], bool] = _never
    settings: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    execution: tuple[str, ...] = ()
    needs_texts: bool = False
    check: str = ""
    registers: str = ""
    writes: str = ""
    role: str = ""
    metrics: tuple[str, ...] = ()
    report: str = ""
    trains: bool = False
    inference: bool = False
    options: tuple[str, ...] = ()

    @property
    def made_role(self) -> str:
        """Role of the model or the file that it makes."""
        return self.role or self.name

    @property
    def execution_only(self) -> frozenset[str]:
        """Dotted names, the stage in front, of the parameters that do not change what comes out."""
        training = ("training.checkpoint_minutes", "training.shard_optimizer") if self.trains else ()
        return frozenset(f"{self.name}.{name}" for name in (*training, *self.execution))

    @property
    def short_options(self) -> tuple[str, ...]:
        """Parameters that its command takes without their section, e.g. `epochs`."""
        return (*(TRAINING_OPTIONS if self.trains else ()), *self.options)

    @property
    def upstream_roles(self) -> tuple[str, ...]:
        """Roles of the models and of the file that it builds on."""
        return (*self.upstream, *([self.artifact] if self.artifact else []))

    @property
    def started_by(self) -> tuple[str, ...]:
        """Words after `python -m` that start it: the package and its name, or the module of a stage outside of it."""
        module = self.run.partition(":")[0]
        return ("sign_models", self.name) if module.startswith("sign_models.") else (module,)

    def function(self) -> Callable[[Work], Result]:
        """Import what `run` names.

        Returns:
            The function.
        """
        function: Callable[[Work], Result] = _named(self.run)
        return function

    def refuse(self, params: BaseModel) -> None:
        """Call what `check` names, where there is one.

        Args:
            params: The stage's.

        Raises:
            ParamsError: The parameters cannot be used.
        """
        if self.check:
            _named(self.check)(params)


def _named(reference: str) -> Any:
    module, _, function = reference.partition(":")
    return getattr(import_module(module), function)


# By name, in the order in which a pipeline runs them.
STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "skeleton",
            SkeletonParams,
            run="sign_models.stages.skeleton:run",
            help="Train the skeleton model on single keypoint windows and register it as sign-skeleton.",
            examples="""
python -m entrypoints.skeleton --data my_data --steps 1000
mlflow run . -e skeleton -P epochs=20 -P model.width=256
""",
            reads=("keypoints",),
            settings=("data.fps",),
            registers="sign-skeleton",
            metrics=("validation/score",),
            trains=True,
        ),
        Stage(
            "temporal",
            TemporalParams,
            run="sign_models.stages.temporal:run",
            help="Train the temporal model on a registered skeleton model and register it as sign-temporal.",
            examples="""
python -m entrypoints.temporal --data my_data --skeleton-model champion
mlflow run . -e temporal -P skeleton_model=3 -P model.layers=6
""",
            reads=("videos", "texts"),
            upstream=("skeleton",),
            settings=("data.fps",),
            registers="sign-temporal",
            metrics=("validation/score",),
            trains=True,
        ),
        Stage(
            "represent",
            RepresentParams,
            run="sign_models.stages.represent:run",
            help="Write temporal_representations_all/all_representations.npz: "
            "one variable-length array for every video.",
            examples="""
python -m entrypoints.represent --data my_data
mlflow run . -e represent -P temporal_model=champion
""",
            reads=("videos",),
            upstream=("temporal",),
            execution=("batch_frames",),
            writes="temporal_representations_all/all_representations.npz",
            role="representations",
            inference=True,
        ),
        Stage(
            "alignment",
            AlignmentParams,
            run="sign_models.stages.alignment:run",
            help="Train the alignment model, which turns representations into text, and register it as sign-alignment.",
            examples="""
python -m entrypoints.alignment --data my_data --epochs 50
mlflow run . -e alignment -P epochs=50 -P finetune=false
""",
            reads=("videos", "texts"),
            upstream=("temporal",),
            artifact="representations",
            needs_artifact=lambda params, configs: not params.finetune,
            settings=("generate.scoring",),
            contents=("decoder.pretrained",),
            needs_texts=True,
            check="sign_models.stages.alignment:check",
            registers="sign-alignment",
            metrics=("validation/score",),
            trains=True,
        ),
        Stage(
            "generate",
            GenerateParams,
            run="sign_models.stages.generate:run",
            help="Write generation_results.json, score it where references exist, register sign-translator.",
            examples="""
python -m entrypoints.generate --data my_data --splits test
mlflow run . -e generate -P alignment_model=champion -P beams=8
""",
            reads=("videos", "texts"),
            upstream=("alignment",),
            artifact="representations",
            needs_artifact=lambda params, configs: not configs["alignment"].get("finetuned", True),
            execution=("batch_size",),
            registers="sign-translator",
            role="translator",
            metrics=("test/chrf", "dev/chrf", "none/chrf"),
            report="generation_results.json",
            inference=True,
            options=("batch_size",),
        ),
    )
}


def by_role() -> dict[str, Stage]:
    """Stages that make a model or a file, by its role.

    Returns:
        The stages.
    """
    return {stage.made_role: stage for stage in STAGES.values()}


def model_names() -> dict[str, str]:
    """Name of the registered model by role.

    Returns:
        Names, in the order of the stages.
    """
    return {stage.made_role: stage.registers for stage in STAGES.values() if stage.registers}


def option_name(role: str) -> str:
    """Name the option that says what to build on.

    Args:
        role: A model's or a file's.

    Returns:
        `temporal_model`, or a file's role as it is.
    """
    return f"{role}_model" if by_role()[role].registers else role


def params_schema() -> type[PipelineParams]:
    """Type of the parameters of all stages.

    Returns:
        PipelineParams, with a section for each stage that it does not know.
    """
    known = PipelineParams.model_fields
    others: dict[str, Any] = {name: (stage.params, ...) for name, stage in STAGES.items() if name not in known}
    return create_model("PipelineParams", __base__=PipelineParams, **others) if others else PipelineParams
