"""Beam search with the decoder of a T5 or mT5: the beams of transformers' `generate`, several times as fast.

transformers' loop runs the whole forward of a decoder for each token, masks, positions and caches made anew, and copies
the caches of all beams into their new order after it. Here the beams of a clip write into one cache and remember which
of its places are their own past, so that only this memory is put into order; what a clip's vectors give to
cross-attention is kept once a clip and not once a beam. tests/models/test_beam.py holds both to the same beams.

B clips, K beams, S vectors, L tokens, H heads, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NEVER = -1e9  # log probability of what may not be chosen


class T5Decoder:
    """One token of every beam at a time. model: a T5ForConditionalGeneration or MT5ForConditionalGeneration."""

    def __init__(self, model: Any, states: Tensor, mask: Tensor, beams: int, max_length: int) -> None:
        """states (B, S, D) of the encoder, mask (B, S) bool; max_length: tokens at most."""
        self.model, self.beams = model, beams
        self.stack = model.get_decoder()
        self.seen = mask[:, None, None, :]
        first = self.stack.block[0].layer[0].SelfAttention
        self.heads = first.n_heads
        # (1, H, L, 1, L K)
        self.positions = first.compute_bias(max_length, max_length).repeat_interleave(beams, -1).unsqueeze(3)
        self.layers = [_Layer(block, states, self.heads, max_length * beams) for block in self.stack.block]
        self.past = mask.new_zeros(len(mask), beams, max_length * beams)  # which of the cache is a beam's own
        self.eye = torch.eye(beams, dtype=torch.bool, device=mask.device)

    def __call__(self, tokens: Tensor, parents: Tensor | None, step: int) -> Tensor:
        """tokens (B, K) that the beams have just taken; parents (B, K): which beams they were before -> the logits of
        their next tokens (B, K, V)."""
        K = self.beams
        if parents is not None:
            self.past = self.past.gather(1, parents.unsqueeze(-1).expand_as(self.past))
        self.past[:, :, step * K : (step + 1) * K] = self.eye
        bias = self.positions[:, :, step, :, : (step + 1) * K]  # (1, H, 1, places)
        bias = torch.where(self.past[:, None, :, : (step + 1) * K], bias, -torch.inf)  # (B, H, K, places)
        x = self.stack.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, bias, self.seen, step * K)
        x = self.stack.final_layer_norm(x.float())
        if getattr(self.model.config, "scale_decoder_outputs", False):  # mT5 never does
            x = x * self.model.model_dim**-0.5
        return _times(x, self.model.lm_head.weight)


class _Layer:
    """A T5Block whose keys and values, of the clip and of the tokens so far, are kept."""

    def __init__(self, block: Any, states: Tensor, heads: int, places: int) -> None:
        self.own, self.cross, self.out = block.layer
        self.heads = heads
        own, cross = self.own.SelfAttention, self.cross.EncDecAttention
        self.qkv = torch.cat([own.q.weight, own.k.weight, own.v.weight])
        self.clip_keys, self.clip_values = self._split(cross.k(states)), self._split(cross.v(states))
        shape = len(states), heads, places, own.key_value_proj_dim
        self.keys, self.values = (self.clip_keys.new_zeros(shape) for _ in range(2))
        if torch.is_autocast_enabled(states.device.type):  # which would cast what is no parameter in every step
            self.qkv = self.qkv.to(self.keys.dtype)

    def __call__(self, x: Tensor, bias: Tensor, seen: Tensor, place: int) -> Tensor:
        """x (B, K, D) -> (B, K, D); its keys and values go to `place` of the cache."""
        K = x.shape[1]
        qkv = _times(self.own.layer_norm(x.float()), self.qkv)
        q, k, v = (self._split(part) for part in qkv.chunk(3, -1))
        self.keys[:, :, place : place + K], self.values[:, :, place : place + K] = k, v
        keys, values = self.keys[:, :, : place + K], self.values[:, :, : place + K]
        x = x + _times(_attend(q, keys, values, bias), self.own.SelfAttention.o.weight)
        cross = self.cross.EncDecAttention
        q = self._split(_times(self.cross.layer_norm(x.float()), cross.q.weight))
        x = x + _times(_attend(q, self.clip_keys, self.clip_values, seen), cross.o.weight)
        return x + self._feed(self.out.layer_norm(x.float()))

    def _feed(self, x: Tensor) -> Tensor:
        """The T5 way: one product and an activation; the mT5 way: gated by a second product."""
        feed = self.out.DenseReluDense
        if hasattr(feed, "wi"):
            return _times(feed.act(_times(x, feed.wi.weight)), feed.wo.weight)
        return _times(feed.act(_times(x, feed.wi_0.weight)) * _times(x, feed.wi_1.weight), feed.wo.weight)

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, H D) -> (B, H, T, D)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _attend(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """T5 does not scale its products."""
    bias = bias if bias.dtype == torch.bool else bias.to(q.dtype)
    y = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias, scale=1.0)
    return y.transpose(1, 2).flatten(2)


def _times(x: Tensor, weight: Tensor) -> Tensor:
    """x (B, K, D), weight (N, D) -> (B, K, N). For the few rows of one clip a CPU takes the weight first: its threads
    share the rows of what comes first. Made contiguous, since attention's fused kernel wants that."""
    if x.device.type != "cpu" or len(x) > 1:
        return F.linear(x, weight)
    return (weight @ x[0].T).T.contiguous().unsqueeze(0)


@torch.no_grad()
def beam_search(
    model: Any, states: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
) -> tuple[Tensor, Tensor]:
    """states (B, S, D) of the encoder, mask (B, S) bool -> the `beams` best token sequences of each clip (B, K, L),
    best first, and the log likelihood of each with its end (B, K).

    As `generate` with early_stopping: a clip is done when as many beams have ended as there are; the best are those of
    the highest log likelihood over the number of tokens to the power of length_penalty. One beam is greedy search. What
    follows the end of a sequence is padding.
    """
    config, device = model.config, states.device
    B, K, end = len(states), beams, config.eos_token_id
    decoder = T5Decoder(model, states, mask, K, max_length + 1)
    running = torch.full((B, K, max_length), config.pad_token_id or 0, device=device)
    scores = torch.full((B, K), NEVER, device=device)
    scores[:, 0] = 0.0  # the beams are one at first
    done, done_scores, likelihoods = running.clone(), torch.full_like(scores, NEVER), torch.zeros_like(scores)
    ended = torch.zeros_like(scores, dtype=torch.bool)
    tokens = torch.full((B, K), config.decoder_start_token_id, device=device)
    parents: Tensor | None = None
    for step in range(max_length):
        log_p = decoder(tokens, parents, step).float().log_softmax(-1)
        V, last = log_p.shape[-1], step + 1 == max_length
        best, place = (log_p + scores.unsqueeze(-1)).flatten(1).topk(2 * K)  # enough to go on where half of them end
        came = place // V
        token = place - came * V
        ends = token == end
        if last or device.type != "cpu" or bool(ends[:, :K].any()):
            full = ended.all(1, keepdim=True)
            finishing = (ends[:, :K] | last) & ~full
            score = torch.where(finishing, best[:, :K] / (step + 1) ** length_penalty, NEVER)
            likelihood = best[:, :K]
            if last:  # what is cut ends here
                closing = decoder(token[:, :K], came[:, :K], step + 1).float().log_softmax(-1)[..., end]
                likelihood = likelihood + closing.masked_fill(ends[:, :K], 0.0)
            texts = running.gather(1, came[:, :K, None].expand(-1, -1, max_length))
            texts[:, :, step] = token[:, :K]
            done_scores, kept = torch.cat([done_scores, score], 1).topk(K)
            done = torch.cat([done, texts], 1).gather(1, kept.unsqueeze(-1).expand_as(done))
            likelihoods = torch.cat([likelihoods, likelihood], 1).gather(1, kept)
            ended = torch.cat([ended, finishing], 1).gather(1, kept)
            if bool(ended.all()):
                break
        scores, kept = torch.where(ends, best + NEVER, best).topk(K)
        parents, tokens = came.gather(1, kept), token.gather(1, kept)
        running = running.gather(1, parents.unsqueeze(-1).expand_as(running))
        running[:, :, step] = tokens
    return done, likelihoods
