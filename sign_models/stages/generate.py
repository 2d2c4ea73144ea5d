"""Stage 5: text for every video, and scores where references exist."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sign_models import evaluation
from sign_models.data.batching import DeviceCorpus, in_order
from sign_models.data.corpus import Corpus
from sign_models.data.splits import of_split
from sign_models.errors import DataError
from sign_models.models.translator import Generation, Translator
from sign_models.params.schema import GenerateParams

BATCH_FRAMES = 512  # padded frames a clip that batch_size is meant for: longer clips come in smaller batches


@dataclass(frozen=True)
class Generated:
    """rows: one a video, {"id", "split", "text", "score", "reference"}. scores: by split."""

    rows: list[dict[str, object]]
    scores: dict[str, evaluation.Scores]


@torch.no_grad()
def generate(
    model: Translator,
    corpus: Corpus,
    texts: dict[str, str],
    params: GenerateParams,
    representations: dict[str, np.ndarray] | None = None,
) -> Generated:
    """texts: references by video id, where there are any. representations: read in place of the videos' own, for a
    model that was trained on them."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    wanted = generation(model.generation, params)
    splits: set[str | None] = {None if split == "none" else split for split in params.splits}
    clips = of_split(corpus, *(splits or {*corpus.splits}))
    if not len(clips):
        raise DataError(
            f"no video of split {', '.join(params.splits)}", place=corpus.sources, wanted="at least one video"
        )
    frames = DeviceCorpus(corpus, device)
    rows: dict[int, dict[str, object]] = {}
    with tqdm(total=len(clips), desc="generate", unit="video", disable=None) as bar:
        for batch_clips in in_order(corpus, clips, params.batch_size * BATCH_FRAMES):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                if representations is None:
                    batch = frames.whole(batch_clips)
                    y, mask = model(batch.x, batch.mask)
                else:
                    padded = stack([representations[corpus.ids[i]] for i in batch_clips])
                    y, mask = (tensor.to(device) for tensor in padded)
                found = model.translate(y, mask, wanted)
            for clip, hypotheses in zip(batch_clips, found, strict=True):
                name = corpus.ids[clip]
                rows[int(clip)] = {
                    "id": name,
                    "split": corpus.splits[clip],
                    "text": hypotheses[0].text,
                    "score": hypotheses[0].score,
                    "reference": texts.get(name),
                }
            bar.update(len(batch_clips))
    ordered = [rows[i] for i in sorted(rows)]
    return Generated(ordered, scores(ordered, params.scoring))


def generation(trained: Generation, params: GenerateParams) -> Generation:
    """How the model was trained to look for text, unless params say otherwise."""
    given: dict[str, Any] = {"beams": params.beams, "length_penalty": params.length_penalty}
    return replace(trained, **{name: value for name, value in given.items() if value is not None})


def scores(rows: list[dict[str, object]], preset: str) -> dict[str, evaluation.Scores]:
    """Scores of each split that has references."""
    out = {}
    for split in ("train", "dev", "test", None):
        chosen = [r for r in rows if r["reference"] and (r["split"] == split)]
        if chosen:
            out[split or "none"] = evaluation.score(
                [str(r["text"]) for r in chosen], [str(r["reference"]) for r in chosen], preset
            )
    return out


def stack(arrays: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """(S_i, D) arrays -> (B, S, D) and mask (B, S)."""
    lengths = torch.tensor([len(a) for a in arrays])
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(a) for a in arrays], batch_first=True)
    return padded, torch.arange(padded.shape[1]) < lengths.unsqueeze(1)
