"""How much memory a pretrained text side needs to be trained, counted without making a weight.

usage: python -m benchmarks.text_sides [--tokens 8000] [--rank 16]

The architectures of mT5, mBART and Qwen by the dimensions of their published configs, on torch's `meta` device, pruned
and made low-rank by the project's own functions. What a training holds of each weight is in RESIDENT_BYTES and
LEARNED_BYTES (tests/training/test_text_side_memory.py holds them to a training). Activations of a batch come on top:
where they do not fit, a step is taken in parts. So the figures are the least that a GPU needs.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import nn
from transformers import (
    MBartConfig,
    MBartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from sign_models.models.text.low_rank import add_low_rank
from sign_models.models.text.pretrained import prune, untie

GIB = 2**30
RESIDENT_BYTES = 12  # of every weight: itself, its average over the steps, and its best average so far, in float32
LEARNED_BYTES = 12  # more, of a weight that learns: its gradient and AdamW's two moments
SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "decoder_start_token_id": 0}


def _mt5(width: int, inner: int, layers: int, heads: int) -> nn.Module:
    model = MT5ForConditionalGeneration(
        MT5Config(
            vocab_size=250_112, d_model=width, d_kv=64, d_ff=inner, num_layers=layers, num_heads=heads,
            num_decoder_layers=layers, feed_forward_proj="gated-gelu", **SPECIAL,
        )
    )  # fmt: skip
    untie(model)
    return model


def _mbart50() -> nn.Module:
    return MBartForConditionalGeneration(
        MBartConfig(vocab_size=250_054, scale_embedding=True, max_position_embeddings=1024, **SPECIAL)
    )


def _qwen(config: Any, model: Any, width: int, inner: int, layers: int, heads: tuple[int, int], **more: int) -> Any:
    return model(
        config(
            vocab_size=151_936, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
            num_attention_heads=heads[0], num_key_value_heads=heads[1], tie_word_embeddings=True, **SPECIAL, **more,
        )
    )  # fmt: skip


MODELS = {
    "google/mt5-small": lambda: _mt5(512, 1024, 8, 6),
    "google/mt5-base": lambda: _mt5(768, 2048, 12, 12),
    "google/mt5-large": lambda: _mt5(1024, 2816, 24, 16),
    "facebook/mbart-large-50": _mbart50,
    "Qwen/Qwen2.5-0.5B": lambda: _qwen(Qwen2Config, Qwen2ForCausalLM, 896, 4864, 24, (14, 2)),
    "Qwen/Qwen3-0.6B": lambda: _qwen(Qwen3Config, Qwen3ForCausalLM, 1024, 3072, 28, (16, 8), head_dim=128),
    "Qwen/Qwen2.5-1.5B": lambda: _qwen(Qwen2Config, Qwen2ForCausalLM, 1536, 8960, 28, (12, 2)),
}


def weights(model: nn.Module) -> tuple[int, int]:
    """Count a model's weights.

    Args:
        model: On any device.

    Returns:
        All of them, and those that learn. Tied ones count once.
    """
    every = [*model.parameters()]
    return sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)


def training_bytes(model: nn.Module) -> int:
    """Memory that a training keeps for a model, activations aside.

    Args:
        model: As it is trained.

    Returns:
        Bytes.
    """
    every, learned = weights(model)
    return RESIDENT_BYTES * every + LEARNED_BYTES * learned


def made(name: str, tokens: int = 0, rank: int = 0) -> nn.Module:
    """Make a model on the `meta` device.

    Args:
        name: Of MODELS.
        tokens: Of the vocabulary that are kept. 0: all.
        rank: Of low-rank changes. 0: all weights learn.

    Returns:
        The model, without values.
    """
    with torch.device("meta"):
        model = MODELS[name]()
        if tokens:
            prune(model, [*range(tokens)])
        if rank:
            add_low_rank(model, rank)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8000, help="of the vocabulary that prune=true keeps")
    parser.add_argument("--rank", type=int, default=16, help="of lora")
    given = parser.parse_args()
    forms = [(0, 0), (given.tokens, 0), (0, given.rank), (given.tokens, given.rank)]
    columns = ("million weights", f"pruned to {given.tokens} tokens", "GiB: all learn", "pruned")
    print(f"| text side | {' | '.join(columns)} | lora={given.rank} | both |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in MODELS:
        models = [made(name, *form) for form in forms]
        counts = [weights(model)[0] / 1e6 for model in models[:2]]
        sizes = [training_bytes(model) / GIB for model in models]
        cells = [f"{n:,.0f}" for n in counts] + [f"{size:.1f}" for size in sizes]
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
