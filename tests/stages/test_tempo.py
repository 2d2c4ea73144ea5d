"""A signer who signs half or twice as fast is read as the others are, and the others as before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import at_tempo, pick
from sign_models.datasets.inputs import Inputs
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.models.confidence import FEATURES
from sign_models.models.pace import MAX_SURPRISE, ODDS, OTHER_TEMPI, Pace, Readings, surprise
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.storage import load, save
from sign_models.models.temporal import TemporalModel
from sign_models.models.translator import Hypothesis, Translator
from sign_models.serving.predictor import Predictor
from sign_models.stages import alignment
from sign_models.stages.generate import generate
from sign_models.stages.tempo import tempo_facts
from tests import tiny
from tests.stages.recorders import Memory

PACE = Pace(1.0, 0.2)
LENGTHS = st.lists(st.floats(-2, 4), min_size=1, max_size=40)


def said(length: float) -> Hypothesis:
    return Hypothesis("tea", -0.1, evidence=tuple(length if name == "length" else 0.0 for name in FEATURES))


def read(lengths: list[float]) -> Readings:
    return [[said(length)] for length in lengths]


def slowed(frames: np.ndarray) -> np.ndarray:
    """(2 T - 1, K, C): a frame between any two."""
    out = np.repeat(frames.astype(np.float32), 2, 0)[:-1]
    out[1::2] = (frames[:-1].astype(np.float32) + frames[1:]) / 2
    return out


# The choice -----------------------------------------------------------------------------------------------------------


@given(LENGTHS)
def test_usual_texts_are_read_as_they_are_and_nothing_else_is_tried(lengths: list[float]) -> None:
    asked: list[float] = []

    def at(tempo: float) -> Readings:
        asked.append(tempo)
        return read(lengths)

    assert PACE.tempo(at) == 1.0  # no tempo is less surprising than the same texts
    assert (asked == [1.0]) == (surprise(1.0, 0.2, read(lengths)) <= ODDS)


@given(LENGTHS, st.sampled_from(OTHER_TEMPI))
def test_another_tempo_is_taken_only_where_it_is_much_likelier(lengths: list[float], tempo: float) -> None:
    usual = surprise(1.0, 0.2, read(lengths))
    found = PACE.tempo(lambda t: read([1.0] * len(lengths) if t == tempo else lengths))
    assert found == (tempo if usual > ODDS else 1.0)


def test_what_is_not_read_at_all_is_as_surprising_as_can_be() -> None:
    assert surprise(1.0, 0.2, [[]]) == surprise(1.0, 0.2, [[said(90)]]) == MAX_SURPRISE
    assert PACE.tempo(lambda tempo: [[said(3.0)]] if tempo == 1 else [[]]) == 1.0


def test_many_clips_tell_what_one_does_not() -> None:
    lengths = {1.0: 1.3, 0.5: 1.0, 2.0: 2.0}
    assert [PACE.tempo(lambda t, n=n: read([lengths[t]] * n)) for n in (1, 30)] == [1.0, 0.5]  # type: ignore[misc]


def test_a_signer_with_a_pace_of_his_own_is_read_as_he_signs_however_many_clips_there_are() -> None:
    """Signers differ in pace by about as much as their own clips do: a thousand of one are no thousand witnesses."""
    for lengths in ({1.0: 0.8, 0.5: 0.1, 2.0: 0.9}, {1.0: 1.2, 0.5: 1.1, 2.0: 2.0}):
        for count in (1, 10, 1000):
            assert PACE.tempo(lambda t, n=count, of=lengths: read([of[t]] * n)) == 1.0  # type: ignore[misc]


# Clips ----------------------------------------------------------------------------------------------------------------


def test_a_clip_signed_half_as_fast_becomes_the_clip(inputs: Inputs) -> None:
    videos = inputs.videos
    clips = [slowed(videos.clip(i)).astype(np.float16) for i in range(3)]
    few = pick(videos, np.arange(3))
    slow = replace(few, frames=np.concatenate(clips), offsets=np.cumsum([0, *map(len, clips)]))
    usual = at_tempo(slow, np.full(3, 0.5))
    assert usual.ids == few.ids and usual.digest != slow.digest
    for i in range(3):
        np.testing.assert_allclose(usual.clip(i).astype(float), few.clip(i), atol=2e-3)
    assert at_tempo(slow, np.ones(3)) is slow


def signed(signer: str, split: str, count: int, seed: int, slow: bool = False) -> list[KeypointSequence]:
    """Clips of one to three words, of twelve frames each."""
    clips, rng = [], np.random.default_rng(seed)
    for i in range(count):
        words = [str(word) for word in rng.choice(tiny.WORDS, 1 + i % 3, replace=False)]
        frames = tiny.clip(seed + i, 12 * len(words), words)
        x = slowed(frames) if slow else frames
        told = {"split": split, "group": signer, "text": " ".join(words)}
        clips.append(KeypointSequence(f"{signer}_{i}", x[..., :2], x[..., 2], tiny.LAYOUT, **told))
    return clips


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    corpus = Corpus.from_sequences([*signed("a", "train", 30, 0), *signed("b", "dev", 24, 100)])
    params = tiny.params(alignment__training__steps=150)
    torch.manual_seed(0)
    first = SkeletonModel(**params.skeleton.model.model_dump())
    second = TemporalModel(first, **params.temporal.model.model_dump(), window=64)
    texts = {name: str(text) for name, text in zip(corpus.ids, corpus.texts, strict=True)}
    logger = Memory(tmp_path_factory.mktemp("tempo") / "training")
    model = alignment.train(params.alignment, corpus, texts, second, logger, "cased").model
    assert isinstance(model, Translator)
    return model


def test_the_pace_of_held_out_clips_stands_in_the_model(translator: Translator, tmp_path: Path) -> None:
    assert translator.pace is not None and translator.pace.mean == pytest.approx(np.log(36 / 4 / 4), abs=0.4)
    save(translator, tmp_path)
    assert load(tmp_path).pace == translator.pace
    translator_before = json.loads((tmp_path / "config.json").read_text())
    del translator_before["pace"], translator_before["generation"]["tempo"]
    (tmp_path / "config.json").write_text(json.dumps(translator_before))
    earlier = load(tmp_path)
    assert earlier.pace is None and earlier.generation.tempo is None


def test_a_slow_signer_is_read_as_the_others_are(translator: Translator) -> None:
    """Of three signers one signs half as fast: texts, rows and times say so, and only of that one."""
    usual, slow = signed("c", "test", 12, 200), signed("d", "test", 12, 200, slow=True)
    corpus = Corpus.from_sequences([*usual, *slow, *signed("e", "test", 12, 300)])
    params = tiny.params().generate.model_copy(update={"scoring": "cased", "splits": ["test"]})
    rows = {row["id"]: row for row in generate(translator, corpus, {}, params).rows}
    as_they_are = generate(translator, corpus, {}, params.model_copy(update={"tempo": 1.0})).rows
    assert {(name[0], row["tempo"]) for name, row in rows.items()} == {("c", 1.0), ("d", 0.5), ("e", 1.0)}
    assert tempo_facts([*rows.values()]) == {"tempo": "12 of 36 videos are read as signed at 0.5 of training's tempo"}
    assert tempo_facts(as_they_are) == {}
    for row in as_they_are:
        assert row["id"][0] == "d" or row == rows[row["id"]]
    for i in range(12):
        assert rows[f"d_{i}"]["text"] == rows[f"c_{i}"]["text"]
        assert rows[f"d_{i}"]["windows"][-1]["frames"][1] == len(slow[i])
    answers = Predictor(translator).predict(slow, windows=True)
    for i, answer in enumerate(answers):
        assert answer["text"] == rows[f"d_{i}"]["text"] and answer["tempo"] == 0.5
        assert [w["frames"] for w in answer["windows"]] == [w["frames"] for w in rows[f"d_{i}"]["windows"]]
    assert all("tempo" not in answer for answer in Predictor(translator).predict(usual))


def test_a_tempo_that_is_told_is_that_of_all(translator: Translator) -> None:
    corpus = Corpus.from_sequences(signed("d", "test", 2, 200, slow=True))
    params = tiny.params().generate.model_copy(update={"scoring": "cased", "splits": ["test"], "tempo": 0.5})
    assert [row["tempo"] for row in generate(translator, corpus, {}, params).rows] == [0.5, 0.5]
