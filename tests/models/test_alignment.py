"""The alignment model and the translator: losses, the CTC side head, generation, scores."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from sign_models.data.tokenizer import SPECIAL
from sign_models.models.alignment import AlignmentModel
from sign_models.models.text import IGNORED
from sign_models.models.translator import Generation, Translator
from tests.models import clips


@pytest.fixture(scope="module")
def translator() -> Translator:
    return clips.translator()


def labels_of(translator: Translator, texts: list[str]) -> Tensor:
    rows = [translator.tokenizer(t, add_special_tokens=False)["input_ids"] + [2] for t in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [IGNORED] * (longest - len(row)) for row in rows])


@pytest.fixture(scope="module")
def encoded(translator: Translator) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return translator(*clips.batch((24, 12, 18, 9)))


@torch.no_grad()
def test_shapes(translator: Translator, encoded) -> None:
    y, mask = encoded
    assert y.shape == (4, 6, clips.WIDTH) and mask.sum(1).tolist() == [6, 3, 5, 3]
    prefix, ctc = translator.alignment.read(y, mask)
    assert prefix.shape == (4, 6, 8) and ctc.shape == (4, 6, translator.alignment.vocabulary + 1)  # and the blank
    assert torch.allclose(ctc.exp().sum(-1), torch.ones(4, 6), atol=1e-5)
    labels = labels_of(translator, clips.TEXTS)
    text = translator.alignment.text
    assert text.logits(text.encode(prefix, mask), mask, labels).shape == (
        *labels.shape,
        translator.alignment.vocabulary,
    )
    losses = translator.alignment.losses(y, mask, labels, label_smoothing=0.0)
    for value in (losses.text, losses.ctc, losses.contrast, losses.token_accuracy):
        assert value.shape == () and value.isfinite()


@torch.no_grad()
def test_padding_of_clips_and_labels_changes_no_loss(translator: Translator, encoded) -> None:
    y, mask = encoded
    labels = labels_of(translator, clips.TEXTS)
    longer = torch.cat([y, torch.randn(4, 3, y.shape[-1])], 1)
    padded = torch.cat([mask, mask.new_zeros(4, 3)], 1)
    more = torch.cat([labels, torch.full((4, 2), IGNORED)], 1)
    wanted = translator.alignment.losses(y, mask, labels, label_smoothing=0.1)
    found = translator.alignment.losses(longer, padded, more, label_smoothing=0.1)
    for name in ("text", "ctc", "contrast", "token_accuracy"):
        assert torch.allclose(getattr(found, name), getattr(wanted, name), atol=1e-5), name


@torch.no_grad()
def test_the_ctc_loss_is_the_probability_of_all_paths(translator: Translator) -> None:
    model = translator.alignment
    tokens = labels_of(translator, ["tea please"])[0, :-1].tolist()
    ctc = torch.randn(1, 4, model.vocabulary + 1, generator=torch.Generator().manual_seed(3)).log_softmax(-1)
    labels = torch.tensor([[*tokens, 2]])
    paths = [
        path for path in itertools.product({model.blank, *tokens}, repeat=4)
        if [t for t, _ in itertools.groupby(path) if t != model.blank] == tokens
    ]  # fmt: skip
    total = math.log(sum(math.exp(sum(ctc[0, i, t].item() for i, t in enumerate(path))) for path in paths))
    found = model.ctc_loss(ctc, torch.ones(1, 4, dtype=torch.bool), labels)
    assert found.item() == pytest.approx(-total / len(tokens), rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("tokens", "vectors", "possible"), [([4, 4], 3, True), ([4, 4], 2, False), ([4, 5], 1, False)])
def test_a_text_that_its_clip_is_too_short_for_ranks_behind_any_that_fits(
    translator, tokens, vectors, possible
) -> None:
    model = translator.alignment
    ctc = torch.randn(1, vectors, model.vocabulary + 1, generator=torch.Generator().manual_seed(3)).log_softmax(-1)
    mask = torch.ones(1, vectors, dtype=torch.bool)
    found = model.ctc_score(ctc, mask, torch.tensor([[*tokens, 2]]), torch.zeros(1, dtype=torch.long)).item()
    worst = (ctc.min() * vectors).item()
    assert found > worst if possible else found < worst


@torch.no_grad()
def test_a_text_longer_than_its_clip_costs_the_ctc_head_nothing(translator: Translator) -> None:
    ctc = torch.zeros(1, 1, translator.alignment.vocabulary + 1).log_softmax(-1)
    labels = labels_of(translator, ["tea please"])
    assert translator.alignment.ctc_loss(ctc, torch.ones(1, 1, dtype=torch.bool), labels).item() == 0


@pytest.mark.parametrize(
    ("path", "read"),
    [([-1, -1, 5, 5, -1, 5], [5, 5]), ([4, 4, 4], [4]), ([-1, -1], []), ([4, 5, 4], [4, 5, 4]), ([6, -1, 6, 6, 7], [6, 6, 7]),
     ([0, 0, -1, 0, 5], [0, 0, 5])],
)  # fmt: skip
def test_greedy_reading_drops_repeats_then_blanks(translator: Translator, path: list[int], read: list[int]) -> None:
    blank = translator.alignment.blank
    ctc = torch.nn.functional.one_hot(torch.tensor([path + [9]]) % (blank + 1), blank + 1).float()
    mask = torch.tensor([[True] * len(path) + [False]])
    assert translator.alignment.greedy(ctc, mask) == [read]


@torch.no_grad()
def test_the_contrast_takes_no_clip_of_the_same_text_for_a_negative(translator: Translator, encoded) -> None:
    model: AlignmentModel = translator.alignment
    prefix, _ = model.read(*encoded)
    mask = encoded[1]
    alike = labels_of(translator, ["tea please"] * 4)
    assert model.contrast(prefix, mask, alike).item() == pytest.approx(0, abs=1e-6)
    different = labels_of(translator, clips.TEXTS)
    assert model.contrast(prefix, mask, different).item() > 0.1
    # two clips of one text share its other negatives, whichever of them is asked
    pair = labels_of(translator, ["tea please", "tea please", "coffee now"])
    same_clip = prefix[[0, 0, 2]], mask[[0, 0, 2]]
    alone = model.contrast(prefix[[0, 2]], mask[[0, 2]], pair[[0, 2]])
    rows = [2 / 3, 1 / 3]  # the pair counts twice, the third clip sees it twice
    assert model.contrast(*same_clip, pair) >= alone * min(rows)


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("ctc_weight", [0.0, 0.5])
def test_hypotheses_come_best_first_and_end_where_they_end(translator: Translator, encoded, beams, ctc_weight) -> None:
    wanted = Generation(beams=beams, max_length=5, length_penalty=1.0, ctc_weight=ctc_weight, window=64)
    found = translator.translate(*encoded, wanted)
    assert len(found) == 4
    for hypotheses in found:
        scores = [h.score for h in hypotheses]
        assert 1 <= len(hypotheses) <= beams + 1 and scores == sorted(scores, reverse=True)
        assert all(math.isfinite(score) and score < 0 for score in scores)
        assert not any(special in h.text for h in hypotheses for special in SPECIAL)


@torch.no_grad()
def test_a_clip_is_translated_as_it_would_be_alone(translator: Translator) -> None:
    x, mask = clips.batch((24, 12, 18, 9))
    together = translator.translate(*translator(x, mask))
    for i, length in enumerate((24, 12, 18, 9)):
        [alone] = translator.translate(*translator(x[i : i + 1, :length], mask[i : i + 1, :length]))
        assert [h.text for h in alone] == [h.text for h in together[i]]
        assert [h.score for h in alone] == pytest.approx([h.score for h in together[i]], abs=1e-4)


@torch.no_grad()
def test_a_score_is_the_mean_log_probability_of_the_tokens(translator: Translator, encoded) -> None:
    y, mask = encoded
    found = translator.alignment.n_best(y, mask, beams=2, max_length=5, length_penalty=1.0, ask_ctc=False)
    tokens, scores = found.ranked(len(mask), 0.0, 1.0)
    labels = torch.tensor([[*tokens[0][0], 2]])
    prefix, _ = translator.alignment.read(y[:1], mask[:1])
    text = translator.alignment.text
    log_p = text.logits(text.encode(prefix, mask[:1]), mask[:1], labels).log_softmax(-1)
    mean = log_p.gather(-1, labels.unsqueeze(-1)).mean()
    assert scores[0][0] == pytest.approx(mean.item(), abs=1e-4)


def test_labels_for_self_training_are_what_the_decoder_would_write(encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass over what CTC reads finds the very clips for which greedy search writes the same."""
    y, mask = encoded
    translator = clips.translator()
    model, longest = translator.alignment, 8
    labels = labels_of(translator, clips.TEXTS)
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(30):
        optimizer.zero_grad()
        model.losses(y, mask, labels, label_smoothing=0.0).text.backward()
        optimizer.step()
    found = model.n_best(y, mask, beams=1, max_length=longest - 1, length_penalty=1.0, ask_ctc=False)
    written = [rows[0] for rows in found.ranked(len(mask), 0.0, 1.0)[0]]
    assert all(0 < len(tokens) < longest - 1 for tokens in written) and len({*map(tuple, written)}) > 1
    other = [[*tokens[:-1], 3 + (tokens[-1] == 3)] for tokens in written]
    for read, threshold, wanted in (
        (written, 0.0, written),
        ([*written[:2], *other[2:]], 0.0, [*written[:2], [], []]),
        ([tokens * 3 for tokens in written], 0.0, [[]] * 4),
        (written, 1.0, [[]] * 4),
    ):
        monkeypatch.setattr(model, "greedy", lambda ctc, mask, read=read: read)
        found = model.self_training_labels(y, mask, ctc_weight=0.0, longest=longest, threshold=threshold)
        assert found == wanted


@torch.no_grad()
def test_texts_scored_a_few_at_a_time_score_the_same(translator: Translator, encoded, monkeypatch) -> None:
    y, mask = encoded
    asked = {"beams": 4, "max_length": 8, "length_penalty": 1.0, "ask_ctc": True}
    whole = translator.alignment.n_best(y, mask, **asked).ranked(len(mask), 0.5, 1.0)
    monkeypatch.setattr("sign_models.models.alignment.MAX_COPIED_LOG_PROBS", 1)
    assert translator.alignment.n_best(y, mask, **asked).ranked(len(mask), 0.5, 1.0) == whole
