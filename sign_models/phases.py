"""The phases of the pipeline: what each reads, resolves, runs, logs and registers.

A phase hands the next one exact versions, so that an alias moved by somebody else cannot split a pipeline. torch and
MLflow are imported where a phase really needs them: a pipeline that skips every stage needs no torch.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sign_models import summary
from sign_models.data.inputs import Inputs
from sign_models.data.representations import FILE, FOLDER, read_representations, write_representations
from sign_models.errors import UpstreamError
from sign_models.options import DEFAULT_ALIAS, STAGES, Options, Stage
from sign_models.params.load import flatten
from sign_models.tracking.fingerprint import Fingerprint, find_done, find_trained, find_unfinished, fingerprint
from sign_models.tracking.registry import Upstream, resolve
from sign_models.tracking.representations import fetch, find_finished, made_by
from sign_models.tracking.runs import Run, stage_run
from sign_models.tracking.sources import source_digest
from sign_models.tracking.store import connect

if TYPE_CHECKING:
    from sign_models.keypoints.sequence import KeypointSequence
    from sign_models.stages.skeleton import Trained
    from sign_models.tracking.recorder import RunRecorder

logger = logging.getLogger(__name__)
EXECUTION_ONLY = ("checkpoint_minutes", "batch_frames", "generate.batch_size")
UPSTREAM = ("skeleton_model", "temporal_model", "alignment_model")
EXAMPLE_CLIPS = 2  # in a model's input example
DATA_OF = {  # which inputs a stage reads: its data digest
    "skeleton": ("keypoints",),
    "temporal": ("videos", "texts"),
    "represent": ("videos",),
    "alignment": ("videos", "texts"),
    "generate": ("videos", "texts"),
}
Train = Callable[["RunRecorder"], "Trained"]


@dataclass
class Command:
    """One command: its options, the stages it runs, its inputs, and what its phases have made so far."""

    options: Options
    stages: tuple[Stage, ...]
    nested: bool = False
    made: dict[str, Upstream] = field(default_factory=dict)
    representations: str = ""
    generated: summary.Outcome | None = None
    done: set[str] = field(default_factory=set)  # runs of stages that this pipeline had finished when it was cut off
    _checked: bool = False

    @cached_property
    def inputs(self) -> Inputs:
        o = self.options
        return Inputs.of(o.data, o.keypoints, o.videos, o.texts)

    def upstream(self, stage: str, asked: str) -> Upstream:
        """What this command made itself, else what the registry holds under the name asked for."""
        return self.made.get(stage) or resolve(asked or DEFAULT_ALIAS, stage)

    def fingerprint(self, stage: str, upstream: Mapping[str, Upstream]) -> Fingerprint:
        params = flatten(getattr(self.options.params, stage), stage)
        params = {k: v for k, v in params.items() if not k.endswith(EXECUTION_ONLY)}
        return fingerprint(
            "translator" if stage == "generate" else stage,
            params,
            {role: model.model_id for role, model in upstream.items()},
            self.inputs.digest(*DATA_OF[stage]),
            source_digest(f"sign_models.stages.{stage}"),
        )

    def whole(self) -> Fingerprint:
        """Of all that a pipeline was asked for: one that was cut off goes on when it is typed again."""
        asked = {name: getattr(self.options, name) for name in ("force", "representations", *UPSTREAM)}
        stages = {stage: self.fingerprint(stage, {}).sha256 for stage in self.stages}
        return fingerprint("pipeline", asked | stages, {}, "", "")

    def trained(self, stage: str, wanted: Fingerprint) -> Upstream | None:
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

    def describe(self, run: Run, stage: str, upstream: Mapping[str, Upstream]) -> None:
        """What every run of a stage says of itself before it works."""
        self.check()
        params = getattr(self.options.params, stage)
        flat = flatten(params, stage)
        run.log_params({k: v for k, v in flat.items() if not (run.resumed and k.endswith(EXECUTION_ONLY))})
        run.log_dict(params.model_dump(mode="json"), f"params/{stage}.yaml")
        run.log_code_state()
        for part in dict.fromkeys(DATA_OF[stage]):
            digest, source = self.inputs.digest(part), self.inputs.source
            run.log_dataset(part, digest, f"{stage}.{part}", self._profile(part), source)
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

    def check(self) -> None:
        """Read all that the stages of this command will read: a mistake in the last one's is refused before the
        first works."""
        if self._checked:
            return
        for part in dict.fromkeys(part for stage in self.stages for part in DATA_OF[stage]):
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
        if part == "videos":
            found["without_text"] = len(corpus) - len(texts)
        return found


def to_terminal() -> None:
    """Our own messages on standard error, a line each; the libraries' only where they warn."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("sign_models").setLevel(logging.INFO)
    for library in ("mlflow", "alembic", "transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)


def run_pipeline(options: Options) -> None:
    """All phases in order, or the one of options.stage, as children of one run."""
    command = Command(options, _stages(options), nested=True)
    to_terminal()
    with stage_run("pipeline", experiment=options.experiment or None) as parent:
        wanted = command.whole()
        command.done = find_done(wanted, parent.experiment_id)
        parent.set_tags({"sign.data.source": command.inputs.source, "sign.preset": options.preset, **wanted.tags()})
        parent.log_code_state()
        for stage in command.stages:
            PHASES[stage](command)
        if command.generated:
            parent.log_metrics(command.generated.metrics(), 0)
        summary.show(command.generated, command.made, parent.id)


def _stages(options: Options) -> tuple[Stage, ...]:
    """Without inference nothing is represented or generated, but alignment on frozen representations needs those."""
    if options.stage:
        return (options.stage,)
    if options.inference:
        return STAGES
    return ("skeleton", "temporal", *(() if options.params.alignment.finetune else ("represent",)), "alignment")


def run_skeleton(options: Options) -> None:
    _single("skeleton", options)


def run_temporal(options: Options) -> None:
    _single("temporal", options)


def run_represent(options: Options) -> None:
    _single("represent", options)


def run_alignment(options: Options) -> None:
    _single("alignment", options)


def run_generate(options: Options) -> None:
    _single("generate", options)


def _single(stage: Stage, options: Options) -> None:
    command = Command(options, (stage,))
    to_terminal()
    run_id = PHASES[stage](command)
    summary.show(command.generated, command.made, run_id)


def skeleton(command: Command) -> str:
    def train(recorder: RunRecorder) -> Trained:
        from sign_models.stages.skeleton import train

        return train(command.options.params.skeleton, command.inputs.keypoints, recorder)

    return _train(command, "skeleton", {}, train)


def temporal(command: Command) -> str:
    upstream = {"skeleton": command.upstream("skeleton", command.options.skeleton_model)}

    def train(recorder: RunRecorder) -> Trained:
        from sign_models.models.storage import load
        from sign_models.stages.temporal import train

        model = load(upstream["skeleton"].path())
        return train(command.options.params.temporal, command.inputs.videos, model, recorder)

    return _train(command, "temporal", upstream, train)


def alignment(command: Command) -> str:
    params = command.options.params
    upstream = {"temporal": command.upstream("temporal", command.options.temporal_model)}
    representations = command.representations or command.options.representations
    if representations or not params.alignment.finetune:
        representations = _fitting_representations(command, upstream["temporal"], representations)

    def train(recorder: RunRecorder) -> Trained:
        from sign_models.models.storage import load
        from sign_models.stages.alignment import train

        if representations:
            recorder.run.set_tags({"sign.upstream.representations": representations})
        arrays = None if params.alignment.finetune else _read(representations)
        model = load(upstream["temporal"].path())
        return train(
            params.alignment,
            command.inputs.videos,
            command.inputs.texts,
            model,
            recorder,
            params.generate.scoring,
            arrays,
        )

    return _train(command, "alignment", upstream, train)


def _train(command: Command, stage: str, upstream: dict[str, Upstream], train: Train) -> str:
    """Train one model, log it, register it; or take the version that would come out again. -> run ID."""
    wanted = command.fingerprint(stage, upstream)
    if found := command.trained(stage, wanted):
        command.made[stage] = found
        return found.run_id
    with command.run(stage, wanted) as run:
        command.describe(run, stage, upstream)
        from sign_models.models.storage import save
        from sign_models.tracking.recorder import RunRecorder
        from sign_models.tracking.registration import register

        trained = train(RunRecorder(run))
        progress = trained.progress
        run.set_tags({"sign.parameters": trained.parameters, "sign.best_step": progress.best_step})
        with tempfile.TemporaryDirectory(prefix="sign-model-") as folder:
            save(trained.model, Path(folder))
            command.made[stage] = register(
                run,
                stage,
                Path(folder),
                input_example=_example(command, stage),
                metrics=progress.best_metrics,
                upstream=upstream,
                tags=wanted.tags(),
                step=progress.best_step,
            )
        logger.info("%s: registered %s", stage, command.made[stage].uri)
        return run.id


def _example(command: Command, stage: str) -> list[KeypointSequence]:
    from sign_models.keypoints.sequence import of_canonical

    corpus = command.inputs.keypoints if stage == "skeleton" else command.inputs.videos
    return [of_canonical(corpus.ids[i], corpus.clip(i)) for i in range(min(EXAMPLE_CLIPS, len(corpus)))]


def represent(command: Command) -> str:
    upstream = {"temporal": command.upstream("temporal", command.options.temporal_model)}
    wanted = command.fingerprint("represent", upstream)
    if command.may_skip("represent") or command.done:
        found = find_finished(wanted)
        if found and (command.may_skip("represent") or found in command.done):
            logger.info("represent: skipped, run %s holds what it would give again", found)
            command.representations = found
            return found
    with command.run("represent", None) as run:
        run.set_tags(wanted.tags())
        command.describe(run, "represent", upstream)
        from sign_models.models.storage import load
        from sign_models.stages.represent import represent

        corpus = command.inputs.videos
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="sign-represent-") as folder:
            arrays = represent(load(upstream["temporal"].path()), corpus, command.options.params.represent.batch_frames)
            count = write_representations(Path(folder, FOLDER, FILE), arrays)
            seconds = time.monotonic() - began
            run.log_artifacts(Path(folder))
        frames = int(corpus.offsets[-1])
        run.log_metrics({"videos": count, "frames": frames, "frames_per_second": frames / seconds}, 0)
        command.representations = run.id
        logger.info("represent: %d videos -> %s/%s of run %s", count, FOLDER, FILE, run.id)
        return run.id


def _fitting_representations(command: Command, temporal: Upstream, asked: str) -> str:
    """Run ID of the representations that `temporal` made; UpstreamError where another version made those asked for."""
    if asked:
        model_id, version = made_by(asked)
        if model_id != temporal.model_id:
            raise UpstreamError(
                f"made by another temporal model, {version} ({model_id})",
                place=f"representations {asked}",
                wanted=f"those of {temporal.uri} ({temporal.model_id})",
                remedy=f"run -e represent -P temporal_model={temporal.version}, or name the model that made them",
            )
        return asked
    found = find_finished(command.fingerprint("represent", {"temporal": temporal}))
    if found is None:
        raise UpstreamError(
            f"no represent run of {temporal.uri} on this data",
            place="representations",
            wanted="its run ID",
            remedy=f"run -e represent -P temporal_model={temporal.version} first, or set alignment.finetune to true",
        )
    return found


def _read(run_id: str) -> dict[str, Any]:
    with fetch(run_id, f"{FOLDER}/{FILE}") as path:
        return read_representations(path)


def generate(command: Command) -> str:
    upstream = {"alignment": command.upstream("alignment", command.options.alignment_model)}
    wanted = command.fingerprint("generate", upstream)
    if found := command.trained("generate", wanted):
        command.made["translator"] = found
        command.generated = summary.stored(found)
        return found.run_id
    with command.run("generate", None) as run:
        run.set_tags(wanted.tags())
        command.describe(run, "generate", upstream)
        from sign_models.models.storage import load, save
        from sign_models.stages.generate import generate, generation
        from sign_models.tracking.registration import register

        params = command.options.params.generate
        model = load(upstream["alignment"].path())
        arrays = None
        if not model.finetuned:
            temporal = resolve(_temporal_of(upstream["alignment"]), "temporal")
            asked = command.representations or command.options.representations
            arrays = _read(_fitting_representations(command, temporal, asked))
        result = generate(model, command.inputs.videos, command.inputs.texts, params, arrays)
        command.generated = summary.of(result, params.scoring)
        summary.log(run, result, command.generated)
        model.generation = generation(model.generation, params)
        with tempfile.TemporaryDirectory(prefix="sign-model-") as folder:
            save(model.cpu(), Path(folder))
            command.made["translator"] = register(
                run,
                "translator",
                Path(folder),
                input_example=_example(command, "generate"),
                metrics=command.generated.metrics(),
                upstream=upstream,
                tags=wanted.tags(),
                step=0,
            )
        logger.info("generate: registered %s", command.made["translator"].uri)
        return run.id


def _temporal_of(alignment: Upstream) -> str:
    return str(json.loads(alignment.tags["sign.upstream.temporal"])["uri"])


PHASES: dict[str, Callable[[Command], str]] = {
    "skeleton": skeleton,
    "temporal": temporal,
    "represent": represent,
    "alignment": alignment,
    "generate": generate,
}
