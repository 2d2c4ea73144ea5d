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
from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import bring_to_rate, rate_facts
from sign_models.data.frames import read_into
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
    """Run the stage: write the representations of all videos into the file that its declaration names.

    Args:
        work: Videos and the temporal model.

    Returns:
        The file and its sizes.
    """
    corpus = work.inputs["videos"]
    began = time.monotonic()
    model = load(work.models["temporal"])
    arrays = represent(model, corpus, work.params.batch_frames)
    count = write_representations(work.writes, arrays)
    seconds = time.monotonic() - began
    frames = int(corpus.offsets[-1])
    return Result(
        metrics={
            "represent/videos": count,
            "represent/frames": frames,
            "represent/frames_per_second": frames / seconds,
        },
        tags={f"sign.data.{name}": fact for name, fact in rate_facts(corpus, model.fps).items()},
    )


def represent(model: TemporalModel, corpus: Corpus, batch_frames: int) -> Iterator[tuple[str, np.ndarray]]:
    """Represent every video of a corpus, whatever its split.

    Representations of a video longer than the model's window are those of its windows, one after another. Arrays of one
    batch share its memory, which a GPU has written to itself: who keeps few of many copies them.

    Args:
        model: A trained encoder.
        corpus: The videos, which are brought to the model's frame rate.
        batch_frames: Padded frames at once; the result is the same.

    Yields:
        Video id and its (S, D) float32 representations, a vector for each `stride` frames.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    corpus = bring_to_rate(corpus, model.fps)
    cut = split_long_clips(corpus, np.arange(len(corpus)), model.window, model.stride)

    def encoded(chosen: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for clips, packed, lengths in _Encoder(model, cut.corpus, device).batches(chosen, batch_frames):
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


class _Encoder:
    """Encodes clips in batches: the device computes one while a thread reads ahead and the host takes earlier ones."""

    def __init__(self, model: TemporalModel, corpus: Corpus, device: torch.device) -> None:
        self.model, self.corpus, self.device = model, corpus, device
        self.gpu = device.type == "cuda"
        self._waiting = deque[tuple[np.ndarray, np.ndarray, Tensor, Any]]()

    @torch.no_grad()
    def batches(self, chosen: np.ndarray, batch_frames: int) -> Iterator[Packed]:
        """Encode clips, sorted by length within what is read at once.

        Args:
            chosen: (N,) rising places of the clips.
            batch_frames: Padded frames of a batch.

        Yields:
            Places of the clips (B,), their vectors one after another (sum of S, D), how many each has (B,).
        """
        corpus, stride = self.corpus, self.model.stride
        with ThreadPoolExecutor(1) as pool:
            stretches = list(_neighbours(corpus, chosen, READ_BATCHES * batch_frames))
            reading = deque([pool.submit(self._read, clips) for clips in stretches[:1]])
            for place, stretch in enumerate(stretches):
                frames = reading.popleft().result()
                reading.extend(pool.submit(self._read, clips) for clips in stretches[place + 1 : place + 2])
                frames, start = frames.to(self.device, non_blocking=True), corpus.offsets[stretch[0]]
                with inference_autocast(self.device):  # of all batches: weights are brought to half precision once
                    for clips in batches_by_length(corpus, stretch, batch_frames):
                        interruption.check()
                        count = corpus.lengths[clips]
                        lengths = -(-count // stride)
                        vectors = self._encode(frames, corpus.offsets[clips] - start, count, lengths)
                        self._waiting.append((clips, lengths, *vectors))
                while len(self._waiting) > ON_THE_WAY:
                    yield self._arrived()
        while self._waiting:
            yield self._arrived()

    def _read(self, clips: np.ndarray) -> Tensor:
        """Frames of clips that lie one after another, on the CPU."""
        start = int(self.corpus.offsets[clips[0]])
        shape = (int(self.corpus.lengths[clips].sum()), *self.corpus.frames.shape[1:])
        frames = torch.empty(shape, dtype=torch.float16, pin_memory=self.gpu)
        read_into(self.corpus.frames, start, frames.numpy())
        return frames

    def _sent(self, index: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(index)
        # out of memory that is not page-locked it would wait for all that the device was asked for before
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.gpu else tensor

    def _encode(self, frames: Tensor, first: np.ndarray, count: np.ndarray, lengths: np.ndarray) -> tuple[Tensor, Any]:
        """Vectors of clips, on their way to the host, and the event of their arrival.

        Args:
            frames: (F, K, 3) of all clips that were read at once.
            first: (B,) places of the clips' first frames.
            count: (B,) frames of each.
            lengths: (B,) vectors of each.
        """
        begin, last = self._sent(np.stack([first, count - 1])).unsqueeze(2)
        steps = torch.arange(bucket(count.max()), device=self.device)
        x, mask = frames[begin + steps.minimum(last)], steps <= last
        y, _ = self.model.encode(x, mask)  # whatever padding holds, the model does not look at it
        real = np.arange(y.shape[1]) < lengths[:, None]  # known here: to ask the device would wait for it
        packed = y.flatten(0, 1)[self._sent(np.flatnonzero(real))]
        host = torch.empty(packed.shape, dtype=torch.float32, pin_memory=self.gpu)
        host.copy_(packed, non_blocking=True)
        return host, torch.cuda.current_stream().record_event() if self.gpu else None

    def _arrived(self) -> Packed:
        clips, lengths, host, event = self._waiting.popleft()
        if event is not None:
            event.synchronize()
        return clips, host.numpy(), lengths


def _neighbours(corpus: Corpus, chosen: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """`chosen` (rising) in stretches of clips that lie one after another, of `most` frames or a clip."""
    begins, ends = corpus.offsets[chosen].tolist(), corpus.offsets[chosen + 1].tolist()
    first = 0
    for i in range(1, len(chosen) + 1):
        if i == len(chosen) or begins[i] > ends[i - 1] or ends[i] - begins[first] > most:
            yield chosen[first:i]
            first = i
