"""Batches of clips of like length, gathered on the device from frames that stay there.

B batch, T frames of the longest clip rounded up to a bucket, K landmarks, F frames of the corpus.

Which clips make step s of a training, where they are cut and how fast they are played depends on (seed, s) only: a
resumed training sees what an unbroken one would have seen. A batch is made in two steps: sample_windows() draws a few
numbers a clip on the host, augment_batch() does the rest on the device without asking the host for anything, so that a
GPU can record it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sign_models.data.augment import Variation, augment, groups, hand_roots, in_mirror, moves, sample_variation
from sign_models.data.corpus import Corpus, Frames
from sign_models.data.rows import ALL, RngSlice
from sign_models.kernels import fused

if TYPE_CHECKING:
    from sign_models.params.schema import Augment

BUCKET = 4  # lengths are rounded up to a multiple of this many frames; 32 wastes 12 % of a batch, 4 wastes 1.5 %
RECORDED_LENGTHS = 32  # of training batches, about, where each is recorded as a graph of its own (step.py)
MIXED = 0.01  # clips whose lengths differ by this share may change places; 0.1 wastes 9 % of a batch
COPIED = 2**17  # frames copied to the device at a time
POOL = 8192  # clips, about, that batches are drawn from at a time: fewer waste more of a batch
BATCHES = 32  # at least, of a pool: 16 waste another 4 %, 8 another 14 %
BLOCK = 512  # clips in a row that come into the same pool
TEMPO_SPREAD = 0.1  # of a clip's tempo beside its batch's, as a share of the whole range


UNCAPTURED = "no step is captured as a CUDA graph: one of a small model takes 9 to 12 times as long"
BatchPlan = dict[str, Tensor]  # what the host says of a batch; the shapes say which recorded graph fits


@dataclass(frozen=True)
class Batch:
    """x (B, T, K, C) float32, mask (B, T) bool, lengths (B,): frames of each clip. rows: of the step's whole batch.
    unaugmented: x without augment(), again: x varied another time, where that was asked for. C is 3, or 4 in a corpus
    with depth."""

    x: Tensor
    mask: Tensor
    lengths: Tensor
    rows: RngSlice = ALL
    unaugmented: Tensor | None = None
    again: Tensor | None = None


class DeviceCorpus:
    """A corpus whose frames lie on the device, where they fit there, and the gathering of clips from them."""

    def __init__(self, corpus: Corpus, device: torch.device) -> None:
        self.corpus, self.device = corpus, device
        self.frames = resident(corpus.frames, device)
        self.longest = int(corpus.lengths.max(initial=1))

    def whole(self, clips: np.ndarray, longest: int | None = None) -> Batch:
        """The clips as they are; of longer ones the first `longest` frames."""
        index, lengths = frame_index(self.corpus, clips, longest)
        x, lengths = self._at(index), lengths.to(self.device, non_blocking=True)
        mask = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
        return Batch(x * mask[..., None, None], mask, lengths)

    def as_clips(self, corpus: Corpus) -> DeviceCorpus:
        """The same frames, without a copy, as the clips of another corpus of these frames."""
        other = copy(self)
        other.corpus, other.longest = corpus, int(corpus.lengths.max(initial=1))
        return other

    @property
    def facts(self) -> dict[str, str]:
        """For the log: that the frames did not fit on the device."""
        if self.device.type != "cuda" or isinstance(self.frames, Tensor):
            return {}
        said = f"{self.frames.nbytes / 2**30:.1f} GiB of frames are more than half of the GPU's free memory"
        return {"frames": f"{said} and stay with the host: each batch is copied, and {UNCAPTURED}"}

    @property
    def deep(self) -> bool:
        """Whether frames have depth."""
        return self.frames.shape[-1] > 3

    @property
    def recordable(self) -> bool:
        """Whether a GPU gathers clips without the host."""
        return self.device.type == "cuda" and isinstance(self.frames, Tensor)

    def padded(self, frames: int, most: float) -> int:
        """The length of a training batch whose longest clip has `frames`, where none has more than `most`."""
        if not self.recordable:
            return bucket(frames)
        return bucket(frames, max(BUCKET, 2 ** math.ceil(math.log2(most / RECORDED_LENGTHS))))

    def _at(self, index: Tensor) -> Tensor:
        """Frames `index` (B, T), a row within one clip -> (B, T, K, C) float32 on the device."""
        if isinstance(self.frames, Tensor):
            return in_planes(self.frames[index.to(self.device)])
        return in_planes(torch.from_numpy(self.frames[index.cpu().numpy()]).to(self.device))

    def gather(self, at: InterpolationIndex) -> Tensor:
        """-> (B, T, K, C) float32. Between two frames a landmark is interpolated linearly; one that a frame does not
        show takes its place from the other one."""
        return interpolated(self._at(at.first), self._at(at.second), at)

    def gather_augmented(self, at: InterpolationIndex, variation: Variation) -> Tensor:
        """augment(self.gather(at), variation) in one kernel, where self.recordable."""
        from sign_models.kernels.variation import gather_augmented

        assert isinstance(self.frames, Tensor)
        moved = None
        if variation.arms or variation.hands:
            of_hands = hand_roots(self.device)
            x, y = (self.frames[index.unsqueeze(2), of_hands, :3].float() for index in (at.first, at.second))
            moved = moves(interpolated(x, y, at), variation)
        return gather_augmented(
            self.frames,
            *at,
            mirrored=variation.mirrored,
            mirror=in_mirror(self.device)[0],
            landmark_jitter=variation.landmark_jitter,
            groups=groups(self.device),
            stretch=variation.hands and variation.hands[0],
            moved=moved,
            camera=variation.camera,
            shift=variation.shift,
            noise=variation.noise,
            lost=variation.lost,
            flat=variation.flat,
        )


class InterpolationIndex(NamedTuple):
    """Fractional frame positions, each (B, T): `share` of the way from frame `first` of the corpus to frame `second`;
    mask: which of them count."""

    first: Tensor
    second: Tensor
    share: Tensor
    mask: Tensor


def between(offsets: Tensor, frames: Tensor, where: Tensor, lengths: Tensor) -> InterpolationIndex:
    """Positions `where` (B, T) in [0, frames - 1] of the clips of `frames` (B,) frames from `offsets` (B,) on, of which
    the first `lengths` (B,) count."""
    last, begin = (frames - 1).unsqueeze(1), offsets.unsqueeze(1)
    mask = torch.arange(where.shape[1], device=where.device) < lengths.unsqueeze(1)
    low = where.floor()
    first = low.long().clamp(min=0).minimum(last)
    return InterpolationIndex(begin + first, begin + (first + 1).minimum(last), where - low, mask)


def interpolated(x: Tensor, y: Tensor, at: InterpolationIndex) -> Tensor:
    """x and y (B, T, ..., C) float32: the first and second frames, which are written over."""
    share, mask = at.share[..., None, None], at.mask[..., None, None]
    x_seen, y_seen = x[..., 2:3] > 0, y[..., 2:3] > 0
    share = torch.where(x_seen, share, (share > 0).float()) * y_seen
    return x.addcmul_(y.sub_(x), share).mul_(mask)


def frame_index(corpus: Corpus, clips: np.ndarray, longest: int | None = None) -> tuple[Tensor, Tensor]:
    """Where the frames of whole clips are, (B, T) with the last one repeated, and how many each has, (B,).

    Of longer clips the first `longest` frames."""
    lengths = corpus.lengths[clips]
    lengths = lengths if longest is None else np.minimum(lengths, longest)
    steps = np.minimum(np.arange(bucket(lengths.max())), lengths[:, None] - 1)
    return torch.from_numpy(corpus.offsets[clips][:, None] + steps), torch.from_numpy(lengths)


def in_planes(x: Tensor) -> Tensor:
    """(..., C) as float32. In a CPU's memory x, y and confidence lie apart: what goes over landmarks is several times
    as fast where its innermost loop is not three long."""
    if x.is_cuda:
        return x.float()
    planes = torch.empty(x.shape[-1:] + x.shape[:-1]).movedim(0, -1)
    return planes.copy_(x)


def resident(frames: Frames, device: torch.device) -> Tensor | Frames:
    """The frames on the device, copied once.

    They stay where they are, in memory or in a store, where half of a GPU's free memory is too small for them. A CPU
    reads those of a store as fast from there.
    """
    if device.type == "cuda" and frames.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return frames
    if isinstance(frames, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    if device.type != "cuda":
        return frames
    copied = torch.empty(frames.shape, dtype=torch.float16, device=device)
    for begin in range(0, len(frames), COPIED):
        copied[begin : begin + COPIED] = torch.from_numpy(frames[begin : begin + COPIED])
    return copied


def bucket(frames: int, size: int = BUCKET) -> int:
    return -(-int(frames) // size) * size


def in_order(corpus: Corpus, clips: np.ndarray, batch_frames: int) -> Iterator[np.ndarray]:
    """Clips sorted by length, in batches of at most `batch_frames` padded frames: for evaluation."""
    clips = clips[np.argsort(corpus.lengths[clips], kind="stable")]
    first = 0
    for i, frames in enumerate(corpus.lengths[clips].tolist()):
        if i > first and bucket(frames) * (i + 1 - first) > batch_frames:
            yield clips[first:i]
            first = i
    if len(clips):
        yield clips[first:]


class Sampler:
    """Which clips are in which step: every epoch all clips once, in batches of like length, in random order.

    Many clips come in pools of POOL or BATCHES, each of blocks of neighbours from anywhere: what a step reads from a
    large store then lies near what the steps before it read (docs/store.md).
    """

    def __init__(self, lengths: np.ndarray, clips: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths, self.clips, self.seed = lengths, clips, seed
        self.batch_size = min(batch_size, len(clips))
        self.steps = -(-len(clips) // self.batch_size)
        self.pools = max(1, min(round(len(clips) / max(POOL, BATCHES * batch_size)), self.steps))
        self._epoch = -1
        self._batches: list[np.ndarray] = []

    def __getitem__(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.steps)
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            # clips that fill the last batch are drawn first, so that they shift all borders between batches
            short = self.steps * self.batch_size - len(self.clips)
            clips = np.concatenate([self.clips, rng.choice(self.clips, short, replace=False)])
            noise = rng.uniform(1 - MIXED, 1 + MIXED, len(clips))
            turns = rng.permutation(self.steps)
            pool = np.arange(self.steps) * self.pools // self.steps  # of each batch
            order = np.lexsort([self.lengths[clips] * noise, np.repeat(pool, self.batch_size)[self._ranks(rng, clips)]])
            batches = clips[order].reshape(self.steps, self.batch_size)
            self._epoch, self._batches = epoch, [batches[i] for i in turns[np.argsort(pool[turns], kind="stable")]]
        return self._batches[place]

    def _ranks(self, rng: np.random.Generator, clips: np.ndarray) -> np.ndarray:
        """The place of each clip once blocks of neighbours are shuffled."""
        if self.pools == 1:
            return np.arange(len(clips))
        block = (np.arange(len(clips)) + rng.integers(BLOCK)) // BLOCK
        return np.argsort(np.argsort(rng.permutation(block[-1] + 1)[block], kind="stable"))


def sample_windows(
    frames: DeviceCorpus,
    clips: np.ndarray,
    part: slice,
    rng: np.random.Generator,
    longest: int,
    strengths: Augment,
    whole: bool = False,
) -> BatchPlan:
    """Where the clips of `clips[part]` are cut, how fast they are played and how many frames of them are left out: a
    window of at most `longest` frames each, or, where `whole`, all of their frames.

    rng draws windows, tempi and frames left out of all clips of the step, so that a part of it gets what it would get
    in the whole. T is that of the whole step too. -> offsets, frames, count, kept (B,) int64: frames before and after
    some are left out; start, span (B,) float32; of steps (T,), before and after only the length counts, the latter two
    as in Rows.
    """
    # one tempo and one share of lost frames a batch: clips of like length stay of like length
    spread = rng.uniform(-1, 1) + TEMPO_SPREAD * rng.uniform(-1, 1, len(clips))
    speed = np.exp(spread * np.log1p(strengths.tempo))
    left = 1 - rng.uniform() * strengths.drop_frames
    lengths = frames.corpus.lengths[clips]
    span = lengths if whole else np.minimum(lengths, longest * speed)
    start = rng.uniform(0, 1, len(clips)) * (lengths - span)
    count = np.maximum(1, np.round(span / speed)).astype(np.int64)
    kept = np.maximum(1, np.round(count * left)).astype(np.int64)
    chosen, most = clips[part], min(longest, frames.longest * (1 + strengths.tempo))
    plan = {
        "offsets": frames.corpus.offsets[chosen],
        "frames": frames.corpus.lengths[chosen],
        "start": start[part].astype(np.float32),
        "span": span[part].astype(np.float32),
        "count": count[part],
        "kept": kept[part],
        "steps": np.arange(frames.padded(kept.max(), most)),
        "before": np.arange(part.start),
        "after": np.arange(len(clips) - part.stop),
    }
    return {name: torch.from_numpy(values) for name, values in plan.items()}


@torch.no_grad()
def augment_batch(
    frames: DeviceCorpus, plan: BatchPlan, strengths: Augment, unaugmented: bool = False, twice: bool = False
) -> Batch:
    """The training batch that `plan` (of sample_windows(), on the device) says, at a wandering tempo, after augment().

    unaugmented: give the same moments of the clips as they are too, but in the same mirror. twice: vary them a second
    time.

    Draws from torch's generator, which the caller has seeded.
    """
    with torch.autocast(frames.device.type, enabled=False):
        count, kept, length = plan["count"], plan["kept"], len(plan["steps"])
        rows = RngSlice(len(plan["before"]), len(plan["after"]))
        # as many positions as the most lost frames ask for: their number follows from T, so that graphs stay few
        positions = math.ceil((length + 1) / (1 - strengths.drop_frames)) if strengths.drop_frames else length
        where = warp(plan["start"], plan["span"], count, positions, strengths.tempo, rows)
        if strengths.drop_frames:
            where = drop(where, count, kept, length, rows)
        at = between(plan["offsets"], plan["frames"], where, kept)
        wanted = strengths.model_dump(exclude={"tempo", "drop_frames"})
        first, *other = (
            sample_variation(len(where), length, frames.device, **wanted, rows=rows, deep=frames.deep)
            for _ in range(1 + twice)
        )
        unvaried = Variation(mirrored=first.mirrored)
        if frames.recordable and fused():
            x, *again = (frames.gather_augmented(at, variation) for variation in (first, *other))
            as_is = frames.gather_augmented(at, unvaried) if unaugmented else None
        else:
            x = frames.gather(at)
            as_is = augment(x.clone(), unvaried) if unaugmented else None
            again = [augment(x.clone(), variation) for variation in other]
            x = augment(x, first)
        return Batch(x, at.mask, kept, rows, as_is, *again)


def warp(start: Tensor, span: Tensor, count: Tensor, length: int, tempo: float, rows: RngSlice = ALL) -> Tensor:
    """Positions (B, length): `count` (B,) of them spread over [start, start + span - 1], at a speed that wanders by
    `tempo` (as a rule half as far, in logarithms, as whole clips do)."""
    steps = torch.ones(len(start), length, device=start.device)
    if tempo:
        knots = rows.randn(len(start), 1, max(2, length // 16), device=start.device) * (math.log1p(tempo) / 2)
        steps = F.interpolate(knots, length, mode="linear", align_corners=True).squeeze(1).exp()
    where = steps.cumsum(1)
    where = where - where[:, :1]
    end = where.gather(1, (count - 1).unsqueeze(1)).clamp(min=1e-6)
    where = start.unsqueeze(1) + where / end * (span - 1).clamp(min=0).unsqueeze(1)
    return where if tempo else where.round()


def drop(where: Tensor, count: Tensor, kept: Tensor, length: int, rows: RngSlice = ALL) -> Tensor:
    """`kept` (B,) of the first `count` (B,) positions of where (B, W), in order: (B, length). The first one stays."""
    B, W = where.shape
    there = torch.arange(W, device=where.device) < count.unsqueeze(1)
    chance = rows.rand(B, W, device=where.device)
    chance[:, 0] = -1.0
    chance = torch.where(there, chance, 2.0)
    lost = chance > chance.sort(1).values.gather(1, (kept - 1).unsqueeze(1))
    order = torch.argsort(lost.byte(), dim=1, stable=True)
    return where.gather(1, order[:, :length])
