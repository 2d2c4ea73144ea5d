"""Stage 3: the temporal representations of every video, whatever its split."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sign_models.data.batching import Batch, in_order, places, unvaried
from sign_models.data.corpus import Corpus, read_into
from sign_models.data.windows import in_windows
from sign_models.models.temporal import TemporalModel

T = TypeVar("T")
Packed = tuple[np.ndarray, np.ndarray, np.ndarray]  # clips, their vectors one after another, how many each has
READ_BATCHES = 2  # as many frames as so many batches hold are read at once, one clip after another
RECEIVERS = 3  # threads that copy what the device made


def represent(model: TemporalModel, corpus: Corpus, batch_frames: int) -> Iterator[tuple[str, np.ndarray]]:
    """-> video id and its (S, D) float32 representations. batch_frames: padded frames at once.

    Those of a video longer than the model's window are those of its windows, one after another. Arrays of one batch
    share its memory."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    cut = in_windows(corpus, np.arange(len(corpus)), model.window, model.stride)

    def encoded(chosen: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for clips, packed, lengths in _represented(model, cut.corpus, chosen, batch_frames, device):
            ends = lengths.cumsum().tolist()
            for place, begin, end in zip(clips.tolist(), [0, *ends], ends, strict=False):
                yield place, packed[begin:end]

    with tqdm(total=len(corpus), desc="represent", unit="video", disable=None) as bar:
        for place, array in encoded(np.flatnonzero(cut.whole)):
            yield cut.corpus.ids[place], array
            bar.update()
        for clip in np.unique(cut.owner[~cut.whole]):
            parts = dict(encoded(cut.of(clip)))
            yield corpus.ids[clip], np.concatenate([parts[place] for place in sorted(parts)])
            bar.update()


@torch.no_grad()
def _represented(
    model: TemporalModel, corpus: Corpus, chosen: np.ndarray, batch_frames: int, device: torch.device
) -> Iterator[Packed]:
    """-> clips (B,), their vectors (sum of S, D), how many each has (B,), sorted by length within what is read at once.

    The device computes a batch while threads read what comes next and copy what came before to where it stays."""
    gpu = device.type == "cuda"

    def read(clips: np.ndarray) -> tuple[np.ndarray, Tensor]:
        start = int(corpus.offsets[clips[0]])
        frames = torch.empty(
            (int(corpus.lengths[clips].sum()), *corpus.frames.shape[1:]), dtype=torch.float16, pin_memory=gpu
        )
        read_into(corpus.frames, start, frames.numpy())
        return clips, frames

    def batches() -> Iterator[Callable[[], Packed]]:
        with ThreadPoolExecutor(1) as pool:
            neighbours = _neighbours(corpus, chosen, READ_BATCHES * batch_frames)
            for clips, frames in _ahead(pool, 1, (partial(read, clips) for clips in neighbours)):
                start, frames = corpus.offsets[clips[0]], frames.to(device, non_blocking=True)
                for batch in in_order(corpus, clips, batch_frames):
                    index, lengths = places(corpus, batch)
                    x = frames[(index - start).to(device, non_blocking=True)]
                    yield encode(batch, unvaried(x, lengths), -(-lengths // model.stride))

    def encode(clips: np.ndarray, batch: Batch, lengths: Tensor) -> Callable[[], Packed]:
        with torch.autocast(device.type, torch.bfloat16, enabled=gpu):
            y, _ = model.encode(batch.x, batch.mask)
        real = torch.arange(y.shape[1]) < lengths.unsqueeze(1)  # known here: to ask the device would wait for it
        packed = y.flatten(0, 1)[real.flatten().nonzero().squeeze(1).to(device, non_blocking=True)]
        host = torch.empty(packed.shape, dtype=torch.float32, pin_memory=gpu)
        host.copy_(packed, non_blocking=True)
        event = torch.cuda.current_stream().record_event() if gpu else None

        def receive() -> Packed:
            if event is None:
                return clips, host.numpy(), lengths.numpy()
            event.synchronize()
            return clips, host.numpy().copy(), lengths.numpy()  # the memory that a device writes to is used again

        return receive

    with ThreadPoolExecutor(RECEIVERS) as pool:
        yield from _ahead(pool, RECEIVERS, batches())


def _neighbours(corpus: Corpus, chosen: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """`chosen` (rising) in stretches of clips that lie one after another, of `most` frames or a clip."""
    ends = corpus.offsets[chosen + 1]
    first = 0
    for i in range(1, len(chosen) + 1):
        apart = i == len(chosen) or corpus.offsets[chosen[i]] > ends[i - 1]
        if apart or ends[i] - corpus.offsets[chosen[first]] > most:
            yield chosen[first:i]
            first = i


def _ahead(pool: ThreadPoolExecutor, count: int, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """The results of calls in their order, `count` of them on the way."""
    waiting = deque[Future[T]]()
    for call in calls:
        waiting.append(pool.submit(call))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
