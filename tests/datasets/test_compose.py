"""Composed sentences: whole clips in the order of their text, of one signer, never of a test signer in training."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sign_models.cli.compose import parse
from sign_models.data.texts import read_texts
from sign_models.datasets.compose import RECIPE, Recipe, compose, concatenate_signs
from sign_models.datasets.inputs import KEYPOINTS, TEXTS, VIDEOS, Inputs
from sign_models.errors import DataError, ParamsError
from sign_models.keypoints.formats import read
from sign_models.keypoints.normalise import normalise
from tests.keypoints.signer import pixels

SIGNS = ["hello", "tea", "coffee", "water", "thanks"]
SMALL = Recipe(sentences=(12, 4, 6), words=(2, 3))


def folder_of_signs(root: Path, signers: int = 4, takes: int = 3) -> Path:
    """A file a clip, and a label file with sign and signer; one more clip has no label."""
    root.mkdir()
    rows = ["id,text,signer"]
    for who in range(signers):
        for number, sign in enumerate(SIGNS):
            for take in range(takes):
                name = f"s{who}_{sign}_{take}"
                np.save(root / f"{name}.npy", pixels("mediapipe_75", 4 + take, 100 * who + 10 * number + take))
                rows.append(f"{name},{sign},signer {who}")
    np.save(root / "unknown.npy", pixels("mediapipe_75", 5, 999))
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_signs(tmp_path_factory.mktemp("signs") / "clips")


def test_sentences_are_their_clips_one_after_the_other(source: Path, tmp_path: Path) -> None:
    made = compose(source, tmp_path / "out", SMALL)
    assert made.sentences == {"train": 12, "dev": 4, "test": 6} and made.unlabelled == 1
    clips = {s.id: s for s in read(source)}
    recipe = json.loads((tmp_path / "out" / RECIPE).read_text())["sentences"]
    texts = {row.id: row for row in read_texts(tmp_path / "out" / TEXTS)}
    videos = {s.id: normalise(s) for s in read(tmp_path / "out" / VIDEOS)}
    assert set(recipe) == set(texts) == set(videos)
    for name, ids in recipe.items():
        assert texts[name].text == " ".join(clips[id].text for id in ids)
        assert len(set(ids)) == len(ids)
        frames, begin = [normalise(clips[id]) for id in ids], 0
        for clip in frames:
            seen = clip[..., 2] > 0
            found = videos[name][begin : begin + len(clip)]
            assert np.abs(np.diff(found - clip, axis=0)[seen[1:] & seen[:-1]]).max() < 2e-2  # one frame of reference
            begin += len(clip) + SMALL.transition
        assert begin - SMALL.transition == len(videos[name])


def test_no_signer_is_in_two_splits_and_half_of_the_texts_are_new(source: Path, tmp_path: Path) -> None:
    made = compose(source, tmp_path / "out", SMALL)
    who = {s.id: s.group for s in read(source)}
    recipe = json.loads((tmp_path / "out" / RECIPE).read_text())["sentences"]
    rows = read_texts(tmp_path / "out" / TEXTS)
    signers = {
        split: {who[id] for row in rows if row.split == split for id in recipe[row.id]} for split in made.signers
    }
    assert all(len({who[id] for id in ids}) == 1 for ids in recipe.values())
    assert not signers["train"] & signers["test"] and not signers["train"] & signers["dev"]
    assert not signers["dev"] & signers["test"]
    known = {row.text for row in rows if row.split == "train"}
    for split in ("dev", "test"):
        texts = [row.text for row in rows if row.split == split]
        assert sum(text in known for text in texts) == len(texts) // 2
    assert {who[s.id] for s in read(tmp_path / "out" / KEYPOINTS)} == signers["train"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(source: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        compose(source, tmp_path / name, Recipe(**{**vars(SMALL), "seed": seed}))
    content = {name: (tmp_path / name / VIDEOS).read_bytes() for name in ("one", "two", "three")}
    assert content["one"] == content["two"] != content["three"]


def test_a_pipeline_reads_what_was_composed(source: Path, tmp_path: Path) -> None:
    compose(source, tmp_path / "out", SMALL)
    inputs = Inputs.from_paths(tmp_path / "out", None, None, None)
    assert len(inputs.videos) == 22 and len(inputs.texts) == 22 and len(inputs.keypoints) > 0


def test_clips_with_and_without_depth_are_composed_and_depth_is_counted(source: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(source, mixed)
    for file in sorted(mixed.glob("s0_*.npy")):
        points = np.load(file)
        depth = np.linspace(-1, 1, points[..., 0].size).reshape(*points.shape[:2], 1)
        np.save(file, np.concatenate([points, depth, np.ones_like(depth)], -1).astype(np.float32))
    made = compose(mixed, tmp_path / "out", SMALL)
    assert made.depth_dropped == len(SIGNS) * 3
    plain = compose(source, tmp_path / "plain", SMALL)
    assert plain.depth_dropped == 0
    one, other = ({s.id: normalise(s) for s in read(tmp_path / name / VIDEOS)} for name in ("out", "plain"))
    for name, video in one.items():
        np.testing.assert_allclose(video, other[name], atol=1e-5)


def test_a_transition_is_linear_and_shows_what_both_sides_show() -> None:
    one, other = np.ones((2, 2, 3), np.float32), np.full((3, 2, 3), 5, np.float32)
    other[..., 2] = 1
    other[0, 1] = 0  # unseen
    out = concatenate_signs([one, other], 3)
    assert out.shape == (8, 2, 3)
    np.testing.assert_allclose(out[2:5, 0, 0], [2, 3, 4])
    assert not out[2:5, 1].any()
    assert len(concatenate_signs([one, other], 0)) == 5


@pytest.mark.parametrize(
    ("make", "recipe", "message"),
    [
        (lambda root: folder_of_signs(root, signers=2), SMALL, "2 signers.*at least three.*by_signer"),
        (lambda root: folder_of_signs(root), Recipe(words=(6, 7)), "has 6 signs.*lower words"),
        (lambda root: folder_of_signs(root), Recipe(sentences=(200, 60, 60), words=(1, 1)), "too few sentences"),
    ],
)
def test_too_little_is_refused_with_the_remedy(make, recipe: Recipe, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        compose(make(tmp_path / "clips"), tmp_path / "out", recipe)
    assert not (tmp_path / "out").exists()


def test_clips_of_one_signer_are_divided_where_that_is_asked_for(tmp_path: Path) -> None:
    source = folder_of_signs(tmp_path / "clips", signers=1, takes=4)
    compose(source, tmp_path / "out", Recipe(sentences=(12, 4, 6), words=(2, 3), by_signer=False))
    recipe = json.loads((tmp_path / "out" / RECIPE).read_text())["sentences"]
    used = {
        split: {id for name, ids in recipe.items() if name.startswith(split) for id in ids}
        for split in ("train", "dev", "test")
    }
    assert not used["train"] & used["test"] and not used["train"] & used["dev"] and not used["dev"] & used["test"]


def test_a_folder_with_files_is_not_written_to(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds files"):
        compose(source, tmp_path, SMALL)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": ""}, "source: not given"),
        ({"sentences": "10"}, "train, dev and test"),
        ({"words": "5,2"}, "the fewest, from 1 on"),
        ({"seen": "1.5"}, "a share from 0 to 1"),
        ({"transition": "-1"}, "a number of frames"),
        ({"by_signer": "maybe"}, "true or false"),
    ],
)
def test_refusals_come_before_any_work(given: dict[str, str], message: str) -> None:
    names = ("sentences", "words", "transition", "seen", "by_signer", "seed", "relative_to")
    with pytest.raises(ParamsError, match=message):
        parse({"source": "a", "out": "b", **dict.fromkeys(names, ""), **given})


@pytest.mark.parametrize("told", [True, False])
def test_clips_of_several_rates_make_sentences_of_one(told: bool, tmp_path: Path) -> None:
    """The commonest rate; without it where a clip tells none, which is then taken as it is."""
    records = {}
    for who in range(3):
        for number, sign in enumerate(SIGNS):
            name, fps = f"s{who}_{sign}", 25.0 if number else 50.0
            clip = pixels("mediapipe_75", 9 if number else 17, number)
            record = {"keypoints": clip, "layout": "mediapipe_75", "text": sign, "signer": f"signer {who}", "fps": fps}
            records[name] = record if told or number != 1 else {k: v for k, v in record.items() if k != "fps"}
    (tmp_path / "clips.pkl").write_bytes(pickle.dumps(records))
    compose(tmp_path / "clips.pkl", tmp_path / "out", replace(SMALL, transition=2))
    videos = list(read(tmp_path / "out" / VIDEOS))
    assert {video.fps for video in videos} == {25.0 if told else None}
    recipe = json.loads((tmp_path / "out" / RECIPE).read_text())["sentences"]
    assert all(len(video) == 9 * len(recipe[video.id]) + 2 * (len(recipe[video.id]) - 1) for video in videos)
