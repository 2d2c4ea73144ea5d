"""A store of clips of which some have depth is the corpus that the same clips make in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sign_models.data.corpus import Corpus
from sign_models.datasets import stored_frames
from sign_models.datasets.store import open_store
from sign_models.errors import DataError
from sign_models.keypoints.sequence import KeypointSequence
from tests.data.generated import sequence
from tests.datasets.test_corpus_store import SHARD, write

LONG = 150  # frames: more than a shard holds
WHICH = {
    "none": set(),
    "all": set(range(24)),
    "the first": {0},
    "the last": {23},
    "in turn": set(range(0, 24, 2)),
    "a long one": {5},
    "the first shards": set(range(12)),
}


def clips(deep: set[int]) -> list[KeypointSequence]:
    made = [sequence(i, LONG if i in (5, 14) else 10 + i) for i in range(24)]
    rng = np.random.default_rng(0)
    depths = [rng.normal(0, 50, s.confidence.shape).astype(np.float32) for s in made]
    return [replace(s, depth=depths[i]) if i in deep else s for i, s in enumerate(made)]


@pytest.mark.parametrize("deep", WHICH.values(), ids=WHICH)
@pytest.mark.parametrize("shard_bytes", [stored_frames.FRAME_BYTES, SHARD, 2**22])
def test_in_memory_and_in_a_store_the_same(deep: set[int], shard_bytes: int, tmp_path: Path) -> None:
    memory = Corpus.from_sequences(clips(deep))
    path = write(tmp_path / "store", clips(deep), shard_bytes).path
    stored = open_store(path, full=True)
    assert stored.digest == memory.digest
    assert stored.frames.shape == memory.frames.shape and stored.frames.nbytes == memory.frames.nbytes
    assert memory.frames.shape[-1] == (4 if deep else 3)
    assert stored.frames[:].tobytes() == memory.frames.tobytes()
    row = np.arange(memory.offsets[4], memory.offsets[6])[None]
    assert np.array_equal(stored.frames[row], memory.frames[row])
    assert [bool(stored.clip(i)[..., 3:].any()) for i in range(24)] == [i in deep for i in range(24)]


def test_a_changed_depth_is_named_by_its_clip(tmp_path: Path) -> None:
    path = write(tmp_path / "store", clips({3}), 2**22).path
    [shard] = path.glob("frames-*.safetensors")
    content = bytearray(shard.read_bytes())
    place = (
        stored_frames.frames_offset(shard) + 4 * stored_frames.CHANNEL_BYTES * 2 + 6
    )  # a depth of the first clip, which has none
    content[place : place + 2] = np.float16(1).tobytes()
    shard.write_bytes(content)
    with pytest.raises(DataError, match="checksum of clip"):
        open_store(path, full=True)
