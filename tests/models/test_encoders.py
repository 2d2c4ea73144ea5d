"""The skeleton and the temporal model: what may change an encoding and what may not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sign_models.data.masking import mask_keypoints
from sign_models.keypoints.layouts import CANONICAL, PARTS
from sign_models.models import attention
from sign_models.models.blocks import Dropout
from sign_models.models.restoration import LANDMARK_ANCHOR, LANDMARK_SHARE, restoration_loss
from sign_models.models.skeleton import HAND_SCALE, SkeletonModel
from sign_models.models.temporal import contrast_loss, pool
from tests.models import clips

K = len(CANONICAL)
LENGTHS = (13, 8, 1)


def encodings(model: nn.Module, x: Tensor, mask: Tensor, masked: Tensor | None = None) -> list[Tensor]:
    """The real vectors of each clip."""
    out = model.encode(x, mask, masked)
    y, kept = out if isinstance(out, tuple) else (out, mask)
    return [vectors[there] for vectors, there in zip(y, kept, strict=True)]


@pytest.fixture(params=["skeleton", "temporal"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return getattr(clips, request.param)()


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


@torch.no_grad()
def test_shapes() -> None:
    x, mask = clips.batch(LENGTHS)
    assert clips.skeleton().encode(x, mask).shape == (3, 13, clips.WIDTH)
    assert clips.skeleton()(x, mask).shape == (3, 13, K, 2)
    y, kept = clips.temporal().encode(x, mask)
    assert y.shape == (3, 4, clips.WIDTH) and kept.sum(1).tolist() == [4, 2, 1]
    restored, view = clips.temporal()(x, mask)
    assert restored.shape == (3, 13, K, 2) and view.shape == (3, 128)
    assert torch.allclose(view.norm(dim=1), torch.ones(3))


@torch.no_grad()
@pytest.mark.parametrize("padding", [1, 3, 4, 11])
def test_padding_changes_no_encoding(model: nn.Module, padding: int) -> None:
    x, mask = clips.batch(LENGTHS)
    junk = torch.randn(3, padding, K, 3)
    longer = encodings(model, torch.cat([x, junk], 1), torch.cat([mask, mask.new_zeros(3, padding)], 1))
    assert same(longer, encodings(model, x, mask))


@torch.no_grad()
def test_the_other_clips_of_a_batch_change_no_encoding(model: nn.Module) -> None:
    x, mask = clips.batch(LENGTHS)
    alone = [encodings(model, x[i : i + 1, :n], mask[i : i + 1, :n])[0] for i, n in enumerate(LENGTHS)]
    assert same(alone, encodings(model, x, mask))


@torch.no_grad()
@pytest.mark.parametrize("together", [2, 4])
def test_clips_side_by_side_in_a_row_of_attention_do_not_see_each_other(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    x, mask = clips.batch((13, 8, 1, 5))
    alone = encodings(clips.temporal(), x, mask)
    monkeypatch.setattr(attention, "clips_a_row", lambda *_: together)
    assert same(encodings(clips.temporal(), x, mask), alone)


@torch.no_grad()
def test_coordinates_of_unseen_landmarks_change_no_encoding(model: nn.Module) -> None:
    x, mask = clips.batch(LENGTHS, unseen=0.5)
    moved = x.clone()
    moved[..., :2] += torch.randn_like(moved[..., :2]) * 100 * (x[..., 2:] == 0)
    assert same(encodings(model, moved, mask), encodings(model, x, mask))


@torch.no_grad()
def test_seen_landmarks_do_change_it(model: nn.Module) -> None:
    x, mask = clips.batch(LENGTHS, unseen=0)
    moved = x.clone()
    moved[..., :2] += 0.1
    assert not same(encodings(model, moved, mask), encodings(model, x, mask))


@torch.no_grad()
@pytest.mark.parametrize("part", PARTS)
def test_what_is_hidden_as_a_whole_cannot_be_seen(model: nn.Module, part: str) -> None:
    """A masked hand or face; the body's place is where the others are measured from, so all hide with it."""
    x, mask = clips.batch(LENGTHS, unseen=0)
    masked = torch.zeros(3, 13, len(PARTS), dtype=torch.bool)
    masked[:, :, list(PARTS).index(part)] = True
    moved = x.clone()
    moved[:, :, PARTS[part], :2] += torch.randn_like(moved[:, :, PARTS[part], :2])
    assert same(encodings(model, moved, mask, masked), encodings(model, x, mask, masked))


@pytest.mark.parametrize("wrong", ["float", "shape"])
def test_a_mask_is_bool_and_has_a_value_a_frame(model: nn.Module, wrong: str) -> None:
    x, mask = clips.batch(LENGTHS)
    with pytest.raises(ValueError, match="wanted bool"):
        model.encode(x, mask.float() if wrong == "float" else mask[:, 1:])


# losses ---------------------------------------------------------------------------------------------------------------


def loss_of(x: Tensor, mask: Tensor, restored: Tensor, masked: Tensor) -> Tensor:
    return torch.stack(restoration_loss(restored, x, mask, masked, 0.5))


def test_only_what_was_seen_counts_in_the_loss() -> None:
    x, mask = clips.batch(LENGTHS, unseen=0.5)
    masked = torch.rand(x.shape[:3], generator=torch.Generator().manual_seed(1)) < 0.3
    restored = torch.zeros(*x.shape[:3], 2)
    wanted = loss_of(x, mask, restored, masked)
    absent = (x[..., 2:] == 0) | ~mask[..., None, None]
    moved = x.clone()
    moved[..., :2] += 100 * absent
    assert torch.equal(loss_of(moved, mask, restored, masked), wanted)
    assert torch.equal(loss_of(x, mask, restored + 100 * absent, masked), wanted)
    assert not torch.equal(loss_of(x, mask, restored + 1, masked), wanted)


def test_a_perfect_restoration_costs_nothing_and_nothing_seen_costs_nothing() -> None:
    x, mask = clips.batch(LENGTHS)
    masked = torch.ones(x.shape[:3], dtype=torch.bool)
    assert loss_of(x, mask, x[..., :2], masked).tolist() == [0, 0]
    unseen = x * torch.tensor([1.0, 1.0, 0.0])
    assert loss_of(unseen, mask, torch.zeros(*x.shape[:3], 2), masked).tolist() == [0, 0]


@pytest.mark.parametrize("planes", [False, True])
def test_the_loss_and_its_gradient_are_those_of_its_definition(planes: bool) -> None:
    x, mask = clips.batch(LENGTHS, unseen=0.3)
    x = x.movedim(-1, 0).contiguous().movedim(0, -1) if planes else x
    generator = torch.Generator().manual_seed(1)
    masked = torch.rand(x.shape[:3], generator=generator) < 0.3
    restored = torch.randn(*x.shape[:3], 2, generator=generator).mul(0.2).add(x[..., :2]).requires_grad_()
    weight = x[..., 2] * mask.unsqueeze(-1) * torch.where(masked, 1.0, 0.2)
    error, share = restored - x[..., :2], torch.tensor(LANDMARK_SHARE)

    def huber(error: Tensor, weight: Tensor, beta: float) -> Tensor:
        return (F.smooth_l1_loss(error, 0 * error, beta=beta, reduction="none").sum(-1) * weight).sum() / weight.sum()

    place = huber(error, weight * share, 0.1)
    relative = (error - error[:, :, LANDMARK_ANCHOR]) * HAND_SCALE
    shape = huber(relative, weight * weight[:, :, LANDMARK_ANCHOR] * share, 0.1)
    motion = huber(error[:, 1:] - error[:, :-1], weight[:, 1:] * weight[:, :-1] * share, 0.05)
    wanted = place + shape + 0.5 * motion
    loss, distance = restoration_loss(restored, x, mask, masked, 0.5)
    assert torch.allclose(loss, wanted) and not distance.requires_grad
    assert torch.allclose(distance, (error.norm(dim=-1) * weight * masked).sum() / (weight * masked).sum())
    gradients = [torch.autograd.grad(3 * value, restored)[0] for value in (loss, wanted)]
    assert torch.allclose(*gradients, atol=1e-7)


def test_a_dropout_leaves_out_its_share_and_keeps_the_sum() -> None:
    torch.manual_seed(0)
    dropout, x = Dropout(0.3), torch.ones(3, 33_335, requires_grad=True)
    y = dropout(x)
    assert {round(value, 4) for value in y.unique().tolist()} == {0.0, round(1 / 0.7, 4)}
    assert abs((y == 0).float().mean() - 0.3) < 0.005 and not torch.equal(dropout(x), y)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], y)
    assert dropout.eval()(x) is x


def test_padding_and_surroundings_change_no_loss_of_a_clip() -> None:
    x, mask = clips.batch((9,))
    masked = torch.rand(x.shape[:3], generator=torch.Generator().manual_seed(1)) < 0.3
    restored = torch.randn(*x.shape[:3], 2, generator=torch.Generator().manual_seed(2))

    def longer(t: Tensor) -> Tensor:
        return torch.cat([t, torch.ones_like(t[:, :5])], 1)

    padded = torch.cat([mask, mask.new_zeros(1, 5)], 1)
    assert torch.allclose(
        loss_of(longer(x), padded, longer(restored), longer(masked)), loss_of(x, mask, restored, masked)
    )


def test_hidden_joints_are_taken_out_and_hidden_parts_are_told() -> None:
    torch.manual_seed(0)
    x, _ = clips.batch((40, 40), unseen=0)
    out = mask_keypoints(x, joints=0.2, parts=0.3, frames=0.2, span=5)
    assert out.x.shape == x.shape and out.parts.shape == (2, 40, len(PARTS)) and out.landmarks.shape == x.shape[:3]
    gone = (out.x == 0).all(-1)
    assert (out.landmarks | ~gone).all()  # what was taken out is counted as masked
    for i, places in enumerate(PARTS.values()):
        assert out.landmarks[:, :, places][out.parts[:, :, i]].all()
    share = out.landmarks.float().mean()
    assert 0.3 < share < 0.7
    nothing = mask_keypoints(x, joints=0, parts=0, frames=0, span=5)
    assert torch.equal(nothing.x, x) and not nothing.landmarks.any()


def test_contrast_finds_the_other_view() -> None:
    a = torch.eye(4)
    loss, accuracy = contrast_loss(a, a)
    assert loss < 0.01 and accuracy == 1
    loss, accuracy = contrast_loss(a, a.roll(1, 0))
    assert loss > 5 and accuracy == 0


def test_pooling_leaves_padding_out() -> None:
    y, mask = torch.ones(2, 3, 4), torch.tensor([[True, True, False], [False, False, False]])
    y[0, 2] = 100
    assert torch.equal(pool(y, mask), torch.stack([torch.ones(4), torch.zeros(4)]))


@pytest.mark.parametrize("factor", [0.01, 0.4, 0.9])
def test_how_sure_a_detector_is_changes_nothing(factor: float) -> None:
    """What it sees does."""
    torch.manual_seed(0)
    model = SkeletonModel(part_width=8, width=32, layers=1, context=1, dropout=0.0).eval()
    x = torch.randn(2, 6, len(CANONICAL), 3)
    x[..., 2] = torch.rand(x.shape[:-1]) * (torch.rand(x.shape[:-1]) > 0.3)
    x[..., :2] *= x[..., 2:] > 0
    mask = torch.ones(2, 6, dtype=torch.bool)
    doubtful, fewer = x.clone(), x.clone()
    doubtful[..., 2] *= factor * torch.rand(x.shape[:-1])
    fewer[:, :, :30] = 0
    assert torch.equal(model.encode(doubtful, mask), model.encode(x, mask))
    assert not torch.equal(model.encode(fewer, mask), model.encode(x, mask))
