"""The store: equal to the corpus in memory, whole or refused, and small in memory."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sign_models.data.batching import DeviceCorpus
from sign_models.data.corpus import Corpus
from sign_models.data.frame_sampling import interpolation_index
from sign_models.data.sampler import Sampler, bucket
from sign_models.datasets import store, store_writer, stored_frames
from sign_models.datasets.readers import START, Position, Sample, normalised_samples
from sign_models.datasets.store import INDEX, UNFINISHED, is_store, open_store
from sign_models.datasets.store_writer import StoreWriter
from sign_models.errors import DataError
from tests.data.generated import TEXTS, sequence, sequences

SHARD = 100 * stored_frames.FRAME_BYTES  # bytes: a few clips a shard
CLIPS = 40
LONG = 150  # frames: more than a shard holds


def all_sequences():
    yield from sequences(CLIPS)
    yield sequence(CLIPS, LONG)
    yield from sequences(3, first=CLIPS + 1)


def prepare(clip) -> Sample:
    [(_, sample)] = normalised_samples([(START, clip)])
    return sample


def write(path: Path, clips, shard_bytes: int = SHARD, splits=None) -> StoreWriter:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_writer, "SHARD_BYTES", shard_bytes)
        writer = StoreWriter(path, {"source": "generated"})
        for clip in clips:
            writer.add(prepare(clip), START)
        writer.finish(splits)
    return writer


@pytest.fixture(scope="module")
def memory() -> Corpus:
    return Corpus.from_sequences(all_sequences())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, memory: Corpus) -> Path:
    path = tmp_path_factory.mktemp("store") / "store"
    write(path, all_sequences())
    assert len(list(path.glob("frames-*"))) > 5
    assert memory.lengths.max() > 100  # one clip fills more than a shard
    return path


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    """A store of one's own to damage."""
    return Path(shutil.copytree(path, tmp_path / "copy"))


# Equality -------------------------------------------------------------------------------------------------------------


def test_a_store_is_the_corpus_in_memory_bit_for_bit(path: Path, memory: Corpus) -> None:
    stored = open_store(path)
    assert stored.frames.shape == memory.frames.shape and stored.frames.nbytes == memory.frames.nbytes
    assert stored.frames[:].tobytes() == memory.frames.tobytes()
    assert all(stored.clip(i).tobytes() == memory.clip(i).tobytes() for i in range(len(memory)))
    assert np.array_equal(stored.offsets, memory.offsets) and stored.offsets.dtype == memory.offsets.dtype
    for name in ("ids", "fps", "splits", "groups", "texts", "digest", "index"):
        assert getattr(stored, name) == getattr(memory, name), name
    assert store.store_digest(path) == memory.digest


def test_shards_can_be_mapped_as_they_lie(path: Path, memory: Corpus) -> None:
    shards = sorted(path.glob("frames-*.safetensors"))
    mapped = [np.memmap(shard, "<f2", "r", stored_frames.frames_offset(shard)).reshape(-1, *memory.frames.shape[1:])
              for shard in shards]  # fmt: skip
    assert len(shards) > 3 and np.array_equal(np.concatenate(mapped), memory.frames)


def test_shards_of_any_size_give_the_same_corpus(tmp_path: Path, memory: Corpus) -> None:
    for shard_bytes in (stored_frames.FRAME_BYTES, 40 * stored_frames.FRAME_BYTES, 2**26):
        stored = open_store(write(tmp_path / str(shard_bytes), all_sequences(), shard_bytes).path, full=True)
        assert stored.digest == memory.digest
        assert stored.frames[:].tobytes() == memory.frames.tobytes()


def test_texts_of_any_script_pass_through_in_nfc(path: Path) -> None:
    texts = {text for text in open_store(path).texts if text is not None}
    assert texts == {unicodedata.normalize("NFC", text) for text in TEXTS}
    assert "café 👋🏽 déjà" in texts


def test_other_splits_may_be_written_with_the_index(tmp_path: Path, memory: Corpus) -> None:
    splits = ["dev" if i % 2 else None for i in range(len(memory))]
    stored = open_store(write(tmp_path / "store", all_sequences(), splits=splits).path)
    assert stored.splits == splits
    assert stored.digest != memory.digest


@given(data=st.data())
def test_any_slice_reads_what_an_array_would(path: Path, memory: Corpus, data: st.DataObject) -> None:
    frames, places = open_store(path).frames, st.integers(-len(memory.frames) - 5, len(memory.frames) + 5)
    index = slice(
        data.draw(st.none() | places), data.draw(st.none() | places), data.draw(st.sampled_from([None, 1, 3]))
    )
    assert np.array_equal(frames[index], memory.frames[index])


@given(data=st.data())
def test_rows_within_a_clip_read_what_an_array_would(path: Path, memory: Corpus, data: st.DataObject) -> None:
    rows = []
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(memory) - 1))
        rows.append(
            data.draw(st.lists(st.integers(memory.offsets[i], memory.offsets[i + 1] - 1), min_size=6, max_size=6))
        )
    index = np.array(rows)
    assert np.array_equal(open_store(path).frames[index], memory.frames[index])


def test_padded_clips_read_what_an_array_would(path: Path, memory: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole clips, the last frame again up to the longest, by several threads, with fewer files open than shards."""
    monkeypatch.setattr(stored_frames, "MAX_OPEN_SHARDS", 2)
    frames, clips = open_store(path).frames, np.random.default_rng(0).permutation(len(memory))
    steps = np.minimum(np.arange(memory.lengths.max() + 3), memory.lengths[clips, None] - 1)
    rows = memory.offsets[clips, None] + steps
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda row: frames[row[None]][0], np.tile(rows, (5, 1))))
    assert np.array_equal(np.stack(read), np.tile(memory.frames[rows], (5, 1, 1, 1)))
    assert len(frames._files) <= 2 + 4  # a thread lets go of one for each that it opens


def test_a_shard_that_is_cut_while_it_is_read_is_named(copy: Path) -> None:
    corpus = open_store(copy)
    file = corpus.frames.paths[-1]
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(DataError, match=f"{file.name}: ends before its last frame"):
        corpus.clip(len(corpus) - 1)
    assert len(corpus.clip(0))


def test_batches_are_the_same_from_memory_and_from_disk(path: Path, memory: Corpus) -> None:
    on_disk, in_memory = (DeviceCorpus(c, torch.device("cpu")) for c in (open_store(path), memory))
    assert isinstance(on_disk.frames, stored_frames.StoredFrames)
    clips = np.array([0, CLIPS, 7, len(memory) - 1])
    where = torch.rand(4, 30) * torch.from_numpy(memory.lengths[clips] - 1)[:, None]
    lengths = torch.tensor([30, 1, 12, 29])
    places = torch.from_numpy(memory.offsets[clips]), torch.from_numpy(memory.lengths[clips])
    a, b = (c.unaugmented(clips) for c in (on_disk, in_memory))
    assert torch.equal(a.x, b.x) and torch.equal(a.mask, b.mask) and torch.equal(a.lengths, b.lengths)
    a, b = (c.gather(interpolation_index(*places, where, lengths)) for c in (on_disk, in_memory))
    assert torch.equal(a, b)


def test_a_worker_process_reads_the_same(path: Path, memory: Corpus) -> None:
    stored = open_store(path)
    stored.clip(0)
    assert np.array_equal(pickle.loads(pickle.dumps(stored)).clip(3), memory.clip(3))


def test_batches_of_like_length_waste_little_on_padding() -> None:
    """Lengths as in PHOENIX14T: 7096 training clips, 117 frames on average, 95 % of them below 208."""
    lengths = np.clip(np.random.default_rng(0).gamma(5.2, 117 / 5.2, 7096), 16, 475).astype(np.int64)
    sampler = Sampler(lengths, np.arange(len(lengths)), 32, seed=0)
    batches = [sampler[step] for step in range(sampler.steps)]
    assert set(np.concatenate(batches)) == set(range(len(lengths)))
    padded = sum(len(batch) * bucket(lengths[batch].max()) for batch in batches)
    assert 1 - sum(lengths[batch].sum() for batch in batches) / padded < 0.03


# Whole or refused -----------------------------------------------------------------------------------------------------


def refused(path: Path, message: str, full: bool = False) -> None:
    with pytest.raises(DataError, match=message):
        open_store(path, full=full)


@pytest.mark.parametrize("seed", range(40))
def test_any_changed_byte_of_any_file_is_found(copy: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    file = sorted(copy.iterdir())[seed % len(list(copy.iterdir()))]
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)
    refused(copy, "import it again", full=True)


def test_a_changed_text_id_or_length_is_found_without_reading_frames(copy: Path) -> None:
    shard = next(iter(sorted(copy.glob("frames-*"))))
    shard.write_bytes(shard.read_bytes().replace(b"clip_0001", b"clip_0009"))
    refused(copy, "not those of the import")


@pytest.mark.parametrize("kept", [0, 1, 7, 300, -1])
def test_a_truncated_shard_is_found_without_reading_frames(copy: Path, kept: int) -> None:
    shard = sorted(copy.glob("frames-*"))[2]
    shard.write_bytes(shard.read_bytes()[:kept])
    refused(copy, "bytes instead of")


def test_a_missing_shard_is_found(copy: Path) -> None:
    sorted(copy.glob("frames-*"))[3].unlink()
    refused(copy, "is missing")


def test_a_store_for_other_landmarks_or_of_another_version_is_refused(copy: Path) -> None:
    index = json.loads((copy / INDEX).read_text())["index"]
    for change in ({"landmarks": index["landmarks"][::-1]}, {"version": 99}):
        changed = index | change
        (copy / INDEX).write_text(json.dumps({"sha256": store.index_checksum(changed), "index": changed}))
        refused(copy, "was written for other landmarks or as version")


def test_what_is_no_store_says_so(tmp_path: Path) -> None:
    refused(tmp_path, "no store; wanted a folder with index.json")
    assert not is_store(tmp_path)


def test_an_unfinished_store_does_not_load(tmp_path: Path) -> None:
    StoreWriter(tmp_path / "store", {"source": "generated"})
    assert is_store(tmp_path / "store")
    refused(tmp_path / "store", "an import that did not finish.*start the same import again")


# Writing --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writer, "SHARD_BYTES", SHARD)


def add(writer: StoreWriter, clips) -> None:
    for clip in clips:
        writer.add(prepare(clip), Position(writer.position.part + 1, 0))


def test_writing_goes_on_from_the_finished_shards(tmp_path: Path, small_shards: None, memory: Corpus) -> None:
    made = {"source": "generated"}
    with StoreWriter(tmp_path / "store", made) as first:
        first.reject("a: bad", Position(1, 0))
        add(first, list(all_sequences())[:25])
    (tmp_path / "store" / "frames-00099-0123456789abcdef.safetensors.making").write_bytes(b"half")
    finished = {file: file.stat().st_mtime_ns for file in (tmp_path / "store").glob("frames-*.safetensors")}
    second = StoreWriter(tmp_path / "store", made)
    assert second.rejected == ["a: bad"]
    done = second.position.part - 1  # of which the first was rejected
    assert 0 < done < 25 and list(second.ids) == memory.ids[:done]
    add(second, list(all_sequences())[done:])
    assert second.finish(None) == memory.digest
    assert all(file.stat().st_mtime_ns == time for file, time in finished.items())
    assert not list((tmp_path / "store").glob("*.making")) and not (tmp_path / "store" / UNFINISHED).exists()
    assert open_store(tmp_path / "store", full=True).digest == memory.digest


def test_a_damaged_finished_shard_and_all_after_it_are_made_again(tmp_path: Path, small_shards: None) -> None:
    with StoreWriter(tmp_path / "store", {}) as first:
        add(first, sequences(25))
    shards = sorted((tmp_path / "store").glob("frames-*"))
    shards[1].write_bytes(shards[1].read_bytes()[:-1] + b"\0")
    second = StoreWriter(tmp_path / "store", {})
    assert sorted((tmp_path / "store").glob("frames-*")) == shards[:1]
    assert second.position.part == len(second.ids) == len(store.Shard.read(shards[0]))


def test_an_import_made_otherwise_begins_anew(tmp_path: Path, small_shards: None) -> None:
    with StoreWriter(tmp_path / "store", {"layout": "a"}) as first:
        add(first, sequences(25))
    assert StoreWriter(tmp_path / "store", {"layout": "b"}).position == START
    assert not list((tmp_path / "store").glob("frames-*"))


def test_nothing_that_lies_there_is_overwritten(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(DataError, match="holds a finished store"):
        StoreWriter(copy, {"source": "generated"})
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="is not empty"):
        StoreWriter(tmp_path, {})


def test_a_second_clip_of_one_id_is_refused(tmp_path: Path) -> None:
    writer, sample = StoreWriter(tmp_path / "store", {}), prepare(next(sequences(1)))
    writer.add(sample, START)
    with pytest.raises(DataError, match="b.pkl: id 'clip_0000' appears twice"):
        writer.add(sample._replace(place="b.pkl"), START)


# Memory ---------------------------------------------------------------------------------------------------------------

MEASURED = """
import dataclasses, hashlib, os, sys
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sign_models.datasets import store, store_writer, stored_frames
from sign_models.datasets.importing import finish_store, write_samples
from sign_models.datasets.readers import START, normalised_samples
from tests.data.generated import sequence

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

store_writer.SHARD_BYTES = 2**23
path, count = Path(sys.argv[1]), int(sys.argv[2])
[(_, one)], peak = normalised_samples([(START, sequence(0, 100, text="a b c", group="anna"))]), 0

def samples():
    global peak
    for i in range(count):
        values = one.clip.values.copy()
        values.view(np.uint16)[0, 0, 0] = i  # each clip has a content of its own
        sha256 = hashlib.sha256(values.data).hexdigest()
        yield START, one._replace(clip=dataclasses.replace(one.clip, id=f"clip_{i:06}", values=values, sha256=sha256))
        if i % 50 == 0:
            peak = max(peak, resident())

writer = store_writer.StoreWriter(path, {"source": "generated"})
write_samples(writer, samples(), {})
finish_store(writer)
peak = max(peak, resident())
read_peak, corpus = 0, store.open_store(path)
for i in np.random.default_rng(0).permutation(count):
    corpus.clip(i)
    if i % 50 == 0:
        read_peak = max(read_peak, resident())
print(peak, read_peak)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_does_not_grow_with_the_corpus(root: Path, tmp_path: Path) -> None:
    """Ten times the frames, 150 MB of them, cost less than 20 MB more, in the import as in reading."""

    def measured(count: int) -> np.ndarray:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(tmp_path / str(count)), str(count)],
            cwd=root, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return np.array(done.stdout.split(), np.int64)

    few, many = measured(300), measured(3000)
    assert (many - few < 20e6).all(), (few, many)
