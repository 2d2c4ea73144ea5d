"""The text decoder that is trained from scratch: a small Transformer decoder.

It computes what the decoder of T5 (Raffel et al. 2020) does: norms before each part without a mean (RMSNorm), attention
whose products are not scaled, a bias for each distance between tokens that all layers share, and an output layer that
is the embedding. docs/decisions/0003-text-decoder.md says why it is ours, and why it stays so close.

B clips, K beams, S vectors, L tokens, H heads, D width, V vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sign_models.models.earlier import rename_t5_weights
from sign_models.models.text import IGNORED, TextModel
from sign_models.models.text.beam import beam_search
from sign_models.models.text.decoding import DecoderWeights, LayerWeights, distance_buckets, split

MODEL_TYPE = "text_decoder"  # in config.json, where a model of Transformers names its own
DISTANCE_BUCKETS = 32  # distances between tokens that have a bias of their own
MAX_DISTANCE_TOKENS = 128  # farther ones have the bias of this one
EPSILON = 1e-6  # of the norms


class Attention(nn.Module):
    """Multi-head attention without biases and without scaling of its products."""

    def __init__(self, width: int, heads: int, dropout: float, tells_distance: bool = False) -> None:
        """Build it.

        Args:
            width: D, a multiple of heads.
            heads: H.
            dropout: Of the attention's weights.
            tells_distance: Whether it holds the bias of each distance, for all layers.
        """
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.distance_bias = nn.Embedding(DISTANCE_BUCKETS, heads) if tells_distance else None

    def forward(self, x: Tensor, source: Tensor, bias: Tensor) -> Tensor:
        """Attend from x to source.

        Args:
            x: (B, L, D).
            source: (B, T, D), x itself or a clip's vectors.
            bias: Added to the products, or bool: what is seen. (B or 1, H or 1, L or 1, T).

        Returns:
            (B, L, D).
        """
        q, k, v = (split(part, self.heads) for part in (self.q(x), self.k(source), self.v(source)))
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=1.0)
        return cast(Tensor, self.o(y.transpose(1, 2).flatten(2)))


class DecoderLayer(nn.Module):
    """Attention to the tokens so far, attention to the clip, and a feed-forward part; each is added to its input."""

    def __init__(self, width: int, heads: int, dropout: float, tells_distance: bool) -> None:
        """Build it.

        Args:
            width: D.
            heads: H.
            dropout: Probability.
            tells_distance: Whether its self-attention knows how far apart tokens are.
        """
        super().__init__()
        # in the order of T5: optimizers know their parameters by place
        self.self_attention = Attention(width, heads, dropout, tells_distance)
        self.self_norm = nn.RMSNorm(width, EPSILON)
        self.cross_attention = Attention(width, heads, dropout)
        self.cross_norm = nn.RMSNorm(width, EPSILON)
        self.feed_in, self.feed_out = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.feed_norm = nn.RMSNorm(width, EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor, encoded: Tensor, seen: Tensor) -> Tensor:
        """Of whole texts, as in training.

        Args:
            x: (B, L, D) float32.
            bias: (1, H, L, L), of the distances, and minus infinity for later tokens.
            encoded: (B, S, D).
            seen: (B, 1, 1, S) bool.

        Returns:
            (B, L, D) float32.
        """
        normed = self.self_norm(x)
        x = x + self.dropout(self.self_attention(normed, normed, bias))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), encoded, seen))
        y = self.dropout(F.relu(self.feed_in(self.feed_norm(x))))
        return cast(Tensor, x + self.dropout(self.feed_out(y)))


class TextDecoder(TextModel):
    """A Transformer decoder over the temporal model's vectors."""

    pad_id, bos_id, eos_id = 0, 1, 2  # of data.tokenizer
    buckets: Tensor

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, dropout: float) -> None:
        """Build it with random weights.

        Args:
            vocabulary: V.
            width: D, a multiple of heads.
            layers: At least one.
            heads: H.
            dropout: Of embeddings, attention weights, what the parts add and what they are computed from.
        """
        super().__init__()
        self.config = {"vocabulary": vocabulary, "width": width, "layers": layers, "heads": heads, "dropout": dropout}
        self.vocabulary, self.width = vocabulary, width
        self.embedding = nn.Embedding(vocabulary, width)
        self.encoded_norm = nn.RMSNorm(width, EPSILON)
        _discard_draws(self.embedding.weight, 3)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, dropout, place == 0) for place in range(layers))
        self.norm = nn.RMSNorm(width, EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("buckets", distance_buckets(DISTANCE_BUCKETS, MAX_DISTANCE_TOKENS), persistent=False)
        self.reset_parameters()
        self.register_load_state_dict_pre_hook(rename_t5_weights)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew: normal, with the standard deviations of T5 for each kind.

        Each is drawn as often and in the same order as by transformers, whose T5 this decoder once was: a seed gives
        the weights that it gave then.
        """
        width = self.width
        _discard_draws(self.embedding.weight, 1)
        for layer in self.blocks:
            for attention in (layer.self_attention, layer.cross_attention):
                deviations: list[tuple[nn.Linear | nn.Embedding, float]] = [
                    (attention.q, (width * width // attention.heads) ** -0.5)
                ]
                deviations += [(part, width**-0.5) for part in (attention.k, attention.v, attention.o)]
                if attention.distance_bias is not None:
                    deviations.append((attention.distance_bias, width**-0.5))
                _draw(deviations)
            _draw([(layer.feed_in, width**-0.5), (layer.feed_out, (4 * width) ** -0.5)])
        nn.init.uniform_(self.embedding.weight)  # the output layer's draws, before it became the embedding
        _discard_draws(self.embedding.weight, 2)
        nn.init.normal_(self.embedding.weight)

    @property
    def blocks(self) -> list[DecoderLayer]:
        """The layers, first to last."""
        return cast("list[DecoderLayer]", [*self.layers])

    def save_config(self, folder: Path) -> None:
        """Write config.json. See TextModel.save_config()."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"model_type": MODEL_TYPE, **self.config}, indent=1))

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens. See TextModel.embed()."""
        return cast(Tensor, self.embedding(tokens))

    def encode(self, prefix: Tensor, mask: Tensor) -> Tensor:
        """The prefix itself, normed in single precision: the encoder is the temporal model. See TextModel.encode()."""
        return cast(Tensor, self.dropout(self.encoded_norm(self.dropout(prefix.float()))))

    def logits(self, encoded: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Logits of each token after those before it. See TextModel.logits()."""
        first = labels.new_full((labels.shape[0], 1), self.bos_id)
        before = torch.cat([first, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, self.pad_id)], 1)
        place = torch.arange(labels.shape[1], device=labels.device)
        distance = place.unsqueeze(1) - place  # from each token back to each other one
        bias = self.distance_bias(distance).permute(2, 0, 1).masked_fill(distance < 0, -torch.inf).unsqueeze(0)
        x = self.dropout(self.embedding(before))
        for layer in self.blocks:
            x = layer(x, bias, encoded, mask[:, None, None, :])
        x = self.dropout(self.norm(x)) * self.width**-0.5
        return F.linear(x, self.embedding.weight).float()

    def distance_bias(self, distance: Tensor) -> Tensor:
        """What attention adds for a distance.

        Args:
            distance: (...) tokens back.

        Returns:
            (..., H).
        """
        bias = self.blocks[0].self_attention.distance_bias
        assert bias is not None  # it is the first layer's
        return cast(Tensor, bias(self.buckets[distance.clamp(0, MAX_DISTANCE_TOKENS)]))

    @torch.no_grad()
    def generate(
        self, encoded: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
    ) -> tuple[Tensor, Tensor]:
        """The best texts of each clip, with the log likelihood of each. See TextModel.generate()."""
        return beam_search(self, encoded, mask, beams=beams, max_length=max_length, length_penalty=length_penalty)

    def weights(self) -> DecoderWeights:
        """The weights as a step takes them. See Decoder.weights()."""
        layers = []
        for layer in self.blocks:
            own, cross = layer.self_attention, layer.cross_attention
            norms = (layer.self_norm.weight, layer.cross_norm.weight, layer.feed_norm.weight)
            qkv = torch.cat([own.q.weight, own.k.weight, own.v.weight])
            to_clip = (cross.q.weight, cross.k.weight, cross.v.weight, cross.o.weight)
            feed_in, feed_out = layer.feed_in.weight, layer.feed_out.weight
            layers.append(LayerWeights(norms, qkv, own.o.weight, to_clip, (feed_in,), feed_out))
        return DecoderWeights(
            layers,
            self.embedding.weight,
            self.norm.weight,
            self.embedding.weight,
            self.width**-0.5,
            self.distance_bias(torch.arange(MAX_DISTANCE_TOKENS + 1, device=self.buckets.device)),
            self.blocks[0].self_attention.heads,
            EPSILON,
            F.relu,
        )


def _draw(deviations: list[tuple[nn.Linear | nn.Embedding, float]]) -> None:
    """Normal weights of the given standard deviations, after as many draws that are discarded."""
    for module, _ in deviations:
        _discard_draws(module.weight, 1)
    for module, deviation in deviations:
        nn.init.normal_(module.weight, std=deviation)


def _discard_draws(weight: Tensor, times: int) -> None:
    """Go on in the generator as if `weight` had been drawn so often."""
    for _ in range(times):
        nn.init.normal_(weight)
