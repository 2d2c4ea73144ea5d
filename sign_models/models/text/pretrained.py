"""A text model of Transformers on the text side: it reads vectors in place of token embeddings.

Only its public interface is used: its forward in training, `generate` for texts. T5 and mT5 are searched by t5.py.

B clips, K beams, S vectors, L tokens, D width of the model's embeddings, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from inspect import signature
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
    PretrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.activations import NewGELUActivation
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.mt5.modeling_mt5 import MT5LayerNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from sign_models.errors import ParamsError, ResourceError
from sign_models.models.hub_access import reach_hub
from sign_models.models.text import IGNORED, TextModel
from sign_models.models.text.beam import beam_search
from sign_models.models.text.low_rank import add_low_rank
from sign_models.models.text.t5 import T5Decoder, is_t5

PARAMETER = "alignment.decoder.pretrained"
KEPT = "kept_tokens"  # in the config of a pruned model: which of the tokenizer's ids its own are, in order
UNTIED = "untied_output"  # in the config of a model whose output layer is not its embeddings; see untie()
MAX_KEPT_SCORES = 2**26  # numbers: 256 MiB of log probabilities that `generate` keeps of all tokens


class PretrainedText(TextModel):
    """Writes text after a prefix of vectors: a seq2seq model encodes them, a causal model continues them.

    Attributes:
        vocabulary_map: Of a pruned model, which of the tokenizer's ids its own are, in order; else empty.
    """

    model: Any  # transformers' modules have no types of their own

    def __init__(self, model: Any) -> None:
        """Take over a model.

        Args:
            model: Of Transformers, one that writes text.
        """
        super().__init__()
        fuse(model)
        self.model = model
        self.seq2seq = bool(model.config.is_encoder_decoder)
        self.counts_positions = "position_ids" in signature(model.forward).parameters
        self.vocabulary, self.width = model.get_input_embeddings().weight.shape
        self.eos_id, self.pad_id = model.config.eos_token_id, model.config.pad_token_id
        if not is_t5(model.config):
            self.note = "Transformers' generate searches for texts, a third as fast as a T5 or mT5 is searched"
        self.vocabulary_map: list[int] = getattr(model.config, KEPT, [])
        self._place = {token: i for i, token in enumerate(self.vocabulary_map)}
        model.generation_config = GenerationConfig()  # how it once wrote: other tokens may be forced or forbidden there

    @classmethod
    def from_pretrained(cls, name: str, texts: list[str] | None = None, rank: int = 0) -> PretrainedText:
        """A Hugging Face model; only safetensors weights, never code from the repository.

        Args:
            name: On Hugging Face, or a local folder.
            texts: Keep only the vocabulary that writes them, and the special tokens. None: keep all of it.
            rank: Learn low-rank changes of the frozen weights (Hu et al. 2021), until merge(). 0: learn the weights.

        Returns:
            The model, its weights those of Hugging Face.

        Raises:
            ParamsError: There is no model that writes text.
        """
        config, tokenizer = read_pretrained(name)
        with _reading(name) as how:
            model = _auto(config).from_pretrained(name, **how, use_safetensors=True, dtype=torch.float32)
        if model.get_output_embeddings().weight is not model.get_input_embeddings().weight:
            untie(model)
        _name_special_tokens(model.config, tokenizer)
        if texts is not None:
            prune(model, used_tokens(model.config, tokenizer, texts))
        if rank:
            add_low_rank(model, rank)
        return cls(model)

    @classmethod
    def from_config(cls, folder: Path) -> PretrainedText:
        """The architecture of a saved model, without its weights.

        Args:
            folder: That save_config() wrote to.

        Returns:
            The model, with weights at random.
        """
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = _auto(config).from_config(config)
        if getattr(config, UNTIED, False):
            untie(model)
        return cls(model)

    def save_config(self, folder: Path) -> None:
        """Write config.json. See TextModel.save_config()."""
        self.model.config.save_pretrained(folder)

    def to_model_ids(self, tokens: list[int]) -> list[int]:
        """The tokenizer's ids as the model's. See TextModel.to_model_ids().

        Where an entry was pruned, the unknown token stands for it, or else the first.
        """
        unknown = getattr(self.model.config, "unk_token_id", None) or 0
        return [self._place.get(token, unknown) for token in tokens] if self.vocabulary_map else tokens

    def to_tokenizer_ids(self, tokens: list[int]) -> list[int]:
        """The model's ids as the tokenizer's. See TextModel.to_tokenizer_ids()."""
        return [self.vocabulary_map[token] for token in tokens] if self.vocabulary_map else tokens

    def merge(self) -> None:
        """Make low-rank changes part of the weights: a plain model is left, of the same outputs."""
        for module in self.model.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        self.model.requires_grad_(True)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens. See TextModel.embed()."""
        return cast(Tensor, self.model.get_input_embeddings()(tokens))

    def encode(self, prefix: Tensor, mask: Tensor) -> Tensor:
        """What texts are written from: of a causal model the prefix itself. See TextModel.encode()."""
        if not self.seq2seq:
            return prefix
        # what layers add up stays in single precision, as embeddings would be
        out = self.model.get_encoder()(inputs_embeds=prefix.float(), attention_mask=mask.long())
        return cast(Tensor, out.last_hidden_state)

    def logits(self, encoded: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Logits of each token after those before it. See TextModel.logits()."""
        if self.seq2seq:
            config = self.model.config
            start = labels.new_full((labels.shape[0], 1), config.decoder_start_token_id)
            shifted = torch.cat([start, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, config.pad_token_id)], 1)
            states = BaseModelOutput(last_hidden_state=encoded)
            out = self.model(encoder_outputs=states, attention_mask=mask.long(), decoder_input_ids=shifted)
            return cast(Tensor, out.logits.float())
        tokens = labels.clamp(min=0)
        embedded = torch.cat([encoded, self._start(encoded), self.embed(tokens[:, :-1])], 1)
        seen = torch.cat([mask, mask.new_ones(len(mask), 1), labels[:, :-1] != IGNORED], 1)
        given = {}
        if self.counts_positions:  # of what is seen, as `generate` does: padding stands between a clip and its text
            given["position_ids"] = (seen.long().cumsum(1) - 1).clamp(min=0)
        out = self.model(inputs_embeds=embedded, attention_mask=seen.long(), **given)
        return cast(Tensor, out.logits[:, encoded.shape[1] :].float())

    @torch.no_grad()
    def generate(
        self, encoded: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
    ) -> tuple[Tensor, Tensor]:
        """The best texts of each clip, with the log likelihood of each. See TextModel.generate()."""
        search = self.generate_by_transformers
        if is_t5(self.model.config):
            search = partial(beam_search, T5Decoder(self.model, self.eos_id))
        return search(encoded, mask, beams=beams, max_length=max_length, length_penalty=length_penalty)

    @torch.no_grad()
    def generate_by_transformers(
        self, encoded: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
    ) -> tuple[Tensor, Tensor]:
        """As generate(), of any model.

        Not known is the log likelihood of a text without an end, and of all texts where the log probabilities of every
        token would take more memory than MAX_KEPT_SCORES.

        Args:
            encoded: (B, S, D), of encode().
            mask: (B, S) bool.
            beams: Texts that are followed, and returned.
            max_length: Tokens of a text at most.
            length_penalty: Exponent of a text's length, which its log likelihood is divided by.

        Returns:
            The token ids (B, beams, L), best first, and the log likelihood of each text (B, beams).
        """
        config = self.model.config
        of_beams = {"length_penalty": length_penalty, "early_stopping": True} if beams > 1 else {}
        scored = len(mask) * beams * max_length * self.vocabulary <= MAX_KEPT_SCORES
        settings = GenerationConfig(
            num_beams=beams,
            num_return_sequences=beams,
            do_sample=False,
            max_new_tokens=max_length,
            pad_token_id=config.pad_token_id or 0,
            eos_token_id=self.eos_id,
            bos_token_id=config.bos_token_id,
            decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
            output_scores=scored,
            return_dict_in_generate=True,
            **of_beams,
        )
        given: dict[str, Any] = {"encoder_outputs": BaseModelOutput(last_hidden_state=encoded)}
        if not self.seq2seq:
            given = {"inputs_embeds": torch.cat([encoded, self._start(encoded)], 1)}
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        found = self.model.generate(**given, attention_mask=mask.long(), generation_config=settings)
        tokens = found.sequences[:, 1:] if self.seq2seq else found.sequences
        likelihoods = torch.full((len(tokens),), torch.nan, device=tokens.device)
        if scored:
            chosen = self.model.compute_transition_scores(
                found.sequences, found.scores, getattr(found, "beam_indices", None), normalize_logits=beams == 1
            )
            ends = tokens == self.eos_id
            behind = ends.cumsum(1) > ends.long()  # an end before them
            sums = chosen.masked_fill(behind[:, : chosen.shape[1]], 0.0).sum(1)
            likelihoods = torch.where(ends.any(1), sums, torch.nan)
        return tokens.view(-1, beams, tokens.shape[1]), likelihoods.view(-1, beams)

    def _start(self, prefix: Tensor) -> Tensor:
        config = self.model.config
        start = config.bos_token_id if config.bos_token_id is not None else config.eos_token_id
        return self.embed(torch.full((len(prefix), 1), start, device=prefix.device))


def fuse(model: nn.Module) -> None:
    """Put torch's own functions in the place of T5's norms and of the GELU of GPT-2 and mT5.

    They are a kernel each where transformers has up to eight. Weights keep their names, and outputs are the same up to
    rounding.

    Args:
        model: Changed in its place.
    """
    for module in [*model.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, T5LayerNorm | MT5LayerNorm):
                norm = nn.RMSNorm(child.weight.shape, child.variance_epsilon)
                norm.weight = child.weight
                setattr(module, name, norm)
            elif isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU("tanh"))


def read_pretrained(name: str) -> tuple[PretrainedConfig, PreTrainedTokenizerBase]:
    """The config and the tokenizer of a Hugging Face model.

    Args:
        name: On Hugging Face, or a local folder.

    Returns:
        Both.

    Raises:
        ParamsError: There is no model that writes text.
        ResourceError: Its tokenizer needs a package that is not installed, or Hugging Face cannot be reached.
    """
    with _reading(name) as how:
        config = AutoConfig.from_pretrained(name, **how)
        if not {type(config)} & {*MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, *MODEL_FOR_CAUSAL_LM_MAPPING}:
            raise ValueError(f"{config.model_type} models do not write text")
        if Path(name).is_dir() and not list(Path(name).glob("*.safetensors")):
            raise OSError("the folder holds no *.safetensors")
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, **how)
        except (ImportError, ValueError) as error:
            if find_spec("sentencepiece") is not None or not re.search("sentencepiece|tiktoken", str(error), re.I):
                raise
            raise ResourceError(
                "its tokenizer is a file of SentencePiece, and sentencepiece is not installed",
                place=name,
                remedy="pip install 'sign-models[pretrained]', or in a checkout pip install sentencepiece",
            ) from error
        if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes up where there is none
            raise OSError("it has no tokenizer")
        return config, tokenizer


@contextmanager
def _reading(name: str) -> Iterator[dict[str, bool]]:
    """Yields what `from_pretrained` is given. Raises as read_pretrained() does."""
    try:
        cached = not Path(name).is_dir() and not reach_hub(f"{PARAMETER}={name}", name, "config.json")
        yield {"trust_remote_code": False, "local_files_only": cached}
    except (OSError, ValueError) as error:
        found, remedy = (
            str(error).splitlines()[0][:200],
            "give its name on Hugging Face or the absolute path of its folder",
        )
        if re.search(r"holds no \*\.safetensors|does not appear to have a file named \S*\.safetensors", str(error)):
            found = "it has no weights as safetensors"
            remedy = "save it so once, where you trust its files, and give that folder: docs/models.md"
        raise ParamsError(
            f"{name!r} cannot be used: {found}",
            place=PARAMETER,
            wanted="a seq2seq or causal model with safetensors weights and a tokenizer",
            remedy=remedy,
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
    """The tokenizer's ids that a model keeps to write some texts.

    Args:
        config: Of the model.
        tokenizer: Its tokenizer.
        texts: To be written.

    Returns:
        Ids without repeats: special tokens first, of them padding first.
    """
    named = [token for name in SPECIAL if (token := getattr(config, name, None)) is not None]
    written = {token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]}
    return list(dict.fromkeys([*named, *tokenizer.all_special_ids, *sorted(written)]))


def untie(model: Any) -> None:
    """Give an output layer weights of its own, and have the config say so.

    The configs of T5 and mT5 claim that it is tied to the embeddings, whatever their files say. That of T5 1.1, of mT5
    and of what was made of them is not, and would be tied where the vocabulary is pruned or a saved model made again.

    Args:
        model: Changed in its place.
    """
    output = model.get_output_embeddings()
    output.weight = nn.Parameter(output.weight.detach().clone())
    model.config.tie_word_embeddings = False
    setattr(model.config, UNTIED, True)


def prune(model: Any, kept: list[int]) -> None:
    """Leave only some ids of a model's vocabulary.

    Args:
        model: Changed in its place; its config remembers the ids as KEPT.
        kept: Ids to keep, in their new order.
    """
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


def _auto(config: PretrainedConfig) -> Any:
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
