"""Weights and configs of before 2026-11-30, as the models of now have them.

CTC's blank was token 0, what CTC feeds back was called `guess`, and the text decoder was a T5 of Transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

TIED = ("model.lm_head.", "model.encoder.embed_tokens.", "model.decoder.embed_tokens.")  # other names of the embedding
OF_CTC = ("ctc.weight", "ctc.bias", "ctc_feedback.weight")  # weights with a row or column for each of CTC's ids
NAMES = {
    "model.shared.": "embedding.",
    "model.encoder.final_layer_norm.": "encoded_norm.",
    "model.decoder.final_layer_norm.": "norm.",
    "model.decoder.block.": "layers.",
    ".layer.0.SelfAttention.": ".self_attention.",
    ".layer.1.EncDecAttention.": ".cross_attention.",
    ".relative_attention_bias.": ".distance_bias.",
    ".layer.0.layer_norm.": ".self_norm.",
    ".layer.1.layer_norm.": ".cross_norm.",
    ".layer.2.layer_norm.": ".feed_norm.",
    ".layer.2.DenseReluDense.wi.": ".feed_in.",
    ".layer.2.DenseReluDense.wo.": ".feed_out.",
}


def own_blank(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """A weight of a model whose blank was token 0, or an optimizer's moment of it, for one with a blank of its own.

    Args:
        name: Of the weight.
        tensor: The weight or moment.
        shape: Of the weight in the model whose blank is the last id.

    Returns:
        `tensor` as it is where it has this shape or is another weight. Else what token 0 had is the last id's, and
        token 0 begins anew, as unlikely as the most unlikely token.
    """
    along = 1 if name.endswith("ctc_feedback.weight") else 0
    if not name.endswith(OF_CTC) or tensor.shape[along:] == shape[along:]:
        return tensor
    blank, others = tensor.narrow(along, 0, 1), tensor.narrow(along, 1, tensor.shape[along] - 1)
    first = torch.full_like(blank, float(tensor.min())) if tensor.ndim == 1 else torch.zeros_like(blank)
    return torch.cat([first, others, blank], along)


def migrate_ctc_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give CTC's weights in a state dict the names and shapes of `module`, an AlignmentModel, before it loads them.

    Args:
        module: What loads.
        state: State dict, changed in place.
        prefix: Of the module's own names in it.
        _: What else torch tells hooks.
    """
    if f"{prefix}guess.weight" in state:
        state[f"{prefix}ctc_feedback.weight"] = state.pop(f"{prefix}guess.weight")
    for name in OF_CTC:
        if (tensor := state.get(prefix + name)) is not None:
            state[prefix + name] = own_blank(name, tensor, module.get_parameter(name).shape)


def rename_t5_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the weights of a T5 in a state dict the names of `module`, a TextDecoder, before it loads them.

    Args:
        module: What loads.
        state: State dict, changed in place.
        prefix: Of the module's own names in it.
        _: What else torch tells hooks.
    """
    for name in [name for name in state if name.startswith(f"{prefix}model.")]:
        value, own = state.pop(name), name.removeprefix(prefix)
        if not own.startswith(TIED):
            for earlier, now in NAMES.items():
                own = own.replace(earlier, now)
            state[prefix + own] = value


def decoder_config(config: dict[str, Any]) -> dict[str, Any] | None:
    """Arguments of the TextDecoder that computes what a T5 of this config did.

    Args:
        config: Of a text model of Transformers.

    Returns:
        Its arguments, or None where no TextDecoder computes what the model did.
    """
    if config.get("model_type") != "t5" or config.get("num_layers") != 0:
        return None
    return {
        "vocabulary": config["vocab_size"],
        "width": config["d_model"],
        "layers": config["num_decoder_layers"],
        "heads": config["num_heads"],
        "dropout": config["dropout_rate"],
    }
