"""What is done to the registry between two trainings, each as one run: promote, roll back, trace, prune."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

from sign_models.datasets.inputs import Inputs
from sign_models.evaluation.metrics import Scores
from sign_models.evaluation.reliability import FIGURES as RELIABILITY
from sign_models.params.schema import GenerateParams
from sign_models.pipeline.evaluate import log_inputs
from sign_models.pipeline.rescore import score_again
from sign_models.pipeline.runner import to_terminal
from sign_models.stages.declaration import by_role, model_names
from sign_models.tracking.registered import lineage, promotion, prune
from sign_models.tracking.registered.registry import ModelRef, aliases_of, resolve, stage_of
from sign_models.tracking.runs import Run, stage_run

logger = logging.getLogger(__name__)
TRANSLATOR = model_names()["translator"]
SPLITS = ("train", "dev", "test", "none")
FIGURES = [*(name for name, kind in Scores.__annotations__.items() if kind == "float"), *RELIABILITY]


@dataclass(frozen=True)
class PromoteOptions:
    """Options of the command `promote`.

    Attributes:
        model: Name of the registered model or its stage.
        version: To promote, as the registry resolves it.
        alias: To move.
        gate: What the version must pass.
        reason: Recorded.
        back: Whether to roll back instead of promoting.
        inputs: Data to score both versions on where theirs differ. None: the embedded corpus, if trained on it.
        params: How texts are scored on that data.
        experiment: Name of the MLflow experiment. "": the default.
    """

    model: str
    version: str
    alias: str
    gate: promotion.Gate
    reason: str
    back: bool
    inputs: Inputs | None
    params: GenerateParams
    experiment: str


def run_promote(options: PromoteOptions) -> None:
    """Move an alias behind its gate, or back, and log what was compared.

    Args:
        options: Of the command.
    """
    o = options
    to_terminal()
    with stage_run("promote", experiment=o.experiment or None) as run:
        run.log_code_state()

        def done(said: promotion.Promotion) -> None:
            """Say what has moved before anything else can go wrong."""
            told = _told(said, run.id)
            print(told, flush=True)
            run.describe(f"Move an alias, behind a gate or back.\n\n```\n{told}\n```")
            run.link_inputs([resolve(str(said.version), stage_of(said.name)).model_id])
            run.set_tags({"sign.promoted": f"models:/{said.name}/{said.version}", "sign.promoted.alias": said.alias})
            run.log_dict(asdict(said), "promotion.json")
            compared = {"score": said.score, "previous_score": said.previous_score}
            run.log_metrics({name: value for name, value in compared.items() if value is not None}, 0)

        if o.back:
            promotion.rollback(o.model, o.alias, reason=o.reason, done=done)
        else:
            _promote(o, run, done)


def _promote(o: PromoteOptions, run: Run, done: promotion.Done) -> None:
    stage = stage_of(o.model)
    chosen = resolve(o.version, stage)
    inputs = o.inputs or _embedded(chosen)

    def score(version: ModelRef) -> Mapping[str, float]:
        assert inputs is not None
        if version == chosen:  # the first of the two
            log_inputs(run, inputs)
        return score_again(version, (chosen, resolve(str(aliases_of(chosen.name)[o.alias]), stage)), inputs, o.params)

    said = promotion.promote(
        o.model,
        str(chosen.version),
        o.alias,
        replace(o.gate, score=score if inputs else None),
        reason=o.reason,
        done=done,
    )
    if o.inputs and not said.scored_again:
        logger.info("%s was not read: the versions need no scoring on other data", o.inputs.source)


def _embedded(version: ModelRef) -> Inputs | None:
    """The embedded corpus, where the version was made on it: the only data that every machine has."""
    inputs = Inputs(None, None, None)
    stage = by_role()[version.stage]
    made_on = {part: version.tags.get(f"sign.data.{stage.name}.{part}") for part in stage.reads}
    return inputs if all(digest == inputs.digest(part) for part, digest in made_on.items()) else None


def _told(said: promotion.Promotion, run_id: str) -> str:
    before = f"was {said.previous}" if said.previous is not None else "was none"
    lines = [f"{said.name}: {said.alias} is version {said.version} ({before})"]
    if said.score is not None and said.previous_score is not None:
        when = "both scored again, on the same data" if said.scored_again else "as scored on the same data"
        lines.append(f"{said.metric} {said.score:.4g}, version {said.previous} {said.previous_score:.4g} ({when})")
    lines += [f"required: {', '.join(said.required)}"] if said.required else []
    if said.forced:
        lines.append(f"forced: {said.reason}")
    back = f"mlflow run . -e promote -P model={said.name} -P alias={said.alias} -P rollback=true"
    lines += ["", f"run {run_id}", *([f"back   {back}"] if said.previous is not None else [])]
    return "\n".join(lines)


@dataclass(frozen=True)
class LineageOptions:
    """Options of the command `lineage`.

    Attributes:
        model: Version, as lineage.trace takes it.
        experiment: Name of the MLflow experiment. "": the default.
    """

    model: str
    experiment: str


def run_lineage(options: LineageOptions) -> None:
    """Print where a version comes from, and log it as text, JSON and a picture.

    Args:
        options: Of the command.
    """
    to_terminal()
    with stage_run("lineage", experiment=options.experiment or None) as run:
        node = lineage.trace(options.model)
        text = lineage.as_text(node)
        missing = [f"{n.title}: {', '.join(n.missing)}" for n in node.walk() if n.missing]
        run.set_tags({"sign.traced": node.uri})
        run.log_text(text, "lineage.txt")
        run.log_dict(asdict(node), "lineage.json")
        run.log_text(lineage.picture(node), "lineage.svg")
        run.log_metrics({"missing": len(missing)}, 0)
        run.describe(f"Where a version comes from.\n\n```\n{text}\n```")
        print(text)
        print("\n" + ("missing: " + "; ".join(missing) if missing else "nothing is missing"))
        print(f"run {run.id}")


@dataclass(frozen=True)
class PruneOptions:
    """Options of the command `prune`.

    Attributes:
        yes: Delete what is found instead of listing it.
        experiment: Name of the MLflow experiment. "": the default.
    """

    yes: bool
    experiment: str


def run_prune(options: PruneOptions) -> None:
    """List what nothing needs any more; delete it where options say yes.

    Args:
        options: Of the command.
    """
    to_terminal()
    with stage_run("prune", experiment=options.experiment or None) as run:
        found = prune.prune(partial(print, flush=True)) if options.yes else prune.plan()
        run.log_dict({"deleted": options.yes, **asdict(found)}, "prune.json")
        run.log_metrics({"checkpoints": len(found.checkpoints), "versions": len(found.versions)}, 0)
        done = "Deleted" if options.yes else "Could be deleted"
        run.describe(f"{done}, since nothing needs it any more:\n\n```\n{found.as_text()}\n```")
        if not options.yes or not (found.checkpoints or found.versions):
            print(found.as_text())
        if found.checkpoints or found.versions:
            print("\n" + ("deleted" if options.yes else "nothing is deleted yet: add -P yes=true, or --yes"))
        print(f"run {run.id}")
