"""The report of an import: what it counts and names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.data.corpus import Corpus
from sign_models.datasets import checks, report_numbers
from sign_models.datasets.importing import ImportRules, import_corpus
from sign_models.keypoints import formats
from tests.data.generated import sequence, write_folder
from tests.datasets.imports import COUNT
from tests.keypoints.signer import pixels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Am Samstag, 20 Grad.", ["am", "samstag", "20", "grad"]),
        ("don't e-mail", ["don't", "e-mail"]),
        ("今天天气 ok", ["今", "天", "天", "气", "ok"]),
        ("كيف حالك؟", ["كيف", "حالك"]),
        ("hi 👋", ["hi", "👋"]),
        ("...", []),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert report_numbers.vocabulary_words(text) == words


def test_the_report_counts_what_is_there(source: Path, tmp_path: Path, painted: None) -> None:
    found = import_corpus(source, tmp_path / "store", ImportRules(on_leak="report")).numbers
    corpus = Corpus.from_sequences(formats.read(source))
    assert (found["clips"], found["frames"]) == (COUNT, len(corpus.frames))
    known = [i for i in range(COUNT) if corpus.fps[i]]
    assert found["hours"] == pytest.approx(corpus.lengths[known].sum() / 25 / 3600, abs=1e-4)
    assert found["frame rates"] == {"25": len(known), "unknown": COUNT - len(known)}
    unseen = (np.asarray(corpus.frames)[:, 13:34, 2] == 0).mean()
    assert found["unseen"]["left_hand"]["landmarks"] == pytest.approx(unseen, abs=1e-3)
    assert found["frames a clip"]["longest"] == corpus.lengths.max()
    dev = found["splits"]["dev"]
    assert (dev["clips"], dev["groups"]) == (COUNT // 3, 1)
    assert dev["texts"] == sum(t is not None for t, s in zip(corpus.texts, corpus.splits, strict=True) if s == "dev")
    on_disk = tmp_path / "store" / "report"
    assert json.loads((on_disk / "report.json").read_text("utf-8")) == found
    assert (on_disk / "report.md").is_file()
    for name in ("overview.png", "clips.png"):
        content = (on_disk / name).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) > 5_000


def test_unseen_words_are_those_that_train_lacks(tmp_path: Path) -> None:
    for i, (split, text) in enumerate((("train", "Regen und Wind"), ("dev", "und Regen im Norden"))):
        write_folder(tmp_path / "clips" / split, iter([sequence(i, 5)]), text=text, split=split)
    dev = import_corpus(tmp_path / "clips", tmp_path / "store").numbers["splits"]["dev"]
    assert (dev["vocabulary"], dev["unseen words"], dev["unseen share"]) == (4, 2, 0.5)


def test_duplicates_and_outliers_are_named_by_id(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", (sequence(i, 20 + i % 5) for i in range(20)))
    (folder / "again.pkl").write_bytes((folder / "clip_0003.pkl").read_bytes())
    long, lost = sequence(90, 2000), sequence(91, 20)
    lost.confidence[:, 112:] = 0  # the right hand
    write_folder(folder, iter([long, lost]))
    found = import_corpus(folder, tmp_path / "store").numbers
    assert found["duplicates"] == {"clips": 1, "equal": [["again", "clip_0003"]]}
    odd = {(o["id"], o["measure"]) for o in found["outliers"]["farthest first"]}
    assert {("clip_0090", "frames"), ("clip_0091", "unseen right_hand")} <= odd
    assert {id for id, _ in odd} == {"clip_0090", "clip_0091"}


@given(st.lists(st.integers(0, 6), max_size=30))
def test_alike_finds_every_repeated_key(keys: list[int]) -> None:
    found = checks.equal_keys(np.array(keys, np.uint64), np.ones(len(keys), bool))
    assert sorted(tuple(rows) for rows in found) == sorted(
        tuple(i for i, k in enumerate(keys) if k == key) for key in set(keys) - {0} if keys.count(key) > 1
    )


def test_the_report_counts_labels_and_files_that_nothing_came_of(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for i in range(3):
        np.save(source / f"clip_{i}.npy", pixels("mediapipe_75", 4, i))
    (source / "labels.csv").write_text("id,text\nclip_0,a\nclip_1,b\nclip_8,c\nclip_9,d\n")
    (source / "notes.csv").write_text("who,what\nme,this\n")
    (source / "README.md").write_text("about these files\n")
    found = import_corpus(source, tmp_path / "store", workers=0)
    assert found.numbers["texts without a clip"] == {"texts": 2, "ids": ["clip_8", "clip_9"]}
    assert found.numbers["clips without a text"] == {"clips": 1, "ids": ["clip_2"]}
    assert found.numbers["files that nobody reads"] == {"files": 2, "names": ["README.md", "notes.csv"]}
    assert found.numbers["rejected"]["samples"] == 0
    assert "- 2 files that nobody reads: README.md, notes.csv" in found.findings()
    assert {"- 2 texts have no clip: clip_8, clip_9", "- 1 clips have no text: clip_2"} <= set(found.findings())
