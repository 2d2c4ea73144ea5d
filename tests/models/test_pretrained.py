"""A pretrained text side: any seq2seq or causal model, its vocabulary pruned, its weights changed by low ranks."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    MBartConfig,
    MT5Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    T5Config,
)

from sign_models.data.tokenizer import END, PAD, START, UNKNOWN, train_tokenizer
from sign_models.errors import ParamsError, ResourceError
from sign_models.models.alignment import AlignmentModel
from sign_models.models.storage import load, save
from sign_models.models.text import IGNORED, pretrained
from sign_models.models.text.pretrained import PretrainedText, read_pretrained
from sign_models.models.translator import Generation, Translator
from tests import tiny
from tests.models import clips
from tests.stages.recorders import Memory

TEXTS = [*clips.TEXTS, "milk and sugar", "a large coffee"]
SMALL = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
HALVES = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
          "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "d_model": 16, "max_position_embeddings": 64}  # fmt: skip
CAUSAL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
MODELS: dict[str, Callable[..., Any]] = {
    "t5": lambda **of: T5Config(**SMALL, **of),
    "flan": lambda **of: T5Config(**SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **of),
    "mt5": lambda **of: MT5Config(**SMALL, **of),
    "flan, untied": lambda **of: T5Config(**SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **of),
    "mt5, untied": lambda **of: MT5Config(**SMALL, **of),
    "bart": lambda **of: BartConfig(**HALVES, forced_bos_token_id=5, decoder_start_token_id=2, **of),
    "mbart": lambda **of: MBartConfig(**HALVES, **of),
    "gpt2": lambda **of: GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=64, **of),
    "qwen2": lambda **of: Qwen2Config(**CAUSAL, num_key_value_heads=1, tie_word_embeddings=True, **of),
    "qwen3": lambda **of: Qwen3Config(**CAUSAL, num_key_value_heads=1, head_dim=8, tie_word_embeddings=True, **of),
    "llama": lambda **of: LlamaConfig(**CAUSAL, **of | {"eos_token_id": [2, 3]}),
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny saved model of each kind, all of one tokenizer whose padding is not the first entry for the model."""
    made = {}
    trained = train_tokenizer(TEXTS, [], "word", 100)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained, pad_token=PAD, bos_token=START, eos_token=END, unk_token=UNKNOWN
    )
    for name, config in MODELS.items():
        folder = tmp_path_factory.mktemp(name)
        given = config(vocab_size=len(tokenizer) + 3, pad_token_id=0, bos_token_id=1, eos_token_id=2)
        torch.manual_seed(0)
        kind = AutoModelForSeq2SeqLM if given.is_encoder_decoder else AutoModelForCausalLM
        kind.from_config(given).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        GenerationConfig(forced_bos_token_id=6, suppress_tokens=[7, 8]).save_pretrained(folder)
        if name.endswith("untied"):
            untie_saved(folder)
        made[name] = str(folder)
    return made


def untie_saved(folder: Path) -> None:
    """Give a saved model an output layer of its own, as all of T5 1.1 and mT5 have that are published."""
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.randn_like(weights["shared.weight"])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))


def labels_of(model: PretrainedText, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    rows = [[*model.to_model_ids(tokenizer(t, add_special_tokens=False)["input_ids"]), model.model.config.eos_token_id]
            for t in texts]  # fmt: skip
    longest = max(map(len, rows))
    return torch.tensor([row + [IGNORED] * (longest - len(row)) for row in rows])


def translator_of(folder: str, prune: bool, rank: int) -> Translator:
    text = PretrainedText.from_pretrained(folder, clips.TEXTS if prune else None, rank)
    torch.manual_seed(1)
    alignment = AlignmentModel(clips.WIDTH, text.vocabulary, text)
    generation = Generation(beams=2, max_length=6, length_penalty=1.0, ctc_weight=0.3, window=64)
    return Translator(clips.temporal(), alignment, read_pretrained(folder)[1], generation, True).eval()


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_what_transformers_computes_with_weights_of_the_same_names(folders, name: str) -> None:
    found = PretrainedText.from_pretrained(folders[name]).model.eval()
    kind = AutoModelForSeq2SeqLM if found.config.is_encoder_decoder else AutoModelForCausalLM
    wanted = kind.from_pretrained(folders[name]).eval()
    assert [*found.state_dict()] == [*wanted.state_dict()]
    tokens = torch.tensor([[4, 5, 6, 7], [5, 4, 6, 2]])
    given = {"decoder_input_ids": tokens} if found.config.is_encoder_decoder else {}
    with torch.no_grad():
        assert torch.allclose(found(tokens, **given).logits, wanted(tokens, **given).logits, atol=1e-5)
    slow = {"T5LayerNorm", "MT5LayerNorm", "NewGELUActivation"}
    assert not slow & {type(module).__name__ for module in found.modules()}


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_pruning_changes_no_logit_that_is_left(folders, name: str) -> None:
    whole = PretrainedText.from_pretrained(folders[name]).eval()
    pruned = PretrainedText.from_pretrained(folders[name], clips.TEXTS).eval()
    tokenizer = read_pretrained(folders[name])[1]
    assert len(pruned.vocabulary_map) == pruned.vocabulary < whole.vocabulary
    prefix, mask = torch.randn(len(clips.TEXTS), 5, whole.width), torch.ones(len(clips.TEXTS), 5, dtype=torch.bool)
    wanted = whole.logits(whole.encode(prefix, mask), mask, labels_of(whole, tokenizer, clips.TEXTS))
    found = pruned.logits(pruned.encode(prefix, mask), mask, labels_of(pruned, tokenizer, clips.TEXTS))
    assert torch.allclose(found, wanted[..., pruned.vocabulary_map], atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_pruned_model_reads_and_writes_the_tokenizer_s_ids(folders, name: str) -> None:
    pruned = PretrainedText.from_pretrained(folders[name], clips.TEXTS)
    tokenizer = read_pretrained(folders[name])[1]
    for text in clips.TEXTS:
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert pruned.to_tokenizer_ids(pruned.to_model_ids(tokens)) == tokens
    milk = tokenizer("milk", add_special_tokens=False)["input_ids"]  # which no text of its has
    if len(milk) == 1:  # to Transformers' class for Qwen2 it is four letters
        assert pruned.to_tokenizer_ids(pruned.to_model_ids(milk)) == [tokenizer.unk_token_id]


@pytest.mark.parametrize("name", MODELS)
def test_low_ranks_learn_alone_and_merge_into_the_weights(folders, name: str) -> None:
    model = PretrainedText.from_pretrained(folders[name], rank=2).eval()
    plain = PretrainedText.from_pretrained(folders[name]).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train_autocast = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert 0 < sum(p.numel() for p in train_autocast) < sum(p.numel() for p in model.parameters()) / 2
    prefix, mask = torch.randn(2, 5, model.width), torch.ones(2, 5, dtype=torch.bool)
    labels = torch.tensor([[5, 6, 2], [7, 2, IGNORED]])
    assert torch.allclose(
        model.logits(model.encode(prefix, mask), mask, labels),
        plain.logits(plain.encode(prefix, mask), mask, labels),
        atol=1e-4,
    )
    optimizer = torch.optim.AdamW(train_autocast, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        logits = model.logits(model.encode(prefix, mask), mask, labels)
        torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED).backward()
        optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(key.rpartition(".")[2] in "ab" for key in changed)
    wanted = model.logits(model.encode(prefix, mask), mask, labels)
    model.merge()
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert torch.allclose(model.logits(model.encode(prefix, mask), mask, labels), wanted, atol=1e-4)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_translator_with_it_is_loaded_as_it_was_saved(folders, name: str, prune: bool, tmp_path: Path) -> None:
    model = translator_of(folders[name], prune, rank=0)
    save(model, tmp_path)
    again = load(tmp_path)
    assert (
        again.alignment.text.vocabulary_map == model.alignment.text.vocabulary_map
        and bool(again.alignment.text.vocabulary_map) == prune
    )
    with torch.no_grad():
        y, mask = model(*clips.batch((20, 7)))
        texts = [[h.text for h in found] for found in model.translate(y, mask)]
        assert again.translate(y, mask) == model.translate(y, mask)
    words = {word for text in (clips.TEXTS if prune else TEXTS) for word in text.split()}
    if prune:
        assert all(set(text.split()) <= words | set("".join(words)) for found in texts for text in found)


@pytest.mark.parametrize("name", ["t5", "mbart", "gpt2"])
def test_what_is_trained_is_what_is_generated(folders, name: str) -> None:
    """The greedy text is the one whose every token the logits prefer: both start alike."""
    model = PretrainedText.from_pretrained(folders[name]).eval()
    prefix, mask = torch.randn(1, 5, model.width), torch.ones(1, 5, dtype=torch.bool)
    tokens, _ = model.generate(model.encode(prefix, mask), mask, beams=1, max_length=5, length_penalty=1.0)
    with torch.no_grad():
        assert model.logits(model.encode(prefix, mask), mask, tokens[0]).argmax(-1).tolist() == tokens[0].tolist()


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_logits_depend_on_no_padding_of_the_clip(folders, name: str) -> None:
    model = PretrainedText.from_pretrained(folders[name]).eval()
    prefix, labels = torch.randn(1, 4, model.width), torch.tensor([[5, 6, 7, 2]])
    found = []
    for padding in (0, 3):
        padded = torch.cat([prefix, torch.randn(1, padding, model.width)], 1)
        mask = torch.arange(4 + padding).unsqueeze(0) < 4
        found.append(model.logits(model.encode(padded, mask), mask, labels))
    assert torch.allclose(*found, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_log_likelihoods_are_known_of_texts_that_end(
    folders, name: str, beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PretrainedText.from_pretrained(folders[name]).eval()
    mask = torch.arange(5) < torch.tensor([5, 2, 4, 3]).unsqueeze(1)
    asked = {"beams": beams, "max_length": 6, "length_penalty": 0.7}
    states = set()
    for seed in range(8):
        torch.manual_seed(seed)
        encoded = model.encode(3 * torch.randn(4, 5, model.width), mask)
        tokens, _ = model.generate_by_transformers(encoded, mask, **asked)
        model.eos_id = int(tokens[seed % 4, 0, tokens.shape[-1] // 2])  # a token that is written
        tokens, found = model.generate_by_transformers(encoded, mask, **asked)
        ends = (tokens == model.eos_id).any(-1)
        assert torch.equal(found.isnan(), ~ends)
        behind = (tokens == model.eos_id).cumsum(-1) - (tokens == model.eos_id).long() > 0
        labels = tokens.masked_fill(behind, IGNORED).flatten(0, 1)
        wanted = model.log_likelihood(encoded, mask, labels, torch.arange(4).repeat_interleave(beams))
        assert torch.allclose(found[ends], wanted.unflatten(0, (4, beams))[ends], atol=1e-4)
        states |= {*ends.flatten().tolist()}
        with monkeypatch.context() as patched:
            patched.setattr(pretrained, "MAX_KEPT_SCORES", 0)
            again, unknown = model.generate_by_transformers(encoded, mask, **asked)
        assert torch.equal(again, tokens) and unknown.isnan().all()
    assert True in states


@torch.no_grad()
@pytest.mark.parametrize(("rank", "prune"), [(0, False), (2, False), (0, True)])
@pytest.mark.parametrize("form", ["t5", "flan", "mt5"])
def test_a_t5_is_searched_as_transformers_searches_it(folders, form: str, rank: int, prune: bool) -> None:
    """`flan`: gated, with an output layer that is not scaled, unlike the first T5."""
    model = PretrainedText.from_pretrained(folders[form], clips.TEXTS if prune else None, rank).eval()
    for name, change in model.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(change, std=0.3)  # of a low rank, which is nothing at first
    mask = torch.arange(5) < torch.tensor([5, 2, 4, 3]).unsqueeze(1)
    ended = set()
    for seed in range(6):
        torch.manual_seed(seed)
        encoded = model.encode(3 * torch.randn(4, 5, model.width), mask)
        for beams, length_penalty in ((1, 1.0), (4, 0.7)):
            asked = {"beams": beams, "max_length": 7, "length_penalty": length_penalty}
            tokens, found = model.generate(encoded, mask, **asked)
            wanted, likelihoods = model.generate_by_transformers(encoded, mask, **asked)
            assert texts_of(tokens, model.eos_id) == texts_of(wanted, model.eos_id)
            known = ~likelihoods.isnan()
            assert torch.allclose(found[known], likelihoods[known], atol=1e-4)
            ended |= {*(wanted == model.eos_id).any(-1).flatten().tolist()}
        model.eos_id = model.model.config.eos_token_id = int(tokens[seed % 4, 0, 2])  # a token that is written
    assert ended == {True, False}


def texts_of(tokens: torch.Tensor, end: int) -> list[list[int]]:
    """Up to the end."""
    rows = tokens.flatten(0, 1).tolist()
    return [row[: row.index(end)] if end in row else row for row in rows]


def test_the_alignment_stage_leaves_a_plain_model(folders, tiny_data: Path, tmp_path: Path) -> None:
    from sign_models.datasets.inputs import Inputs
    from sign_models.models.skeleton import SkeletonModel
    from sign_models.models.temporal import TemporalModel
    from sign_models.stages import alignment

    inputs = Inputs.from_paths(tiny_data, None, None, None)
    given = {"pretrained": folders["t5"], "prune": True, "lora": 2}
    params = tiny.params(alignment__training__steps=4, **{f"alignment__decoder__{k}": v for k, v in given.items()})
    torch.manual_seed(0)
    first = SkeletonModel(**params.skeleton.model.model_dump())
    base = TemporalModel(first, **params.temporal.model.model_dump(), window=64)
    trained = alignment.train(params.alignment, inputs.videos, inputs.texts, base, Memory(tmp_path / "run"), "cased")
    model = trained.model
    assert isinstance(model, Translator)
    texts = [inputs.texts[name] for name in inputs.videos.ids if name.startswith("train")]
    before, after = PretrainedText.from_pretrained(folders["t5"], texts).state_dict(), model.alignment.text.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all("Attention" in name or "DenseReluDense" in name for name in changed)
    save(model, tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def write_sentencepiece(folder: Path) -> Path:
    """A folder as mT5 has it: config, weights, and a tokenizer that is a file of SentencePiece alone."""
    folder.mkdir()
    written = io.BytesIO()
    if find_spec("sentencepiece") is not None:  # else nobody reads the file
        import sentencepiece

        ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
        size = {"vocab_size": 100, "hard_vocab_limit": False}
        texts = iter(10 * TEXTS)
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=texts, model_writer=written, **ids, **size)
    (folder / "spiece.model").write_bytes(written.getvalue())
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 0}')
    config = MT5Config(**SMALL, vocab_size=100, pad_token_id=0, eos_token_id=1)
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
    return folder


def test_a_tokenizer_of_sentencepiece_writes_its_texts_or_says_what_it_needs(tmp_path: Path) -> None:
    name = str(write_sentencepiece(tmp_path / "mt5"))
    if find_spec("sentencepiece") is None:
        with pytest.raises(
            ResourceError, match=r"sentencepiece is not installed; pip install 'sign-models\[pretrained\]'"
        ):
            read_pretrained(name)
        return
    tokenizer = read_pretrained(name)[1]
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_weights_that_would_run_code_are_refused_with_what_to_do(
    folders, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folders["mt5"], tmp_path / "mt5")
    (tmp_path / "mt5" / "model.safetensors").rename(tmp_path / "mt5" / "pytorch_model.bin")
    if where == "hub":  # what Transformers says where neither it nor its pull requests have any
        name, found = "google/mt5-none", "google/mt5-none does not appear to have a file named model.safetensors or"

        def none(*_: object, **__: object) -> None:
            raise OSError(f"{found} model.safetensors.index.json. Please do not set `use_safetensors=True`.")

        monkeypatch.setattr(pretrained, "reach_hub", lambda *_: True)
        monkeypatch.setattr(pretrained, "read_pretrained", lambda _: read_pretrained(folders["mt5"]))
        monkeypatch.setattr(AutoModelForSeq2SeqLM, "from_pretrained", none)
    else:
        name = str(tmp_path / "mt5")
    with pytest.raises(ParamsError, match="no weights as safetensors; .*save it so once.*docs/models.md") as told:
        PretrainedText.from_pretrained(name)
    assert "use_safetensors" not in str(told.value)


def test_refusals(folders, tmp_path: Path) -> None:
    from sign_models.params import load as params

    with pytest.raises(ParamsError, match="cannot be used"):
        PretrainedText.from_pretrained(str(tmp_path))
    for name, value in (("lora", "4"), ("prune", "true")):
        with pytest.raises(ParamsError, match=f"decoder.{name}.*none without decoder.pretrained"):
            params.resolve(sets={f"alignment.decoder.{name}": value})
