"""Clips longer than training saw: in windows, of which each gets the text that it gets as a clip of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sign_models.data.corpus import Corpus
from sign_models.keypoints.layouts import CANONICAL, PARTS, PLACE
from sign_models.keypoints.sequence import KeypointSequence, from_canonical
from sign_models.keypoints.windows import MARGIN_FRAMES, MIN_REST_FRAMES, split_into_windows
from sign_models.models.temporal import TemporalModel
from sign_models.models.translator import Hypothesis, Translator, join_windows
from sign_models.params import load
from sign_models.params.schema import GenerateParams
from sign_models.serving.predictor import BATCH_FRAMES, Predictor
from sign_models.stages.generate import generate
from sign_models.stages.represent import represent
from tests.models import clips

HANDS = [*range(*PARTS["left_hand"].indices(99)), *range(*PARTS["right_hand"].indices(99))]
HANDS += [PLACE["body.left_wrist"], PLACE["body.right_wrist"]]
SHOULDERS = [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]]
FPS = 25.0
HOUR = 100_000


def sentence(frames: int, seed: int) -> np.ndarray:
    """(T, K, 3) float16, normalised: hands that move before the chest, MARGIN frames after and before they hang."""
    rng = np.random.default_rng(seed)
    clip = np.ones((frames, len(CANONICAL), 3), np.float16)
    clip[..., :2] = np.random.default_rng(0).uniform(-0.3, 0.3, (len(CANONICAL), 2))
    clip[:, SHOULDERS, :2] = [[0.5, 0], [-0.5, 0]]
    clip[:, HANDS, :2] *= 0.2
    clip[:, HANDS, :2] += 0.6 + 0.5 * np.tanh(rng.normal(0, 0.2, (frames, 1, 2)).cumsum(0))
    clip[:MARGIN_FRAMES, HANDS, 1] = clip[-MARGIN_FRAMES:, HANDS, 1] = 1.7
    return clip


def rest(frames: int) -> np.ndarray:
    return np.repeat(sentence(MARGIN_FRAMES, 0)[:1], frames, 0)


def corpus(**named: np.ndarray) -> Corpus:
    return Corpus.from_sequences(replace(from_canonical(name, clip), fps=FPS) for name, clip in named.items())


def params(**given: object) -> GenerateParams:
    return load.resolve(sets={f"generate.{name}": str(value) for name, value in given.items()}).generate


@pytest.fixture(scope="module")
def translator() -> Translator:
    """Random, and writes another text for nearly every clip; its window is 64 frames."""
    model = clips.translator()
    torch.manual_seed(1)
    of_depth = {id(weights) for weights in model.temporal.skeleton.parts.depth.values()}  # which these clips lack
    for weights in (weights for weights in model.temporal.parameters() if id(weights) not in of_depth):
        torch.nn.init.normal_(weights, std=3 / weights.shape[-1] ** 0.5 if weights.ndim > 1 else 0.0)
    model.alignment.ctc.weight.data *= 20
    model.generation = replace(model.generation, ctc_weight=1.0)
    return model


FIRST, SECOND, THIRD = sentence(50, 1), sentence(60, 2), sentence(45, 3)
LONG = np.concatenate([FIRST, rest(MIN_REST_FRAMES), SECOND, rest(100), THIRD])


def test_a_clip_of_sentences_and_rests_gets_the_texts_of_the_sentences(translator: Translator) -> None:
    alone = generate(translator, corpus(a=FIRST, b=SECOND, c=THIRD), {}, params()).rows
    [together] = generate(translator, corpus(long=LONG), {}, params()).rows
    assert len({row["text"] for row in alone}) == 3
    assert [w["text"] for w in together["windows"]] == [row["text"] for row in alone]
    assert together["text"] == " ".join(row["text"] for row in alone if row["text"])
    weights = [len(clip) / 155 for clip in (FIRST, SECOND, THIRD)]
    assert together["score"] == pytest.approx(sum(w * row["score"] for w, row in zip(weights, alone, strict=True)))
    assert [w["frames"] for w in together["windows"]] == [[0, 50], [66, 126], [226, 271]]
    assert [(w["start"], w["end"]) for w in together["windows"]] == [(0.0, 2.0), (2.64, 5.04), (9.04, 10.84)]


def test_a_long_clip_changes_no_other_clips_row_and_whole_clips_are_one_window(translator: Translator) -> None:
    short = {f"short_{i}": sentence(20 + 11 * i, i) for i in range(5)}
    without = generate(translator, corpus(**short), {}, params()).rows
    beside = generate(translator, corpus(long=LONG, **short), {}, params()).rows
    assert beside[1:] == without
    for row, clip in zip(without, short.values(), strict=True):
        [window] = row["windows"]
        assert window["frames"] == [0, len(clip)]
        assert (window["text"], window["score"]) == (row["text"], row["score"])
    whole = generate(translator, corpus(**short), {}, params(window=1000)).rows
    assert whole == without


def test_the_window_is_what_params_say(translator: Translator) -> None:
    long = corpus(long=LONG)
    for window in (30, 64, len(LONG)):
        [row] = generate(translator, long, {}, params(window=window)).rows
        spans = [w["frames"] for w in row["windows"]]
        assert max(end - begin for begin, end in spans) <= window
        assert (len(spans) == 1) == (window == len(LONG))


def sequence(clip: np.ndarray, fps: float | None = FPS) -> KeypointSequence:
    return replace(from_canonical("clip", clip), fps=fps)


def test_the_served_model_answers_as_generate_does(translator: Translator) -> None:
    [row] = generate(translator, corpus(long=LONG), {}, params()).rows
    served = Predictor(translator)
    [plain] = served.predict([sequence(LONG)])
    short, named, unknown = served.predict([sequence(FIRST), sequence(LONG), sequence(LONG, None)], windows=True)
    assert plain == {"text": row["text"], "score": pytest.approx(row["score"], abs=1e-5)}
    strict = [{**w, "score": pytest.approx(w["score"], abs=1e-5)} for w in row["windows"]]
    assert named == {**plain, "windows": strict}
    assert [w["frames"] for w in short["windows"]] == [[0, len(FIRST)]]
    assert [w["start"] for w in unknown["windows"]] == [None] * 3 and unknown["text"] == plain["text"]
    [several] = served.predict([sequence(LONG)], n_best=3)
    assert several["n_best"][0] == {"text": several["text"], "score": several["score"]}
    scores = [found["score"] for found in several["n_best"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def test_the_served_temporal_model_represents_as_the_stage_does() -> None:
    model = clips.temporal()
    arrays = dict(represent(model, corpus(short=FIRST, long=LONG), 100))
    answers = Predictor(model).predict([sequence(FIRST), sequence(LONG)])
    for answer, clip, array in zip(answers, (FIRST, LONG), (arrays["short"], arrays["long"]), strict=True):
        assert array.shape == (-(-len(clip) // clips.STRIDE), clips.WIDTH)
        assert np.allclose(answer["representation"], array, atol=1e-5)
    cut = split_into_windows(LONG, model.window, model.stride)
    parts = dict(represent(model, corpus(**{str(i): LONG[w.begin : w.end] for i, w in enumerate(cut)}), 100))
    assert len(parts) > 3
    assert np.allclose(np.concatenate([parts[str(i)] for i in range(len(cut))]), arrays["long"], atol=1e-5)


def test_of_an_hour_no_more_is_read_at_once_than_of_short_clips(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models' memory is that of their batches; `python -m benchmarks.long` measures it."""
    frames: list[int] = []

    def encode(self: Any, x: Tensor, mask: Tensor, masked: Tensor | None = None) -> tuple[Tensor, Tensor]:
        frames.append(mask.numel())
        kept = mask[:, :: clips.STRIDE]
        return torch.zeros(*kept.shape, clips.WIDTH), kept

    monkeypatch.setattr(TemporalModel, "encode", encode)
    turns = [sentence(40, 1), rest(40), sentence(200, 2)]
    long = np.tile(np.concatenate(turns), (-(-HOUR // sum(map(len, turns))), 1, 1))[:HOUR]
    hour = corpus(hour=long)
    [(_, array)] = represent(translator.temporal, hour, 4096)
    assert array.shape == (HOUR // clips.STRIDE, clips.WIDTH) and max(frames) <= 4096
    frames.clear()
    quick = replace(translator.generation, beams=1, max_length=1)
    monkeypatch.setattr(translator, "generation", quick)
    [row] = generate(translator, hour, {}, params(batch_size=8)).rows
    assert max(frames) <= 4096 and len(row["windows"]) > HOUR / 64 / 2
    frames.clear()
    [answer] = Predictor(translator).predict([sequence(long)], windows=True)
    assert answer["text"] == row["text"] and len(answer["windows"]) == len(row["windows"])
    assert max(frames) <= BATCH_FRAMES


def hypotheses(*texts: str) -> list[Hypothesis]:
    return [Hypothesis(text, -float(i)) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (("tea please", "", "now"), "tea please now"),
        (("请给我茶。", "现在"), "请给我茶。现在"),
        (("お茶", "ください"), "お茶ください"),
        (("차 주세요", "지금"), "차 주세요 지금"),
        (("", ""), ""),
    ],
)
def test_texts_are_joined_as_their_script_is_written(texts: tuple[str, ...], text: str) -> None:
    [best] = join_windows([hypotheses(t) for t in texts], [10] * len(texts))
    assert best.text == text


def test_the_best_of_windows_are_those_of_all_their_combinations() -> None:
    first, second = hypotheses("a", "b"), hypotheses("c", "d", "e")
    found = join_windows([first, second], [30, 10], 4)
    assert [h.text for h in found] == ["a c", "a d", "a e", "b c"]
    assert [h.score for h in found] == [0.0, -0.25, -0.5, -0.75]
    assert join_windows([second], [10], 2) == second[:2]
