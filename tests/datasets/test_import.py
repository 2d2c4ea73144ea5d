"""The import: killed and resumed, bad samples, splits, leaks, groups, texts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.data.corpus import Corpus
from sign_models.datasets import store_writer
from sign_models.datasets.importing import ImportRules, Splitting, import_corpus, split_by_ratio
from sign_models.datasets.store import open_store
from sign_models.datasets.stored_frames import FRAME_BYTES
from sign_models.errors import DataError, ResourceError
from sign_models.keypoints import formats
from tests.data.generated import TEXTS, sequence, sequences, write_folder
from tests.datasets.imports import COUNT, bad_file

# Equality, interruption -----------------------------------------------------------------------------------------------


def test_an_import_is_the_folder_read_in_place(source: Path, tmp_path: Path) -> None:
    import_corpus(source, tmp_path / "store", ImportRules(on_leak="report"))
    stored, memory = open_store(tmp_path / "store"), Corpus.from_sequences(formats.read(source))
    assert stored.digest == memory.digest and stored.ids == memory.ids and len(stored) == COUNT
    assert stored.frames[:].tobytes() == memory.frames.tobytes()
    assert {file.name for file in (tmp_path / "store").iterdir()} > {"index.json", "report"}
    assert not {".lock", "unfinished.json"} & {file.name for file in (tmp_path / "store").iterdir()}


KILLED = """
import sys, time
from pathlib import Path
from sign_models.datasets import store_writer
from sign_models.datasets.importing import ImportRules, import_corpus
store_writer.SHARD_BYTES = int(sys.argv[3])
import_corpus(Path(sys.argv[1]), Path(sys.argv[2]), ImportRules(on_leak="report"), progress=lambda frames: time.sleep(0.01))
"""
SHARD = 100 * FRAME_BYTES


def start(source: Path, out: Path, root: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", KILLED, str(source), str(out), str(SHARD)], cwd=root)


def test_killed_midway_it_leaves_no_store_and_goes_on_when_run_again(source: Path, tmp_path: Path, root: Path) -> None:
    out = tmp_path / "store"
    with start(source, out, root) as process:
        deadline = time.monotonic() + 60
        while len(list(out.glob("frames-*.safetensors"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        with pytest.raises(ResourceError, match="another process is writing it"):
            import_corpus(source, out)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="an import that did not finish"):
        open_store(out)
    finished = {file: file.stat().st_mtime_ns for file in out.glob("frames-*.safetensors")}
    frames: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_writer, "SHARD_BYTES", SHARD)
        import_corpus(source, out, ImportRules(on_leak="report"), progress=frames.append)
    assert len(frames) < COUNT - 3  # the finished shards were not read again
    assert all(file.stat().st_mtime_ns == written for file, written in finished.items())
    assert open_store(out, full=True).digest == Corpus.from_sequences(formats.read(source)).digest


def test_a_source_that_changed_in_between_is_read_anew(source: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", sequences(5))
    bad_file(folder, "clip_0005")
    with pytest.raises(DataError, match="no landmark is seen"):
        import_corpus(folder, tmp_path / "store", ImportRules(on_leak="report"))
    write_folder(folder, sequences(6))
    frames: list[int] = []
    import_corpus(folder, tmp_path / "store", ImportRules(on_leak="report"), progress=frames.append)
    assert len(frames) == len(open_store(tmp_path / "store")) == 6


def test_what_lies_in_the_way_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        import_corpus(tmp_path / "no", tmp_path / "store")
    with pytest.raises(DataError, match="lies in the source"):
        import_corpus(source, source / "store")
    assert not (tmp_path / "store").exists() and not (source / "store").exists()


# Bad samples ----------------------------------------------------------------------------------------------------------


def test_a_bad_sample_stops_or_is_left_out_and_listed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", sequences(6))
    bad_file(folder, "clip_0003")
    (folder / "clip_0004x.pkl").write_bytes(b"\x80\x04\x95 cut")
    out = tmp_path / "store"
    with pytest.raises(DataError, match="clip_0003.pkl: no landmark is seen.*on_bad_sample=reject"):
        import_corpus(folder, out, ImportRules(on_leak="report"))
    frames: list[int] = []
    found = import_corpus(folder, out, ImportRules(on_leak="report", on_bad_sample="reject"), progress=frames.append)
    assert len(frames) == 2  # the three before the first bad one were kept
    assert open_store(out).ids == [f"clip_{i:04}" for i in (0, 1, 2, 4, 5)]
    assert found.numbers["rejected"]["samples"] == 2
    assert [reason.split(":")[0] for reason in found.numbers["rejected"]["reasons"]] == [
        "clip_0003.pkl",
        "clip_0004x.pkl",
    ]
    assert "2 samples were rejected" in found.markdown()


def test_where_all_is_bad_there_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    bad_file(tmp_path / "clips", "a")
    with pytest.raises(DataError, match="no clip in it.*all 1 samples are bad.*a.pkl"):
        import_corpus(tmp_path / "clips", tmp_path / "store", ImportRules(on_bad_sample="reject"))


# Splits, groups, leaks ------------------------------------------------------------------------------------------------


@given(
    keys=st.lists(st.sampled_from([f"signer {i}" for i in range(30)]), min_size=40, max_size=120),
    seed=st.integers(0, 5),
    ratio=st.sampled_from([(0.8, 0.1, 0.1), (0.9, 0.1, 0.0), (0.5, 0.0, 0.5), (1.0, 0.0, 0.0), (0.98, 0.01, 0.01)]),
)
def test_splits_by_ratio_keep_groups_whole_and_leave_none_empty(keys: list[str], seed: int, ratio: tuple) -> None:
    wanted = sum(share > 0 for share in ratio)
    if len(set(keys)) < wanted:
        with pytest.raises(DataError, match="groups cannot fill"):
            split_by_ratio(keys, Splitting(ratio, seed))
        return
    splits = split_by_ratio(keys, Splitting(ratio, seed))
    assert len(set(zip(keys, splits, strict=True))) == len(set(keys))
    assert set(splits) == {name for name, share in zip(("train", "dev", "test"), ratio, strict=True) if share}
    assert splits == split_by_ratio(keys, Splitting(ratio, seed))


def test_splits_by_ratio_come_near_it_and_follow_the_seed() -> None:
    keys = [f"clip {i}" for i in range(1000)]
    first, second = (split_by_ratio(keys, Splitting((0.8, 0.1, 0.1), seed)) for seed in (0, 1))
    assert [first.count(name) for name in ("train", "dev", "test")] == [800, 100, 100]
    assert first != second


def test_splits_are_written_to_the_store_by_group(source: Path, tmp_path: Path) -> None:
    import_corpus(source, tmp_path / "store", ImportRules(group="signer", splitting=Splitting((0.4, 0.3, 0.3))))
    corpus = open_store(tmp_path / "store")
    assert len(set(zip(corpus.groups, corpus.splits, strict=True))) == len(set(corpus.splits)) == 3


def test_groups_may_be_found_in_the_ids(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    for signer in "PQ":
        write_folder(folder / f"S1_{signer}000", sequences(3, first=ord(signer)), group=None, split=None)
    import_corpus(folder, tmp_path / "store", ImportRules(group=r"_([A-Z]\d+)", splitting=Splitting((0.5, 0.5, 0.0))))
    corpus = open_store(tmp_path / "store")
    assert set(corpus.groups) == {"P000", "Q000"}
    assert len(set(zip(corpus.groups, corpus.splits, strict=True))) == 2
    with pytest.raises(DataError, match="has no group by"):
        import_corpus(folder, tmp_path / "other", ImportRules(group="_Z"))
    with pytest.raises(DataError, match="no file tells a signer.*regular expression"):
        import_corpus(folder, tmp_path / "third", ImportRules(group="signer", splitting=Splitting((0.5, 0.5, 0.0))))


def leaking(folder: Path, kind: str) -> Path:
    """train/a and test/b with texts of their own that share nothing but `kind`."""
    known = {"a": {"group": "anna", "text": "eins"}, "b": {"group": "berta", "text": "zwei"}}
    if kind in ("group", "text"):
        known["b"][kind] = known["a"][kind]
    for i, (name, split) in enumerate((("a", "train"), ("b", "test"))):
        clip = sequence(0 if kind == "content" else i, 10)
        write_folder(folder / split, iter([clip]), split=split, **known[name])
        (folder / split / f"{clip.id}.pkl").rename(folder / split / ("a.pkl" if kind == "id" else f"{name}.pkl"))
    return folder


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("id", r"1 ids are in two splits: test/a \(test\) = train/a \(train\)"),
        ("content", r"1 clips are with equal frames in two splits: test/b \(test\) = train/a \(train\)"),
        ("group", "1 groups are in two splits: anna"),
    ],
)
def test_a_leak_stops_or_is_reported_by_name(tmp_path: Path, kind: str, message: str) -> None:
    folder, out = leaking(tmp_path / "clips", kind), tmp_path / "store"
    with pytest.raises(DataError, match=message + ".*--on-leak report"):
        import_corpus(folder, out)
    with pytest.raises(DataError, match="did not finish"):
        open_store(out)
    found = import_corpus(folder, out, ImportRules(on_leak="report"))
    assert len(found.numbers["leaks"][kind]) == 1
    assert "- LEAK: 1 " in found.markdown()
    assert len(open_store(out)) == 2


def test_one_text_in_two_splits_is_a_warning_with_a_count(tmp_path: Path) -> None:
    found = import_corpus(leaking(tmp_path / "clips", "text"), tmp_path / "store")
    assert "- warning: 1 texts are in two splits (2 clips): test/b (test) = train/a (train)" in found.markdown()
    assert "LEAK" not in found.markdown()


def test_a_text_in_two_splits_is_named_by_a_clip_of_each(tmp_path: Path) -> None:
    for i, split in enumerate(("train", "train", "train", "test")):
        write_folder(tmp_path / "clips", iter([sequence(i, 5)]), split=split, text="eins", group=None)
    found = import_corpus(tmp_path / "clips", tmp_path / "store")
    assert "1 texts are in two splits (4 clips): clip_0000 (train) = clip_0003 (test)" in found.markdown()


def test_what_shares_nothing_is_no_leak(tmp_path: Path) -> None:
    found = import_corpus(leaking(tmp_path / "clips", "nothing"), tmp_path / "store")
    assert found.findings() == ["No leak, no duplicate, no outlier, nothing rejected."]


# Texts ----------------------------------------------------------------------------------------------------------------


def test_texts_of_a_file_win_and_stay_as_they_are_but_nfc(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", sequences(len(TEXTS)), text="old", split=None, group=None)
    rows = [{"id": f"clip_{i:04}", "text": text, "split": "train"} for i, text in enumerate(TEXTS)]
    (tmp_path / "texts.json").write_text(json.dumps([*rows, {"id": "gone", "text": "x"}]))
    found = import_corpus(folder, tmp_path / "store", ImportRules(texts=tmp_path / "texts.json"))
    corpus = open_store(tmp_path / "store")
    assert corpus.texts == [*TEXTS[:-1], "café 👋🏽 déjà"]
    assert set(corpus.splits) == {"train"}
    assert found.numbers["texts without a clip"] == {"texts": 1, "ids": ["gone"]}


def test_texts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder, texts = write_folder(tmp_path / "clips", sequences(2)), tmp_path / "texts.json"
    texts.write_text(json.dumps({"other": "x"}))
    with pytest.raises(DataError, match="none of its 1 ids is a clip's, e.g. 'other'; wanted ids such as 'clip_0000'"):
        import_corpus(folder, tmp_path / "store", ImportRules(texts=texts))
    texts.write_text(json.dumps([{"id": "clip_0000", "text": "x", "split": "test"}]))
    with pytest.raises(DataError, match="'clip_0000' is in two splits: train here and test in the texts"):
        import_corpus(folder, tmp_path / "store", ImportRules(texts=texts))
