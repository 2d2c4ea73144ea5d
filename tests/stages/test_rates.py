"""Frame rates from the files to the answers: the rate stands in every model, and what is asked is brought to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sign_models.data.corpus import Corpus
from sign_models.datasets.inputs import Inputs
from sign_models.errors import UpstreamError
from sign_models.keypoints.resample import frame_step
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.storage import load, save
from sign_models.models.temporal import TemporalModel
from sign_models.models.translator import Translator
from sign_models.serving.predictor import Predictor
from sign_models.stages import alignment, skeleton, temporal
from sign_models.stages.generate import generate
from sign_models.stages.represent import represent
from tests import tiny
from tests.stages.recorders import Memory

RATE = 25.0


def sequence(name: str, frames: np.ndarray, fps: float | None, **known: Any) -> KeypointSequence:
    return KeypointSequence(name, frames[..., :2], frames[..., 2], tiny.LAYOUT, fps=fps, **known)


def filmed(fps: float, seed: int = 3, seconds: float = 2.0, words: tuple[str, ...] = ("tea", "now")) -> np.ndarray:
    """(T, K, 3): the same movement whatever the rate, of tiny's words, filmed at `fps`, a divisor of 30."""
    frames = tiny.clip(seed, round(seconds * 5) + 1, words)
    frames[..., 2] = 1
    at = np.arange(round(seconds * 30) + 1) / 6
    low = np.minimum(at.astype(int), len(frames) - 2)
    smooth = frames[low] + (at - low)[:, None, None] * (frames[low + 1] - frames[low])
    return smooth[:: round(30 / fps)].astype(np.float32)


@pytest.fixture(scope="module")
def trained(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """All three models of clips at 50 and 25 frames a second, half of them each, and none of the first's told."""
    params, folder = tiny.params(), tmp_path_factory.mktemp("rates")
    loggers = [Memory(folder / name) for name in ("first", "second", "third")]
    names = {row["id"]: row for row in tiny.texts()}
    clips = []
    for i, (name, frames) in enumerate(tiny.videos().items()):
        split = names[name]["split"] if name in names else "train"
        doubled = np.repeat(frames, 2, 0)[:-1]
        clips.append(sequence(name, doubled if i % 2 else frames, 50.0 if i % 2 else RATE, split=split))
    videos = Corpus.from_sequences(clips)
    first = skeleton.train(params.skeleton, inputs.keypoints, loggers[0], RATE)
    second = temporal.train(params.temporal, videos, first.model, loggers[1], RATE)  # type: ignore[arg-type]  # a skeleton
    third = alignment.train(params.alignment, videos, inputs.texts, second.model, loggers[2], "cased")  # type: ignore[arg-type]
    return SimpleNamespace(videos=videos, first=first, second=second, third=third, params=params)


def test_the_rate_stands_in_the_models_whose_clips_told_theirs(trained: SimpleNamespace, tmp_path: Path) -> None:
    rates = [getattr(trained, name).model.fps for name in ("first", "second", "third")]
    assert rates == [None, RATE, RATE]
    told = [getattr(trained, name).facts.get("frame_rate", "") for name in ("first", "second", "third")]
    assert "10 tell no frame rate" in told[0] and all("10 are brought to it from 50" in text for text in told[1:])
    for name in ("first", "second", "third"):
        model = getattr(trained, name).model
        save(model, tmp_path / name)
        assert load(tmp_path / name).fps == model.fps
    assert json.loads((tmp_path / "third" / "config.json").read_text())["temporal"]["fps"] == RATE


def test_a_trained_model_reads_the_same_at_any_rate(trained: SimpleNamespace) -> None:
    """Every second frame, declared at half the rate: the same text, as surely, and vectors nearly the same."""
    told, untold = [], []
    for seed in range(6):
        words = (tiny.WORDS[seed], tiny.WORDS[(seed + 2) % 6])
        frames = {fps: filmed(fps, seed, words=words) for fps in (30.0, 15.0, 10.0)}
        asked = [sequence("clip", values, fps) for fps, values in frames.items()]
        first, *others = Predictor(trained.third.model).predict(asked)
        assert first["text"] and {answer["text"] for answer in others} == {first["text"]}
        told += [abs(answer["score"] - first["score"]) for answer in others]
        without = Predictor(trained.third.model).predict([replace(clip, fps=None) for clip in asked[1:]])
        untold += [abs(answer["score"] - first["score"]) for answer in without]
        vectors = [np.array(a["representation"]) for a in Predictor(trained.second.model).predict(asked)]
        assert vectors[0].shape == vectors[1].shape == vectors[2].shape
        for other in vectors[1:]:
            assert np.abs(other - vectors[0]).max() < 0.1 * np.abs(vectors[0]).max()
    assert np.mean(told) < 0.5 * np.mean(untold)  # to say the rate is what makes them alike


def test_all_ways_to_a_text_resample_alike(trained: SimpleNamespace, inputs: Inputs) -> None:
    """Generation of a corpus, of its representations, and a request give one text and one set of times."""
    params = trained.params.generate.model_copy(update={"scoring": "cased", "splits": ["test"]})
    model = trained.third.model
    rows = generate(model, trained.videos, inputs.texts, params).rows
    names = {row["id"]: row for row in tiny.texts()}
    for row in rows:
        i = list(tiny.videos()).index(row["id"])
        frames = tiny.videos()[row["id"]]
        frames, fps = (np.repeat(frames, 2, 0)[:-1], 50.0) if i % 2 else (frames, RATE)
        [answer] = Predictor(model).predict([sequence(row["id"], frames, fps)], windows=True)
        assert answer["text"] == row["text"] and names[row["id"]]["split"] == "test"
        assert [w["frames"] for w in answer["windows"]] == [w["frames"] for w in row["windows"]]
        assert row["windows"][0]["start"] == 0 and row["windows"][-1]["frames"][1] == len(frames)
        assert row["windows"][-1]["end"] == round(len(frames) / fps, 3)
    stored = dict(represent(trained.second.model, trained.videos, 4096))
    for i, name in enumerate(trained.videos.ids):
        length, step = int(trained.videos.lengths[i]), frame_step(trained.videos.fps[i], RATE)
        assert len(stored[name]) == -(-(round((length - 1) / step) + 1) // trained.second.model.stride)


@pytest.mark.parametrize("fps", [10.0, 15.0, 50.0, 120.0])
def test_times_of_a_long_clip_are_its_own(trained: SimpleNamespace, fps: float) -> None:
    """Windows meet, cover the clip in its own frames, and lie where they lie at the model's rate."""
    model = trained.third.model
    long = np.concatenate([tiny.clip(seed, 40, tiny.WORDS[:2]) for seed in range(4)])
    long[..., 2] = 1
    at = np.arange(0, len(long) - 1, RATE / fps).astype(int)
    [whole] = Predictor(model).predict([sequence("long", long, RATE)], windows=True)
    [answer] = Predictor(model).predict([sequence("long", long[at], fps)], windows=True)
    frames = [w["frames"] for w in answer["windows"]]
    assert len(frames) > 2 and frames[0][0] == 0 and frames[-1][1] == len(at)
    for w in answer["windows"]:
        assert [w["start"], w["end"]] == [round(n / fps, 3) for n in w["frames"]]
    assert answer["windows"][-1]["end"] == pytest.approx(whole["windows"][-1]["end"], abs=2 / min(fps, RATE))
    limit = model.generation.window / RATE
    assert all(w["end"] - w["start"] <= limit + 1 / min(fps, RATE) for w in answer["windows"])


def test_a_clip_of_unknown_rate_is_read_as_it_is(trained: SimpleNamespace) -> None:
    model = trained.third.model
    x = filmed(30.0)
    plain = Translator(model.temporal, model.alignment, model.tokenizer, model.generation, model.finetuned)
    plain.confidence = model.confidence
    try:
        with_rate = Predictor(model).predict([sequence("clip", x, None)], windows=True)
        plain.temporal.fps = None
        without = Predictor(plain).predict([sequence("clip", x, None)], windows=True)
        told = Predictor(plain).predict([sequence("clip", x, 30.0)])
    finally:
        model.temporal.fps = RATE
    assert with_rate == without and with_rate[0]["windows"][0]["start"] is None
    assert told[0]["text"] == without[0]["text"] and told[0]["score"] == without[0]["score"]


def test_models_without_a_rate_are_read_and_read_clips_as_they_are(trained: SimpleNamespace, tmp_path: Path) -> None:
    save(trained.third.model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["temporal"]["fps"], config["temporal"]["skeleton"]["fps"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load(tmp_path)
    assert model.fps is None
    told, untold = (Predictor(model).predict([sequence("clip", filmed(15.0), fps)])[0] for fps in (15.0, None))
    assert told["text"] == untold["text"] and told["score"] == untold["score"]


@pytest.mark.parametrize("fps", [0, -25, 1e9, "fast", True])
@pytest.mark.parametrize("where", ["temporal", "skeleton"])
def test_a_rate_to_which_nothing_can_be_brought_is_refused(
    trained: SimpleNamespace, tmp_path: Path, fps: object, where: str
) -> None:
    save(trained.second.model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (config if where == "temporal" else config["skeleton"])["fps"] = fps
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UpstreamError):
        load(tmp_path)


def test_a_model_below_decides_the_rate(inputs: Inputs, tmp_path: Path) -> None:
    params, logger = tiny.params(temporal__training__steps=1), Memory(tmp_path / "training")
    first = SkeletonModel(**params.skeleton.model.model_dump(), fps=30.0)
    model = temporal.train(params.temporal, inputs.videos, first, logger, RATE).model
    assert isinstance(model, TemporalModel) and model.fps == 30.0
    assert any("30 frames a second" in note for note in logger.notes)


def test_clips_that_tell_no_rate_train_the_model_that_they_trained_before(inputs: Inputs, tmp_path: Path) -> None:
    """Asked for a rate or for none: to the bit the same weights."""
    params, unknown = tiny.params(), replace(inputs.videos, fps=[None] * len(inputs.videos))
    made = []
    for fps in (None, RATE):
        torch.manual_seed(1)
        first = SkeletonModel(**params.skeleton.model.model_dump())
        made.append(temporal.train(params.temporal, unknown, first, Memory(tmp_path / str(fps)), fps).model)
    weights = [model.state_dict() for model in made]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert [model.fps for model in made] == [None, None]
