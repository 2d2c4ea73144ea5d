"""Representations are those that the model makes of each video alone, however videos are read and batched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sign_models.data.batching import DeviceCorpus
from sign_models.data.corpus import Corpus
from sign_models.keypoints.sequence import from_canonical
from sign_models.stages.represent import represent
from tests.models import clips

LENGTHS = (9, 30, 4, 200, 17, 64, 1, 33, 90, 8)  # 200 and 90 are longer than the window of the model


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    x, _ = clips.batch(LENGTHS)
    arrays = [row[:n].numpy() for row, n in zip(x, LENGTHS, strict=True)]
    return Corpus.from_sequences(replace(from_canonical(f"video {i}", a), fps=25.0) for i, a in enumerate(arrays))


@pytest.mark.parametrize("batch_frames", [1, 20, 64, 10_000])
def test_a_video_is_represented_as_if_it_were_alone(corpus: Corpus, batch_frames: int) -> None:
    model = clips.temporal()
    found = dict(represent(model, corpus, batch_frames))
    assert sorted(found) == sorted(corpus.ids)
    alone, model = DeviceCorpus(corpus, torch.device("cpu")), model.cpu()
    inexact = 0.1 if torch.cuda.is_available() else 1e-5  # half precision there
    for i, (name, length) in enumerate(zip(corpus.ids, LENGTHS, strict=True)):
        assert found[name].dtype == np.float32
        if length <= model.window:
            batch = alone.unaugmented(np.array([i]))
            with torch.no_grad():
                y, mask = model.encode(batch.x, batch.mask)
            assert np.allclose(found[name], y[mask], atol=inexact)
        else:
            assert found[name].shape == (-(-length // model.stride), model.width)


def test_arrays_of_a_batch_do_not_overlap(corpus: Corpus) -> None:
    found = dict(represent(clips.temporal(), corpus, 10_000))
    before = {name: array.copy() for name, array in found.items()}
    found["video 0"][:] = 7
    assert all(np.array_equal(found[name], before[name]) for name in found if name != "video 0")
