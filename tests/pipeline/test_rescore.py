"""Versions that are scored again are scored on the same clips, and on none that either was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sign_models.pipeline.rescore as rescore
from sign_models.data.corpus import Corpus
from sign_models.data.splits import hold_out
from sign_models.datasets.inputs import Inputs
from sign_models.errors import DataError
from sign_models.keypoints.example import example_clips
from sign_models.params import load
from sign_models.tracking.registered.registration import register
from sign_models.tracking.registered.registry import ModelRef
from sign_models.tracking.runs import stage_run
from tests.tracking import fakes
from tests.tracking.conftest import excerpt, tracking  # noqa: F401
from tests.tracking.conftest import fakes as faked  # noqa: F401

pytestmark = pytest.mark.usefixtures("tracking", "faked")
Train = Callable[..., ModelRef]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Registers a version whose run recorded these params."""

    def train(stage: str, params: dict[str, object], fields: dict[str, str], upstream: dict[str, ModelRef]) -> ModelRef:
        with stage_run(stage) as run:
            run.log_params(params)
            tags = {"sign.fingerprint.fields": json.dumps(fields)}
            folder = fakes.write(tmp_path / "out", stage, float(len(fields) + sum(map(len, params))))
            return register(run, stage, folder, metrics={}, upstream=upstream, tags=tags, step=1)

    return train


def corpus(splits: str | None = "train", clips: int = 40) -> Corpus:
    example = example_clips()[0]
    named = [replace(example, id=f"clip {i}", split=splits, text=f"word {i}") for i in range(clips)]
    return Corpus.from_sequences(named, "a test")


@pytest.mark.parametrize("stage", ["skeleton", "temporal", "alignment", "translator"])
def test_clips_that_either_trained_on_are_left_out(train: Train, stage: str) -> None:
    videos, texts = corpus(), [f"word {i}" for i in range(40)]
    own = "alignment" if stage == "translator" else stage
    versions = []
    for seed in (3, 4):
        recorded = {f"{own}.training.seed": seed} | ({f"{own}.validation": 0.5} if own != "alignment" else {})
        made = train(own, recorded, {}, {})
        versions.append(train("translator", {}, {}, {"alignment": made}) if stage == "translator" else made)
    share = 0.1 if own == "alignment" else 0.5
    found = [hold_out(videos, share, seed, texts) for seed in (3, 4)]
    trained = {*found[0].train, *found[1].train}
    if len(trained) == len(videos):
        with pytest.raises(DataError, match="all not trained on.*data=DIR"):
            rescore.common_held_out(versions, videos, texts)
        return
    chosen = rescore.common_held_out(versions, videos, texts)
    assert len(chosen) and not trained & {*chosen}
    default = hold_out(videos, load.resolve().skeleton.validation, 0, texts)
    assert not np.array_equal(chosen, default.validation)


def test_clips_of_dev_are_taken_where_there_are_any(train: Train) -> None:
    versions = [train("skeleton", {"skeleton.training.seed": seed}, {}, {}) for seed in (3, 4)]
    videos = corpus()
    videos.splits[5] = videos.splits[7] = "dev"
    assert rescore.common_held_out(versions, videos, None).tolist() == [5, 7]


def test_versions_are_scored_on_the_splits_that_both_were_scored_on(train: Train) -> None:
    def version(splits: str) -> ModelRef:
        return train("translator", {}, {"params.generate.splits": splits}, {})

    both = version("['dev', 'test']")
    assert rescore.own_splits((both, version("dev"))) == ["dev"]
    assert rescore.own_splits((both, version("[]"))) == []
    assert rescore.own_splits((both, train("translator", {}, {}, {}))) == []


def test_texts_without_test_and_dev_are_those_that_both_held_out(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = []
    for seed in (3, 3):
        made = train("alignment", {"alignment.training.seed": seed}, {}, {})
        versions.append(train("translator", {}, {}, {"alignment": made}))
    inputs = Inputs(None, None, None)
    inputs.__dict__.update(_videos_and_splitting=(corpus(), ""), texts={f"clip {i}": f"word {i}" for i in range(40)})
    asked = []

    class Answer:
        def metrics(self) -> dict[str, float]:
            return {"dev/chrf": 1.0}

    def translate(version: ModelRef, videos: Corpus, texts: dict, params: object, splits: list[str]) -> Answer:
        asked.append(([i for i, split in enumerate(videos.splits) if split == "dev"], splits))
        return Answer()

    monkeypatch.setattr(rescore, "translate", translate)
    params = load.resolve().generate
    assert [rescore.score_again(v, versions, inputs, params) for v in versions] == [{"dev/chrf": 1.0}] * 2
    held_out = hold_out(corpus(), 0.1, 3, [f"word {i}" for i in range(40)])
    assert asked == [(held_out.validation.tolist(), ["dev"])] * 2
    assert not any(inputs.videos.splits[i] == "dev" for i in range(40))  # the inputs stay as they are
