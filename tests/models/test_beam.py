"""Our beam search writes what transformers' does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

from sign_models.models import text
from sign_models.models.text import TextModel

WIDTH, LONGEST, END = 32, 20, 2
OF: dict[str, Any] = {
    "vocab_size": 12, "d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 2,
    "num_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END, "decoder_start_token_id": 0,
}  # fmt: skip
MODELS = {
    "of ours": lambda: TextModel.from_scratch(12, WIDTH, 2, 4, 0.1),
    "t5, one embedding": lambda: TextModel(T5ForConditionalGeneration(T5Config(**OF, tie_word_embeddings=True))),
    "mt5, gated": lambda: TextModel(MT5ForConditionalGeneration(MT5Config(**OF, feed_forward_proj="gated-gelu"))),
}


@torch.no_grad()
def made(kind: str, seed: int) -> tuple[TextModel, Tensor, Tensor]:
    """A random model whose texts end now and then, and clips of several lengths for it."""
    torch.manual_seed(seed)
    model = MODELS[kind]().eval()
    model.model.lm_head.weight *= 0.3  # or one token is certain, and any number of it as good
    mask = torch.arange(12) < torch.tensor([12, 2, 7, 9, 12]).unsqueeze(1)
    return model, model.encode(torch.randn(5, 12, WIDTH), mask), mask


def texts(tokens: Tensor) -> list[list[int]]:
    """Up to the end; what stands behind it is nobody's business."""
    rows = tokens.flatten(0, 1).tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in rows]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("beams", "length_penalty"), [(1, 1.0), (2, 0.0), (4, 1.0), (4, 2.0)])
def test_beams_are_those_of_transformers(
    kind: str, beams: int, length_penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = set()
    for seed in range(3):
        model, encoded, mask = made(kind, seed)
        asked = {"beams": beams, "max_length": LONGEST, "length_penalty": length_penalty}
        found, likelihoods = model.generate(encoded, mask, **asked)
        with monkeypatch.context() as patched:
            patched.setattr(text, "FAST", ())
            wanted, unknown = model.generate(encoded, mask, **asked)
        assert texts(found) == texts(wanted) and unknown.isnan().all()
        rows = [row if row[-1] == END else [*row, END] for row in texts(found)]
        labels = [torch.tensor(row + [text.IGNORED] * (LONGEST + 1 - len(row))) for row in rows]
        clips = torch.arange(len(mask)).repeat_interleave(beams)
        again = model.log_likelihood(encoded, mask, torch.stack(labels), clips)
        assert torch.allclose(likelihoods.flatten(), again, atol=1e-4)
        ended |= {row[-1] == END for row in texts(found)}
    assert ended == {True, False} or beams == 1  # some end, some are cut


@torch.no_grad()
def test_the_log_likelihood_of_a_text_is_that_of_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model, encoded, mask = made("mt5, gated", 0)
    labels = torch.tensor([[5, 6, END], [7, END, text.IGNORED], [8, 9, END], [END, text.IGNORED, text.IGNORED]])
    clips = torch.tensor([0, 3, 3, 1])
    found = model.log_likelihood(encoded, mask, labels, clips)
    for i, (row, clip) in enumerate(zip(labels, clips, strict=True)):
        tokens = row[row != text.IGNORED].unsqueeze(0)
        log_p = model.logits(encoded[clip : clip + 1], mask[clip : clip + 1], tokens).log_softmax(-1)
        assert found[i].item() == pytest.approx(log_p.gather(-1, tokens.unsqueeze(-1)).sum().item(), abs=1e-4)
    monkeypatch.setattr(text, "SCORED", 4)  # one text at a time
    assert torch.allclose(model.log_likelihood(encoded, mask, labels, clips), found, atol=1e-5)
