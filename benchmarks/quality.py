"""How well the pipeline translates, by the number of labelled sentences: the curve, ablations, degraded input.

usage: python -m benchmarks.quality --data DIR [--labels 30,60,120] [--seeds 3] [--variants default,scratch]
           [--preset NAME] [--set NAME=VALUE ...] [--scoring PRESET] [--degraded] [--out FILE] [--no-log]

Of the training sentences a number drawn by the seed keeps its text; the other videos stay, without one. The stages' own
`train` functions run in this process, on the GPU where there is one; selection is on dev, nothing is chosen on test.
Pretraining is shared by the numbers of labels of one seed and variant. Each training is a run below one parent in
MLflow (--no-log: none), the table is printed, and written as JSON where --out says.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sign_models import evaluation
from sign_models.data.corpus import Corpus
from sign_models.data.inputs import Inputs
from sign_models.data.splits import of_split
from sign_models.keypoints.layouts import PARTS
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.params import load
from sign_models.params.schema import Augment, PipelineParams
from sign_models.stages import alignment, skeleton, temporal
from sign_models.stages.generate import generate
from sign_models.stages.represent import represent

FIGURES = ("bleu4", "exact_match", "chrf", "character_error_rate")
AUGMENTATIONS = tuple(Augment.model_fields)


@dataclass(frozen=True)
class Variant:
    """sets: parameters of it. untrained: the pretraining stages that it leaves out."""

    sets: dict[str, str] = field(default_factory=dict)
    untrained: tuple[str, ...] = ()


VARIANTS = {
    "default": Variant(),
    "scratch": Variant({"alignment.self_training.share": "0"}, ("skeleton", "temporal")),
    "no_skeleton": Variant(untrained=("skeleton",)),
    "no_temporal": Variant(untrained=("temporal",)),
    "no_contrast": Variant({"alignment.losses.contrast_weight": "0"}),
    "no_ctc": Variant({"alignment.losses.ctc_weight": "0", "alignment.generation.ctc_weight": "0"}),
    "no_self_training": Variant({"alignment.self_training.share": "0"}),
    "frozen": Variant({"alignment.finetune": "false"}),
    "no_augmentation": Variant({f"{s}.augment.{n}": "0" for s in ("temporal", "alignment") for n in AUGMENTATIONS}),
    **{f"no_{n}": Variant({f"{s}.augment.{n}": "0" for s in ("temporal", "alignment")}) for n in AUGMENTATIONS},
}


@dataclass(frozen=True)
class Row:
    """One training and its scores on one split. kind: how clips were degraded. unseen: only texts training lacks."""

    variant: str
    labels: int
    seed: int
    split: str
    kind: str
    scores: dict[str, float]
    unseen_bleu4: float | None
    seconds: dict[str, float]
    weights: int


class Quiet:
    """A training.Recorder for one training: curves go to `metrics`, a line an evaluation to standard error."""

    def __init__(self, name: str, run: Any = None) -> None:
        self.name, self.run = name, run

    def metrics(self, values: dict[str, float], step: int) -> None:
        if self.run is not None:
            self.run.log_metrics({f"{self.name}.{k}": v for k, v in values.items()}, step)

    def figure(self, name: str, figure: Any) -> None:
        return

    def checkpoint(self, folder: Path, step: int, best: bool) -> None:
        return

    def restore(self) -> Path | None:
        return None

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


# Degraded input ------------------------------------------------------------------------------------------------------


def hands_lost(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each hand is unseen in 30 % of the frames."""
    for part in ("left_hand", "right_hand"):
        x[rng.random(len(x)) < 0.3, PARTS[part]] = 0
    return x


def noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coordinates off by 3 % of the shoulder width."""
    x[..., :2] += rng.normal(0, 0.03, x[..., :2].shape) * (x[..., 2:] > 0)
    return x


def half(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every second frame is dropped."""
    return x[::2]


def turned(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera stands 30 degrees to the side: widths shrink, and normalisation takes the shoulders' for 1 again."""
    x[..., 1] /= np.cos(np.pi / 6)
    return x


def rolled(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera is rolled by 30 degrees."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    x[..., :2] = x[..., :2] @ np.array([[c, s], [-s, c]], x.dtype)
    return x


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    f.__name__: f for f in (hands_lost, noise, half, turned, rolled)
}


def degraded(corpus: Corpus, split: str, kind: str) -> Corpus:
    """The clips of `split` alone, degraded."""
    rng = np.random.default_rng(0)
    places = of_split(corpus, split)
    clips = [KINDS[kind](corpus.clip(i).astype(np.float32), rng).astype(np.float16) for i in places]
    offsets = np.concatenate([[0], np.cumsum([len(clip) for clip in clips])])
    nothing: list[Any] = [None] * len(places)
    ids = [corpus.ids[i] for i in places]
    return Corpus(ids, np.concatenate(clips), offsets, nothing, [split] * len(ids), nothing, nothing, "")


# Training ------------------------------------------------------------------------------------------------------------


def labelled(inputs: Inputs, count: int, seed: int) -> dict[str, str]:
    """The texts of all splits but for those of training videos beyond `count` of them, drawn by the seed."""
    videos = inputs.videos
    train = [i for i in of_split(videos, "train", None) if videos.ids[i] in inputs.texts]
    left_out = {videos.ids[i] for i in np.random.default_rng(1000 + seed).permutation(train)[count:]}
    return {name: text for name, text in inputs.texts.items() if name not in left_out}


def pretrained(
    inputs: Inputs, params: PipelineParams, variant: Variant, run: Any
) -> tuple[TemporalModel, dict[str, float]]:
    seconds = {"skeleton": 0.0, "temporal": 0.0}
    torch.manual_seed(params.skeleton.training.seed)
    first = SkeletonModel(**params.skeleton.model.model_dump())
    began = time.monotonic()
    if "skeleton" not in variant.untrained:
        first = skeleton.train(params.skeleton, inputs.keypoints, Quiet("skeleton", run)).model
        seconds["skeleton"] = time.monotonic() - began
    began = time.monotonic()
    second = TemporalModel(first, **params.temporal.model.model_dump())
    if "temporal" not in variant.untrained:
        second = temporal.train(params.temporal, inputs.videos, first, Quiet("temporal", run)).model
        seconds["temporal"] = time.monotonic() - began
    return second.cpu(), seconds


def rows_of(
    inputs: Inputs, params: PipelineParams, variant: str, count: int, seed: int, base: TemporalModel,
    seconds: dict[str, float], scoring: str, kinds: list[str], run: Any,
) -> Iterator[Row]:  # fmt: skip
    texts = labelled(inputs, count, seed)
    model = TemporalModel(base.skeleton, **params.temporal.model.model_dump())
    model.load_state_dict(base.state_dict())
    arrays = None
    if not params.alignment.finetune:
        arrays = dict(represent(model, inputs.videos, params.represent.batch_frames))
        model = model.cpu()
    began = time.monotonic()
    trained = alignment.train(
        params.alignment, inputs.videos, texts, model.train(), Quiet("alignment", run), scoring, arrays
    )
    seconds = seconds | {"alignment": time.monotonic() - began}
    seen = {texts[name] for name in texts if inputs.videos.splits[inputs.videos.index[name]] in ("train", None)}
    for split, kind in [("dev", ""), ("test", ""), *(("test", kind) for kind in kinds)]:
        clips = inputs.videos if not kind else degraded(inputs.videos, split, kind)
        asked = params.generate.model_copy(update={"splits": [split], "scoring": scoring})
        began = time.monotonic()
        known = arrays if arrays is None or not kind else dict(represent(trained.model.temporal, clips, 2**14))
        found = generate(trained.model, clips, inputs.texts, asked, known)
        seconds |= {"generate": time.monotonic() - began}
        new = [row for row in found.rows if row["reference"] and row["reference"] not in seen]
        unseen = None
        if new:
            pairs = [[str(row[key]) for row in new] for key in ("text", "reference")]
            unseen = evaluation.score(pairs[0], pairs[1], scoring).bleu4
        scores = {name: getattr(found.scores[split], name) for name in FIGURES}
        yield Row(variant, count, seed, split, kind, scores, unseen, dict(seconds), trained.parameters)


# Reporting -----------------------------------------------------------------------------------------------------------


@contextmanager
def no_run(*_: Any, **__: Any) -> Iterator[None]:
    yield None


def table(rows: list[Row]) -> str:
    """A line for each variant, number of labels, split and kind: mean and standard deviation over the seeds."""
    lines = ["| variant | labels | split | " + " | ".join(FIGURES) + " | unseen texts, bleu4 | seconds | weights |"]
    lines.append("|" + "---|" * (6 + len(FIGURES)))
    cells: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.variant, row.labels, f"{row.split} {row.kind}".strip()), []).append(row)
    for (variant, labels, split), same in cells.items():
        figures = [_spread([row.scores[name] for row in same]) for name in FIGURES]
        unseen = [row.unseen_bleu4 for row in same if row.unseen_bleu4 is not None]
        seconds = np.mean([sum(row.seconds.values()) for row in same])
        told = [variant, labels, split, *figures, _spread(unseen), f"{seconds:.0f}", f"{same[0].weights:,}"]
        lines.append("| " + " | ".join(map(str, told)) + " |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def picture(rows: list[Row]) -> Any:
    """BLEU-4 of test against the number of labelled sentences, a line for each variant."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5))
    axis = figure.subplots()
    for variant in dict.fromkeys(row.variant for row in rows):
        points: dict[int, list[float]] = {}
        for row in rows:
            if (row.variant, row.split, row.kind) == (variant, "test", ""):
                points.setdefault(row.labels, []).append(row.scores["bleu4"])
        counts = sorted(points)
        spread = [np.std(points[n]) for n in counts]
        axis.errorbar(counts, [np.mean(points[n]) for n in counts], spread, marker="o", label=variant)
    axis.set(xscale="log", xlabel="labelled sentences", ylabel="test BLEU-4")
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", default="30,60,120,240,480,2400")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", default="default,scratch", help=", ".join(VARIANTS))
    parser.add_argument("--preset", default="")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--scoring", default="split")
    parser.add_argument("--degraded", action="store_true", help=f"score test clips degraded too: {', '.join(KINDS)}")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-log", action="store_true")
    given = parser.parse_args()
    if unknown := set(given.variants.split(",")) - VARIANTS.keys():
        parser.error(f"no variant {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    sets = dict(pair.split("=", 1) for pair in given.set)
    inputs = Inputs.of(given.data, None, None, None)
    total = sum(inputs.videos.splits[inputs.videos.index[name]] in ("train", None) for name in inputs.texts)
    counts = sorted({min(int(n), total) for n in given.labels.split(",")})
    kinds = list(KINDS) if given.degraded else []
    rows: list[Row] = []
    if given.no_log:
        open_run: Callable[..., Any] = no_run
    else:
        from sign_models.tracking.runs import stage_run

        open_run = stage_run
    with open_run("quality") as parent:
        for variant in given.variants.split(","):
            chosen = VARIANTS[variant]
            for seed in range(given.seeds):
                params = load.resolve(None, given.preset, None, sets | chosen.sets | {"seed": str(seed)})
                with open_run("quality", nested=True, run_name=f"{variant} seed {seed}") as run:
                    base, seconds = pretrained(inputs, params, chosen, run)
                    for count in counts:
                        for row in rows_of(
                            inputs, params, variant, count, seed, base, seconds, given.scoring, kinds, run
                        ):
                            rows.append(row)
                            print(json.dumps(asdict(row)), flush=True)
                            if run is not None:
                                name = f"{row.split}.{row.kind or 'plain'}"
                                run.log_metrics({f"{name}.{k}": v for k, v in row.scores.items()}, count)
                    if run is not None:
                        run.log_params({"variant": variant, "seed": seed})
        if parent is not None:
            parent.log_figure(picture(rows), "label_curve.png")
            parent.log_text(table(rows), "table.md")
    if given.out:
        given.out.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
