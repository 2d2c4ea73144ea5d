"""One command: what it was asked, what it reads, which run it works in, and what its phases have made so far."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from statistics import median

from sign_models.datasets.inputs import Inputs
from sign_models.errors import DataError, UpstreamError
from sign_models.keypoints.extractor import difference, short_name
from sign_models.params.load import flatten
from sign_models.pipeline import summary
from sign_models.pipeline.options import DEFAULT_ALIAS, Options
from sign_models.stages.declaration import BY_NAME, UPSTREAM_ROLES
from sign_models.tracking.fingerprint import Fingerprint, find_trained, find_unfinished, fingerprint
from sign_models.tracking.registry import EXTRACTORS, FPS, ModelRef, resolve, trained_on
from sign_models.tracking.runs import Run, stage_run
from sign_models.tracking.sources import source_digest
from sign_models.tracking.store import connect

logger = logging.getLogger(__name__)
MAX_EXTRACTORS = 32  # in a tag, which MLflow cuts at 8000 characters
EXECUTION_ONLY = ("checkpoint_minutes", "batch_frames", "generate.batch_size")


@dataclass
class Command:
    """One command: its options, the stages it runs, its inputs, and what its phases have made so far."""

    options: Options
    stages: tuple[str, ...]
    nested: bool = False
    made: dict[str, ModelRef] = field(default_factory=dict)
    representations: str = ""
    generated: summary.Outcome | None = None
    done: set[str] = field(default_factory=set)  # runs of stages that this pipeline had finished when it was cut off
    _checked: bool = False

    @cached_property
    def inputs(self) -> Inputs:
        o = self.options
        return Inputs.of(o.data, o.keypoints, o.videos, o.texts)

    def upstream(self, stage: str, asked: str) -> ModelRef:
        """What this command made itself, else what the registry holds under the name asked for."""
        return self.made.get(stage) or resolve(asked or DEFAULT_ALIAS, stage)

    def fingerprint(self, stage: str, upstream: Mapping[str, ModelRef]) -> Fingerprint:
        params = flatten(getattr(self.options.params, stage), stage)
        params = {k: v for k, v in params.items() if not k.endswith(EXECUTION_ONLY)}
        return fingerprint(
            BY_NAME[stage].model_role,
            params,
            {role: model.model_id for role, model in upstream.items()},
            self.inputs.digest(*BY_NAME[stage].reads),
            source_digest(f"sign_models.stages.{stage}"),
        )

    def whole(self) -> Fingerprint:
        """Of all that a pipeline was asked for: one that was cut off goes on when it is typed again."""
        asked = {
            name: getattr(self.options, name)
            for name in ("force", "representations", *(f"{role}_model" for role in UPSTREAM_ROLES))
        }
        stages = {stage: self.fingerprint(stage, {}).sha256 for stage in self.stages}
        return fingerprint("pipeline", asked | stages, {}, "", "")

    def trained(self, stage: str, wanted: Fingerprint) -> ModelRef | None:
        """The version that this stage would give again, where it may be taken."""
        skip = self.may_skip(stage)
        if not (skip or self.done):
            return None
        found, reasons = find_trained(wanted)
        if found and (skip or found.run_id in self.done):
            logger.info("%s: skipped, %s is what it would give again", stage, found.uri)
            return found
        if skip:
            logger.info("%s: nothing to skip: %s", stage, "; ".join(reasons))
        return None

    def may_skip(self, stage: str) -> bool:
        forced = {"all", stage} & set(self.options.force)
        return self.options.skip_trained and not forced

    @contextmanager
    def run(self, stage: str, wanted: Fingerprint | None) -> Iterator[Run]:
        """The stage's run: one that was cut off while it did this very work goes on, else a new one."""
        experiment = self.options.experiment or None
        start = partial(
            stage_run, stage, experiment=experiment, nested=self.nested, tags=wanted.tags() if wanted else None
        )
        unfinished = None
        if wanted is not None and "MLFLOW_RUN_ID" not in os.environ:  # else `mlflow run` says which run it is
            unfinished = find_unfinished(wanted, connect(experiment))
        with ExitStack() as stack:
            try:
                run = stack.enter_context(start(run_id=unfinished))
            except UpstreamError as error:
                if unfinished is None:
                    raise
                logger.info("%s: %s; a new run does this work", stage, error)  # another command was a moment faster
                unfinished = None
                run = stack.enter_context(start())
            if unfinished:
                logger.info("%s: goes on with run %s, which was cut off", stage, unfinished)
            yield run

    def describe(self, run: Run, stage: str, upstream: Mapping[str, ModelRef]) -> None:
        """What every run of a stage says of itself before it works."""
        self.check()
        params = getattr(self.options.params, stage)
        flat = flatten(params, stage)
        run.log_params({k: v for k, v in flat.items() if not (run.resumed and k.endswith(EXECUTION_ONLY))})
        run.log_dict(params.model_dump(mode="json"), f"params/{stage}.yaml")
        run.log_code_state()
        for part in dict.fromkeys(BY_NAME[stage].reads):
            digest, source = self.inputs.digest(part), self.inputs.source
            run.log_dataset(part, digest, f"{stage}.{part}", self._profile(part), source)
        if "videos" in BY_NAME[stage].reads and self.inputs.splitting:
            run.set_tags({"sign.data.splits": self.inputs.splitting})
        for role, model in upstream.items():
            run.set_tags(
                {
                    f"sign.upstream.{role}.asked": model.asked,
                    f"sign.upstream.{role}": model.uri,
                    f"sign.upstream.{role}.run_id": model.run_id,
                    f"sign.upstream.{role}.model_id": model.model_id,
                }
            )
        if upstream:
            run.link_inputs(model.model_id for model in upstream.values())
        self._record_source(run, stage)
        self._compare_extractors(stage, upstream)

    def _extractors(self, stage: str) -> dict[str | None, int]:
        """Extractor -> clips, of all that a stage reads."""
        found: dict[str | None, int] = {}
        for part in set(BY_NAME[stage].reads) - {"texts"}:
            found |= getattr(self.inputs, part).extractors
        return found

    def _record_source(self, run: Run, stage: str) -> None:
        """As a tag, which the version that the run registers gets too; beside it the clips' frame rate."""
        found = sorted(self._extractors(stage), key=str)
        if len(found) > MAX_EXTRACTORS:
            logger.warning("%s: the clips come from %d extractors; %d are recorded", stage, len(found), MAX_EXTRACTORS)
        run.set_tags({EXTRACTORS: json.dumps(found[:MAX_EXTRACTORS])})
        parts = set(BY_NAME[stage].reads) - {"texts"}
        if rates := [fps for part in parts for fps in getattr(self.inputs, part).fps if fps]:
            run.set_tags({FPS: f"{median(rates):g}"})

    def _compare_extractors(self, stage: str, upstream: Mapping[str, ModelRef]) -> None:
        """Warn where the clips come from another extractor than those of a model that the stage builds on.

        Raises:
            DataError: They do, or it is not known, and generate.strict_extractor is set.
        """
        strict = stage == "generate" and self.options.params.generate.strict_extractor
        for model in upstream.values():
            found = difference(self._extractors(stage), trained_on(model.tags), strict=strict)
            if found and strict:
                remedy = f"extract the videos with the extractor of {model.uri}, or leave out strict_extractor"
                raise DataError(found, place=self.inputs.source, remedy=remedy)
            if found:
                logger.warning("%s: %s", stage, found.replace("the model", model.uri))

    def check(self) -> None:
        """Read all that the stages of this command will read: a mistake in the last one's is refused before the
        first works."""
        if self._checked:
            return
        for part in dict.fromkeys(part for stage in self.stages for part in BY_NAME[stage].reads):
            getattr(self.inputs, part)
        if "alignment" in self.stages:
            self.inputs.check_training_texts()
            if pretrained := self.options.params.alignment.decoder.pretrained:
                from sign_models.models.text import read_pretrained

                read_pretrained(pretrained)
        self._checked = True

    def _profile(self, part: str) -> dict[str, object]:
        texts = self.inputs.texts if part != "keypoints" else {}
        if part == "texts":
            return {"texts": len(texts)}
        corpus = getattr(self.inputs, part)
        found: dict[str, object] = {"clips": len(corpus), "frames": int(corpus.offsets[-1])}
        found["extractors"] = ", ".join(sorted(map(short_name, corpus.extractors)))
        if part == "videos":
            found["without_text"] = len(corpus) - len(texts)
        return found
