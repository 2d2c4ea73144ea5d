"""The weight that CTC has in ranking is the one by which the validation videos are translated best."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sign_models.data.sampler import batches_by_length
from sign_models.datasets.inputs import Inputs
from sign_models.models.alignment import AlignmentModel
from sign_models.models.n_best import NBest, padded_labels
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.models.text import IGNORED
from sign_models.models.translator import Generation, Translator
from sign_models.stages.alignment_task import USUAL_CTC, AlignmentTask
from sign_models.stages.skeleton import EVALUATION_FRAMES
from sign_models.training.device import find_device
from tests import tiny
from tests.models import clips
from tests.stages.recorders import Memory


@pytest.mark.parametrize(
    ("written", "read", "wanted"),
    [  # what the text model and CTC like a wrong text more than the right one
        (1.0, -1.5, 0.5),  # right from 0.4 on
        (1.0, -8.0, USUAL_CTC),  # right from 0.11 on
        (-1.0, 8.0, 0.1),  # right below 0.11
        (-1.0, 80.0, 0.0),  # right by the text model alone
        (-1.0, -1.0, USUAL_CTC),  # right by any weight
        (1.0, 1.0, USUAL_CTC),  # wrong by any weight
    ],
)
def test_the_weight_by_which_validation_videos_are_read_best_is_taken(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch, written: float, read: float, wanted: float
) -> None:
    params = tiny.params()
    first = SkeletonModel(**params.skeleton.model.model_dump())
    second = TemporalModel(first, **params.temporal.model.model_dump(), window=64)
    task = AlignmentTask(params.alignment, inputs.videos, inputs.texts, second, find_device(), "cased", None)
    order = iter([i for batch in batches_by_length(task.frames.corpus, task.dev, EVALUATION_FRAMES) for i in batch])
    end = task.objective.model.alignment.text.eos_id

    def n_best(self: AlignmentModel, y: Tensor, mask: Tensor, **_: object) -> NBest:
        """The right text of each clip, and the same turned round."""
        tokens: list[list[int]] = []
        for _ in range(len(mask)):
            right = [t for t in task.labels[next(order)].tolist() if t not in (IGNORED, end)]
            tokens += [right, right[::-1]]
        likelihoods = (torch.tensor([0.0, more] * len(mask)) for more in (written, read))
        return NBest(padded_labels(tokens, end), torch.arange(len(tokens)) // 2, *likelihoods)

    monkeypatch.setattr(AlignmentModel, "n_best", n_best)
    assert task.best_ctc_weight() == wanted
    assert next(order, None) is None  # all of them were asked


@pytest.mark.parametrize("given", [None, 0.0, 0.6])
def test_a_weight_that_is_given_stays(
    train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: float | None
) -> None:
    monkeypatch.setattr(AlignmentTask, "best_ctc_weight", lambda task: 0.9)
    logger = Memory(tmp_path / "x")
    model = train("alignment", logger, alignment__training__steps=2, alignment__generation__ctc_weight=given).model
    assert isinstance(model, Translator) and model.generation.ctc_weight == (0.9 if given is None else given)
    assert ("validation/ctc_weight" in logger.points) == (given is None)


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.3, 0.9])
def test_the_same_n_best_texts_are_ranked_by_any_weight(weight: float) -> None:
    translator = clips.translator()
    y, mask = translator(*clips.batch((24, 12, 18, 9)))
    asked = {"beams": 3, "max_length": 5, "length_penalty": 1.0}
    found = translator.alignment.n_best(y, mask, **asked, ask_ctc=True)
    wanted = translator.translate(y, mask, Generation(**asked, ctc_weight=weight, window=64))
    tokens, scores = found.ranked(4, weight, 1.0)
    assert scores == [[h.score for h in of_clip] for of_clip in wanted]
    assert [translator.decode(rows) for rows in tokens] == [[h.text for h in of_clip] for of_clip in wanted]
