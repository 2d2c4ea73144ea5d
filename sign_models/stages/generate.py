"""Stage 5: text for every video, and scores where references exist."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sign_models import interruption
from sign_models.data.batching import DeviceCorpus
from sign_models.data.corpus import Corpus
from sign_models.data.representations import read_representations
from sign_models.data.sampler import batches_by_length
from sign_models.data.splits import clips_of_split
from sign_models.data.windows import WindowedCorpus, split_long_clips
from sign_models.errors import DataError
from sign_models.evaluation.metrics import Scores, score
from sign_models.evaluation.presets import resolve_preset
from sign_models.models.precision import inference_autocast
from sign_models.models.storage import load
from sign_models.models.translator import Generation, Hypothesis, Translator, describe_window, join_windows
from sign_models.params.schema import GenerateParams
from sign_models.stages.work import Result, Work

T = TypeVar("T")
BATCH_FRAMES = 512  # padded frames a clip that batch_size is meant for: longer clips come in smaller batches


@dataclass(frozen=True)
class Generated:
    """rows: one a video, {"id", "split", "text", "score", "reference", "windows"}. scores: by split.

    windows: what was translated at once, {"frames": [begin, end], "start", "end", "text", "score"}; start and end in
    seconds, None where the video's frame rate is unknown.
    """

    rows: list[dict[str, Any]]
    scores: dict[str, Scores]

    def report(self, asked: str) -> dict[str, Any]:
        """What generation_results.json holds. asked: the preset of params, which stands where nothing was scored."""
        return {
            "results": self.rows,
            "scores": {split: found.metrics() for split, found in self.scores.items()},
            "scoring": next((found.preset for found in self.scores.values()), asked),
            "signatures": next((found.signatures for found in self.scores.values()), {}),
        }


def run(work: Work) -> Result:
    """The stage: translate the videos, write texts and scores, and make one model of all that a translation takes."""
    params = work.params
    model = load(work.models["alignment"])
    arrays = read_representations(work.artifact) if work.artifact else None
    found = generate(model, work.inputs["videos"], work.inputs["texts"], params, arrays)
    model.generation = generation(model.generation, params)
    report = found.report(params.scoring)
    work.report.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    columns = {name: [row[name] for row in found.rows] for name in found.rows[0] if name != "windows"}
    return Result(
        model.cpu(),
        metrics={f"{split}/{name}": value for split, of in report["scores"].items() for name, value in of.items()},
        tags={"sign.scoring": report["scoring"]} | {f"sign.signature.{k}": v for k, v in report["signatures"].items()},
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
        corpus: Videos with splits.
        texts: References by video id, where there are any.
        params: Which splits, how texts are searched for and scored.
        representations: (S, D) float32 by video id, read in place of the videos' own, for a model that was trained on
            them.

    Raises:
        DataError: There is no video of these splits.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    wanted = generation(model.generation, params)
    splits: set[str | None] = {None if split == "none" else split for split in params.splits}
    clips = clips_of_split(corpus, *(splits or {*corpus.splits}))
    if not len(clips):
        raise DataError(
            f"no video of split {', '.join(params.splits)}",
            place=corpus.sources,
            wanted=f"splits that there are: {', '.join(sorted({split or 'none' for split in corpus.splits}))}",
            remedy='name one of these with generate.splits, or give videos a "split" in text_data.json',
        )
    cut = split_long_clips(corpus, clips, wanted.window)
    frames = DeviceCorpus(cut.corpus, device)

    def best_of(y: Tensor, mask: Tensor) -> list[Hypothesis]:
        return [found[0] for found in model.translate(y, mask, wanted)]

    found = by_window(model, frames, cut, clips, best_of, params.batch_size * BATCH_FRAMES, representations)
    best = dict(tqdm(found, total=signed(cut, clips).sum(), desc="generate", unit="window", disable=None))
    rows = [_row(corpus, int(clip), cut, best, texts) for clip in np.sort(clips)]
    return Generated(rows, scores(rows, params.scoring))


def signed(cut: WindowedCorpus, clips: np.ndarray) -> np.ndarray:
    """Which windows are of `clips` and show somebody who signs, (W,) bool."""
    chosen: np.ndarray = np.isin(cut.clip_index, clips) & cut.signing
    return chosen


@torch.no_grad()
def by_window(
    model: Translator,
    frames: DeviceCorpus,
    cut: WindowedCorpus,
    clips: np.ndarray,
    translate: Callable[[Tensor, Tensor], list[T]],
    batch_frames: int,
    representations: dict[str, np.ndarray] | None = None,
) -> Iterator[tuple[int, T]]:
    """What `translate` says of each window of `clips` in which somebody signs: validation and generation alike.

    Args:
        model: On the device of `frames`.
        frames: The frames of `cut`.
        cut: The corpus in windows.
        clips: Places in the corpus that was cut.
        translate: Representations (B, S, D) and their mask (B, S) -> one thing a window.
        batch_frames: Padded frames a batch.
        representations: Read in place of the windows' own, where a window is a whole clip that `represent` did not cut.

    Yields:
        A window's place in `cut`, and what was said of it.
    """
    device = frames.device
    chosen, whole = signed(cut, clips), cut.whole
    read = whole & (cut.corpus.lengths <= model.temporal.window) & (representations is not None)
    # windows do not change the batches that whole clips are in
    for group, stored in ((whole & ~read, None), (read, representations), (~whole, None)):
        for places in batches_by_length(cut.corpus, np.flatnonzero(chosen & group), batch_frames):
            interruption.check()
            with inference_autocast(device):
                if stored is None:
                    batch = frames.unaugmented(places)
                    y, mask = model(batch.x, batch.mask)
                else:
                    padded = stack([stored[cut.corpus.ids[i]] for i in places])
                    y, mask = (tensor.to(device) for tensor in padded)
                said = translate(y, mask)
            yield from zip(places.tolist(), said, strict=True)


def text_of(cut: WindowedCorpus, clip: int, best: Mapping[int, Hypothesis]) -> Hypothesis:
    """The best texts of a clip's windows, as one."""
    places = [int(i) for i in cut.windows_of(clip) if int(i) in best]
    [text] = join_windows([[best[i]] for i in places], [int(cut.corpus.lengths[i]) for i in places])
    return text


def _row(
    corpus: Corpus, clip: int, cut: WindowedCorpus, best: dict[int, Hypothesis], texts: dict[str, str]
) -> dict[str, Any]:
    places = [int(i) for i in cut.windows_of(clip) if int(i) in best]
    text = text_of(cut, clip, best)
    spans = [(int(cut.first[i]), int(cut.first[i] + cut.corpus.lengths[i])) for i in places]
    return {
        "id": corpus.ids[clip],
        "split": corpus.splits[clip],
        "text": text.text,
        "score": text.score,
        "reference": texts.get(corpus.ids[clip]),
        "windows": [describe_window(*span, corpus.fps[clip], best[i]) for i, span in zip(places, spans, strict=True)],
    }


def generation(trained: Generation, params: GenerateParams) -> Generation:
    """How the model was trained to look for text, unless params say otherwise."""
    given: dict[str, Any] = {n: getattr(params, n) for n in ("beams", "length_penalty", "window")}
    return replace(trained, **{name: value for name, value in given.items() if value is not None})


def scores(rows: list[dict[str, object]], preset: str) -> dict[str, Scores]:
    """Scores of each split that has references."""
    preset, out = resolve_preset(preset, [str(r["reference"]) for r in rows if r["reference"]]), {}
    for split in ("train", "dev", "test", None):
        chosen = [r for r in rows if r["reference"] and (r["split"] == split)]
        if chosen:
            out[split or "none"] = score(
                [str(r["text"]) for r in chosen], [str(r["reference"]) for r in chosen], preset
            )
    return out


def stack(arrays: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """(S_i, D) arrays -> (B, S, D) and mask (B, S)."""
    lengths = torch.tensor([len(a) for a in arrays])
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(a) for a in arrays], batch_first=True)
    return padded, torch.arange(padded.shape[1]) < lengths.unsqueeze(1)
