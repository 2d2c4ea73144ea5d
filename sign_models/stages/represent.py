"""Stage 3: the temporal representations of every video, whatever its split."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sign_models import interruption
from sign_models.data.corpus import Corpus, read_into
from sign_models.data.representations import write_representations
from sign_models.data.sampler import batches_by_length, bucket
from sign_models.data.windows import split_long_clips
from sign_models.models.precision import inference_autocast
from sign_models.models.storage import load
from sign_models.models.temporal import TemporalModel
from sign_models.stages.work import Result, Work

Packed = tuple[np.ndarray, np.ndarray, np.ndarray]  # clips, their vectors one after another, how many each has
READ_BATCHES = 2  # as many frames as so many batches hold are read at once, one clip after another
ON_THE_WAY = 3  # batches that a device may be ahead of who takes what it made


def run(work: Work) -> Result:
    """The stage: write the representations of all videos into the file that its declaration names."""
    corpus = work.inputs["videos"]
    began = time.monotonic()
    arrays = represent(load(work.models["temporal"]), corpus, work.params.batch_frames)
    count = write_representations(work.writes, arrays)
    seconds = time.monotonic() - began
    frames = int(corpus.offsets[-1])
    return Result(
        metrics={
            "represent/videos": count,
            "represent/frames": frames,
            "represent/frames_per_second": frames / seconds,
        }
    )


def represent(model: TemporalModel, corpus: Corpus, batch_frames: int) -> Iterator[tuple[str, np.ndarray]]:
    """Represent every video of a corpus, whatever its split.

    Representations of a video longer than the model's window are those of its windows, one after another. Arrays of one
    batch share its memory, which a GPU has written to itself: who keeps few of many copies them.

    Args:
        model: A trained encoder.
        corpus: The videos.
        batch_frames: Padded frames at once; the result is the same.

    Yields:
        Video id and its (S, D) float32 representations, a vector for each `stride` frames.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    cut = split_long_clips(corpus, np.arange(len(corpus)), model.window, model.stride)

    def encoded(chosen: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for clips, packed, lengths in _represented(model, cut.corpus, chosen, batch_frames, device):
            ends = lengths.cumsum().tolist()
            for place, begin, end in zip(clips.tolist(), [0, *ends], ends, strict=False):
                yield place, packed[begin:end]

    with tqdm(total=len(corpus), desc="represent", unit="video", disable=None) as bar:
        for place, array in encoded(np.flatnonzero(cut.whole)):
            yield cut.corpus.ids[place], array
            bar.update()
        for clip in np.unique(cut.clip_index[~cut.whole]):
            parts = dict(encoded(cut.windows_of(clip)))
            yield corpus.ids[clip], np.concatenate([parts[place] for place in sorted(parts)])
            bar.update()


@torch.no_grad()
def _represented(
    model: TemporalModel, corpus: Corpus, chosen: np.ndarray, batch_frames: int, device: torch.device
) -> Iterator[Packed]:
    """Batches of clips, sorted by length within what is read at once.

    The device computes a batch while a thread reads what comes next and the host takes what came before.

    Yields:
        Places of the clips (B,), their vectors one after another (sum of S, D), how many each has (B,).
    """
    gpu = device.type == "cuda"

    def read(clips: np.ndarray) -> Tensor:
        start = int(corpus.offsets[clips[0]])
        frames = torch.empty(
            (int(corpus.lengths[clips].sum()), *corpus.frames.shape[1:]), dtype=torch.float16, pin_memory=gpu
        )
        read_into(corpus.frames, start, frames.numpy())
        return frames

    def sent(index: Tensor) -> Tensor:
        # out of memory that is not page-locked it would wait for all that the device was asked for before
        return index.pin_memory().to(device, non_blocking=True) if gpu else index

    def encode(frames: Tensor, first: np.ndarray, count: np.ndarray, lengths: np.ndarray) -> tuple[Tensor, Any]:
        """Vectors of clips, on their way to the host, and the event of their arrival.

        Args:
            frames: (F, K, 3) of all clips that were read at once.
            first: (B,) places of the clips' first frames.
            count: (B,) frames of each.
            lengths: (B,) vectors of each.
        """
        begin, last = sent(torch.from_numpy(np.stack([first, count - 1]))).unsqueeze(2)
        steps = torch.arange(bucket(count.max()), device=device)
        x, mask = frames[begin + steps.minimum(last)], steps <= last
        y, _ = model.encode(x, mask)  # whatever padding holds, the model does not look at it
        real = np.arange(y.shape[1]) < lengths[:, None]  # known here: to ask the device would wait for it
        packed = y.flatten(0, 1)[sent(torch.from_numpy(np.flatnonzero(real)))]
        host = torch.empty(packed.shape, dtype=torch.float32, pin_memory=gpu)
        host.copy_(packed, non_blocking=True)
        return host, torch.cuda.current_stream().record_event() if gpu else None

    waiting = deque[tuple[np.ndarray, np.ndarray, Tensor, Any]]()

    def arrived() -> Packed:
        clips, lengths, host, event = waiting.popleft()
        if event is not None:
            event.synchronize()
        return clips, host.numpy(), lengths

    with ThreadPoolExecutor(1) as pool:
        stretches = list(_neighbours(corpus, chosen, READ_BATCHES * batch_frames))
        reading = deque([pool.submit(read, clips) for clips in stretches[:1]])
        for place, stretch in enumerate(stretches):
            frames = reading.popleft().result()
            reading.extend(pool.submit(read, clips) for clips in stretches[place + 1 : place + 2])
            frames, start = frames.to(device, non_blocking=True), corpus.offsets[stretch[0]]
            with inference_autocast(device):  # of all its batches, so that weights are brought to half precision once
                for clips in batches_by_length(corpus, stretch, batch_frames):
                    interruption.check()
                    count = corpus.lengths[clips]
                    lengths = -(-count // model.stride)
                    waiting.append((clips, lengths, *encode(frames, corpus.offsets[clips] - start, count, lengths)))
            while len(waiting) > ON_THE_WAY:
                yield arrived()
    while waiting:
        yield arrived()


def _neighbours(corpus: Corpus, chosen: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """`chosen` (rising) in stretches of clips that lie one after another, of `most` frames or a clip."""
    begins, ends = corpus.offsets[chosen].tolist(), corpus.offsets[chosen + 1].tolist()
    first = 0
    for i in range(1, len(chosen) + 1):
        if i == len(chosen) or begins[i] > ends[i - 1] or ends[i] - begins[first] > most:
            yield chosen[first:i]
            first = i
