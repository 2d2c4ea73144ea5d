"""Reading for an import: the same samples from one process or several, in place or from any sample on."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from sign_models.data.corpus import Corpus
from sign_models.datasets import samples
from sign_models.datasets.importing import ImportRules, import_corpus
from sign_models.datasets.readers import START, Position, Sample, normalised_samples
from sign_models.datasets.samples import Files, read_samples
from sign_models.datasets.store import open_store
from sign_models.errors import DataError
from sign_models.keypoints import formats
from sign_models.keypoints.formats.files.source import ReadOptions
from sign_models.keypoints.layouts import LAYOUTS
from tests.data.generated import LAYOUT, sequences, write_folder
from tests.keypoints.signer import pixels


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of one clip each, one of ten, notes, labels, and three bad files, one of which holds labels."""
    folder = write_folder(tmp_path_factory.mktemp("mixed") / "clips", sequences(70))
    many = {f"many_{i}": np.concatenate([c.points, c.confidence[..., None]], -1) for i, c in enumerate(sequences(10))}
    np.savez(folder / "clip_0040x.npz", **many)
    (folder / "notes.txt").write_text("nothing")
    (folder / "clip_0050x.pkl").write_bytes(b"\x80\x04\x95 cut")
    (folder / "clip_0007x.pkl").write_bytes(pickle.dumps({"keypoints": np.zeros((3, 133, 3), np.float32)}))
    (folder / "labels.json").write_text(json.dumps([{"id": "clip_0006", "text": "cafe\u0301"}]))
    (folder / "labels.csv").write_bytes(b"id,text\na,b,c\n")
    return folder


@pytest.fixture(scope="module")
def alone(mixed: Path) -> list[tuple[Position, Sample | DataError]]:
    return list(read_samples(mixed, ReadOptions()))


def told(samples: list[tuple[Position, Sample | DataError]]) -> list[tuple[Position, str, str | None]]:
    return [
        (place, str(sample), None) if isinstance(sample, DataError) else (place, sample.clip.sha256, sample.clip.text)
        for place, sample in samples
    ]


def test_samples_are_what_reading_in_place_gives(mixed: Path, alone: list[tuple[Position, Sample | DataError]]) -> None:
    bad: list[DataError] = []
    corpus = Corpus.from_sequences(formats.read(mixed, on_bad=bad.append))
    good = [sample.clip for _, sample in alone if isinstance(sample, Sample)]
    assert [clip.id for clip in good] == corpus.ids and len(good) == 80
    assert [clip.text for clip in good] == corpus.texts and corpus.texts[corpus.index["clip_0006"]] == "café"
    errors = [s for _, s in alone if isinstance(s, DataError) and not isinstance(s, formats.Unread)]
    assert sorted(map(str, errors)) == sorted(map(str, bad))
    assert len(bad) == 3


def test_samples_made_together_are_to_the_bit_those_made_alone(
    alone: list[tuple[Position, Sample | DataError]], mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sign_models.data.corpus.CHUNK_FRAMES", 1)
    for (place, sample), (_, other) in zip(read_samples(mixed, ReadOptions()), alone, strict=True):
        assert type(sample) is type(other)
        if isinstance(sample, Sample) and isinstance(other, Sample):
            assert sample.clip.values.tobytes() == other.clip.values.tobytes() and sample.clip.sha256, place
            assert sample.measures.tobytes() == other.measures.tobytes(), place
    hidden = [replace(c, id=str(i), confidence=c.confidence * (i > 0)) for i, c in enumerate(sequences(3))]
    found = [sample for _, sample in normalised_samples([(START, clip) for clip in hidden])]
    assert [type(sample) for sample in found] == [DataError, Sample, Sample]  # the one nobody is seen in, in its place


@pytest.mark.parametrize("done", [0, 1, 2, 8, 9, 33, 45, 70, 83])
def test_reading_goes_on_after_any_sample(
    mixed: Path, alone: list[tuple[Position, Sample | DataError]], done: int
) -> None:
    begin = alone[done - 1][0] if done else START
    assert told(list(read_samples(mixed, ReadOptions(), begin=begin))) == told(alone[done:])


@pytest.mark.parametrize("done", [0, 45])
def test_reading_processes_give_the_samples_of_one(
    mixed: Path, alone: list[tuple[Position, Sample | DataError]], done: int
) -> None:
    begin = alone[done - 1][0] if done else START
    assert told(list(read_samples(mixed, ReadOptions(), begin=begin, workers=3))) == told(alone[done:])


def test_reading_processes_hand_on_what_is_wrong_with_a_source(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match="a folder without a file of keypoints"):
        list(read_samples(tmp_path / "clips", ReadOptions(), workers=2))


def test_many_small_files_are_read_by_processes_and_others_are_not() -> None:
    assert Files("", samples.MIN_PARALLEL_FILES, 1000).workers(None) in range(samples.MAX_WORKERS + 1)
    assert Files("", samples.MIN_PARALLEL_FILES, 2**30).workers(None) == Files("", 1, 1000).workers(None) == 0
    assert Files("", 1, 1000).workers(3) == 3


def test_a_layout_of_ones_own_is_known_to_every_process(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", sequences(4))
    for file in folder.iterdir():
        record = pickle.loads(file.read_bytes())
        file.write_bytes(pickle.dumps(record | {"keypoints": record["keypoints"][:, :120]}))
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(list(LAYOUTS[LAYOUT][:120])))
    with pytest.raises(DataError, match="120 landmarks"):
        import_corpus(folder, tmp_path / "store", ImportRules(on_leak="report"))
    for workers in (0, 2):
        out = tmp_path / f"store {workers}"
        import_corpus(
            folder, out, ImportRules(on_leak="report"), reading=ReadOptions(layout=str(mine)), workers=workers
        )
        found, whole = open_store(out).frames[:], Corpus.from_sequences(sequences(4)).frames
        assert np.array_equal(found[:, :13], whole[:, :13]) and found[:, 13:34, 2].any()
    with pytest.raises(DataError, match="unknown layout 'mein'"):
        import_corpus(folder, tmp_path / "third", reading=ReadOptions(layout="mein"))


# Clips that labels cut out of recordings ------------------------------------------------------------------------------


def _recordings(folder: Path, count: int) -> None:
    """Recordings of 40 frames; labels cut two clips out of each."""
    rows = ["video,text,start_frame,end_frame"]
    for i in range(count):
        np.savez(folder / f"rec{i}.npz", keypoints=pixels("coco_17", 40, i), fps=np.array(25.0))
        rows += [f"rec{i},one {i},0,10", f"rec{i},two {i},15,35"]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("workers", [0, 2])
def test_cut_clips_are_imported_alike_by_any_number_of_processes_and_from_any_place(
    tmp_path: Path, workers: int
) -> None:
    _recordings(tmp_path, 20)
    whole = [(place, sample.clip.id, sample.clip.sha256) for place, sample in read_samples(tmp_path, ReadOptions())]
    assert len(whole) == 40 and len({place for place, _, _ in whole}) == 40
    for place in (Position(0, 0), whole[0][0], whole[20][0]):
        begin = 0 if place == Position(0, 0) else [p for p, _, _ in whole].index(place) + 1
        rest = [
            (p, s.clip.id, s.clip.sha256)
            for p, s in read_samples(tmp_path, ReadOptions(), begin=place, workers=workers)
        ]
        assert rest == whole[begin:]


def test_the_report_tells_what_was_cut_and_what_is_in_no_clip(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    _recordings(source, 3)
    found = import_corpus(source, tmp_path / "store")
    cut = {
        name: found.numbers["cut out of recordings"][name]
        for name in ("clips", "recordings", "frames", "frames in no clip")
    }
    assert cut == {"clips": 6, "recordings": 3, "frames": 120, "frames in no clip": 30}
    assert (
        "6 clips are cut out of 3 recordings, 25.0% of whose frames are in no clip: rec0, rec1, rec2"
        in found.markdown()
    )
    corpus = open_store(tmp_path / "store")
    assert corpus.groups == ["rec0"] * 2 + ["rec1"] * 2 + ["rec2"] * 2  # else a split could tear a recording apart


def test_a_cut_clip_is_the_same_as_one_that_was_cut_before(tmp_path: Path) -> None:
    for name, clips in {"long": {"rec": slice(0, 40)}, "short": {"a": slice(0, 10), "b": slice(15, 35)}}.items():
        (tmp_path / name).mkdir()
        for clip, frames in clips.items():
            np.savez(tmp_path / name / f"{clip}.npz", keypoints=pixels("coco_17", 40)[frames], fps=np.array(25.0))
    (tmp_path / "long" / "labels.csv").write_text(
        "id,recording,text,start_frame,end_frame\na,rec,x,0,10\nb,rec,y,15,35\n"
    )
    long, short = (
        [s.clip.sha256 for _, s in read_samples(tmp_path / name, ReadOptions())] for name in ("long", "short")
    )
    assert long == short


def test_texts_may_be_the_names_of_folders(tmp_path: Path) -> None:
    for sign in ("hello", "thank you"):
        (tmp_path / sign).mkdir()
        np.save(tmp_path / sign / "take_0.npy", pixels("coco_17", 6))
    np.save(tmp_path / "loose.npy", pixels("coco_17", 6, 1))
    told = [sample.clip.text for _, sample in read_samples(tmp_path, ReadOptions(texts="folders"))]
    assert told == ["hello", None, "thank you"]
    assert [sample.clip.text for _, sample in read_samples(tmp_path, ReadOptions())] == [None] * 3
    (tmp_path / "labels.csv").write_text("id,text\nhello/take_0,good day\n")
    told = [sample.clip.text for _, sample in read_samples(tmp_path, ReadOptions(texts="folders"))]
    assert told == ["good day", None, "thank you"]
