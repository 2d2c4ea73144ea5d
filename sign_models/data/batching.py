"""Batches of clips, gathered on the device from frames that stay there.

B batch, T frames of the longest clip rounded up to a bucket, K landmarks, C channels, F frames of the corpus.

Step s of a training depends on (seed, s) only, so a resumed training sees the batches of an unbroken one. A batch is
made in two steps. sample_windows() samples a few numbers a clip on the host. augment_batch() does the rest on the
device without asking the host, so that a GPU can capture it as a CUDA graph.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sign_models.data.augment import (
    Augmentation,
    augment,
    hand_offsets,
    hand_roots,
    landmark_groups,
    mirror_index,
    sample_augmentation,
)
from sign_models.data.corpus import Corpus
from sign_models.data.frame_sampling import (
    InterpolationIndex,
    drop_frames,
    interpolate,
    interpolation_index,
    warp_time,
)
from sign_models.data.frames import Frames
from sign_models.data.rng import ALL, RngSlice
from sign_models.data.sampler import BUCKET, bucket
from sign_models.kernels import fused

if TYPE_CHECKING:
    from sign_models.params.schema import Augment

CAPTURED_LENGTHS = 32  # padded lengths of training batches, about, where each is captured as a CUDA graph
COPY_FRAMES = 2**17  # frames copied to the device at a time
TEMPO_SPREAD = 0.1  # difference of a clip's tempo from its batch's, as a share of the whole range
UNCAPTURED = "no step is captured as a CUDA graph: one of a small model takes 9 to 12 times as long"

BatchPlan = dict[str, Tensor]  # what the host says of a batch; its shapes select the CUDA graph


@dataclass(frozen=True)
class Batch:
    """A batch of clips on the device. C is 3, or 4 in a corpus with depth.

    Attributes:
        x: (B, T, K, C) float32 clips, 0 where they are padded.
        mask: (B, T) bool, False where the batch is padded.
        lengths: (B,) frames of each clip.
        rows: Which rows of the step's batch these are.
        unaugmented: (B, T, K, C) the same moments without augment(), where asked for.
        second_view: (B, T, K, C) the same moments augmented a second time, where asked for.
    """

    x: Tensor
    mask: Tensor
    lengths: Tensor
    rows: RngSlice = ALL
    unaugmented: Tensor | None = None
    second_view: Tensor | None = None


class DeviceCorpus:
    """A corpus whose frames are on the device if they fit there.

    Attributes:
        corpus: The clips.
        device: Device on which batches are made.
        frames: (F, K, C) float16, on the device or where the corpus has them.
        longest: Frames of the longest clip.
    """

    def __init__(self, corpus: Corpus, device: torch.device) -> None:
        """Copy the frames to the device if they fit.

        Args:
            corpus: The clips.
            device: Device on which batches are made.
        """
        self.corpus, self.device = corpus, device
        self.frames = resident(corpus.frames, device)
        self.longest = int(corpus.lengths.max(initial=1))

    def unaugmented(self, clips: np.ndarray, longest: int | None = None) -> Batch:
        """Gather clips as they are.

        Args:
            clips: (B,) indices of clips.
            longest: Frames of a clip at most. Later ones are left out. None: all.

        Returns:
            The batch.
        """
        frames = self.corpus.lengths[clips]
        frames = frames if longest is None else np.minimum(frames, longest)
        steps = np.minimum(np.arange(bucket(frames.max())), frames[:, None] - 1)  # padding repeats a clip's last frame
        x = self._frames_at(torch.from_numpy(self.corpus.offsets[clips][:, None] + steps))
        lengths = torch.from_numpy(frames).to(self.device, non_blocking=True)
        mask = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
        return Batch(x * mask[..., None, None], mask, lengths)

    def with_clips(self, corpus: Corpus) -> DeviceCorpus:
        """Divide the same frames into other clips, without a copy.

        Args:
            corpus: Clips of the same frames, such as windows.

        Returns:
            A corpus that shares the frames on the device.
        """
        other = copy(self)
        other.corpus, other.longest = corpus, int(corpus.lengths.max(initial=1))
        return other

    @property
    def facts(self) -> dict[str, str]:
        """For the log: that the frames did not fit on the device. Empty where they did."""
        if self.device.type != "cuda" or isinstance(self.frames, Tensor):
            return {}
        size = f"{self.frames.nbytes / 2**30:.1f} GiB of frames are more than half of the GPU's free memory"
        return {"frames": f"{size} and stay with the host: each batch is copied, and {UNCAPTURED}"}

    @property
    def has_depth(self) -> bool:
        """Whether frames have depth."""
        return self.frames.shape[-1] > 3

    @property
    def capturable(self) -> bool:
        """Whether a GPU gathers clips without the host, so that a CUDA graph can do it."""
        return self.device.type == "cuda" and isinstance(self.frames, Tensor)

    def padded_length(self, frames: int, most: float) -> int:
        """Pad a training batch so that there are about CAPTURED_LENGTHS lengths where each is captured.

        Args:
            frames: Frames of the batch's longest clip.
            most: Frames of the longest clip of any batch.

        Returns:
            Length of the batch, T.
        """
        if not self.capturable:
            return bucket(frames)
        return bucket(frames, max(BUCKET, 2 ** math.ceil(math.log2(most / CAPTURED_LENGTHS))))

    def _frames_at(self, index: Tensor) -> Tensor:
        """Frames `index` (B, T), a row within one clip, as (B, T, K, C) float32 on the device.

        On a CPU each channel has memory of its own: operations over landmarks are several times as fast where their
        innermost loop is not over three channels.
        """
        if isinstance(self.frames, Tensor):
            x = self.frames[index.to(self.device)]
        else:
            x = torch.from_numpy(self.frames[index.cpu().numpy()]).to(self.device)
        return x.float() if x.is_cuda else torch.empty(x.shape[-1:] + x.shape[:-1]).movedim(0, -1).copy_(x)

    def gather(self, at: InterpolationIndex) -> Tensor:
        """Gather frames at fractional positions, as `interpolate` does.

        Args:
            at: Positions, each row within one clip.

        Returns:
            (B, T, K, C) float32.
        """
        return interpolate(self._frames_at(at.first), self._frames_at(at.second), at)

    def gather_augmented(self, at: InterpolationIndex, augmentation: Augmentation) -> Tensor:
        """Compute augment(self.gather(at), augmentation) in one kernel. Needs `capturable`.

        Args:
            at: Positions, each row within one clip.
            augmentation: What to do.

        Returns:
            (B, T, K, C) float32.
        """
        from sign_models.kernels.variation import gather_augmented

        assert isinstance(self.frames, Tensor)
        a, offsets = augmentation, None
        if a.arms or a.hands:
            roots = hand_roots(self.device)
            x, y = (self.frames[index.unsqueeze(2), roots, :3].float() for index in (at.first, at.second))
            offsets = hand_offsets(interpolate(x, y, at), a)
        return gather_augmented(
            self.frames,
            *at,
            mirrored=a.mirrored,
            mirror=mirror_index(self.device)[0],
            landmark_jitter=a.landmark_jitter,
            groups=landmark_groups(self.device),
            stretch=a.hands and a.hands[0],
            moved=offsets,
            camera=a.camera,
            shift=a.shift,
            noise=a.noise,
            lost=a.lost,
            flat=a.flat,
        )


def resident(frames: Frames, device: torch.device) -> Tensor | Frames:
    """Copy frames to the device once, if they fit.

    Args:
        frames: (F, K, C) float16, in memory or in a store.
        device: Where batches are made.

    Returns:
        The frames on the device. `frames` itself where they need more than half of a GPU's free memory, and for a CPU
        where they are in a store, which is read as fast from there.
    """
    if device.type == "cuda" and frames.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return frames
    if isinstance(frames, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    if device.type != "cuda":
        return frames
    copied = torch.empty(frames.shape, dtype=torch.float16, device=device)
    for begin in range(0, len(frames), COPY_FRAMES):
        copied[begin : begin + COPY_FRAMES] = torch.from_numpy(frames[begin : begin + COPY_FRAMES])
    return copied


def sample_windows(
    frames: DeviceCorpus,
    clips: np.ndarray,
    part: slice,
    rng: np.random.Generator,
    longest: int,
    strengths: Augment,
    whole: bool = False,
) -> BatchPlan:
    """Sample the window, the tempo and the share of dropped frames of each clip, on the host.

    The numbers are sampled for all clips of the step, so that a part of it gets what it would get in the whole. T is
    that of the whole step too.

    Args:
        frames: Corpus of the clips.
        clips: Indices of all clips of the step.
        part: Which of them are asked for, B.
        rng: Generator of the step.
        longest: Frames of a window at most.
        strengths: Of tempo and dropped frames.
        whole: Whether clips are taken whole, whatever `longest`.

    Returns:
        "offsets", "frames": (B,) first frame of each clip in the corpus, and its frames. "start", "span": (B,) float32
        first frame and length of the window. "count", "kept": (B,) int64 frames before and after some are dropped.
        "steps" (T,), "before", "after": only their lengths count, the last two as in RngSlice.
    """
    # one tempo and one share of dropped frames a batch: clips of similar length stay of similar length
    spread = rng.uniform(-1, 1) + TEMPO_SPREAD * rng.uniform(-1, 1, len(clips))
    speed = np.exp(spread * np.log1p(strengths.tempo))
    kept_share = 1 - rng.uniform() * strengths.drop_frames
    lengths = frames.corpus.lengths[clips]
    span = lengths if whole else np.minimum(lengths, longest * speed)
    start = rng.uniform(0, 1, len(clips)) * (lengths - span)
    count = np.maximum(1, np.round(span / speed)).astype(np.int64)
    kept = np.maximum(1, np.round(count * kept_share)).astype(np.int64)
    chosen, most = clips[part], min(longest, frames.longest * (1 + strengths.tempo))
    plan = {
        "offsets": frames.corpus.offsets[chosen],
        "frames": frames.corpus.lengths[chosen],
        "start": start[part].astype(np.float32),
        "span": span[part].astype(np.float32),
        "count": count[part],
        "kept": kept[part],
        "steps": np.arange(frames.padded_length(kept.max(), most)),
        "before": np.arange(part.start),
        "after": np.arange(len(clips) - part.stop),
    }
    return {name: torch.from_numpy(values) for name, values in plan.items()}


@torch.no_grad()
def augment_batch(
    frames: DeviceCorpus, plan: BatchPlan, strengths: Augment, unaugmented: bool = False, two_views: bool = False
) -> Batch:
    """Make a training batch on the device. Samples from torch's generator, which the caller has seeded.

    Args:
        frames: Corpus of the clips.
        plan: Result of sample_windows() on the device.
        strengths: Of the augmentation.
        unaugmented: Whether to give the same moments unaugmented too, but mirrored alike.
        two_views: Whether to give the same moments augmented a second time too.

    Returns:
        The batch.
    """
    with torch.autocast(frames.device.type, enabled=False):
        count, kept, length = plan["count"], plan["kept"], len(plan["steps"])
        rows = RngSlice(len(plan["before"]), len(plan["after"]))
        # as many positions as the largest share of dropped frames needs: it follows from T, so that graphs stay few
        positions = math.ceil((length + 1) / (1 - strengths.drop_frames)) if strengths.drop_frames else length
        where = warp_time(plan["start"], plan["span"], count, positions, strengths.tempo, rows)
        if strengths.drop_frames:
            where = drop_frames(where, count, kept, length, rows)
        at = interpolation_index(plan["offsets"], plan["frames"], where, kept)
        first, *second = (
            sample_augmentation(len(where), length, frames.device, strengths, rows, frames.has_depth)
            for _ in range(1 + two_views)
        )
        mirrored = Augmentation(mirrored=first.mirrored)
        if frames.capturable and fused():
            x, *second_view = (frames.gather_augmented(at, augmentation) for augmentation in (first, *second))
            original = frames.gather_augmented(at, mirrored) if unaugmented else None
        else:
            x = frames.gather(at)
            original = augment(x.clone(), mirrored) if unaugmented else None
            second_view = [augment(x.clone(), augmentation) for augmentation in second]
            x = augment(x, first)
        return Batch(x, at.mask, kept, rows, original, *second_view)
