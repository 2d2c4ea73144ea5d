"""How well the pipeline translates, by the number of labelled sentences: the curve, ablations, degraded input.

usage: python -m benchmarks.quality [--data DIR] [--labels 30,60,120] [--seeds 3] [--first-seed 0]
           [--variants default,scratch] [--preset NAME] [--set NAME=VALUE ...] [--scoring PRESET] [--degraded]
           [--only-labelled] [--out FILE] [--pictures FOLDER] [--no-log] [--peer unisign=CHECKOUT] [--peer-steps N]
       python -m benchmarks.quality --merge FILE ... [--out FILE] [--pictures FOLDER]
       python -m benchmarks.quality --suite DIR ...      (every set under DIR: benchmarks/suite.py)

Without --data: the embedded corpus, by the preset of that name. Of the training sentences a number drawn by the seed
keeps its text; the other videos stay, without one, or are left out (--only-labelled: as where there are many clips of
single signs, and few of sentences). The stages' own `train` functions run in this process, on the GPU where there is
one; selection is on dev, nothing is chosen on test. Pretraining is shared by the numbers of labels of one seed and
variant, unless clips are left out. Each training is a run below one parent in MLflow (--no-log: none), the table is
printed, and the rows are written as JSON where --out says; --merge makes one table and its pictures of several such
files. A peer, from a public checkout, is trained on the same labelled sentences and scored alike
(benchmarks/unisign.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import suite, trainings, unisign
from benchmarks.degraded import KINDS
from benchmarks.trainings import (
    FIGURES,
    SIZES,
    VARIANTS,
    Row,
    Variant,
    labelled,
    of_peer,
    only_labelled,
    scored,
    spread,
)
from sign_models.datasets.inputs import Inputs
from sign_models.models.temporal import TemporalModel
from sign_models.params import load
from sign_models.pipeline.options import EMBEDDED


@contextmanager
def no_run(*_: Any, **__: Any) -> Iterator[None]:
    yield None


def table(rows: list[Row]) -> str:
    """A line for each variant, number of labels, split and kind: mean and standard deviation over the seeds."""
    lines = ["| variant | labels | split | " + " | ".join(FIGURES) + " | unseen texts, bleu4 | seconds | weights |"]
    lines.append("|" + "---|" * (6 + len(FIGURES)))
    cells: dict[tuple[str, int, str], list[Row]] = {}
    order = [*dict.fromkeys(row.variant for row in rows)]
    for row in sorted(rows, key=lambda row: (order.index(row.variant), row.labels)):
        cells.setdefault((row.variant, row.labels, f"{row.split} {row.kind}".strip()), []).append(row)
    for (variant, labels, split), same in cells.items():
        figures = [spread([row.scores[name] for row in same]) for name in FIGURES]
        unseen = [row.unseen_bleu4 for row in same if row.unseen_bleu4 is not None]
        seconds = np.mean([sum(row.seconds.values()) for row in same])
        told = [variant, labels, split, *figures, spread(unseen), f"{seconds:.0f}", f"{same[0].weights:,}"]
        lines.append("| " + " | ".join(map(str, told)) + " |")
    return "\n".join(lines)


def picture(rows: list[Row]) -> Any:
    """BLEU-4 of test against the number of labelled sentences, a line for each variant."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for variant in dict.fromkeys(row.variant for row in rows):
        points: dict[int, list[float]] = {}
        for row in rows:
            if (row.variant, row.split, row.kind) == (variant, "test", ""):
                points.setdefault(row.labels, []).append(row.scores["bleu4"])
        counts = sorted(points)
        deviations = [np.std(points[n]) for n in counts]
        axis.errorbar(counts, [np.mean(points[n]) for n in counts], deviations, marker="o", label=variant)
    axis.set(xscale="log", xlabel="labelled sentences", ylabel="test BLEU-4")
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def sizes(rows: list[Row]) -> Any:
    """The least loss on dev against the weights of the presets, a line for each number of labelled sentences, and the
    other way."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    found = [row for row in rows if row.variant in ("default", *SIZES) and (row.split, row.kind) == ("test", "")]
    weights: dict[str, list[float]] = {}
    for row in found:
        weights.setdefault(row.variant, []).append(row.weights / 1e6)  # texts of each seed have words of their own
    points: dict[tuple[float, float], list[float]] = {}
    for row in found:
        if row.dev_loss is not None:
            points.setdefault((float(np.mean(weights[row.variant])), row.labels), []).append(row.dev_loss)
    axes = figure.subplots(1, 2, sharey=True)
    named = (("million weights", "{:.0f} sentences"), ("labelled sentences", "{:.1f} million weights"))
    for along, (axis, (label, title)) in enumerate(zip(axes, named, strict=True)):
        for other in sorted({point[1 - along] for point in points}):
            line = sorted((point[along], np.mean(points[point])) for point in points if point[1 - along] == other)
            axis.plot(*zip(*line, strict=True), marker="o", label=title.format(other))
        axis.set(xscale="log", xlabel=label, ylabel="" if along else "loss a token, dev")
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with the three input files")
    parser.add_argument("--suite", type=Path, help="a folder of such folders: one table over all of them")
    parser.add_argument("--variant", action="append", default=[], help="with --suite, one of your own: NAME NAME=VALUE")
    parser.add_argument(
        "--rotations", type=int, default=0, help="with --suite: signers take turns at being new, N sets"
    )
    parser.add_argument("--across", action="store_true", help="with --suite: ask each model about all other sets too")
    for name, kind, told in (("at-once", int, "processes"), ("minutes", float, "after these no training begins")):
        parser.add_argument(f"--{name}", type=kind, default=kind(name == "at-once"), help=f"with --suite: {told}")
    parser.add_argument("--labels", help="numbers, 30,60,120,240,480,2400; with --suite SET=30/60")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="so that several commands share the seeds")
    parser.add_argument("--variants", default="default,scratch", help=", ".join(VARIANTS))
    parser.add_argument("--preset", default="")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--scoring", default="split")
    parser.add_argument("--degraded", action="store_true", help=f"score test clips degraded too: {', '.join(KINDS)}")
    parser.add_argument("--peer", metavar="unisign=CHECKOUT", help="beside the variants, a public checkout of it")
    parser.add_argument("--peer-steps", type=int, help="not as long as the peer's recipe says, but so many steps")
    parser.add_argument("--only-labelled", action="store_true", help="leave out training videos without a text")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for label_curve.png and sizes.png")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="what earlier runs wrote with --out")
    parser.add_argument("--no-log", action="store_true")
    given = parser.parse_args()
    if given.suite:
        return suite.main(parser, given)
    if given.merge:
        rows = [Row(**row) for path in given.merge for row in json.loads(path.read_text())]
    else:
        rows = measured(parser, given)
    if given.out:
        given.out.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
        picture(rows).savefig(given.pictures / "label_curve.png", dpi=120)
        sizes(rows).savefig(given.pictures / "sizes.png", dpi=120)
    print(table(rows))


def measured(parser: argparse.ArgumentParser, given: argparse.Namespace) -> list[Row]:
    if unknown := {*filter(None, given.variants.split(","))} - VARIANTS.keys():
        parser.error(f"no variant {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    sets = dict(pair.split("=", 1) for pair in given.set)
    inputs = Inputs.from_paths(given.data, None, None, None)
    total = sum(inputs.videos.splits[inputs.videos.index[name]] in ("train", None) for name in inputs.texts)
    counts = sorted({min(int(n), total) for n in (given.labels or "30,60,120,240,480,2400").split(",")})
    kinds = list(KINDS) if given.degraded else []
    clips = None
    if given.peer:
        name, _, checkout = given.peer.partition("=")
        if name != "unisign":
            parser.error(f"no peer {name!r}; there is unisign=CHECKOUT")
        clips = unisign.Clips(unisign.Checkout(Path(checkout)), inputs.videos)
    rows: list[Row] = []
    open_run: Callable[..., Any] = no_run
    if not given.no_log:
        from sign_models.tracking.runs import stage_run as open_run

    def record(run: Any, found: Iterator[Row]) -> None:
        for row in found:
            rows.append(row)
            print(json.dumps(asdict(row)), flush=True)
            if run is not None:
                name = f"{row.split}.{row.kind or 'plain'}"
                run.log_metrics({f"{name}.{k}": v for k, v in row.scores.items()}, row.labels)

    with open_run("quality") as parent:
        for variant, seed in product([*filter(None, given.variants.split(",")), *(["unisign"] if clips else [])],
                                     range(given.first_seed, given.first_seed + given.seeds)):  # fmt: skip
            chosen = VARIANTS.get(variant, Variant())
            presets = ",".join(filter(None, (EMBEDDED if inputs.embedded else "", chosen.preset or given.preset)))
            params = load.resolve(None, presets, None, sets | chosen.sets | {"seed": str(seed)})
            with open_run("quality", nested=True, run_name=f"{variant} seed {seed}") as run:
                if run is not None:
                    run.log_params({"variant": variant, "seed": seed})
                base: TemporalModel | None = None
                for count in counts:
                    texts = labelled(inputs, count, seed)
                    if variant in VARIANTS:
                        shown = only_labelled(inputs, texts) if given.only_labelled else inputs
                        if base is None or given.only_labelled:
                            base, before = trainings.pretrained(shown, params, chosen, run)
                        model = trainings.aligned(shown, texts, params, base, given.scoring, run)
                        model = replace(model, seconds=before | model.seconds)
                    else:
                        assert clips is not None
                        model = of_peer(clips, texts, params, given.scoring, seed, given.peer_steps)
                    record(run, scored(inputs, texts, partial(Row, variant, count, seed), model, given.scoring, kinds))
        if parent is not None:
            parent.log_figure(picture(rows), "label_curve.png")
            parent.log_figure(sizes(rows), "sizes.png")
            parent.log_text(table(rows), "table.md")
    return rows


if __name__ == "__main__":
    main()
