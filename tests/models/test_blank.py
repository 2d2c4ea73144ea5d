"""CTC's blank is no token: a vocabulary whose id 0 is a word keeps it. Models and checkpoints that had it there go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BartConfig, GPT2Config, PreTrainedTokenizerFast

from sign_models.models.alignment import AlignmentModel
from sign_models.models.earlier import own_blank
from sign_models.models.storage import load, save
from sign_models.models.text import IGNORED
from sign_models.models.text.pretrained import PretrainedText, read_pretrained
from sign_models.models.translator import Generation, Translator
from tests.models import clips
from tests.models.earlier.make import FOLDER, LENGTHS, SEED, SMALL
from tests.stages.recorders import Memory

ENTRIES = ["!", "tea", "please", "now", "</s>"]  # as in GPT-2, Llama and Qwen, the first is a word; there is no padding
KINDS = {
    "gpt2": lambda: GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=64, vocab_size=5, bos_token_id=4, eos_token_id=4),
    "bart": lambda: BartConfig(encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
                               encoder_ffn_dim=32, decoder_ffn_dim=32, d_model=16, max_position_embeddings=64, vocab_size=5,
                               pad_token_id=4, bos_token_id=4, eos_token_id=4, decoder_start_token_id=4),
}  # fmt: skip


@pytest.fixture(params=[(kind, prune) for kind in KINDS for prune in (False, True)], ids=str)
def translator(request: pytest.FixtureRequest, tmp_path: Path) -> Translator:
    """With a text model whose entry 0 is "!", whole or pruned to what writes "! tea"."""
    kind, prune = request.param
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(ENTRIES)}, unk_token="now"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="</s>")
    config = KINDS[kind]()
    torch.manual_seed(0)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    auto.from_config(config).save_pretrained(tmp_path / "text")
    fast.save_pretrained(tmp_path / "text")
    text = PretrainedText.from_pretrained(str(tmp_path / "text"), ["! tea"] if prune else None)
    generation = Generation(beams=2, max_length=6, length_penalty=1.0, ctc_weight=0.5, window=64)
    alignment = AlignmentModel(clips.WIDTH, text.vocabulary, text)
    return Translator(clips.temporal(), alignment, read_pretrained(str(tmp_path / "text"))[1], generation, True).eval()


def tokens_of(translator: Translator, text: str) -> list[int]:
    return translator.alignment.text.to_model_ids(translator.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_every_word_counts_for_ctc_the_first_of_the_vocabulary_too(translator: Translator) -> None:
    model, tokens = translator.alignment, tokens_of(translator, "! tea !")
    labels = torch.tensor([[*tokens, model.text.eos_id, IGNORED]])
    assert model.blank == model.vocabulary and model.blank not in tokens
    assert model.ctc_label_mask(labels).tolist() == [[True] * 3 + [False] * 2]
    ctc = torch.randn(1, 5, model.vocabulary + 1, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    wanted = torch.nn.functional.ctc_loss(
        ctc.transpose(0, 1), torch.tensor([tokens]), torch.tensor([5]), torch.tensor([3]), blank=model.blank, reduction="sum"
    )  # fmt: skip
    assert model.ctc_loss(ctc, torch.ones(1, 5, dtype=torch.bool), labels).item() * 3 == pytest.approx(
        wanted.item(), rel=1e-5
    )


def test_every_word_is_in_what_is_read_and_in_what_is_written(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokens = translator.alignment, tokens_of(translator, "! tea")
    end = model.text.eos_id
    path = torch.tensor([[tokens[0], model.blank, tokens[0], tokens[1], tokens[1]]])
    ctc = torch.nn.functional.one_hot(path, model.vocabulary + 1).float()
    assert model.greedy(ctc, torch.ones(1, 5, dtype=torch.bool)) == [[tokens[0], *tokens]]
    beams = torch.tensor([[[*tokens, end, 0], [tokens[0], end, 0, 0]]])
    monkeypatch.setattr(model.text, "generate", lambda *_, **__: (beams, torch.tensor([[-1.0, -2.0]])))
    y, mask = translator(*clips.batch((20,)))
    found = model.n_best(y, mask, beams=2, max_length=6, length_penalty=1.0, ask_ctc=False)
    [texts], _ = found.ranked(1, 0.0, 1.0)
    assert texts == [tokens, tokens[:1]]
    assert translator.decode(texts) == ["! tea", "!"]


def test_it_is_loaded_with_the_blank_it_was_saved_with(translator: Translator, tmp_path: Path) -> None:
    save(translator, tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.alignment.blank == translator.alignment.blank
    y, mask = translator(*clips.batch(LENGTHS))
    assert again.translate(y, mask) == translator.translate(y, mask)


# models of before -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_model_whose_blank_was_token_0_gives_the_texts_it_gave(tmp_path: Path) -> None:
    model = load(FOLDER / "translator")
    assert model.alignment.blank == 0
    wanted = json.loads((FOLDER / "texts.json").read_text())
    save(model, tmp_path)
    for translator in (model, load(tmp_path)):
        found = translator.translate(*translator(*clips.batch(LENGTHS, SEED)))
        assert [[h.text for h in some] for some in found] == [[text for text, _ in some] for some in wanted]
        scores = [h.score for some in found for h in some]
        assert scores == pytest.approx([score for some in wanted for _, score in some], abs=1e-4)


def test_a_training_whose_blank_was_token_0_goes_on(tmp_path: Path, train) -> None:
    shutil.copytree(FOLDER / "checkpoint", tmp_path / "run")
    logger = Memory(tmp_path / "run")
    trained = train("alignment", logger, **SMALL)
    assert any("goes on from step 8 of 12" in note for note in logger.notes)
    assert trained.model.alignment.blank == trained.model.alignment.vocabulary
    # the loss goes on where it was, and does not begin anew
    before = json.loads((FOLDER / "checkpoint" / "progress.json").read_text())["best_metrics"]
    assert logger.points["validation/ctc"][11] < 1.05 * before["ctc"]


def test_what_token_0_was_to_ctc_is_the_own_blank_s() -> None:
    earlier = load(FOLDER / "translator").alignment
    text = earlier.text
    now = AlignmentModel(clips.WIDTH, earlier.vocabulary, text).eval()
    now.load_state_dict(
        {name: own_blank(name, value, now.state_dict()[name].shape) for name, value in earlier.state_dict().items()}
    )
    y, mask = torch.randn(2, 5, clips.WIDTH), torch.ones(2, 5, dtype=torch.bool)
    with torch.no_grad():
        was, is_now = earlier.ctc(earlier.adapt(y)), now.ctc(now.adapt(y))
    assert torch.equal(is_now[..., -1], was[..., 0]) and torch.equal(is_now[..., 1:-1], was[..., 1:])
    assert now.greedy(is_now, mask) == earlier.greedy(was, mask)
