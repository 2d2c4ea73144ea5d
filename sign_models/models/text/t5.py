"""The decoder of a pretrained T5 or mT5 as `decoding` takes it, which searches several times as fast as `generate`.

Weights are found by their names in checkpoints, which are as old as the models.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.activations import ACT2FN

from sign_models.models.text.decoding import DecoderWeights, LayerWeights, distance_buckets

FORM = {"t5", "mt5"}  # model types whose first layer holds the bias of each distance for all


def is_t5(config: PretrainedConfig) -> bool:
    """Whether a model's decoder is of this form.

    Args:
        config: Of a model of Transformers.

    Returns:
        Whether T5Decoder takes it.
    """
    return config.model_type in FORM


class T5Decoder:
    """A model's decoder for beam.beam_search()."""

    def __init__(self, model: Any, end: int) -> None:
        """Take over a model.

        Args:
            model: A T5 or mT5 of Transformers that writes text.
            end: Id of the token that ends a text.
        """
        self.model, self.eos_id = model, end
        self.bos_id, self.pad_id = model.config.decoder_start_token_id, model.config.pad_token_id

    def weights(self) -> DecoderWeights:
        """The weights as a step takes them. See Decoder.weights()."""
        config, weights = self.model.config, {}
        for name, module in self.model.named_modules():
            if isinstance(weight := getattr(module, "weight", None), Tensor):
                weights[name] = weight
        table = weights["decoder.block.0.layer.0.SelfAttention.relative_attention_bias"]
        buckets = distance_buckets(config.relative_attention_num_buckets, config.relative_attention_max_distance)
        gated, layers = config.is_gated_act, range(config.num_decoder_layers)
        return DecoderWeights(
            [_layer(weights, f"decoder.block.{i}.layer", gated) for i in layers],
            weights["shared"],
            weights["decoder.final_layer_norm"],
            weights["lm_head"],
            config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0,
            table[buckets.to(table.device)],
            config.num_heads,
            config.layer_norm_epsilon,
            ACT2FN[config.dense_act_fn],
        )


def _layer(weights: dict[str, Tensor], at: str, gated: bool) -> LayerWeights:
    own, cross, feed = f"{at}.0.SelfAttention", f"{at}.1.EncDecAttention", f"{at}.2.DenseReluDense"
    norm_own, norm_cross, norm_feed = (weights[f"{at}.{part}.layer_norm"] for part in range(3))
    q, k, v, o = (weights[f"{cross}.{name}"] for name in "qkvo")
    return LayerWeights(
        (norm_own, norm_cross, norm_feed),
        torch.cat([weights[f"{own}.{name}"] for name in "qkv"]),
        weights[f"{own}.o"],
        (q, k, v, o),
        tuple(weights[f"{feed}.{name}"] for name in (("wi_0", "wi_1") if gated else ("wi",))),
        weights[f"{feed}.wo"],
    )
