"""Stage 3: the temporal representations of every video, whatever its split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sign_models.data.batching import DeviceCorpus, in_order
from sign_models.data.corpus import Corpus
from sign_models.data.windows import in_windows
from sign_models.models.temporal import TemporalModel


def represent(model: TemporalModel, corpus: Corpus, batch_frames: int) -> Iterator[tuple[str, np.ndarray]]:
    """-> video id and its (S, D) float32 representations, shortest videos first. batch_frames: padded frames at once.

    Those of a video longer than the model's window are those of its windows, one after another."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    cut = in_windows(corpus, np.arange(len(corpus)), model.window, model.stride)
    frames = DeviceCorpus(cut.corpus, device)

    def encoded(places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for chosen, arrays in _ahead(_batches(model, frames, places, batch_frames)):
            lengths = -(-cut.corpus.lengths[chosen] // model.stride)
            for place, array, length in zip(chosen, arrays, lengths, strict=True):
                yield int(place), array[:length].copy()  # without padding, and without the batch's memory

    with tqdm(total=len(corpus), desc="represent", unit="video", disable=None) as bar:
        for place, array in encoded(np.flatnonzero(cut.whole)):
            yield cut.corpus.ids[place], array
            bar.update()
        for clip in np.unique(cut.owner[~cut.whole]):
            parts = dict(encoded(cut.of(clip)))
            yield corpus.ids[clip], np.concatenate([parts[place] for place in sorted(parts)])
            bar.update()


@torch.no_grad()
def _batches(
    model: TemporalModel, frames: DeviceCorpus, clips: np.ndarray, batch_frames: int
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """-> clips, and their (B, S, D) on the device."""
    for chosen in in_order(frames.corpus, clips, batch_frames):
        batch = frames.whole(chosen)
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=frames.device.type == "cuda"):
            y, _ = model.encode(batch.x, batch.mask)
        yield chosen, y


def _ahead(batches: Iterator[tuple[np.ndarray, Tensor]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same on the host, a batch behind the device: it computes the next one while the host handles this one."""
    on_the_way: tuple[np.ndarray, Tensor, torch.cuda.Event | None] | None = None
    for clips, y in batches:
        copied = torch.empty(y.shape, dtype=torch.float32, pin_memory=y.is_cuda)
        copied.copy_(y, non_blocking=True)
        event = torch.cuda.current_stream().record_event() if y.is_cuda else None
        before, on_the_way = on_the_way, (clips, copied, event)
        if before is not None:
            yield _arrived(*before)
    if on_the_way is not None:
        yield _arrived(*on_the_way)


def _arrived(clips: np.ndarray, copied: Tensor, event: torch.cuda.Event | None) -> tuple[np.ndarray, np.ndarray]:
    if event is not None:
        event.synchronize()
    return clips, copied.numpy()
