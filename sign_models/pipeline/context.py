"""What goes into a stage: what the command was asked, the models and files it builds on, and the fingerprint of all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

from pydantic import BaseModel

from sign_models.datasets.inputs import Inputs
from sign_models.errors import UpstreamError
from sign_models.params.load import flatten
from sign_models.pipeline.options import DEFAULT_ALIAS, Options
from sign_models.stages.declaration import Stage, by_role, option_name
from sign_models.tracking.artifacts import find_finished, made_by
from sign_models.tracking.fingerprint import Fingerprint, fingerprint
from sign_models.tracking.registered.registry import ModelRef, resolve, upstream_of
from sign_models.tracking.sources import content_digest, source_digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Output:
    """What a stage made in a run, or had made already.

    Attributes:
        stage: The stage.
        run_id: Of the run that made it.
        model: The version that it registered. None for a stage that registers none.
        skipped: Whether it was there already.
    """

    stage: Stage
    run_id: str
    model: ModelRef | None = None
    skipped: bool = False


@dataclass(frozen=True)
class Upstream:
    """What a stage builds on, in exact versions.

    Attributes:
        models: Versions by role.
        artifact: ID of the run that wrote the file of an earlier stage, read or not. "": none known.
        artifact_content: Identifies the content of that file. "" where the stage does not read it.
    """

    models: Mapping[str, ModelRef] = field(default_factory=dict)
    artifact: str = ""
    artifact_content: str = ""


@dataclass(frozen=True)
class Context:
    """One command. Nothing in it changes while its stages work.

    Attributes:
        options: Of the command.
        stages: Those that it runs, in order.
        nested: Whether their runs are children of the run that is open.
    """

    options: Options
    stages: tuple[Stage, ...]
    nested: bool = False

    @cached_property
    def inputs(self) -> Inputs:
        """The files that the command reads, each when it is first asked for."""
        o = self.options
        return Inputs.from_paths(o.data, o.keypoints, o.videos, o.texts)

    def params(self, stage: Stage) -> BaseModel:
        """The stage's own parameters.

        Args:
            stage: Whose.

        Returns:
            Its parameters.
        """
        params: BaseModel = getattr(self.options.params, stage.name)
        return params

    def value(self, name: str) -> Any:
        """Value of a parameter.

        Args:
            name: Dotted, the stage in front.

        Returns:
            The value.
        """
        return reduce(getattr, name.split("."), self.options.params)

    def may_skip(self, stage: Stage) -> bool:
        """Whether a stage may be left out where its result is there already.

        Args:
            stage: Which.

        Returns:
            Whether skip_trained is given and the stage is not forced.
        """
        forced = {"all", stage.name} & set(self.options.force)
        return self.options.skip_trained and not forced

    def upstream(self, stage: Stage, made: Mapping[str, Output]) -> Upstream:
        """The models and the file that a stage builds on.

        Args:
            stage: Whose.
            made: By role, what this command has made itself; it goes before what the registry holds under the name
                that was asked for.

        Returns:
            Models and file.

        Raises:
            UpstreamError: There is none, or the file was made by another model.
        """
        models = {role: self._model(role, made) for role in stage.upstream}
        if not stage.artifact:
            return Upstream(models)
        producer = by_role()[stage.artifact]
        asked = made[stage.artifact].run_id if stage.artifact in made else self.options.upstream.get(stage.artifact, "")
        needed = stage.needs_artifact(self.params(stage), {role: model.config for role, model in models.items()})
        same_models = set(producer.upstream) <= set(stage.upstream)  # then what is known is recorded, if not read
        if not needed and not (asked and same_models):
            return Upstream(models)
        below = {role: models.get(role) or upstream_of(models.values(), role) for role in producer.upstream}
        run_id, content = self._artifact(producer, below, asked)
        return Upstream(models, run_id, content if needed else "")

    def _model(self, role: str, made: Mapping[str, Output]) -> ModelRef:
        own = made[role].model if role in made else None
        return own or resolve(self.options.upstream.get(role, DEFAULT_ALIAS), role)

    def _artifact(self, producer: Stage, models: Mapping[str, ModelRef], asked: str) -> tuple[str, str]:
        """Run ID and content of the file that `producer` makes of `models`.

        Raises:
            UpstreamError: There is none, or other models made the one asked for.
        """
        wanted = self.fingerprint(producer, Upstream(models))
        if asked:
            return asked, made_by(asked, producer, models)
        options = " ".join(f"-P {option_name(role)}={model.version}" for role, model in models.items())
        found = find_finished(wanted)
        if found is None:
            raise UpstreamError(
                f"no {producer.name} run of {', '.join(model.uri for model in models.values())} on this data",
                place=producer.made_role,
                wanted="its run ID",
                remedy=f"run -e {producer.name} {options} first, or set alignment.finetune to true",
            )
        return found, wanted.sha256

    def fingerprint(self, stage: Stage, upstream: Upstream) -> Fingerprint:
        """Of all that the stage reads, as its declaration names it: the runner hands it nothing else.

        Models and files count by their content: one that was made again to the bit changes nothing.

        Args:
            stage: Whose.
            upstream: What it builds on.

        Returns:
            The fingerprint.
        """
        params = {k: v for k, v in flatten(self.params(stage), stage.name).items() if k not in stage.execution_only}
        params |= {name: str(self.value(name)) for name in stage.settings}
        contents = {role: model.content for role, model in upstream.models.items()}
        if upstream.artifact_content:
            contents[stage.artifact] = upstream.artifact_content
        for name in stage.contents:
            if self.value(f"{stage.name}.{name}"):
                contents[name] = self._content(f"{stage.name}.{name}")
        return fingerprint(
            stage.made_role,
            params,
            contents,
            self.inputs.digest(*stage.reads),
            source_digest(stage.run.partition(":")[0]),
        )

    def _content(self, name: str) -> str:
        """Digest of what a parameter names, as it was when first asked for: large files are read once."""
        if name not in self._contents:
            self._contents[name] = content_digest(self.value(name), name)
        return self._contents[name]

    def pipeline_fingerprint(self) -> Fingerprint:
        """Of all that a pipeline was asked for: one that was cut off goes on when it is typed again.

        Returns:
            The fingerprint.
        """
        asked: dict[str, object] = {"force": self.options.force, **self.options.upstream}
        stages = {stage.name: self.fingerprint(stage, Upstream()).sha256 for stage in self.stages}
        return fingerprint("pipeline", asked | stages, {}, "", "")

    @cached_property
    def checked_inputs(self) -> Inputs:
        """The inputs, once all is read that the stages of this command will read.

        So a mistake in what the last stage reads is refused before the first works.
        """
        for part in dict.fromkeys(part for stage in self.stages for part in stage.reads):
            getattr(self.inputs, part)
        for stage in self.stages:
            if stage.needs_texts:
                self.inputs.check_training_texts()
            stage.refuse(self.params(stage))
        return self.inputs

    @cached_property
    def _contents(self) -> dict[str, str]:
        return {}
