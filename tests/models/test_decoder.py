"""The decoder that is trained from scratch: what it computes, its cache, and models of when it was a T5."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sign_models import models
from sign_models.models import precision
from sign_models.models.storage import load, save
from sign_models.models.text import IGNORED, TextModel
from sign_models.models.text.decoder import TextDecoder
from sign_models.models.text.decoding import IncrementalDecoder
from sign_models.models.text.pretrained import PretrainedText
from tests.models import clips
from tests.models.earlier.decoder.make import FOLDER, LENGTHS, SEED, SMALL, STOPPED
from tests.models.test_beam import VOCABULARY, WIDTH, of_weights, t5
from tests.stages.recorders import Memory


def drawn(seed: int = 0, clips: int = 3, tokens: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """A prefix with its mask, and texts of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(11) < torch.randint(1, 12, (clips, 1), generator=generator)
    labels = torch.randint(3, VOCABULARY, (clips, tokens), generator=generator)
    padding = torch.arange(tokens) >= torch.randint(1, tokens + 1, (clips, 1), generator=generator)
    return torch.randn(clips, 11, WIDTH, generator=generator), mask, labels.masked_fill(padding, IGNORED)


def losses(model: TextModel, half: bool) -> list[float]:
    """Of some steps of training, with dropout."""
    torch.manual_seed(0)
    optimizer, found = torch.optim.AdamW(model.train().parameters(), 1e-2), []
    for step in range(5):
        prefix, mask, labels = drawn(step)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model.logits(model.encode(prefix, mask), mask, labels)
        loss = nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_it_learns_as_a_t5_of_its_weights_learns(half: bool, dropout: float) -> None:
    torch.manual_seed(1)
    theirs = t5(dropout)
    ours = of_weights(theirs, dropout)
    wanted = losses(PretrainedText(theirs), half)
    assert losses(ours, half) == pytest.approx(wanted, rel=1e-6) and wanted[-1] < wanted[0]


@torch.no_grad()
@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("half", [False, True])
def test_token_by_token_it_writes_what_it_was_taught_whole(clips: int, half: bool) -> None:
    """Every beam takes another text of the clip; at each token they change places."""
    beams, tokens = 4, 7
    torch.manual_seed(0)
    model = TextDecoder(VOCABULARY, WIDTH, 2, 4, 0.1).eval()
    prefix, mask, _ = drawn(clips=clips)
    texts = torch.randint(3, VOCABULARY, (clips, beams, tokens))
    clip_index = torch.arange(clips).repeat_interleave(beams)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        encoded = model.encode(prefix, mask)
        wanted = model.logits(encoded[clip_index], mask[clip_index], texts.flatten(0, 1)).unflatten(0, (clips, beams))
        decoder = IncrementalDecoder(model.weights(), encoded, mask, beams, tokens)
        order = torch.arange(beams).expand(clips, -1)  # the text that each beam takes
        before = torch.full((clips, beams), model.bos_id)
        for place in range(tokens):
            found = decoder.step(before)
            at = order.unsqueeze(-1).expand_as(found)
            assert torch.allclose(found, wanted[:, :, place].gather(1, at), atol=0.1 if half else 1e-4)
            parents = torch.stack([torch.randperm(beams) for _ in range(clips)])
            decoder.reorder(parents)
            order = order.gather(1, parents)
            before = texts[:, :, place].gather(1, order)


@torch.no_grad()
def test_a_logit_depends_on_nothing_behind_it_and_on_no_padding() -> None:
    model = TextDecoder(VOCABULARY, WIDTH, 2, 4, 0.1).eval()
    prefix, mask, labels = drawn()
    mask[0, 5:] = False
    wanted = model.logits(model.encode(prefix, mask), mask, labels)
    changed, other = labels.clone(), prefix.clone()
    changed[:, 4:] = 3
    other[0, 5:] = 7.0
    found = model.logits(model.encode(other, mask), mask, changed)
    assert torch.allclose(found[:, :5], wanted[:, :5], atol=1e-5)
    assert not torch.allclose(found[:, 5:], wanted[:, 5:], atol=1e-2)


def test_a_step_of_training_asks_nothing_of_the_host() -> None:
    """Or no CUDA graph could record it: on the device `meta` nothing has a value that could be asked for."""
    with torch.device("meta"):
        model = TextDecoder(VOCABULARY, WIDTH, 2, 4, 0.1)
        prefix, mask = torch.empty(3, 11, WIDTH), torch.empty(3, 11, dtype=torch.bool)
        labels = torch.empty(3, 9, dtype=torch.long)
    logits = model.logits(model.encode(prefix, mask), mask, labels)
    nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED).backward()
    assert logits.shape == (3, 9, VOCABULARY) and all(p.grad is not None for p in model.parameters())
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(logits.isnan().any())


def test_only_pretrained_text_models_know_transformers() -> None:
    folder = Path(models.__file__).parent
    for name in ("text/__init__", "text/decoder", "text/decoding", "text/beam", "alignment", "earlier"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not [node for node in imported if "transformers" in ast.unparse(node)], name


# models of before -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the files were made: on a CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)


@torch.no_grad()
def test_a_translator_whose_decoder_was_a_t5_gives_the_texts_and_scores_it_gave(tmp_path: Path) -> None:
    model = load(FOLDER / "translator")
    assert isinstance(model.alignment.text, TextDecoder)
    wanted = json.loads((FOLDER / "texts.json").read_text())
    save(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    names_of_before = ("SelfAttention", "shared", "guess")
    assert not [name for name in weights if any(of_before in name for of_before in names_of_before)]
    for translator in (model, load(tmp_path)):
        found = translator.translate(*translator(*clips.batch(LENGTHS, SEED)))
        assert [[h.text for h in some] for some in found] == [[text for text, _ in some] for some in wanted]
        scores = [h.score for some in found for h in some]
        assert scores == pytest.approx([score for some in wanted for _, score in some], abs=1e-4)


def test_a_training_whose_decoder_was_a_t5_goes_on_to_the_losses_it_had(
    tmp_path: Path, train, in_full_precision
) -> None:
    shutil.copytree(FOLDER / "checkpoint", tmp_path / "run")
    recorder = Memory(tmp_path / "run")
    train("alignment", recorder, **SMALL)
    for name, wanted in json.loads((FOLDER / "losses.json").read_text()).items():
        found = recorder.points[name]
        assert min(found) == STOPPED
        assert [*found.values()] == pytest.approx(wanted[STOPPED:], rel=1e-4), name


def test_a_training_begins_with_the_weights_that_its_seed_gave_a_t5(tmp_path: Path, train, in_full_precision) -> None:
    recorder = Memory(tmp_path / "run")
    train("alignment", recorder, **SMALL)
    for name, wanted in json.loads((FOLDER / "losses.json").read_text()).items():
        assert [*recorder.points[name].values()] == pytest.approx(wanted, rel=1e-4), name
