"""A corpus at one frame rate: from memory and from a store, clip by clip, and what is said of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sign_models.data.batching import DeviceCorpus
from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import ResampledFrames, bring_to_rate, describe_rates, known_rate
from sign_models.data.frames import FramesOnDisk
from sign_models.datasets.importing import import_corpus
from sign_models.datasets.store import open_store
from sign_models.keypoints.resample import frame_step, resample
from tests.data.generated import sequence, sequences, write_folder

FPS = (15.0, 30.0, None, 25.0, 50.0, 29.97, 1.0)


@pytest.fixture(scope="module")
def clips() -> list:
    return [replace(clip, fps=FPS[i % len(FPS)]) for i, clip in enumerate(sequences(20, 60))]


@pytest.fixture(scope="module")
def memory(clips) -> Corpus:
    return Corpus.from_sequences(clips, "clips.pkl")


@pytest.fixture(scope="module")
def stored(clips, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("rates")
    import_corpus(write_folder(folder / "clips", iter(clips)), folder / "store", workers=0)
    return open_store(folder / "store")


@pytest.mark.parametrize("fps", [25.0, 12.5, 60.0])
def test_each_clip_that_tells_a_rate_is_resampled_and_no_other(memory: Corpus, fps: float) -> None:
    made = bring_to_rate(memory, fps)
    assert made.ids == memory.ids and made.texts == memory.texts and len(made.digest) == 64
    for i, own in enumerate(memory.fps):
        step = frame_step(own, fps)
        np.testing.assert_array_equal(made.clip(i), resample(memory.clip(i), step))
        assert made.fps[i] == (own if step == 1 else fps)
    assert made.digest != memory.digest


def test_a_store_keeps_the_rates_and_gives_the_same_clips_as_memory(memory: Corpus, stored: Corpus) -> None:
    assert dict(zip(stored.ids, stored.fps, strict=True)) == dict(zip(memory.ids, memory.fps, strict=True))
    here, there = bring_to_rate(memory, 25.0), bring_to_rate(stored, 25.0)
    assert isinstance(there.frames, ResampledFrames) and there.frames.shape == here.frames.shape
    assert there.frames.nbytes == here.frames.nbytes
    order = [there.index[name] for name in here.ids]
    for i, j in enumerate(order):
        np.testing.assert_array_equal(there.clip(j), here.clip(i))
    whole = there.frames[:]
    assert len(whole) == len(there.frames)
    for begin, end, by in [(0, 5, 1), (3, 200, 1), (7, 90, 3), (5, 5, 1), (9, 4, 1)]:
        np.testing.assert_array_equal(there.frames[begin:end:by], whole[begin:end:by])
    chosen = np.array([0, 3, 5])
    batches = [DeviceCorpus(corpus, torch.device("cpu")).unaugmented(np.array(at)) for corpus, at in
               ((here, chosen), (there, [order[i] for i in chosen]))]  # fmt: skip
    assert torch.equal(batches[0].x, batches[1].x) and torch.equal(batches[0].mask, batches[1].mask)


@pytest.mark.parametrize("fps", [None, 25.0], ids=["as they are stored", "resampled"])
def test_frames_on_disk_are_indexed_as_an_array_and_nothing_outside_is_made_up(
    stored: Corpus, fps: float | None
) -> None:
    corpus = bring_to_rate(stored, fps)
    assert isinstance(corpus.frames, FramesOnDisk)
    frames, whole, rng = corpus.frames, corpus.frames[:], np.random.default_rng(0)
    last = len(whole) - 1
    rows = np.stack([rng.integers(corpus.offsets[i], corpus.offsets[i + 1], 6) for i in range(len(corpus))])
    for index in (rows, rows[:4].reshape(2, 2, 6), rows[0], np.array([[last], [0]])):
        np.testing.assert_array_equal(frames[index], whole[index])
    for outside in ([-1], [last + 1], [last, last + 1], [-1, 0], [last + 10**6], [-(10**6)]):
        for index in (np.array([outside]), np.array([[0] * len(outside), outside])):
            with pytest.raises(IndexError, match=f"of {last + 1}"):
                frames[index]
    for backwards in (np.s_[::-1], np.s_[9:4:-1], np.s_[4:9:-2]):
        with pytest.raises(IndexError, match="forwards"):
            frames[backwards]


@pytest.mark.parametrize("fps", [None, 25.0])
def test_clips_that_nothing_has_to_be_done_to_are_the_same_object(fps: float | None) -> None:
    rates = [None, 25.0, 24.9] if fps else [15.0, 30.0, None]
    corpus = Corpus.from_sequences(replace(sequence(i, 9), fps=rate) for i, rate in enumerate(rates))
    assert bring_to_rate(corpus, fps) is corpus


def test_what_is_done_is_counted_and_said(memory: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sign_models")
    bring_to_rate(memory, 25.0)
    told = (
        "3 of 20 clips have 25 frames a second; 12 are brought to it from 15, 29.97, 30, 50; "
        "3 tell no frame rate and are as they are; 2 have fewer than 4 and are as they are"
    )
    assert caplog.messages == [f"clips.pkl: {told}"] and describe_rates(memory, 25.0) == told
    assert describe_rates(memory, None) == ""
    same = Corpus.from_sequences([replace(sequence(0, 9), fps=25.0)])
    assert describe_rates(same, 25.0) == "" and known_rate(same, 25.0) == 25.0


@pytest.mark.parametrize("rates", [[None, None], [None, 1.0]])
def test_a_model_has_no_rate_where_no_clip_tells_one(rates: list[float | None]) -> None:
    corpus = Corpus.from_sequences(replace(sequence(i, 9), fps=rate) for i, rate in enumerate(rates))
    assert known_rate(corpus, 25.0) is None and describe_rates(corpus, 25.0).startswith("0 of 2 clips have 25")


def test_a_clip_filmed_twice_as_often_is_the_same_clip(tmp_path: Path) -> None:
    """30 frames a second, and every second of them at 15: nowhere 0.06 shoulder widths apart."""
    twice = replace(sequence(1, 61), fps=30.0, confidence=np.ones((61, 133), np.float32))
    once = replace(twice, points=twice.points[::2], confidence=twice.confidence[::2], fps=15.0)
    a, b = (bring_to_rate(Corpus.from_sequences([clip]), 25.0).clip(0).astype(np.float32) for clip in (twice, once))
    assert len(a) == len(b) == 51
    apart = np.abs(a - b)[..., :2].max(-1)
    assert apart.max() < 0.06
