"""Variants of the training, each trained and scored on one set: what quality.py and suite.py tabulate."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks import unisign
from benchmarks.degraded import degraded, part_of
from benchmarks.metric_logger import Unkept
from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import known_rate
from sign_models.data.splits import clips_of_split
from sign_models.datasets.inputs import Inputs
from sign_models.evaluation.metrics import score
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.params.schema import Augment, PipelineParams
from sign_models.stages import alignment, skeleton, temporal
from sign_models.stages.generate import generate
from sign_models.stages.represent import represent

FIGURES = ("bleu4", "exact_match", "chrf", "character_error_rate")
RELIABLE = ("coverage", "precision_accepted", "false_accepts", "aurc", "ece", "groundedness")  # docs/confidence.md
AUGMENTATIONS = tuple(Augment.model_fields)
AT_ONCE = {"alignment.encoder_start": "0"}  # nothing has been pretrained that training could spoil
SIZES = ("tiny", "small", "base", "large")


@dataclass(frozen=True)
class Variant:
    """sets: parameters of it. untrained: the pretraining stages that it leaves out. preset: in place of --preset."""

    sets: dict[str, str] = field(default_factory=dict)
    untrained: tuple[str, ...] = ()
    preset: str | None = None


VARIANTS = {
    "default": Variant(),
    "scratch": Variant({"alignment.self_training.share": "0"} | AT_ONCE, ("skeleton", "temporal")),
    "no_pretraining": Variant(AT_ONCE, ("skeleton", "temporal")),
    "no_skeleton": Variant(untrained=("skeleton",)),
    "no_temporal": Variant(AT_ONCE, ("temporal",)),
    "no_wait": Variant(AT_ONCE),
    "contrast": Variant({"alignment.losses.contrast_weight": "0.1"}),  # off by default, as is the next one
    "view_contrast": Variant({"temporal.contrast_weight": "0.1"}),
    "no_ctc": Variant({"alignment.losses.ctc_weight": "0", "alignment.generation.ctc_weight": "0"}),
    "no_self_training": Variant({"alignment.self_training.share": "0"}),
    "no_mask": Variant({"alignment.mask.frames": "0", "alignment.mask.parts": "0"}),
    "frozen": Variant({"alignment.finetune": "false"}),
    "no_augmentation": Variant({f"{s}.augment.{n}": "0" for s in ("temporal", "alignment") for n in AUGMENTATIONS}),
    **{f"no_{n}": Variant({f"{s}.augment.{n}": "0" for s in ("temporal", "alignment")}) for n in AUGMENTATIONS},
    **{size: Variant(preset=size) for size in SIZES},
}


@dataclass(frozen=True)
class Row:
    """One training and its scores on one split: FIGURES, and those of RELIABLE that there are. kind: how clips were
    degraded, or "of NAME": those of another set. unseen: only texts training lacks.
    dev_loss: the least of the text loss a token on dev, of training."""

    variant: str
    labels: int
    seed: int
    split: str
    kind: str
    scores: dict[str, float]
    unseen_bleu4: float | None
    seconds: dict[str, float]
    weights: int
    dev_loss: float | None


class Quiet(Unkept):
    """A training.MetricLogger for one training: curves go to `metrics`, a line an evaluation to standard error."""

    def __init__(self, name: str, run: Any = None) -> None:
        self.name, self.run = name, run
        self.dev_loss: float | None = None

    def metrics(self, values: dict[str, float], step: int) -> None:
        found = [loss for loss in (self.dev_loss, values.get("validation/text")) if loss is not None]
        self.dev_loss = min(found, default=None)
        if self.run is not None:
            self.run.log_metrics({f"{self.name}.{k}": v for k, v in values.items()}, step)


# Training ------------------------------------------------------------------------------------------------------------


def labelled(inputs: Inputs, count: int, seed: int) -> dict[str, str]:
    """The texts of all splits but for those of training videos beyond `count` of them, drawn by the seed."""
    videos = inputs.videos
    train = [i for i in clips_of_split(videos, "train", None) if videos.ids[i] in inputs.texts]
    left_out = {videos.ids[i] for i in np.random.default_rng(1000 + seed).permutation(train)[count:]}
    return {name: text for name, text in inputs.texts.items() if name not in left_out}


def only_labelled(inputs: Inputs, texts: dict[str, str]) -> Inputs:
    """Of the training videos those that have a text; the clips that the skeleton stage learns from stay."""
    videos = inputs.videos
    left = [i for i, name in enumerate(videos.ids) if name in texts or videos.splits[i] not in ("train", None)]
    return inputs.with_clips(inputs.keypoints, part_of(videos, left, np.asarray), inputs.texts)


def pretrained(
    inputs: Inputs, params: PipelineParams, variant: Variant, run: Any
) -> tuple[TemporalModel, dict[str, float]]:
    seconds = {"skeleton": 0.0, "temporal": 0.0}
    torch.manual_seed(params.skeleton.training.seed)
    fps = params.data.fps
    first = SkeletonModel(**params.skeleton.model.model_dump())
    began = time.monotonic()
    if "skeleton" not in variant.untrained:
        first = skeleton.train(params.skeleton, inputs.keypoints, Quiet("skeleton", run), fps).model  # type: ignore[assignment]  # of a SkeletonModel
        seconds["skeleton"] = time.monotonic() - began
    began = time.monotonic()
    rate, sizes = known_rate(inputs.videos, fps), params.temporal.model.model_dump()
    second = TemporalModel(first, **sizes, window=params.temporal.max_frames, fps=rate)
    if "temporal" not in variant.untrained:
        second = temporal.train(params.temporal, inputs.videos, first, Quiet("temporal", run), fps).model  # type: ignore[assignment]  # of a TemporalModel
        seconds["temporal"] = time.monotonic() - began
    return second.cpu(), seconds


@dataclass(frozen=True)
class Said:
    """Texts and references of a split, and how far their confidence can be trusted; {} of a system that has none."""

    pairs: list[tuple[str, str]]
    reliable: dict[str, float] = field(default_factory=dict)


Translate = Callable[[Corpus, dict[str, str], str, str], Said]  # corpus, references, split, kind of degradation


@dataclass(frozen=True)
class Trained:
    translate: Translate
    seconds: dict[str, float]
    weights: int
    dev_loss: float | None = None


def aligned(
    inputs: Inputs, texts: dict[str, str], params: PipelineParams, base: TemporalModel, scoring: str, run: Any
) -> Trained:
    """The alignment stage on a copy of `base`; without self-training in as many steps as with it."""
    model, own = copy.deepcopy(base), params.alignment
    if not own.self_training.share and own.training.epochs is not None:
        passed = len(clips_of_split(inputs.videos, "train", None)) / own.training.batch_size
        least = max(own.training.min_steps, round(own.training.epochs * passed))
        own = own.model_copy(update={"training": own.training.model_copy(update={"min_steps": least})})
    arrays = None
    if not own.finetune:
        arrays = dict(represent(model, inputs.videos, params.represent.batch_frames))
        model = model.cpu()
    began = time.monotonic()
    logger = Quiet("alignment", run)
    trained = alignment.train(own, inputs.videos, texts, model.train(), logger, scoring, arrays)
    seconds = {"alignment": time.monotonic() - began}
    translator: Any = trained.model

    def translate(clips: Corpus, references: dict[str, str], split: str, kind: str) -> Said:
        asked = params.generate.model_copy(update={"splits": [split], "scoring": scoring})
        known = arrays
        if arrays is not None and clips is not inputs.videos:
            known = dict(represent(translator.temporal, clips, params.represent.batch_frames))
        found = generate(translator, clips, references, asked, known)
        pairs = [(str(row["text"]), str(row["reference"])) for row in found.rows if row["reference"]]
        return Said(pairs, found.reliability[split].metrics() if pairs else {})

    return Trained(translate, seconds, trained.parameters, logger.dev_loss)


def of_peer(
    clips: unisign.Clips, texts: dict[str, str], params: PipelineParams, scoring: str, seed: int, steps: int | None
) -> Trained:
    peer = unisign.train(clips, texts, params.alignment, scoring, seed, steps)

    def translate(corpus: Corpus, references: dict[str, str], split: str, kind: str) -> Said:
        shown = clips if not kind else clips.of(corpus)
        places = np.array([i for i in clips_of_split(corpus, split) if corpus.ids[i] in texts])
        return Said(list(zip(peer.translate(shown, places), [texts[corpus.ids[i]] for i in places], strict=True)))

    return Trained(translate, {"training": peer.seconds}, peer.weights)


def scored(
    inputs: Inputs,
    texts: dict[str, str],
    row: Callable[..., Row],
    model: Trained,
    scoring: str,
    kinds: list[str],
    others: Mapping[str, Inputs] | None = None,
) -> Iterator[Row]:
    """texts: of the videos that the training was shown. row: Row, which knows the training and is given the rest.
    others: sets by name, whose test clips are asked about too."""
    seen = {texts[name] for name in texts if inputs.videos.splits[inputs.videos.index[name]] in ("train", None)}
    asked = [("dev", "", inputs.videos, inputs.texts), ("test", "", inputs.videos, inputs.texts)]
    asked += [("test", kind, degraded(inputs.videos, "test", kind), inputs.texts) for kind in kinds]
    asked += [("test", f"of {name}", other.videos, other.texts) for name, other in (others or {}).items()]
    for split, kind, clips, references in asked:
        if not len(clips_of_split(clips, split)):
            continue
        began = time.monotonic()
        said = model.translate(clips, references, split, kind)
        pairs, seconds = said.pairs, model.seconds | {"generate": time.monotonic() - began}
        if not pairs:
            continue
        found = score([text for text, _ in pairs], [reference for _, reference in pairs], scoring)
        new = [pair for pair in pairs if pair[1] not in seen]
        unseen = score([text for text, _ in new], [reference for _, reference in new], scoring).bleu4 if new else None
        figures = {name: getattr(found, name) for name in FIGURES} | said.reliable
        yield row(split, kind, figures, unseen, seconds, model.weights, model.dev_loss)


def spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")
