"""Stage 5: text for every video, and scores where references exist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from sign_models.data.batching import DeviceCorpus
from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import at_tempo, bring_to_rate, rate_facts
from sign_models.data.negatives import KINDS, negatives
from sign_models.data.representations import read_representations
from sign_models.data.splits import clips_of_split
from sign_models.data.windows import split_long_clips
from sign_models.errors import DataError
from sign_models.evaluation.metrics import Scores, score
from sign_models.evaluation.presets import resolve_preset
from sign_models.evaluation.reliability import Reliability, diagram, measure
from sign_models.keypoints.resample import frame_step, own_span
from sign_models.models.storage import load
from sign_models.models.translator import Generation, Hypothesis, Translator, describe_window
from sign_models.params.schema import GenerateParams
from sign_models.stages.reading import best_of, by_window, signed, text_of
from sign_models.stages.tempo import tempi_of, tempo_facts
from sign_models.stages.work import Result, Work

T = TypeVar("T")
DIAGRAM = "reliability.png"
NEGATIVES, NEGATIVES_SEED = 25, 1  # clips without signing of each kind, to count what is answered; alignment has seed 0
BATCH_FRAMES = 512  # padded frames a clip that batch_size is meant for: longer clips come in smaller batches


@dataclass(frozen=True)
class Generated:
    """Texts and scores.

    Attributes:
        rows: One a video, {"id", "split", "text", "score", "reference", "windows", "tempo"}. Windows are what was
            translated at once, {"frames": [begin, end], "start", "end", "text", "score"}; start and end in seconds,
            None where the video's frame rate is unknown. Where the model has a calibrated confidence, or texts are to
            be rejected, rows and windows also have {"confidence", "unsure"}; their text stays.
        scores: By split.
        reliability: By split.
    """

    rows: list[dict[str, Any]]
    scores: dict[str, Scores]
    reliability: dict[str, Reliability] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Gather every score and figure.

        Returns:
            Values by `split/name`.
        """
        found = [(split, one.metrics()) for of in (self.scores, self.reliability) for split, one in of.items()]
        return {f"{split}/{name}": value for split, figures in found for name, value in figures.items()}

    def report(self, asked: str) -> dict[str, Any]:
        """Make what generation_results.json holds.

        Args:
            asked: Preset of params, which stands where nothing was scored.

        Returns:
            Content for JSON.
        """
        return {
            "results": self.rows,
            "scores": {split: found.metrics() for split, found in self.scores.items()},
            "scoring": next((found.preset for found in self.scores.values()), asked),
            "signatures": next((found.signatures for found in self.scores.values()), {}),
            "reliability": {
                split: found.metrics() | {"reject_below": found.reject_below, "false_accepts_by_kind": found.by_kind}
                for split, found in self.reliability.items()
            },
        }


def run(work: Work) -> Result:
    """Run the stage: translate, score, and make one model of all that a translation takes.

    Args:
        work: Videos, texts, the alignment model, and the representations where it reads those.

    Returns:
        The translator with its scores, and files.
    """
    params = work.params
    model = load(work.models["alignment"])
    arrays = read_representations(work.artifact) if work.artifact else None
    found = generate(model, work.inputs["videos"], work.inputs["texts"], params, arrays)
    model.generation = generation(model.generation, params)
    report, facts = found.report(params.scoring), tempo_facts(found.rows)
    for fact in facts.values():
        work.logger.log(f"generate: {fact}")
    work.report.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    if found.reliability:
        diagram(found.reliability).savefig(work.folder / DIAGRAM, dpi=120)
    columns = {name: [row[name] for row in found.rows] for name in found.rows[0] if name != "windows"}
    return Result(
        model.cpu(),
        metrics=found.metrics(),
        tags={"sign.scoring": report["scoring"]}
        | {f"sign.signature.{k}": v for k, v in report["signatures"].items()}
        | {f"sign.data.{name}": fact for name, fact in (rate_facts(work.inputs["videos"], model.fps) | facts).items()},
        tables={"generation_results_table.json": columns},
    )


@torch.no_grad()
def generate(
    model: Translator,
    corpus: Corpus,
    texts: dict[str, str],
    params: GenerateParams,
    representations: dict[str, np.ndarray] | None = None,
) -> Generated:
    """Translate the videos of some splits and score them where there are references.

    Args:
        model: A trained translator.
        corpus: Videos with splits, which are brought to the model's frame rate.
        texts: References by video id, where there are any.
        params: Which splits, how texts are searched for and scored.
        representations: (S, D) float32 by video id, read in place of the videos' own, for a model that was trained on
            them.

    Returns:
        Texts and scores.

    Raises:
        DataError: There is no video of these splits.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    wanted = generation(model.generation, params)
    clips = _clips_of(corpus, params.splits)
    batch_frames, below = params.batch_size * BATCH_FRAMES, wanted.reject_below
    rows, sure, read = _translated(model, corpus, clips, texts, wanted, batch_frames, representations)
    made = Generated(rows, scores(rows, params.scoring))
    for split, scored in made.scores.items():
        chosen = [i for i, row in enumerate(rows) if row["reference"] and (row["split"] or "none") == split]
        refuse: dict[str, list[float]] = {}
        if below and split != "train":
            of_kinds = unsigned(model, read, clips[chosen], [*KINDS], NEGATIVES_SEED, wanted, batch_frames)
            # a text that is given is one too many
            refuse = {kind: [_most(windows) for _, windows in found] for kind, found in of_kinds.items()}
        hypotheses, references = ([str(rows[i][name]) for i in chosen] for name in ("text", "reference"))
        confidence = [sure[i] for i in chosen]
        made.reliability[split] = measure(hypotheses, references, confidence, scored.preset, below, refuse)
    return made


def _translated(
    model: Translator,
    own: Corpus,
    clips: np.ndarray,
    texts: dict[str, str],
    wanted: Generation,
    batch_frames: int,
    representations: dict[str, np.ndarray] | None,
) -> tuple[list[dict[str, Any]], list[float], Corpus]:
    """Of each of `clips` its row of Generated and how sure the least sure of its texts is; the corpus as it was read.

    own: The videos as they are. clips: Rising places in it.
    """
    device = next(model.parameters()).device
    rated = bring_to_rate(own, model.fps)
    known = wanted if representations is None else replace(wanted, tempo=1.0)  # what is stored was read as it is
    tempi = tempi_of(model, rated, clips, known, batch_frames, device)
    read = at_tempo(rated, tempi)
    cut = split_long_clips(read, clips, wanted.window)
    frames, total = DeviceCorpus(cut.corpus, device), int(signed(cut, clips).sum())
    found = by_window(model, frames, cut, clips, best_of(model, wanted), batch_frames, representations)
    best = dict(tqdm(found, total=total, desc="generate", unit="window", disable=None))

    def span(clip: int, window: int) -> tuple[int, int]:
        """Frames of a video as it is behind a window of what the model read."""
        begin, end = int(cut.first[window]), int(cut.first[window] + cut.corpus.lengths[window])
        begin, end = own_span(begin, end, int(rated.lengths[clip]), 1 / tempi[clip])
        return own_span(begin, end, int(own.lengths[clip]), frame_step(own.fps[clip], model.fps))

    rows, sure = list[dict[str, Any]](), list[float]()
    for clip in clips.tolist():
        text, windows = text_of(cut, clip, best), {i: best[i] for i in cut.signed_windows(clip)}
        described = [
            describe_window(*span(clip, i), own.fps[clip], of) | model.judge([of], wanted.reject_below)
            for i, of in windows.items()
        ]
        row = {
            "id": own.ids[clip],
            "split": own.splits[clip],
            "text": text.text,
            "score": text.score,
            "reference": texts.get(own.ids[clip]),
            "windows": described,
            "tempo": float(tempi[clip]),
        }
        rows.append(row | model.judge([*windows.values()], wanted.reject_below))
        sure.append(min((of.sureness for of in windows.values()), default=0.0))
    return rows, sure, read


def _clips_of(corpus: Corpus, names: Sequence[str]) -> np.ndarray:
    """Places of the clips of some splits, "none" for those that have none; of no names: of all."""
    splits: set[str | None] = {None if split == "none" else split for split in names}
    clips = clips_of_split(corpus, *(splits or {*corpus.splits}))
    if not len(clips):
        raise DataError(
            f"no video of split {', '.join(names)}",
            place=corpus.sources,
            wanted=f"splits that there are: {', '.join(sorted({split or 'none' for split in corpus.splits}))}",
            remedy='name one of these with generate.splits, or give videos a "split" in text_data.json',
        )
    return clips


def _most(windows: Sequence[Hypothesis]) -> float:
    """How sure the surest of a clip's texts is."""
    return max((hypothesis.sureness for hypothesis in windows), default=0.0)


def unsigned(
    model: Translator,
    corpus: Corpus,
    clips: np.ndarray,
    kinds: Sequence[str],
    seed: int,
    wanted: Generation,
    batch_frames: int,
) -> dict[str, list[tuple[int, list[Hypothesis]]]]:
    """Translate clips in which nobody signs, made of others (data.negatives).

    Args:
        model: The translator.
        corpus: Videos.
        clips: Places of those that the others are made of.
        kinds: Of data.negatives.
        seed: Of what is drawn.
        wanted: How the translator searches.
        batch_frames: Frames at once.

    Returns:
        By kind, of each such clip: the place of the clip that it was made of, and the best texts of its windows.
    """
    drawn = negatives(corpus, clips, kinds, NEGATIVES, seed)
    found: dict[str, list[tuple[int, list[Hypothesis]]]] = {kind: [] for kind in kinds}
    if not len(drawn):
        return found
    every = np.arange(len(drawn))
    cut = split_long_clips(drawn, every, wanted.window)
    device = next(model.parameters()).device
    best = dict(by_window(model, DeviceCorpus(cut.corpus, device), cut, every, best_of(model, wanted), batch_frames))
    for i, name in enumerate(drawn.ids):
        made_of = corpus.index[str(drawn.groups[i])]
        found[name.partition(":")[0]].append((made_of, [best[window] for window in cut.signed_windows(i)]))
    return found


def generation(trained: Generation, params: GenerateParams) -> Generation:
    """Decide how texts are searched for.

    Args:
        trained: How the model was trained to search.
        params: What the user asks for.

    Returns:
        `trained`, but for what params say.
    """
    names = ("beams", "length_penalty", "window", "reject_below", "tempo")
    given: dict[str, Any] = {name: getattr(params, name) for name in names}
    return replace(trained, **{name: value for name, value in given.items() if value is not None})


def scores(rows: list[dict[str, object]], preset: str) -> dict[str, Scores]:
    """Score each split that has references.

    Args:
        rows: Of the results, each with text, reference and split.
        preset: Of scoring.

    Returns:
        Scores by split.
    """
    preset, out = resolve_preset(preset, [str(r["reference"]) for r in rows if r["reference"]]), {}
    for split in ("train", "dev", "test", None):
        chosen = [r for r in rows if r["reference"] and (r["split"] == split)]
        if chosen:
            out[split or "none"] = score(
                [str(r["text"]) for r in chosen], [str(r["reference"]) for r in chosen], preset
            )
    return out
