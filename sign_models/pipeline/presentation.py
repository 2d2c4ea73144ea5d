"""What the runs of a pipeline and of its stages say of themselves in the UI: notes, parameters, scores, links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sign_models.params.load import flatten
from sign_models.pipeline.context import Context, Output, Upstream
from sign_models.pipeline.summary import Report, next_command
from sign_models.stages.declaration import Stage
from sign_models.stages.work import Result
from sign_models.tracking import notes
from sign_models.tracking.metrics import current_name
from sign_models.tracking.runs import Run

SKIPPED = "sign.skipped"
Sizes = Mapping[str, Mapping[str, object]]


def stage_begins(
    run: Run, stage: Stage, context: Context, upstream: Upstream, sizes: Mapping[str, Mapping[str, object]]
) -> None:
    """Describe a stage's run while it works, in its note.

    Args:
        run: The run.
        stage: Which works in it.
        context: Of the command.
        upstream: What the stage builds on.
        sizes: Of each input that it reads.
    """
    run.describe(_what(stage, context, upstream, sizes))


def stage_ended(run: Run, result: Result, output: Output) -> None:
    """Add to the note of a stage's run what came out, its scores and what to do next.

    Args:
        run: The run.
        result: What the stage gave.
        output: What was registered or written.
    """
    made = f"Registered `{output.model.uri}`." if output.model else f"Wrote `{output.stage.writes}`."
    signatures = {k.rpartition(".")[2]: str(v) for k, v in result.tags.items() if k.startswith("sign.signature.")}
    parts = [run.note, f"**Result**: {made}", notes.scores(result.metrics, signatures)]
    run.describe("\n\n".join([*parts, f"**Next**: `{next_command([output])}`"]))


def _what(stage: Stage, context: Context, upstream: Upstream, sizes: Sizes) -> str:
    facts = {
        "preset": context.options.preset,
        "source": context.inputs.source,
        **{name: _sizes(found) for name, found in sizes.items()},
        **{f"built on: {role}": f"`{model.uri}` (asked: {model.asked})" for role, model in upstream.models.items()},
        "reads": f"run `{upstream.artifact}`" if upstream.artifact else "",
    }
    return f"{stage.help}\n\n{notes.table(facts)}"


def _sizes(profile: Mapping[str, object]) -> str:
    return ", ".join(f"{value} {name}" for name, value in profile.items())


def pipeline_begins(run: Run, context: Context) -> None:
    """Log the parameters, and note what is to be done.

    Args:
        run: The run.
        context: Of the command.
    """
    flat: dict[str, object] = {}
    for stage in context.stages:
        flat |= {
            name: value
            for name, value in flatten(context.params(stage), stage.name).items()
            if not (run.resumed and name in stage.execution_only)
        }
    run.log_params(flat)
    everything = {stage.name: context.params(stage).model_dump(mode="json") for stage in context.stages}
    run.log_dict(everything, "params.yaml")
    names = ", ".join(stage.name for stage in context.stages)
    facts = {"stages": names, "preset": context.options.preset, "source": context.inputs.source}
    run.describe(f"Run the stages in order, each as a child of this run.\n\n{notes.table(facts)}")


def pipeline_ended(run: Run, context: Context, made: Sequence[Output], report: Report | None) -> None:
    """Log the scores of every stage, what was skipped, and links to the runs that did the work.

    Args:
        run: The run.
        context: Of the command.
        made: What each stage made.
        report: Texts and scores, where a stage has reported any.
    """
    skipped = [output.stage.name for output in made if output.skipped]
    run.set_tags({SKIPPED: ", ".join(skipped) or "none"})
    metrics: dict[str, float] = dict(report.metrics()) if report else {}
    rows = ["| stage | state | made | score |", "|---|---|---|---|"]
    for output in made:
        score = ""
        if output.model and output.stage.metrics:
            found = output.model.metrics()
            name = next((name for name in map(current_name, output.stage.metrics) if name in found), "")
            score = f"{name} {found[name]:.4g}" if name else ""
            if output.stage.trains and name:
                metrics[f"{output.stage.name}/{name.rpartition('/')[2]}"] = found[name]
        state = "skipped: there already" if output.skipped else "done"
        link = notes.link(output.run_id, run.experiment_id, output.stage.name)
        rows.append(f"| {link} | {state} | {f'`{output.model.uri}`' if output.model else 'files'} | {score} |")
    run.log_metrics(metrics, 0)
    parts = ["\n".join(rows), notes.table({"preset": context.options.preset, "source": context.inputs.source})]
    parts += ["**Scores**", notes.scores(report.metrics())] if report else []
    run.describe("\n\n".join([*parts, f"**Next**: `{next_command(made)}`"]))
