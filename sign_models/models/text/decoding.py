"""A decoder of T5's form that goes on by one token in every beam of every clip at once.

It works on plain weights: those of our own text decoder (decoder.py), and those of a pretrained T5 or mT5 (t5.py).

B clips, K beams, S vectors, L tokens, H heads, D width, V vocabulary, P places of the cache (tokens times beams).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNED = 8  # places: attention's fused kernels want biases of a multiple of this


@dataclass(frozen=True)
class LayerWeights:
    """Of one layer: attention to the tokens so far, attention to the clip, a feed-forward part.

    Attributes:
        norms: (D,) each, of the three parts.
        qkv: (3 H d, D) of the first part's queries, keys and values.
        out: (D, H d) of the first part.
        cross: Queries, keys and values (H d, D) each, and what becomes of them (D, H d), of the second.
        feed_in: (F, D), of the third; two where one multiplies what the other lets through.
        feed_out: (D, F).
    """

    norms: tuple[Tensor, Tensor, Tensor]
    qkv: Tensor
    out: Tensor
    cross: tuple[Tensor, ...]
    feed_in: tuple[Tensor, ...]
    feed_out: Tensor


@dataclass(frozen=True)
class DecoderWeights:
    """What a step computes with.

    Attributes:
        layers: First to last.
        embedding: (V, D).
        norm: (D,), behind the layers.
        output: (V, D), of the logits.
        output_scale: That the normed vectors are multiplied by.
        distance_bias: (L + 1, H), by tokens back; farther ones are as the last.
        heads: H.
        epsilon: Of the norms.
        activation: Of the feed-forward part.
    """

    layers: list[LayerWeights]
    embedding: Tensor
    norm: Tensor
    output: Tensor
    output_scale: float
    distance_bias: Tensor
    heads: int
    epsilon: float
    activation: Callable[[Tensor], Tensor]

    def to(self, dtype: torch.dtype) -> DecoderWeights:
        """The matrices in another precision, so that no step casts them.

        Args:
            dtype: Of the products.

        Returns:
            The weights; embedding and norms stay as they are.
        """
        layers = [
            LayerWeights(
                layer.norms,
                layer.qkv.to(dtype),
                layer.out.to(dtype),
                tuple(weight.to(dtype) for weight in layer.cross),
                tuple(weight.to(dtype) for weight in layer.feed_in),
                layer.feed_out.to(dtype),
            )
            for layer in self.layers
        ]
        return replace(self, layers=layers, output=self.output.to(dtype))


class LayerCache:
    """What a layer keeps of a clip's vectors and of its beams' tokens so far."""

    def __init__(self, weights: LayerWeights, heads: int, encoded: Tensor, places: int) -> None:
        """Compute what attention takes from the clips, once a clip and not once a beam.

        Args:
            weights: Of the layer.
            heads: H.
            encoded: (B, S, D).
            places: P.
        """
        _, k, v, _ = weights.cross
        self.clip_keys, self.clip_values = (split(F.linear(encoded, weight), heads) for weight in (k, v))
        shape = (*self.clip_keys.shape[:2], places, self.clip_keys.shape[-1])
        self.keys, self.values = self.clip_keys.new_zeros(shape), self.clip_keys.new_zeros(shape)

    def keep(self, clips: Tensor) -> None:
        """Forget all other clips.

        Args:
            clips: (N,) places of the clips that stay.
        """
        self.clip_keys, self.clip_values = self.clip_keys[clips], self.clip_values[clips]
        self.keys, self.values = self.keys[clips], self.values[clips]


class IncrementalDecoder:
    """A decoder in the middle of texts: what it keeps between two tokens of the beams of some clips.

    All beams of a clip write into one cache and remember which of its places are their own past. So a new order of the
    beams moves that memory alone, and no keys or values. Tensors stay where they are but for keep(), and on a GPU
    nothing is asked of it: its kernels can be recorded (kernels.replay).

    Attributes:
        seen: (B, 1, 1, S) bool, which vectors are a clip's.
        past: (B, K, P) bool, which places hold a beam's own tokens.
        bias: (L, 1, H, 1, P), of the distances from each token to each place.
        count: (1,) tokens that every beam has so far.
    """

    def __init__(self, weights: DecoderWeights, encoded: Tensor, mask: Tensor, beams: int, max_length: int) -> None:
        """Begin texts.

        Args:
            weights: Of the decoder.
            encoded: (B, S, D), what it reads.
            mask: (B, S) bool.
            beams: K, of each clip.
            max_length: Calls of step() at most.
        """
        device = encoded.device
        product = F.linear(encoded[:1, :1], weights.output)  # in the precision of autocast, where that is on
        self.weights = weights = weights.to(product.dtype)
        places = math.ceil(max_length * beams / ALIGNED) * ALIGNED
        self.layers = [LayerCache(layer, weights.heads, encoded, places) for layer in weights.layers]
        self.seen = mask[:, None, None, :]
        self.past = mask.new_zeros(len(mask), beams, places)
        back = torch.arange(max_length, device=device).unsqueeze(1) - torch.arange(places, device=device) // beams
        table = weights.distance_bias
        bias = table[back.clamp(0, len(table) - 1)].permute(0, 2, 1)[:, None, :, None]
        self.bias = bias.to(self.layers[0].keys.dtype)
        self.count = torch.zeros(1, dtype=torch.long, device=device)
        self.first = torch.arange(beams, device=device)  # places of the first tokens
        self.own = torch.eye(beams, dtype=torch.bool, device=device)

    def reorder(self, parents: Tensor) -> None:
        """Let each beam go on from another one.

        Args:
            parents: (B, K), which beam each of them was before.
        """
        self.past.copy_(self.past.gather(1, parents.unsqueeze(-1).expand_as(self.past)))

    def keep(self, clips: Tensor) -> None:
        """Forget all other clips.

        Args:
            clips: (N,) places of the clips that stay.
        """
        self.seen, self.past = self.seen[clips], self.past[clips]
        for layer in self.layers:
            layer.keep(clips)

    def step(self, tokens: Tensor) -> Tensor:
        """Go on by one token in every beam.

        Args:
            tokens: (B, K), that the beams have just taken.

        Returns:
            Logits of their next tokens (B, K, V) float32.
        """
        of, places = self.weights, self.first + self.count * len(self.first)
        self.past.index_copy_(2, places, self.own.expand(len(tokens), -1, -1))
        # a GPU looks at all places: which are filled is known there alone
        filled = int(places[-1]) + 1 if tokens.is_cpu else self.past.shape[2]
        near = self.bias.index_select(0, self.count).squeeze(0)[..., :filled]
        bias = torch.where(self.past[:, None, :, :filled], near, -torch.inf)
        x = F.embedding(tokens, of.embedding)
        for layer, kept in zip(of.layers, self.layers, strict=True):
            x = self._layer(layer, kept, x, bias, places)
        self.count += 1
        return times(self._norm(x, of.norm) * of.output_scale, of.output).float()

    def _layer(self, layer: LayerWeights, kept: LayerCache, x: Tensor, bias: Tensor, places: Tensor) -> Tensor:
        """One token of every beam through a layer.

        Args:
            layer: Weights.
            kept: Its cache; takes the keys and values of x in.
            x: (B, K, D) float32.
            bias: (B, H, K, P'), of the first P' places.
            places: (K,) of the cache, that x goes to.

        Returns:
            (B, K, D) float32.
        """
        of, filled = self.weights, bias.shape[-1]
        own, cross, feed = layer.norms
        q, k, v = (split(part, of.heads) for part in times(self._norm(x, own), layer.qkv).chunk(3, -1))
        kept.keys.index_copy_(2, places, k)
        kept.values.index_copy_(2, places, v)
        y = F.scaled_dot_product_attention(
            q, kept.keys[:, :, :filled], kept.values[:, :, :filled], attn_mask=bias, scale=1.0
        )
        x = x + times(y.transpose(1, 2).flatten(2), layer.out)
        q = split(times(self._norm(x, cross), layer.cross[0]), of.heads)
        y = F.scaled_dot_product_attention(q, kept.clip_keys, kept.clip_values, attn_mask=self.seen, scale=1.0)
        x = x + times(y.transpose(1, 2).flatten(2), layer.cross[3])
        normed = self._norm(x, feed)
        y = of.activation(times(normed, layer.feed_in[0]))
        for gate in layer.feed_in[1:]:
            y = y * times(normed, gate)
        return x + times(y, layer.feed_out)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.weights.epsilon)


def split(x: Tensor, heads: int) -> Tensor:
    """Split vectors by heads.

    Args:
        x: (B, T, D).
        heads: H.

    Returns:
        (B, H, T, D / H).
    """
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def times(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply vectors by a matrix.

    For the few rows of one clip a CPU of several threads takes the weight first: they share the rows of what comes
    first. The result is made contiguous, since attention's fused kernel wants that.

    Args:
        x: (B, L, D).
        weight: (N, D).

    Returns:
        (B, L, N).
    """
    if x.device.type != "cpu" or len(x) > 1 or torch.get_num_threads() == 1:
        return F.linear(x, weight)
    return (weight @ x[0].T).T.contiguous().unsqueeze(0)


def distance_buckets(buckets: int, far: int) -> Tensor:
    """The bucket of each distance back: one for each near token, wider ones farther off (Raffel et al. 2020).

    Args:
        buckets: How many there are.
        far: Distance from which on all are alike.

    Returns:
        (far + 1,).
    """
    exact = buckets // 2
    distance = torch.arange(far + 1)
    wide = torch.log(distance.float() / exact) / math.log(far / exact) * (buckets - exact)
    return torch.where(distance < exact, distance, (exact + wide.clamp(min=0).long()).clamp(max=buckets - 1))
