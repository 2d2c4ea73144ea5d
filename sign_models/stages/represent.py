"""Stage 3: the temporal representations of every video, whatever its split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from sign_models.data.batching import DeviceCorpus, in_order
from sign_models.data.corpus import Corpus
from sign_models.models.temporal import TemporalModel


@torch.no_grad()
def represent(model: TemporalModel, corpus: Corpus, batch_frames: int) -> Iterator[tuple[str, np.ndarray]]:
    """-> video id and its (S, D) float32 representations, shortest videos first. batch_frames: padded frames at
    once."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    frames = DeviceCorpus(corpus, device)
    clips = np.arange(len(corpus))
    with tqdm(total=len(clips), desc="represent", unit="video", disable=None) as bar:
        for batch_clips in in_order(corpus, clips, batch_frames):
            batch = frames.whole(batch_clips)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                y, kept = model.encode(batch.x, batch.mask)
            lengths = kept.sum(1).tolist()
            for clip, array, length in zip(batch_clips, y.float().cpu().numpy(), lengths, strict=True):
                yield corpus.ids[clip], array[:length]
            bar.update(len(batch_clips))
