"""Scoring what exists: registered versions side by side on any videos with texts, or files of sentences, as one run."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sign_models.data.corpus import Corpus
from sign_models.datasets.inputs import Inputs
from sign_models.errors import DataError, ParamsError
from sign_models.evaluation.metrics import Scores, score
from sign_models.evaluation.presets import resolve_preset
from sign_models.evaluation.reliability import Reliability, diagram
from sign_models.evaluation.significance import compare
from sign_models.params import load
from sign_models.params.schema import GenerateParams
from sign_models.pipeline.runner import to_terminal
from sign_models.tracking.registered.registry import ModelRef, resolve, stage_of
from sign_models.tracking.runs import Run, stage_run

if TYPE_CHECKING:
    from sign_models.stages.generate import Generated

logger = logging.getLogger(__name__)
HELD_OUT, OTHERS = ("test", "dev"), ("none", "train")  # scored where none is named: all of the first, else one
TRANSLATING = ("translator", "alignment")  # stages whose models give text
BOOTSTRAPPED = {"BLEU": "bleu4", "chrF2": "chrf"}  # sacrebleu's names for what Scores calls otherwise
TABLE_METRICS = ("bleu4", "chrf", "rouge_l", "words_exact", "exact_match", "character_error_rate")
RELIABLE = ("coverage", "precision_accepted", "aurc", "ece", "false_accepts", "groundedness")


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of the command `evaluate`: either models or files.

    Attributes:
        models: Versions of sign-translator, as the registry resolves them; of sign-alignment with that name.
        inputs: Videos to translate and their references.
        params: Splits, scoring, beams, length_penalty, batch_size.
        hypotheses: Files of one sentence a line, one file a system.
        references: File of one reference a line, in the same order.
        experiment: Name of the MLflow experiment. "": the default.
    """

    models: tuple[str, ...]
    inputs: Inputs
    params: GenerateParams
    hypotheses: tuple[Path, ...] = ()
    references: Path | None = None
    experiment: str = ""


@dataclass(frozen=True)
class Part:
    """One split, or the sentences of the files.

    Attributes:
        split: Its name.
        ids: Of the videos, or numbers of the lines.
        references: In the order of `ids`.
        texts: Hypotheses by system, in the order of `ids`.
        reliability: By system. Empty for files, which have no confidence.
    """

    split: str
    ids: list[str]
    references: list[str]
    texts: dict[str, list[str]]
    reliability: dict[str, Reliability] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A system's figures on a part.

    Attributes:
        split: Of the part.
        system: Name of the system.
        scores: Of its texts.
        figures: Scores.metrics(), Reliability.metrics(), and of the paired bootstrap the bounds of the 95 % interval
            and the p-value against the first system, as `bleu4_low`, `bleu4_high`, `bleu4_p`.
    """

    split: str
    system: str
    scores: Scores
    figures: dict[str, float]


def named_version(spec: str) -> tuple[str, str]:
    """Tell which version is meant.

    Args:
        spec: `champion`, `3`, `sign-alignment/2` or any URI.

    Returns:
        The stage, and the spec as resolve takes it.

    Raises:
        ParamsError: A version of this stage gives no text.
    """
    name, sign, _ = re.fullmatch(r"([^@/]*)([@/]?)(.*)", spec.removeprefix("models:/")).groups()  # type: ignore[union-attr]
    if not sign or spec.startswith("runs:/"):
        return TRANSLATING[0], spec
    stage = stage_of(name)
    if stage not in TRANSLATING:
        wanted = " or ".join(f"a version of sign-{stage}" for stage in TRANSLATING)
        raise ParamsError(f"'{spec}' gives no text", place="models", wanted=wanted)
    return stage, f"models:/{spec.removeprefix('models:/')}"


def run_evaluate(options: EvaluateOptions) -> None:
    """Score, print a table, and log it with every text and every figure.

    Args:
        options: Of the command.
    """
    o = options
    to_terminal()
    with stage_run("evaluate", experiment=o.experiment or None) as run:
        run.log_code_state()
        run.log_params(load.flatten(o.params, "evaluate"))
        parts = _of_files(o, run) if o.references else _of_models(o, run)
        preset = resolve_preset(o.params.scoring, [reference for part in parts for reference in part.references])
        rows = [row for part in parts for row in figures(part, preset)]
        _log(run, parts, rows)
        text = as_text(rows, preset)
        run.describe(f"Score versions or files of sentences side by side.\n\n```\n{text}\n```")
        print(text)
        print(f"\nrun {run.id}\nlook   mlflow ui   (or make ui): evaluation_table.json and translations_table.json")


def _of_models(o: EvaluateOptions, run: Run) -> list[Part]:
    """Translate the videos by each version that is named. A version named twice is translated once."""
    systems: dict[str, ModelRef] = {}
    for spec in o.models:
        stage, asked = named_version(spec)
        found = resolve(asked, stage)
        if twin := next((name for name, other in systems.items() if other.model_id == found.model_id), None):
            logger.info("%s is the version that %s is: %s", spec, twin, found.uri)
            continue
        systems[spec] = found
        run.set_tags({f"sign.evaluated.{len(systems)}": f"{spec} = {found.uri}"})
    run.link_inputs(found.model_id for found in systems.values())
    splits = scored_splits(o.inputs, o.params.splits)
    log_inputs(run, o.inputs)
    made = {
        name: translate(found, o.inputs.videos, o.inputs.texts, o.params, splits) for name, found in systems.items()
    }
    return [part for split in splits if (part := _part(split, made)).references]


def _part(split: str, made: Mapping[str, Generated]) -> Part:
    """The videos of a split that have a reference."""
    first, *_ = chosen = [
        [row for row in generated.rows if row["reference"] and (row["split"] or "none") == split]
        for generated in made.values()
    ]
    texts = {name: [str(row["text"]) for row in rows] for name, rows in zip(made, chosen, strict=True)}
    reliable = {name: one.reliability[split] for name, one in made.items() if split in one.reliability}
    return Part(split, [str(row["id"]) for row in first], [str(row["reference"]) for row in first], texts, reliable)


def translate(
    version: ModelRef, corpus: Corpus, texts: dict[str, str], params: GenerateParams, splits: Sequence[str]
) -> Generated:
    """The texts and scores that a version gives to the videos of some splits.

    Args:
        version: Of a translator or an alignment model.
        corpus: Videos with splits.
        texts: References by video id.
        params: How texts are searched for and scored.
        splits: To translate.

    Returns:
        Texts and scores.
    """
    from sign_models.models.storage import load
    from sign_models.models.translator import Translator
    from sign_models.stages.generate import generate

    logger.info("%s translates %s", version.uri, ", ".join(splits))
    model = load(version.path())
    assert isinstance(model, Translator)
    return generate(model, corpus, texts, params.model_copy(update={"splits": [*splits]}))


def scored_splits(inputs: Inputs, asked: Iterable[str]) -> list[str]:
    """Choose the splits to score: those asked for, else test and dev, else what there is.

    Args:
        inputs: Videos and texts.
        asked: Splits that the user names.

    Returns:
        The splits.

    Raises:
        DataError: No video of them has a text.
    """
    corpus = inputs.videos
    labelled = {corpus.splits[i] or "none" for i, name in enumerate(corpus.ids) if name in inputs.texts}
    found = [s for s in asked or HELD_OUT if s in labelled]
    if not asked and not found:
        found = [s for s in OTHERS if s in labelled][:1]
    if not found:
        raise DataError(
            f"no video {'of split ' + ', '.join(asked) + ' ' if asked else ''}has a text", place=inputs.source,
            wanted=f"splits with texts ({', '.join(sorted(labelled)) or 'there is none'})",
            remedy="add their texts to text_data.json" if not labelled else f"e.g. splits={min(labelled)}",
        )  # fmt: skip
    return found


def log_inputs(run: Run, inputs: Inputs) -> None:
    """Record the videos and texts that a run reads: digests and counts.

    Args:
        run: The run.
        inputs: What it reads.
    """
    corpus = inputs.videos
    profile = {"clips": len(corpus), "frames": int(corpus.offsets[-1])}
    run.log_dataset("videos", inputs.digest("videos"), f"{run.stage}.videos", profile, inputs.source)
    run.log_dataset("texts", inputs.digest("texts"), f"{run.stage}.texts", {"texts": len(inputs.texts)}, inputs.source)


def _of_files(o: EvaluateOptions, run: Run) -> list[Part]:
    assert o.references is not None
    files = {"references": o.references} | {_short(path, o.hypotheses): path for path in o.hypotheses}
    sentences = {}
    for name, path in files.items():
        sentences[name] = read_lines(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        run.log_dataset(path.name, digest, f"evaluate.{name}", {"sentences": len(sentences[name])}, str(path))
    references = sentences.pop("references")
    return [Part("files", [str(i) for i, _ in enumerate(references, 1)], references, sentences)]


def _short(path: Path, process_group: Iterable[Path]) -> str:
    """The file's name, or its whole path where another has the same name."""
    return path.name if sum(path.name == other.name for other in process_group) == 1 else str(path)


def read_lines(path: Path) -> list[str]:
    """Read the sentences of a file.

    Args:
        path: A text file.

    Returns:
        Sentences, one a line; an empty line is an empty sentence.

    Raises:
        DataError: It cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        found = f"cannot be read ({error.strerror or error})"
        raise DataError(found, place=str(path), wanted="a file of one sentence a line") from error
    except UnicodeDecodeError as error:
        raise DataError(f"byte {error.start} is not UTF-8", place=str(path), wanted="text in UTF-8") from error
    lines = text.replace("\r\n", "\n").split("\n")  # splitlines would also split inside sentences, at U+2028 and others
    return lines[:-1] if lines[-1] == "" else lines


def figures(part: Part, preset: str) -> list[Row]:
    """Every system's scores, with the paired bootstrap against the first system.

    Args:
        part: Texts of several systems for the same references.
        preset: Of scoring.

    Returns:
        A row a system.
    """
    sampled: dict[str, dict[str, float]] = {name: {} for name in part.texts}
    for found in compare(part.texts, part.references, preset):
        metric, figures = BOOTSTRAPPED[found.metric], sampled[found.system]
        low, high = found.mean - found.interval, found.mean + found.interval  # few sentences give more than there is
        figures |= {f"{metric}_low": max(0.0, low), f"{metric}_high": min(100.0, high)}
        if found.p_value is not None:
            figures[f"{metric}_p"] = found.p_value
    scores = {name: score(texts, part.references, preset) for name, texts in part.texts.items()}
    reliable = {name: one.metrics() for name, one in part.reliability.items()}
    return [
        Row(part.split, name, found, found.metrics() | sampled[name] | reliable.get(name, {}))
        for name, found in scores.items()
    ]


def _log(run: Run, parts: list[Part], rows: list[Row]) -> None:
    """Record tables, figures and scores of an evaluation in its run."""
    first = rows[0].scores
    run.set_tags({"sign.scoring": first.preset} | {f"sign.signature.{k}": v for k, v in first.signatures.items()})
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    table = [
        {"split": row.split, "system": row.system, "sentences": row.scores.sentences}
        | {name: row.figures.get(name) for name in names}
        for row in rows
    ]
    run.log_table(_columns(table), "evaluation_table.json")
    content = {"results": table, "scoring": first.preset, "signatures": first.signatures}
    run.log_dict(content, "evaluation.json")
    texts: list[dict[str, Any]] = [
        {"split": part.split, "id": part.ids[i], "reference": part.references[i]}
        | {name: said[i] for name, said in part.texts.items()}
        for part in parts
        for i in range(len(part.ids))
    ]
    run.log_table(_columns(texts), "translations_table.json")
    for part in parts:
        if part.reliability:
            run.log_figure(diagram(part.reliability), f"reliability_{part.split}.png")
    run.log_metrics({metric_name(row, name): value for row in rows for name, value in row.figures.items()}, 0)


def metric_name(row: Row, name: str) -> str:
    """Name a metric of a run.

    Args:
        row: Of a system.
        name: Of a figure.

    Returns:
        `test/champion.chrf`, in the characters that MLflow allows.
    """
    return f"{row.split}/" + re.sub(r"[^\w. -]", "_", f"{row.system}.{name}")


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def as_text(rows: list[Row], preset: str) -> str:
    """Write figures for a terminal.

    Args:
        rows: Of all splits.
        preset: Of scoring.

    Returns:
        A table a split.
    """
    lines: list[str] = []
    for split in dict.fromkeys(row.split for row in rows):
        chosen = [row for row in rows if row.split == split]
        count, first = chosen[0].scores.sentences, chosen[0].system
        lines += ["", f"{split} ({preset}), {count} sentences; [95 % intervals]; p against {first}"]
        lines += _table(
            [[row.system, *(_shown(row.figures, name) for name in TABLE_METRICS)] for row in chosen], TABLE_METRICS
        )
        if any("coverage" in row.figures for row in chosen):
            lines += ["", "how far its confidence can be trusted (docs/confidence.md)"]
            lines += _table([[row.system, *(_reliable(row.figures, n) for n in RELIABLE)] for row in chosen], RELIABLE)
    return "\n".join(line.rstrip() for line in lines)


def _table(rows: list[list[str]], names: Sequence[str]) -> list[str]:
    """Lines of columns under their names; the first column has none."""
    table = [["", *names], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]


def _reliable(figures: Mapping[str, float], name: str) -> str:
    if name not in figures:
        return "-"
    return f"{figures[name]:.1f}" if name == "groundedness" else f"{figures[name]:.3f}"


def _shown(figures: Mapping[str, float], name: str) -> str:
    text = f"{figures[name]:.1f}"
    if f"{name}_low" in figures:
        text += f" [{figures[f'{name}_low']:.1f}, {figures[f'{name}_high']:.1f}]"
    if f"{name}_p" in figures:
        text += f" p {figures[f'{name}_p']:.3f}"
    return text
