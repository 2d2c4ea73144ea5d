"""Scoring versions again, side by side, on clips that none of them was trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import bring_to_rate
from sign_models.data.splits import hold_out
from sign_models.datasets.inputs import Inputs
from sign_models.errors import DataError
from sign_models.params import load
from sign_models.params.schema import GenerateParams
from sign_models.pipeline.evaluate import HELD_OUT, TRANSLATING, scored_splits, translate
from sign_models.tracking.fingerprint import fields_of
from sign_models.tracking.registered.registry import UPSTREAM, ModelRef, run_params

SELF_SUPERVISED = {"skeleton": "keypoints", "temporal": "videos"}  # stage -> the input that it is scored on


def score_again(
    version: ModelRef, versions: Sequence[ModelRef], inputs: Inputs, params: GenerateParams
) -> dict[str, float]:
    """What `version` scores on `inputs` now, by the names that it was scored with when it was registered.

    The clips are those of the splits asked for, else of those that the versions themselves were scored on, else of
    test and dev. Where the data has neither, they are clips that each of the versions held out from its training.

    Args:
        version: One of `versions`.
        versions: All that are compared.
        inputs: The data.
        params: Splits, scoring and how texts are searched for.

    Returns:
        Scores by name.

    Raises:
        DataError: No clip is left that none of them was trained on.
    """
    if version.stage in SELF_SUPERVISED:
        return _restoration(version, versions, getattr(inputs, SELF_SUPERVISED[version.stage]))
    assert version.stage in TRANSLATING
    asked = params.splits or own_splits(versions)
    splits, corpus = scored_splits(inputs, asked), inputs.videos
    if not asked and not set(splits) & set(HELD_OUT):
        held_out = common_held_out(versions, corpus, [inputs.texts.get(name) for name in corpus.ids])
        corpus = replace(corpus, splits=[*np.where(np.isin(np.arange(len(corpus)), held_out), "dev", "train")])
        splits = ["dev"]
    made = translate(version, corpus, inputs.texts, params, splits)
    if version.stage == "alignment":  # by dev, as in training, where there is one
        scores = made.scores[splits[-1]]
        found = scores.metrics() | {"score": scores.chrf}
        return {f"validation/{name}": value for name, value in found.items()}
    return made.metrics()


def own_splits(versions: Sequence[ModelRef]) -> list[str]:
    """The splits that all versions were told to be scored on.

    Args:
        versions: All that are compared.

    Returns:
        The splits; [] where they are not the same.
    """
    said = [(fields_of(version) or {}).get("params.generate.splits", "") for version in versions]
    found = [re.findall(r"\w+", text) for text in said]
    return [split for split in found[0] if all(split in other for other in found)]


def common_held_out(versions: Sequence[ModelRef], corpus: Corpus, texts: Sequence[str | None] | None) -> np.ndarray:
    """Places of the clips that each version would hold out of this corpus in its training, by its own parameters.

    Args:
        versions: All that are compared.
        corpus: Clips.
        texts: Of each clip, for those that train on texts. None: they do not.

    Returns:
        (N,) places.

    Raises:
        DataError: There is none.
    """
    found = [hold_out(corpus, *_recipe(version), texts).validation for version in versions]
    common: np.ndarray = reduce(np.intersect1d, found)
    if not len(common):
        raise DataError(
            f"no clip that {', '.join(v.uri for v in versions)} were all not trained on",
            place=corpus.sources,
            wanted="clips of split dev or test",
            remedy="give some clips the split dev, or other data with data=DIR",
        )
    return common


def _recipe(version: ModelRef) -> tuple[float, int]:
    """Share and seed of what a version held out, as its run recorded them."""
    from sign_models.stages.alignment_task import HELD_OUT

    stage, run_id = version.stage, version.run_id
    if stage == "translator":  # trained as its alignment model
        stage, run_id = "alignment", str(json.loads(version.tags[f"{UPSTREAM}alignment"])["run_id"])
    usual = load.resolve()
    recorded: Mapping[str, str] = run_params(run_id)
    share = HELD_OUT if stage == "alignment" else getattr(usual, stage).validation
    seed = getattr(usual, stage).training.seed
    return float(recorded.get(f"{stage}.validation", share)), int(recorded.get(f"{stage}.training.seed", seed))


def _restoration(version: ModelRef, versions: Sequence[ModelRef], corpus: Corpus) -> dict[str, float]:
    """How well a self-supervised stage's model restores what the default params hide."""
    import torch

    from sign_models.models.skeleton import SkeletonModel
    from sign_models.models.storage import load as load_model
    from sign_models.models.temporal import TemporalModel
    from sign_models.stages.skeleton import SkeletonTask
    from sign_models.stages.temporal import TemporalTask
    from sign_models.training.device import find_device

    params, model, device = load.resolve(), load_model(version.path()), find_device()
    corpus = bring_to_rate(corpus, model.fps)
    task: SkeletonTask | TemporalTask
    if isinstance(model, SkeletonModel):
        task = SkeletonTask(params.skeleton, corpus, device)
    else:
        assert isinstance(model, TemporalModel)
        task = TemporalTask(params.temporal, corpus, model.skeleton, device)
    task.validation = common_held_out(versions, corpus, None)
    task.objective.model = model
    with torch.inference_mode():
        found = task.evaluate(task.objective.to(device.torch_device).eval())
    return {f"validation/{name}": value for name, value in found.items()}
