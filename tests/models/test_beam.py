"""Beam search over our decoder writes what transformers' `generate` writes over a T5 of the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from sign_models.kernels import set_eager
from sign_models.models import text
from sign_models.models.text.beam import Search
from sign_models.models.text.decoder import TextDecoder
from sign_models.models.text.decoding import IncrementalDecoder
from sign_models.models.text.pretrained import PretrainedText

VOCABULARY, WIDTH, LAYERS, HEADS = 12, 32, 2, 4
LONGEST, END = 20, TextDecoder.eos_id


def t5(dropout: float = 0.0) -> T5ForConditionalGeneration:
    """The T5 that our decoder once was."""
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY, d_model=WIDTH, d_kv=WIDTH // HEADS, d_ff=4 * WIDTH, num_layers=0,
            num_decoder_layers=LAYERS, num_heads=HEADS, dropout_rate=dropout, feed_forward_proj="relu",
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )
    )  # fmt: skip


def of_weights(model: T5ForConditionalGeneration, dropout: float = 0.0) -> TextDecoder:
    """Our decoder with the weights of a T5."""
    decoder = TextDecoder(VOCABULARY, WIDTH, LAYERS, HEADS, dropout)
    decoder.load_state_dict({f"model.{name}": weight for name, weight in model.state_dict().items()})
    return decoder


@torch.no_grad()
def made(seed: int) -> tuple[TextDecoder, PretrainedText, Tensor, Tensor]:
    """A random model whose texts end now and then, as ours and as transformers', and clips of several lengths."""
    torch.manual_seed(seed)
    theirs = t5().eval()
    theirs.shared.weight *= 0.3  # or one token is certain, and any number of it as good
    ours = of_weights(theirs).eval()
    mask = torch.arange(12) < torch.tensor([12, 2, 7, 9, 12]).unsqueeze(1)
    return ours, PretrainedText(theirs), ours.encode(torch.randn(5, 12, WIDTH), mask), mask


def texts(tokens: Tensor) -> list[list[int]]:
    """Up to the end; what stands behind it is nobody's business."""
    rows = tokens.flatten(0, 1).tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in rows]


@pytest.mark.parametrize(("beams", "length_penalty"), [(1, 1.0), (2, 0.0), (4, 1.0), (4, 2.0), (7, 0.5)])
def test_beams_are_those_of_transformers(beams: int, length_penalty: float) -> None:
    ended = set()
    for seed in range(3):
        ours, theirs, encoded, mask = made(seed)
        asked = {"beams": beams, "max_length": LONGEST, "length_penalty": length_penalty}
        found, likelihoods = ours.generate(encoded, mask, **asked)
        wanted, _ = theirs.generate_by_transformers(encoded, mask, **asked)
        assert texts(found) == texts(wanted)
        rows = [row if row[-1] == END else [*row, END] for row in texts(found)]
        labels = [torch.tensor(row + [text.IGNORED] * (LONGEST + 1 - len(row))) for row in rows]
        clips = torch.arange(len(mask)).repeat_interleave(beams)
        again = ours.log_likelihood(encoded, mask, torch.stack(labels), clips)
        assert torch.allclose(likelihoods.flatten(), again, atol=1e-4)
        ended |= {row[-1] == END for row in texts(found)}
    assert ended == {True, False} or beams == 1  # some end, some are cut


@pytest.mark.parametrize("beams", [1, 4])
def test_a_clip_s_beams_do_not_depend_on_the_clips_beside_it(beams: int) -> None:
    ours, _, encoded, mask = made(0)
    asked = {"beams": beams, "max_length": LONGEST, "length_penalty": 1.0}
    found, likelihoods = ours.generate(encoded, mask, **asked)
    for clip in range(len(mask)):
        alone, likelihood = ours.generate(encoded[clip : clip + 1], mask[clip : clip + 1], **asked)
        assert texts(alone) == texts(found[clip : clip + 1])
        assert torch.allclose(likelihood[0], likelihoods[clip], atol=1e-4)


def test_clips_that_are_done_are_not_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _, encoded, mask = made(0)
    with torch.no_grad():
        ours.embedding.weight[END] *= 3  # the end is likely, or unlikely
    asked = {"beams": 3, "max_length": LONGEST, "length_penalty": 1.0}
    alone = [ours.generate(encoded[i : i + 1], mask[i : i + 1], **asked)[0] for i in range(len(mask))]
    clips, step = list[int](), IncrementalDecoder.step
    monkeypatch.setattr(
        IncrementalDecoder, "step", lambda self, tokens: clips.append(len(tokens)) or step(self, tokens)
    )
    found, _ = ours.generate(encoded, mask, **asked)
    assert texts(found) == texts(torch.cat(alone))
    assert clips == sorted(clips, reverse=True) and len({*clips}) > 1


@torch.no_grad()
def test_a_step_of_the_search_asks_nothing_of_the_device() -> None:
    """Or a GPU could not record it: on the device `meta` nothing has a value that could be asked for."""
    with torch.device("meta"):
        model = TextDecoder(VOCABULARY, WIDTH, LAYERS, HEADS, 0.0)
        mask = torch.empty(3, 11, dtype=torch.bool)
        search = Search(model, model.encode(torch.empty(3, 11, WIDTH), mask), mask, 4, [1.0] * LONGEST)
        before = [id(tensor) for tensor in (search.running, search.scores, search.tokens, search.finished.texts)]
        search.advance()
    assert before == [id(tensor) for tensor in (search.running, search.scores, search.tokens, search.finished.texts)]
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(search.scores.any())


@pytest.mark.gpu  # it records steps
@torch.no_grad()
def test_recorded_steps_write_what_the_steps_themselves_write(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = TextDecoder(50, 64, 2, 4, 0.0).eval()
    model.embedding.weight *= 0.3
    model.embedding.weight[END] *= 3  # the end is likely, or unlikely
    mask = torch.arange(30) < torch.randint(1, 31, (200, 1))
    encoded = model.encode(torch.randn(200, 30, 64), mask)
    asked = {"beams": 4, "max_length": LONGEST, "length_penalty": 1.0}
    wanted, likelihoods = model.generate(encoded, mask, **asked)
    ours, gpu = model.cuda(), (encoded.cuda(), mask.cuda())
    replayed, replay = list[int](), torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: replayed.append(1) or replay(graph))
    for _ in range(2):
        found, scores = ours.generate(*gpu, **asked)
        alike = [a == b for a, b in zip(texts(found.cpu()), texts(wanted), strict=True)]
        assert sum(alike) > 0.98 * len(alike)  # products round otherwise there
        assert torch.allclose(scores.cpu()[:, 0], likelihoods[:, 0], atol=0.05)
    assert len(replayed) > 20
    set_eager(True)
    try:
        replayed.clear()
        plain, _ = ours.generate(*gpu, **asked)
    finally:
        set_eager(False)
    assert not replayed and texts(plain.cpu()) == texts(found.cpu())


@torch.no_grad()
def test_the_log_likelihood_of_a_text_is_that_of_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in made(0)[:2]:
        _, _, encoded, mask = made(0)
        labels = torch.tensor([[5, 6, END], [7, END, text.IGNORED], [8, 9, END], [END, text.IGNORED, text.IGNORED]])
        clips = torch.tensor([0, 3, 3, 1])
        found = model.log_likelihood(encoded, mask, labels, clips)
        for i, (row, clip) in enumerate(zip(labels, clips, strict=True)):
            tokens = row[row != text.IGNORED].unsqueeze(0)
            log_p = model.logits(encoded[clip : clip + 1], mask[clip : clip + 1], tokens).log_softmax(-1)
            assert found[i].item() == pytest.approx(log_p.gather(-1, tokens.unsqueeze(-1)).sum().item(), abs=1e-4)
        with monkeypatch.context() as patched:
            patched.setattr(text, "MAX_LOG_PROBS", 1)  # one text at a time
            assert torch.allclose(model.log_likelihood(encoded, mask, labels, clips), found, atol=1e-5)
