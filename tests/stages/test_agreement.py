"""Two variations of a clip, which both heads are to read alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sign_models.data.batching import Batch
from sign_models.data.corpus import Corpus
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.models.alignment import divergence
from sign_models.models.text import IGNORED
from sign_models.params.schema import AlignmentParams
from sign_models.stages.alignment_task import AlignmentTask
from sign_models.training.device import find_device
from tests import tiny
from tests.models import clips


def test_each_view_follows_the_other_one_as_it_is() -> None:
    torch.manual_seed(0)
    one, other = (torch.randn(3, 5, 7).log_softmax(-1).requires_grad_() for _ in range(2))
    found = divergence(one, other)
    there = F.kl_div(one, other.exp(), reduction="none").sum(-1)
    back = F.kl_div(other, one.exp(), reduction="none").sum(-1)
    torch.testing.assert_close(found, (there + back) / 2)
    found.sum().backward()
    torch.testing.assert_close(one.grad, -other.detach().exp() / 2)
    assert not divergence(one, one).any()


@pytest.mark.parametrize("alike", [True, False])
def test_losses_of_two_views_are_the_mean_of_theirs(alike: bool) -> None:
    model = clips.translator()
    a, mask = clips.batch((20, 13), 0)
    b = a if alike else clips.batch((20, 13), 1)[0]
    labels = torch.tensor([[3, 4, 2], [5, 2, IGNORED]])
    seen = [model.temporal.encode(x, mask)[0] for x in (a, b)]
    kept = model.temporal.encode(a, mask)[1]
    apart = [model.alignment.losses(y, kept, labels, label_smoothing=0.1, gather=None) for y in seen]
    both = model.alignment.losses(
        torch.cat(seen),
        torch.cat([kept] * 2),
        torch.cat([labels] * 2),
        label_smoothing=0.1,
        gather=None,
        pairs=True,
    )
    for name in ("text", "ctc"):
        torch.testing.assert_close(getattr(both, name), sum(getattr(loss, name) for loss in apart) / 2)
    assert both.agreement is not None and (both.agreement.abs() < 1e-5) == alike and apart[0].agreement is None


def task(texts: dict[str, str], **losses: float) -> AlignmentTask:
    given = tiny.params().alignment
    given = given.model_copy(update={"losses": given.losses.model_copy(update=losses)})
    assert isinstance(given, AlignmentParams)
    torch.manual_seed(0)
    corpus = Corpus.from_sequences(tiny_sequences())
    return AlignmentTask(given, corpus, texts, clips.temporal(), find_device(), "split", None)


def tiny_sequences():
    splits = {row["id"]: row["split"] for row in tiny.texts()}
    for name, values in tiny.videos().items():
        yield KeypointSequence(name, values[..., :2], values[..., 2], tiny.LAYOUT, split=splits.get(name, "train"))


ALL = {row["id"]: row["text"] for row in tiny.texts()}


@pytest.mark.parametrize(
    ("texts", "losses", "wanted"),
    [
        (ALL | {f"wild_{i}": "tea now" for i in range(tiny.UNLABELLED)}, {}, True),
        (ALL, {}, False),  # some videos have no text
        (ALL | {f"wild_{i}": "tea now" for i in range(tiny.UNLABELLED)}, {"agreement_weight": 0.0}, False),
        (ALL | {f"wild_{i}": "tea now" for i in range(tiny.UNLABELLED)}, {"contrast_weight": 0.1}, False),
    ],
)
def test_two_views_where_every_video_has_a_text(texts: dict[str, str], losses: dict[str, float], wanted: bool) -> None:
    made = task(texts, **losses)
    count = len(made.clips(0))
    labelled, _ = made.batch(made.plan_batch(0, slice(0, count)))
    batch = labelled.clips
    assert isinstance(batch, Batch) and (batch.second_view is not None) == wanted
    prepared = made.objective.train().prepare(labelled)
    assert prepared.pairs == wanted and len(prepared.labels) == count * (1 + wanted)
    out = made.objective(prepared)
    assert ("agreement" in out) == wanted and torch.isfinite(out["loss"])
    if wanted:
        assert not torch.equal(batch.second_view, batch.x) and not np.array_equal(
            *np.split(prepared.masked.x.numpy(), 2)
        )
        assert torch.equal(batch.second_view.abs().sum((2, 3)) > 0, batch.mask)  # the same moments
        assert made.objective.weights(prepared).tolist() == (2 * made.objective.weights(labelled)).tolist()
    assert made.objective.eval().prepare(labelled) is labelled


def encoder_rate(texts: dict[str, str], **asked: object) -> float:
    made = task(texts)
    made.params = made.params.model_copy(update=asked)
    return next(iter(made.groups())).share


def test_the_encoder_learns_more_slowly_where_self_training_is_to_write_texts() -> None:
    everything = ALL | {f"wild_{i}": "tea now" for i in range(tiny.UNLABELLED)}
    assert encoder_rate(ALL, encoder_lr=None) < encoder_rate(everything, encoder_lr=None) == 1
    assert encoder_rate(ALL, encoder_lr=0.7) == encoder_rate(everything, encoder_lr=0.7) == 0.7
