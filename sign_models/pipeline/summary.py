"""What a command says at its end: what it made, texts and scores where a stage reports them, what to type next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from sign_models.evaluation.reliability import FIGURES
from sign_models.evaluation.text import words
from sign_models.pipeline.context import Output
from sign_models.stages.declaration import STAGES, option_name
from sign_models.tracking.artifacts import fetch
from sign_models.tracking.runs import whereabouts

EXAMPLES = 3
SUMMARY_METRICS = ("chrf", "character_error_rate", "words_exact", "exact_match", "rouge_l", "bleu4")
BLEU_WORDS = 4  # a reference of fewer words has no n-gram of this length
NONSENSE = {"quick": "trains a few steps of tiny models: it shows that everything runs, and its texts are nonsense"}
HELD_OUT = ("test", "dev", "none", "train")  # whose scores are shown: the first there is


@dataclass(frozen=True)
class Report:
    """Texts and their scores.

    Attributes:
        scores: Split -> metric -> value.
        examples: Rows of the first held-out split.
        preset: How they were scored.
        too_short: Splits in which no reference has four words, so that BLEU-4 says nothing.
        reliability: Split -> figure -> value, of how far the confidence of texts can be trusted.
    """

    scores: dict[str, dict[str, float]]
    examples: list[dict[str, Any]]
    preset: str
    too_short: frozenset[str] = frozenset()
    reliability: dict[str, dict[str, float]] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Gather every score and figure.

        Returns:
            Values by `split/metric`.
        """
        found = [pair for of in (self.scores, self.reliability) for pair in of.items()]
        return {f"{split}/{name}": value for split, figures in found for name, value in figures.items()}


def read_report(made: Sequence[Output]) -> Report | None:
    """Read what the last stage that reports texts and scores has left in its run.

    Args:
        made: What the command made.

    Returns:
        The report; None where no stage has left one.
    """
    for output in reversed(made):
        if output.stage.report:
            with fetch(output.run_id, output.stage.report) as path:
                content = json.loads(path.read_text(encoding="utf-8"))
            rows, scores = content["results"], content["scores"]
            reliability = {
                split: {name: value for name, value in of.items() if name in FIGURES}
                for split, of in content.get("reliability", {}).items()
            }
            long = {row["split"] or "none" for row in rows if len(words(row["reference"] or "")) >= BLEU_WORDS}
            short = frozenset(scores.keys() - long)
            return Report(scores, _examples(rows, scores), content["scoring"], short, reliability)
    return None


def _examples(rows: list[dict[str, Any]], scores: dict[str, Any]) -> list[dict[str, Any]]:
    split = next((s for s in HELD_OUT if s in scores), None)
    chosen = [r for r in rows if (r["split"] or "none") == split] if split else rows
    return chosen[:EXAMPLES]


def show(made: Sequence[Output], report: Report | None, run_id: str, seconds: float, preset: str = "") -> None:
    """Print scores, examples, what was made, how long it took, where to look and what to type next.

    Args:
        made: What the command's stages made.
        report: Texts and scores, where a stage reports them.
        run_id: Of the command's run.
        seconds: That the command took.
        preset: As the command was asked.
    """
    lines = [""]
    if report is not None:
        for split in HELD_OUT:
            if split in report.scores:
                found = "  ".join(f"{name} {_figure(report, split, name)}" for name in SUMMARY_METRICS)
                lines.append(f"{split:>5} ({report.preset})  {found}")
                lines += _trust(report.reliability.get(split, {}))
        for row in report.examples:
            lines += [f"  {row['id']}", f"    text       {row['text']}"]
            lines += [f"    reference  {row['reference']}"] if row["reference"] else []
    for name in {part.strip() for part in preset.split(",")} & NONSENSE.keys():
        lines.append(f"preset {name} {NONSENSE[name]}")
    models = [(output.stage.made_role, output) for output in made if output.model]
    for role, output in models:
        assert output.model is not None
        lines.append(f"  {role:<10} {output.model.uri}{'  (skipped: there already)' if output.skipped else ''}")
    lines += ["", f"run {run_id}", f"took   {duration(seconds)}", f"look   {address(run_id)}"]
    if models:
        lines.append(f"next   {next_command(made)}")
    click.echo("\n".join(lines))


def _trust(figures: Mapping[str, float]) -> list[str]:
    """What is given of the texts, where some are rejected."""
    if "false_accepts" not in figures:
        return []
    right = f", {figures['precision_accepted']:.0%} of them right" if "precision_accepted" in figures else ""
    without = f"of clips without signing {figures['false_accepts']:.0%}"
    return [f"      sure enough to be given: {figures['coverage']:.0%}{right}; {without} (docs/confidence.md)"]


def _figure(report: Report, split: str, name: str) -> str:
    if name == "bleu4" and split in report.too_short:
        return "n/a"
    return f"{report.scores[split][name]:.1f}"


def next_command(made: Sequence[Output]) -> str:
    """What to type after a command: the stage that builds on its last model, else how to serve it.

    Args:
        made: What the command made.

    Returns:
        A command line.
    """
    output = next((output for output in reversed(made) if output.model), None)
    if output is None or output.model is None:
        return "mlflow run ."
    role, model = output.stage.made_role, output.model
    following = next((s.name for s in STAGES.values() if role in s.upstream and s.registers), None)
    if following:
        return f"mlflow run . -e {following} -P {option_name(role)}={model.version}"
    return f"mlflow models serve -m {model.uri} --env-manager local -p 5001"


def duration(seconds: float) -> str:
    """Write a time in units.

    Args:
        seconds: Of a run.

    Returns:
        `48 s`, `2 min 58 s` or `1 h 5 min`.
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def address(run_id: str) -> str:
    """The page of a run: on the tracking server, else on the one that `make ui` starts.

    Args:
        run_id: Of the run.

    Returns:
        The URL.
    """
    uri, experiment = whereabouts(run_id)
    page = f"#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"
    return f"{uri}/{page}" if uri.startswith("http") else f"make ui (or mlflow ui), then http://127.0.0.1:5000/{page}"
