"""Stage 3: the temporal representations of every video, whatever its split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from sign_models.data.batching import DeviceCorpus, in_order
from sign_models.data.corpus import Corpus
from sign_models.data.windows import in_windows
from sign_models.models.temporal import TemporalModel


@torch.no_grad()
def represent(model: TemporalModel, corpus: Corpus, batch_frames: int) -> Iterator[tuple[str, np.ndarray]]:
    """-> video id and its (S, D) float32 representations, shortest videos first. batch_frames: padded frames at once.

    Those of a video longer than the model's window are those of its windows, one after another."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    cut = in_windows(corpus, np.arange(len(corpus)), model.window, model.stride)
    frames = DeviceCorpus(cut.corpus, device)

    def encoded(places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for batch_places in in_order(cut.corpus, places, batch_frames):
            batch = frames.whole(batch_places)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                y, kept = model.encode(batch.x, batch.mask)
            lengths = kept.sum(1).tolist()
            for place, array, length in zip(batch_places, y.float().cpu().numpy(), lengths, strict=True):
                yield int(place), array[:length]

    with tqdm(total=len(corpus), desc="represent", unit="video", disable=None) as bar:
        for place, array in encoded(np.flatnonzero(cut.whole)):
            yield cut.corpus.ids[place], array
            bar.update()
        for clip in np.unique(cut.owner[~cut.whole]):
            parts = dict(encoded(cut.of(clip)))
            yield corpus.ids[clip], np.concatenate([parts[place] for place in sorted(parts)])
            bar.update()
