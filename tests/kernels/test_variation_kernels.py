"""The kernel gathers and varies as torch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sign_models.data import batching
from sign_models.data.batching import Batch, DeviceCorpus, augment_batch, sample_windows
from sign_models.data.corpus import Corpus
from sign_models.keypoints.layouts import CANONICAL, PARTS
from sign_models.params.load import resolve
from sign_models.params.schema import Augment

K = len(CANONICAL)
LENGTHS = (1, 3, 9, 14, 25, 33)
CLIPS = np.arange(len(LENGTHS))
USUAL = resolve().temporal.augment.model_dump() | {"mirror": 0.5}
STILL = dict.fromkeys(USUAL, 0.0)


@pytest.fixture(params=[3, 4], ids=["flat", "deep"])
def frames(request: pytest.FixtureRequest, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> DeviceCorpus:
    """Clips with single landmarks and whole hands unseen, for which a kernel would be used if there were one."""
    monkeypatch.setattr(DeviceCorpus, "capturable", True)
    monkeypatch.setattr(batching, "CAPTURED_LENGTHS", 10**6)  # as short as they may be: the interpreter is slow
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sum(LENGTHS), K, request.param))
    x[..., 2] = (rng.random(x.shape[:2]) > 0.2) * rng.uniform(0.1, 1, x.shape[:2])
    for part in ("left_hand", "right_hand"):
        x[rng.random(len(x)) < 0.3, PARTS[part], 2] = 0
    x[..., :2] *= x[..., 2:3] > 0
    x[..., 3:] *= (x[..., 2:3] > 0) & (rng.random((*x.shape[:2], 1)) > 0.1)
    nothing: list = [None] * len(LENGTHS)
    offsets = np.cumsum([0, *LENGTHS])
    ids = [str(i) for i in CLIPS]
    return DeviceCorpus(Corpus(ids, x.astype(np.float16), offsets, nothing, nothing, nothing, nothing, ""), device)


def both(
    frames: DeviceCorpus,
    strengths: dict,
    monkeypatch: pytest.MonkeyPatch,
    longest: int = 100,
    part: slice = slice(0, 6),
) -> tuple[Batch, Batch]:
    """The same batch from the kernel and from torch."""
    plan = sample_windows(frames, CLIPS, part, np.random.default_rng(1), longest, Augment(**strengths))
    plan = {name: values.to(frames.device) for name, values in plan.items()}
    made = []
    for kernel in (True, False):
        monkeypatch.setattr(batching, "fused", lambda kernel=kernel: kernel)
        torch.manual_seed(3)
        made.append(
            (augment_batch(frames, plan, Augment(**strengths), unaugmented=True), torch.rand(4, device=frames.device))
        )
    (mine, then), (torchs, torchs_then) = made
    assert torch.equal(mine.mask, torchs.mask) and torch.equal(mine.lengths, torchs.lengths)
    assert mine.rows == torchs.rows and torch.equal(then, torchs_then)  # as much has been plan
    return mine, torchs


def same(mine: Batch, torchs: Batch) -> bool:
    alike = True
    for x, wanted in ((mine.x, torchs.x), (mine.unaugmented, torchs.unaugmented)):
        assert x.shape == wanted.shape and x.dtype == wanted.dtype
        alike &= torch.allclose(x, wanted, rtol=1e-5, atol=1e-5) and not x[wanted[..., 2] == 0].any()
    return alike


CASES = {
    "usual": USUAL,
    "still": STILL,
    "mirrored": USUAL | {"mirror": 1.0},
    **{f"no {name}": USUAL | {name: 0.0} for name in USUAL},
    **{f"only {name}": STILL | {name: USUAL[name]} for name in USUAL},
}


@pytest.mark.parametrize("strengths", CASES.values(), ids=CASES)
def test_varied_as_by_torch(strengths: dict, frames: DeviceCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    assert same(*both(frames, strengths, monkeypatch))


def test_windows_of_longer_clips(frames: DeviceCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, torchs = both(frames, USUAL, monkeypatch, longest=10)
    assert mine.x.shape[1] < 20 and same(mine, torchs)


@pytest.mark.parametrize("part", [slice(0, 3), slice(2, 5), slice(5, 6)])
def test_rows_of_a_batch(part: slice, frames: DeviceCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    assert same(*both(frames, USUAL, monkeypatch, part=part))


def test_the_kernel_is_what_is_compared(frames: DeviceCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceCorpus, "gather_augmented", lambda self, at, variation: self.gather(at) + 1)
    assert not same(*both(frames, USUAL, monkeypatch))


def test_a_corpus_of_more_than_two_to_the_31_numbers(frames: DeviceCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    few = frames.frames
    far = 2**31 // few[0].numel() + 1
    near, _ = both(frames, USUAL, monkeypatch)
    frames.frames = few.new_empty(far + len(few), *few.shape[1:])  # 4.3 GB, of which a CPU touches the last pages only
    frames.frames[far:] = few
    frames.corpus.offsets += far
    assert torch.equal(both(frames, USUAL, monkeypatch)[0].x, near.x)
