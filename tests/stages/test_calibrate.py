"""A confidence that is fitted on held-out clips: when it is, what it changes, and what it must not change."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sign_models.data.corpus import Corpus
from sign_models.data.windows import split_long_clips
from sign_models.errors import UpstreamError
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.models.confidence import FEATURES, Confidence
from sign_models.models.storage import load, save
from sign_models.models.translator import Hypothesis, Translator
from sign_models.serving.predictor import Predictor
from sign_models.stages.calibrate import MIN_CLIPS, MIN_RIGHT, Calibrated, Examples, calibrate
from sign_models.stages.generate import Generated, generate
from tests.stages.recorders import Memory
from tests.stages.test_long import LONG, corpus, params, sentence, sequence
from tests.stages.test_long import translator as fresh  # noqa: F401

CLIPS = 40


@pytest.fixture
def translator(fresh: Translator) -> Translator:  # noqa: F811
    """One that nothing else changes."""
    made = Translator(fresh.temporal, fresh.alignment, fresh.tokenizer, fresh.generation, True)
    return made.eval()


def short(count: int = CLIPS) -> Corpus:
    named = {f"clip_{i}": sentence(20 + i, i) for i in range(count)}
    made = corpus(**named)
    return replace(made, splits=["dev"] * count)


def examples(model: Translator, count: int = CLIPS, right: Callable[[int], bool] = lambda i: i % 2 == 0) -> Examples:
    """Clips, and references by which every second text is right."""
    clips = short(count)
    rows = generate(model, clips, {}, params()).rows
    references = [row["text"] if right(i) and row["text"] else "never said" for i, row in enumerate(rows)]
    cut = split_long_clips(clips, np.arange(count), model.generation.window)
    from sign_models.data.batching import DeviceCorpus
    from sign_models.stages.reading import best_of, by_window

    frames = DeviceCorpus(cut.corpus, next(model.parameters()).device)
    found = dict(by_window(model, frames, cut, np.arange(count), best_of(model, model.generation), 4096))
    return Examples(clips, np.arange(count), cut, found, references, "cased")


@pytest.fixture
def calibrated(translator: Translator) -> tuple[Translator, Calibrated]:
    return translator, calibrate(translator, examples(translator), True)


def told(result: Calibrated, tmp_path: Path) -> dict[str, float]:
    recorder = Memory(tmp_path)
    result.report(recorder, 7)
    return {name.removeprefix("validation/"): points[7] for name, points in recorder.points.items()}


# When -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "right", "held_out", "said"),
    [
        (CLIPS, lambda i: True, False, "no clip is held out"),
        (MIN_CLIPS - 1, lambda i: True, True, f"of {MIN_CLIPS - 1} held-out clips"),
        (CLIPS, lambda i: i < MIN_RIGHT - 1, True, f"wanted at least {MIN_RIGHT} of {MIN_CLIPS}"),
    ],
)
def test_where_clips_are_no_others_or_too_few_nothing_changes_and_it_is_said(
    translator: Translator, tmp_path: Path, count: int, right: Callable[[int], bool], held_out: bool, said: str
) -> None:
    before = translator.generation
    found = calibrate(translator, examples(translator, count, right), held_out)
    assert said in found.note and "not calibrated" in found.note
    assert translator.confidence is None and translator.generation == before
    assert told(found, tmp_path) == {"calibrated": 0.0}


def test_alignment_fits_nothing_on_three_clips_and_records_it(train: Callable, tmp_path: Path) -> None:
    recorder = Memory(tmp_path / "x")
    model = train("alignment", recorder, alignment__training__steps=2).model
    assert model.confidence is None and model.generation.reject_below == 0
    assert list(recorder.points["validation/calibrated"].values()) == [0.0]


def test_what_is_fitted_is_reported(calibrated: tuple[Translator, Calibrated], tmp_path: Path) -> None:
    model, found = calibrated
    figures = told(found, tmp_path)
    assert model.confidence is not None and figures["calibrated"] == 1.0
    assert model.generation.reject_below == figures["reject_below"] > 0
    assert {"coverage", "aurc", "ece", "false_accepts", "groundedness"} <= figures.keys()
    assert figures["false_accepts"] <= 0.02


def test_the_same_model_and_clips_give_the_same_confidence(translator: Translator) -> None:
    fitted = []
    for _ in range(2):
        translator.confidence = None
        calibrate(translator, examples(translator), True)
        fitted.append((translator.confidence, translator.generation))
    assert fitted[0] == fitted[1]


# What it must not change ----------------------------------------------------------------------------------------------


def without_confidence(found: Generated) -> list[dict]:
    drop = ("confidence", "unsure")
    rows = [{k: v for k, v in row.items() if k not in drop} for row in found.rows]
    for row in rows:
        row["windows"] = [{k: v for k, v in window.items() if k not in drop} for window in row["windows"]]
    return rows


@pytest.mark.parametrize("below", [None, 0, 0.5, 1])
def test_texts_and_scores_of_generate_are_those_without_confidence(translator: Translator, below: float | None) -> None:
    clips, asked = short(), params(splits="dev")
    texts = {name: f"tea {i % 3}" for i, name in enumerate(clips.ids)}
    before = generate(translator, clips, texts, asked)
    assert "confidence" not in before.rows[0] and "unsure" not in before.rows[0]["windows"][0]
    calibrate(translator, examples(translator), True)
    after = generate(translator, clips, texts, asked.model_copy(update={"reject_below": below}))
    assert without_confidence(after) == before.rows and after.scores == before.scores
    limit = translator.generation.reject_below if below is None else below
    assert all(row["unsure"] == (not row["text"] or row["confidence"] < limit) for row in after.rows)
    measured = after.reliability["dev"]
    assert measured.coverage == np.mean([not row["unsure"] for row in after.rows])
    assert ("false_accepts" in measured.metrics()) == (limit > 0)
    assert after.report("cased")["reliability"]["dev"]["reject_below"] == limit
    assert after.metrics()["dev/coverage"] == measured.coverage and "dev/chrf" in after.metrics()


def test_with_a_threshold_of_one_nothing_is_accepted_and_no_precision_is_told(translator: Translator) -> None:
    clips = short()
    found = generate(translator, clips, dict.fromkeys(clips.ids, "tea"), params(splits="dev", reject_below=1))
    figures = found.reliability["dev"].metrics()
    assert figures["coverage"] == 0 and figures["false_accepts"] == 0 and "precision_accepted" not in figures


def test_clips_without_signing_of_every_kind_are_counted(calibrated: tuple[Translator, Calibrated]) -> None:
    model, _ = calibrated
    clips = short()
    found = generate(model, clips, dict.fromkeys(clips.ids, "tea"), params(splits="dev", reject_below=1e-9))
    kinds = found.reliability["dev"].by_kind
    assert {*kinds} == {"still", "shuffled", "noise", "hands_down", "walking", "fidgeting"}
    assert (
        found.reliability["dev"].false_accepts == pytest.approx(np.mean([*kinds.values()])) and max(kinds.values()) > 0
    )


# What is served -------------------------------------------------------------------------------------------------------


def test_what_is_rejected_is_a_guess_and_what_is_not_is_the_text(calibrated: tuple[Translator, Calibrated]) -> None:
    model, _ = calibrated
    clips = [sequence(sentence(20 + i, i)) for i in range(12)]
    served = Predictor(model)
    open_answers = served.predict(clips, reject_below=0)
    limit = float(np.median([a["confidence"] for a in open_answers]))
    answers = served.predict(clips, reject_below=limit, windows=True)
    assert 0 < sum(a["unsure"] for a in answers) < len(answers)
    for plain, answer in zip(open_answers, answers, strict=True):
        assert answer["confidence"] == plain["confidence"] and answer["score"] == plain["score"]
        assert answer["unsure"] == (not plain["text"] or plain["confidence"] < limit)
        assert (answer["text"], answer.get("guess")) == (
            ("", plain["text"]) if answer["unsure"] else (plain["text"], None)
        )
        [window] = answer["windows"]
        assert (window["text"], window["unsure"]) == (answer["text"], answer["unsure"])
    model.generation = replace(model.generation, reject_below=limit)
    assert served.predict(clips, windows=True) == answers  # the model's own limit


def test_of_a_long_clip_the_windows_that_are_not_sure_are_left_out(calibrated: tuple[Translator, Calibrated]) -> None:
    model, _ = calibrated
    served = Predictor(model)
    [plain] = served.predict([sequence(LONG)], reject_below=0, windows=True)
    sure = sorted(w["confidence"] for w in plain["windows"])
    assert plain["confidence"] == sure[0] and len(set(sure)) == 3
    [answer] = served.predict([sequence(LONG)], reject_below=sure[1], windows=True)
    assert answer["unsure"] and answer["guess"] == plain["text"]
    assert [w["unsure"] for w in answer["windows"]] == [w["confidence"] < sure[1] for w in plain["windows"]]
    assert answer["text"] == " ".join(w["text"] for w in plain["windows"] if w["confidence"] >= sure[1])


def test_a_model_without_a_confidence_answers_as_before_and_rejects_where_it_is_told_to(translator: Translator) -> None:
    served, clip = Predictor(translator), sequence(sentence(40, 1))
    [plain] = served.predict([clip], windows=True)
    assert plain.keys() == {"text", "score", "windows"} and "unsure" not in plain["windows"][0]
    [answer] = served.predict([clip], reject_below=1.0)
    assert (answer["text"], answer["guess"], answer["unsure"]) == ("", plain["text"], True)


# On disk --------------------------------------------------------------------------------------------------------------


def test_confidence_and_threshold_are_saved_and_loaded(
    calibrated: tuple[Translator, Calibrated], tmp_path: Path
) -> None:
    model, _ = calibrated
    save(model, tmp_path)
    again = load(tmp_path)
    assert again.confidence == model.confidence and again.generation == model.generation
    clip = [sequence(sentence(40, 1))]
    assert Predictor(again).predict(clip) == Predictor(model).predict(clip)


def test_a_translator_of_before_is_loaded_and_answers_as_before(translator: Translator, tmp_path: Path) -> None:
    save(translator, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert "confidence" not in config
    del config["generation"]["reject_below"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    clip = [sequence(sentence(40, 1))]
    assert Predictor(load(tmp_path)).predict(clip) == Predictor(translator).predict(clip)


@pytest.mark.parametrize("change", ["other", "more", "less"])
def test_a_confidence_of_other_features_is_refused(
    calibrated: tuple[Translator, Calibrated], tmp_path: Path, change: str
) -> None:
    save(calibrated[0], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    column = config["confidence"]["weights"]
    if change != "more":
        del column["ctc"]
    if change != "less":
        column["hue"] = 1.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UpstreamError, match="another version"):
        load(tmp_path)


# Evidence -------------------------------------------------------------------------------------------------------------


def test_evidence_does_not_depend_on_what_else_is_in_the_batch(translator: Translator) -> None:
    clips: list[KeypointSequence] = [sequence(sentence(20 + 7 * i, i)) for i in range(5)]
    translator.confidence = Confidence(*[tuple(np.linspace(0.1, 1, len(FEATURES)).tolist())] * 3, 0.0)
    together = Predictor(translator).predict(clips)
    alone = [Predictor(translator).predict([clip])[0] for clip in clips]
    assert [a["text"] for a in together] == [a["text"] for a in alone]
    assert [a["confidence"] for a in together] == pytest.approx([a["confidence"] for a in alone], abs=1e-4)


def test_one_beam_has_no_margin_and_every_value_is_a_number(translator: Translator) -> None:
    for beams in (1, 3):
        translator.generation = replace(translator.generation, beams=beams, ctc_weight=0.0)
        found = generate(translator, short(8), {}, params())
        assert len(found.rows) == 8
        y = examples(translator, 8).found
        values = np.array([hypothesis.evidence for hypothesis in y.values()])
        assert values.shape == (8, len(FEATURES)) and np.isfinite(values).all()
        margin = values[:, FEATURES.index("margin")]
        assert (margin == 0).all() if beams == 1 else (margin >= 0).all() and margin.any()


def test_no_text_is_never_sure() -> None:
    assert Hypothesis("", 0.0, 0.99).sureness == 0.0
    assert Hypothesis("tea", 0.0).sureness == 1.0 and Hypothesis("tea", 0.0, 0.2).sureness == 0.2
