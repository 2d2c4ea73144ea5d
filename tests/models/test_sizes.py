"""The presets of size, counted without making a weight."""

from __future__ import annotations

import pytest
import torch

from sign_models.models.alignment import AlignmentModel
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.models.text.decoder import TextDecoder
from sign_models.params import load
from sign_models.params.schema import PipelineParams

VOCABULARY = 100  # a few words: what the tables of the vocabulary add depends on the texts
SIZES = {"tiny": 1, "small": 4, "base": 25, "large": 150}  # million weights of the translator, all stages in it


def weights(params: PipelineParams) -> int:
    with torch.device("meta"):
        temporal = TemporalModel(
            SkeletonModel(**params.skeleton.model.model_dump()), **params.temporal.model.model_dump(), window=64
        )
        d = params.alignment.decoder
        text = TextDecoder(VOCABULARY, d.width, d.layers, d.heads, d.dropout)
        alignment = AlignmentModel(temporal.width, VOCABULARY, text)
    return sum(p.numel() for model in (temporal, alignment) for p in model.parameters())


@pytest.mark.parametrize("preset", SIZES)
def test_a_preset_has_about_the_weights_it_says(preset: str) -> None:
    assert weights(load.resolve(preset=preset)) / 1e6 == pytest.approx(SIZES[preset], rel=0.1)


@pytest.mark.parametrize("preset", SIZES)
def test_a_preset_changes_sizes_alone_and_not_the_recipe(preset: str) -> None:
    plain, sized = (load.flatten(load.resolve(preset=name), "p") for name in ("", preset))
    changed = {name.removeprefix("p.") for name in plain if plain[name] != sized[name]}
    recipe = {
        name for name in changed if not name.startswith(("skeleton.model", "temporal.model", "alignment.decoder"))
    }
    # wide models learn more slowly; how many frames a GPU represents at once changes no result
    assert recipe <= {"temporal.training.lr", "alignment.training.lr", "represent.batch_frames"}
