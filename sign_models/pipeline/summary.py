"""What a run of `generate` found, in its artifacts and at the end of the command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sign_models.stages.declaration import STAGES
from sign_models.tracking.registry import ModelRef
from sign_models.tracking.representations import fetch

if TYPE_CHECKING:
    from sign_models.stages.generate import Generated
    from sign_models.tracking.runs import Run

RESULTS = "generation_results.json"
EXAMPLES = 3
SHOWN = ("bleu4", "chrf", "rouge_l", "words_exact", "exact_match", "character_error_rate")
HELD_OUT = ("test", "dev", "none", "train")  # whose scores are shown: the first there is


@dataclass(frozen=True)
class Outcome:
    """scores: split -> metric -> value. examples: rows of the first held-out split. preset: how it was scored."""

    scores: dict[str, dict[str, float]]
    examples: list[dict[str, Any]]
    preset: str

    def metrics(self) -> dict[str, float]:
        return {f"{split}.{name}": value for split, found in self.scores.items() for name, value in found.items()}


def of(result: Generated, asked: str) -> Outcome:
    """asked: the preset that params name, which stands where nothing was scored."""
    scores = {split: found.metrics() for split, found in result.scores.items()}
    preset = next((found.preset for found in result.scores.values()), asked)
    return Outcome(scores, _examples(result.rows, scores), preset)


def log(run: Run, result: Generated, outcome: Outcome) -> None:
    """generation_results.json, the same rows as a table in the UI, the recipes of the scores as tags."""
    signatures = next((s.signatures for s in result.scores.values()), {})
    content = {
        "results": result.rows,
        "scores": outcome.scores,
        "scoring": outcome.preset,
        "signatures": signatures,
    }
    run.log_text(json.dumps(content, ensure_ascii=False, indent=1), RESULTS)
    columns = {name: [row[name] for row in result.rows] for name in result.rows[0] if name != "windows"}
    run.log_table(columns, "generation_results_table.json")
    run.set_tags({"sign.scoring": outcome.preset} | {f"sign.signature.{k}": v for k, v in signatures.items()})


def stored(translator: ModelRef) -> Outcome:
    """The outcome of the run that registered `translator`."""
    with fetch(translator.run_id, RESULTS) as path:
        content = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(content["scores"], _examples(content["results"], content["scores"]), content["scoring"])


def _examples(rows: list[dict[str, Any]], scores: dict[str, Any]) -> list[dict[str, Any]]:
    split = next((s for s in HELD_OUT if s in scores), None)
    chosen = [r for r in rows if (r["split"] or "none") == split] if split else rows
    return chosen[:EXAMPLES]


def show(outcome: Outcome | None, made: dict[str, ModelRef], run_id: str) -> None:
    """A short end: scores, examples, where to look, what to type next."""
    lines = [""]
    if outcome is not None:
        for split in HELD_OUT:
            if split in outcome.scores:
                found = "  ".join(f"{name} {outcome.scores[split][name]:.1f}" for name in SHOWN)
                lines.append(f"{split:>5} ({outcome.preset})  {found}")
        for row in outcome.examples:
            lines += [f"  {row['id']}", f"    text       {row['text']}"]
            lines += [f"    reference  {row['reference']}"] if row["reference"] else []
    lines += [f"  {stage:<10} {model.uri}" for stage, model in made.items()]
    lines += ["", f"run {run_id}", "look   mlflow ui   (or make ui), then 'Model training'"]
    if "translator" in made:
        lines.append(f"serve  mlflow models serve -m {made['translator'].uri} --env-manager local -p 5001")
    elif made:
        stage = next(reversed(made))
        following = next(s.name for s in STAGES if stage in s.upstream and s.registers)
        lines.append(f"next   mlflow run . -e {following} -P {stage}_model={made[stage].version}")
    click.echo("\n".join(lines))
