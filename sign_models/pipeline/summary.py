"""What a command says at its end: what it made, texts and scores where a stage reports them, what to type next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from sign_models.pipeline.context import Output
from sign_models.stages.declaration import STAGES, option_name
from sign_models.tracking.artifacts import fetch

EXAMPLES = 3
SHOWN = ("bleu4", "chrf", "rouge_l", "words_exact", "exact_match", "character_error_rate")
HELD_OUT = ("test", "dev", "none", "train")  # whose scores are shown: the first there is


@dataclass(frozen=True)
class Report:
    """scores: split -> metric -> value. examples: rows of the first held-out split. preset: how it was scored."""

    scores: dict[str, dict[str, float]]
    examples: list[dict[str, Any]]
    preset: str

    def metrics(self) -> dict[str, float]:
        """Every score by `split.metric`."""
        return {f"{split}.{name}": value for split, found in self.scores.items() for name, value in found.items()}


def read_report(made: Sequence[Output]) -> Report | None:
    """What the last stage that reports texts and scores has left in its run; None where there was none."""
    for output in reversed(made):
        if output.stage.report:
            with fetch(output.run_id, output.stage.report) as path:
                content = json.loads(path.read_text(encoding="utf-8"))
            return Report(content["scores"], _examples(content["results"], content["scores"]), content["scoring"])
    return None


def _examples(rows: list[dict[str, Any]], scores: dict[str, Any]) -> list[dict[str, Any]]:
    split = next((s for s in HELD_OUT if s in scores), None)
    chosen = [r for r in rows if (r["split"] or "none") == split] if split else rows
    return chosen[:EXAMPLES]


def show(made: Sequence[Output], report: Report | None, run_id: str) -> None:
    """Print scores, examples, what was made, where to look, what to type next."""
    lines = [""]
    if report is not None:
        for split in HELD_OUT:
            if split in report.scores:
                found = "  ".join(f"{name} {report.scores[split][name]:.1f}" for name in SHOWN)
                lines.append(f"{split:>5} ({report.preset})  {found}")
        for row in report.examples:
            lines += [f"  {row['id']}", f"    text       {row['text']}"]
            lines += [f"    reference  {row['reference']}"] if row["reference"] else []
    models = [(output.stage.made_role, output.model) for output in made if output.model]
    lines += [f"  {role:<10} {model.uri}" for role, model in models]
    lines += ["", f"run {run_id}", "look   mlflow ui   (or make ui), then 'Model training'"]
    if models:
        role, model = models[-1]
        following = next((s.name for s in STAGES.values() if role in s.upstream and s.registers), None)
        if following:
            lines.append(f"next   mlflow run . -e {following} -P {option_name(role)}={model.version}")
        else:
            lines.append(f"serve  mlflow models serve -m {model.uri} --env-manager local -p 5001")
    click.echo("\n".join(lines))
