"""The text side of the alignment model: a transformers model that reads vectors in place of token embeddings.

B batch, S vectors, L tokens, D width of the model's embeddings, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    MT5ForConditionalGeneration,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.activations import NewGELUActivation
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.mt5.modeling_mt5 import MT5LayerNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from sign_models.errors import ParamsError
from sign_models.models.beam import beam_search

IGNORED = -100  # label of padding, by transformers' convention
FAST = (T5ForConditionalGeneration, MT5ForConditionalGeneration)  # whose decoders models.beam runs
SCORED = 4096  # tokens at once, each with a float for every entry of the vocabulary
KEPT = "kept_tokens"  # in the config of a pruned model: which of the tokenizer's ids its own are, in order


class TextModel(nn.Module):
    """Writes text after a prefix of vectors: a seq2seq model encodes them, a causal model continues them."""

    model: Any  # transformers' modules have no types of their own

    def __init__(self, model: Any) -> None:
        super().__init__()
        fuse(model)
        self.model = model
        self.seq2seq = bool(model.config.is_encoder_decoder)
        self.vocabulary, self.width = model.get_input_embeddings().weight.shape
        self.kept: list[int] = getattr(model.config, KEPT, [])
        self._place = {token: i for i, token in enumerate(self.kept)}
        model.generation_config = GenerationConfig()  # how it once wrote: other tokens may be forced or forbidden there

    @classmethod
    def from_scratch(cls, vocabulary: int, width: int, layers: int, heads: int, dropout: float) -> TextModel:
        """A T5 decoder with random weights; the temporal model is its encoder."""
        config = T5Config(
            vocab_size=vocabulary,
            d_model=width,
            d_kv=width // heads,
            d_ff=4 * width,
            num_layers=0,
            num_decoder_layers=layers,
            num_heads=heads,
            dropout_rate=dropout,
            feed_forward_proj="relu",
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
        return cls(T5ForConditionalGeneration(config))

    @classmethod
    def from_pretrained(cls, name: str, texts: list[str] | None = None, rank: int = 0) -> TextModel:
        """A Hugging Face model by name or local folder; only safetensors weights, never code from the repository.

        texts: keep only the vocabulary that writes them, and the special tokens; None: keep all of it.
        rank: learn low-rank changes of the frozen weights (Hu et al. 2021), until `merge`; 0: learn the weights.
        ParamsError where there is no model that writes text."""
        config, tokenizer = read_pretrained(name)
        with _reading(name):
            model = _auto(config).from_pretrained(
                name, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        _name_special_tokens(model.config, tokenizer)
        if texts is not None:
            prune(model, used_tokens(model.config, tokenizer, texts))
        if rank:
            add_low_rank(model, rank)
        return cls(model)

    @classmethod
    def from_config(cls, folder: Path) -> TextModel:
        """The architecture of a saved model, without its weights."""
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return cls(_auto(config).from_config(config))

    def of_tokenizer(self, tokens: list[int]) -> list[int]:
        """The tokenizer's ids as the model's; where an entry was pruned, the unknown token, or else the first."""
        unknown = getattr(self.model.config, "unk_token_id", None) or 0
        return [self._place.get(token, unknown) for token in tokens] if self.kept else tokens

    def for_tokenizer(self, tokens: list[int]) -> list[int]:
        """The model's ids as the tokenizer's."""
        return [self.kept[token] for token in tokens] if self.kept else tokens

    def merge(self) -> None:
        """Make low-rank changes part of the weights: a plain model is left, of the same outputs."""
        for module in self.model.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        self.model.requires_grad_(True)

    def encode(self, prefix: Tensor, mask: Tensor) -> Tensor:
        """prefix (B, S, D), mask (B, S) bool -> what texts are written from, for the methods below."""
        if not self.seq2seq:
            return prefix
        # what layers add up stays in single precision, as embeddings would be
        out = self.model.get_encoder()(inputs_embeds=prefix.float(), attention_mask=mask.long())
        return cast(Tensor, out.last_hidden_state)

    def logits(self, encoded: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """encoded (B, S, D), mask (B, S) bool, labels (B, L) with IGNORED padding -> (B, L, V) float32."""
        if self.seq2seq:
            config = self.model.config
            start = labels.new_full((len(labels), 1), config.decoder_start_token_id)
            shifted = torch.cat([start, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, config.pad_token_id)], 1)
            states = BaseModelOutput(last_hidden_state=encoded)
            out = self.model(encoder_outputs=states, attention_mask=mask.long(), decoder_input_ids=shifted)
            return out.logits.float()
        tokens = labels.clamp(min=0)
        start = self._start(encoded)
        embedded = torch.cat([encoded, start, self.model.get_input_embeddings()(tokens[:, :-1])], 1)
        seen = torch.cat([mask, mask.new_ones(len(mask), 1), labels[:, :-1] != IGNORED], 1)
        out = self.model(inputs_embeds=embedded, attention_mask=seen.long())
        return out.logits[:, encoded.shape[1] :].float()

    @torch.no_grad()
    def log_likelihood(self, encoded: Tensor, mask: Tensor, labels: Tensor, clips: Tensor) -> Tensor:
        """Of the texts labels (N, L), with IGNORED padding, of `clips` (N,) among encoded (B, S, D) -> (N,)."""
        known, found = labels != IGNORED, []
        for part in torch.arange(len(labels), device=labels.device).split(max(1, SCORED // labels[0].numel())):
            log_p = self.logits(encoded[clips[part]], mask[clips[part]], labels[part]).log_softmax(-1)
            token = log_p.gather(-1, labels[part].clamp(min=0).unsqueeze(-1)).squeeze(-1)
            found.append((token * known[part]).sum(1))
        return torch.cat(found)

    @torch.no_grad()
    def generate(
        self, encoded: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
    ) -> tuple[Tensor, Tensor]:
        """-> the `beams` best token sequences of each clip (B, beams, L), best first, and the log likelihood of each
        with its end (B, beams), not a number where it is not known."""
        if isinstance(self.model, FAST):
            return beam_search(
                self.model, encoded, mask, beams=beams, max_length=max_length, length_penalty=length_penalty
            )
        config = self.model.config
        of_beams = {"length_penalty": length_penalty, "early_stopping": True} if beams > 1 else {}
        settings = GenerationConfig(
            num_beams=beams,
            num_return_sequences=beams,
            do_sample=False,
            max_new_tokens=max_length,
            pad_token_id=config.pad_token_id or 0,
            eos_token_id=config.eos_token_id,
            bos_token_id=config.bos_token_id,
            decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
            **of_beams,
        )
        given: dict[str, Any] = {"encoder_outputs": BaseModelOutput(last_hidden_state=encoded)}
        if not self.seq2seq:
            given = {"inputs_embeds": torch.cat([encoded, self._start(encoded)], 1)}
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        tokens = self.model.generate(**given, attention_mask=mask.long(), generation_config=settings)
        tokens = tokens[:, 1:] if self.seq2seq else tokens
        return tokens.unflatten(0, (-1, beams)), torch.full((len(tokens) // beams, beams), torch.nan)

    def _start(self, prefix: Tensor) -> Tensor:
        config = self.model.config
        start = config.bos_token_id if config.bos_token_id is not None else config.eos_token_id
        token = torch.full((len(prefix), 1), start, device=prefix.device)
        return self.model.get_input_embeddings()(token)


def fuse(model: nn.Module) -> None:
    """T5's norms and the GELU of GPT-2 and mT5 by torch's own functions: a kernel each where transformers has up to
    eight. The same weights by the same names, and the same outputs up to rounding."""
    for module in [*model.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, T5LayerNorm | MT5LayerNorm):
                norm = nn.RMSNorm(child.weight.shape, child.variance_epsilon)
                norm.weight = child.weight
                setattr(module, name, norm)
            elif isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU("tanh"))


def read_pretrained(name: str) -> tuple[PretrainedConfig, PreTrainedTokenizerBase]:
    """The config and the tokenizer of a Hugging Face model that writes text. ParamsError where there is none."""
    with _reading(name):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if not {type(config)} & {*MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, *MODEL_FOR_CAUSAL_LM_MAPPING}:
            raise ValueError(f"{config.model_type} models do not write text")
        if Path(name).is_dir() and not list(Path(name).glob("*.safetensors")):
            raise OSError("the folder holds no *.safetensors")
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes up where there is none
            raise OSError("it has no tokenizer")
        return config, tokenizer


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise ParamsError(
            f"{name!r} cannot be used: {str(error).splitlines()[0][:200]}",
            place="alignment.decoder.pretrained",
            wanted="a seq2seq or causal model with safetensors weights and a tokenizer",
            remedy="give its name on Hugging Face or the absolute path of its folder",
        ) from error


SPECIAL = ("pad_token_id", "unk_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


def _name_special_tokens(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """What the config leaves to the tokenizer; of several ends of a sentence, the first."""
    for name in SPECIAL[:-1]:
        token = getattr(config, name, None)
        token = token[0] if isinstance(token, list) else token
        setattr(config, name, getattr(tokenizer, name, None) if token is None else token)
    if config.is_encoder_decoder and config.decoder_start_token_id is None:
        config.decoder_start_token_id = config.eos_token_id if config.bos_token_id is None else config.bos_token_id


def used_tokens(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[int]:
    """The special tokens, padding first where there is one, then those that write texts."""
    named = [token for name in SPECIAL if (token := getattr(config, name, None)) is not None]
    written = {token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]}
    return list(dict.fromkeys([*named, *tokenizer.all_special_ids, *sorted(written)]))


def prune(model: Any, kept: list[int]) -> None:
    """Leave only `kept` of a model's vocabulary, in this order, which its config remembers as KEPT."""
    ends = {id(e.weight): e for e in (model.get_input_embeddings(), model.get_output_embeddings()) if e is not None}
    rows = [e.weight for e in ends.values()]
    rows += [e.bias for e in ends.values() if getattr(e, "bias", None) is not None]
    with torch.no_grad():
        for row in rows:
            row[: len(kept)] = row[kept]  # resizing then keeps the first ones
    model.resize_token_embeddings(len(kept))
    for name, buffer in model.named_buffers(recurse=False):  # BART's bias of the logits is a view of the longer one now
        setattr(model, name, buffer.clone())
    place = {token: i for i, token in enumerate(kept)}
    for name in SPECIAL:
        if (token := getattr(model.config, name, None)) is not None:
            setattr(model.config, name, place[token])
    setattr(model.config, KEPT, kept)


class LowRank(nn.Module):
    """weight -> weight + b a: a change of few weights, nothing at first (Hu et al. 2021).

    Through torch's parametrizations: any module with a matrix can have it, and merging is theirs; `peft` does no more
    here and is one package more."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.b = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.b @ self.a


def add_low_rank(model: Any, rank: int) -> None:
    """Freeze a model but for a LowRank on each of its matrices, embeddings and output layer aside."""
    model.requires_grad_(False)
    output = model.get_output_embeddings()
    for module in [*model.modules()]:
        weight = getattr(module, "weight", None)
        if weight is not None and weight.ndim == 2 and module is not output and not isinstance(module, nn.Embedding):
            parametrize.register_parametrization(module, "weight", LowRank(weight, rank))


def _auto(config: PretrainedConfig) -> Any:
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
