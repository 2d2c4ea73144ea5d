"""Peers' own models, out of public checkouts that the user names, trained and asked as their own recipes do.

Uni-Sign (github.com/ZechengLi19/Uni-Sign): the class of its models.py, its forward unchanged, gradients
clipped, AdamW (fused, which is faster than its own); on a GPU weights in bf16, as its DeepSpeed recipe has them, on a
CPU bf16 autocast where the CPU multiplies in bf16, four times as fast there. Where the encoder alone is measured, a
mean over time stands for mT5. MSKA (github.com/sutwangyan/MSKA): the class DSTA of its recognition.py, in bf16 autocast
likewise, Adam. Weights are random. Inputs lie on the device, in batches of like length: neither is charged for loading,
preparing or padding.
"""

from __future__ import annotations

import argparse
import math
import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from benchmarks.unisign import defined
from sign_models.models.precision import has_bf16, train_autocast

MT5_BASE = {
    "vocab_size": 250112, "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12,
    "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0, "eos_token_id": 2,
    "pad_token_id": 0, "bos_token_id": 1,
}  # fmt: skip
FILES = {"unisign": "models.py", "mska": "recognition.py"}
POINTS = {"body": 9, "left": 21, "right": 21, "face_all": 18}
LONGEST = {"unisign": 10**9, "mska": 300}  # frames; MSKA's recipe cuts longer clips
Batch = dict[str, Any]


def mt5_base(device: torch.device, vocabulary: int = 0) -> Any:
    """vocabulary: entries that are left of mT5's; 0: all."""
    from transformers import MT5Config, MT5ForConditionalGeneration

    with device:
        return MT5ForConditionalGeneration(MT5Config(**MT5_BASE | ({"vocab_size": vocabulary} if vocabulary else {})))


@contextmanager
def torch_chooses() -> Iterator[None]:
    """A peer attends by whatever kernel torch prefers; ours rule one out (sign_models.models.attention)."""
    ours = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(ours)


class Peer(ABC):
    """One model, its optimizer, and batches of clips of given lengths."""

    key: str

    def __init__(self, name: str, model: Any, device: torch.device, optimizer: torch.optim.Optimizer) -> None:
        self.name, self.device, self.optimizer = name, device, optimizer
        self.model: Any = model  # a module of others' code

    @abstractmethod
    def batch(self, lengths: Sequence[int], texts: Sequence[str]) -> Batch: ...

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor: ...

    @torch_chooses()
    def step(self, batch: Batch) -> None:
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(batch).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    @torch_chooses()
    def encode(self, batch: Batch) -> Any:
        self.model.eval()
        with torch.no_grad():
            return self.loss(batch)


class UniSign(Peer):
    key = "unisign"

    def __init__(self, checkout: Path, device: torch.device, whole: bool) -> None:
        """whole: with an mT5-base; else the encoder alone."""
        sys.path.insert(0, str(checkout))
        try:
            from stgcn_layers import Graph, get_stgcn_chain  # type: ignore[import-not-found]
        finally:
            sys.path.remove(str(checkout))
        vocabulary = int(str(MT5_BASE["vocab_size"])) if whole else 8
        names: dict[str, Any] = {
            "torch": torch, "nn": nn, "math": math, "Tensor": Tensor, "Graph": Graph,
            "get_stgcn_chain": get_stgcn_chain, "mt5_path": "",
            "MT5ForConditionalGeneration": _Made(lambda: mt5_base(device) if whole else _Mean()),
            "T5Tokenizer": _Made(lambda: _Words(vocabulary)),
        }  # fmt: skip
        names = defined(checkout / "models.py", ("_no_grad_trunc_normal_", "trunc_normal_", "Uni_Sign"), names)
        args = argparse.Namespace(hidden_dim=256, dataset="How2Sign", rgb_support=False, label_smoothing=0.2)
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        model = names["Uni_Sign"](args).to(device, self.dtype)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=1e-4, eps=1e-9, fused=True)
        super().__init__("Uni-Sign" if whole else "Uni-Sign's encoder", model, device, optimizer)

    def batch(self, lengths: Sequence[int], texts: Sequence[str]) -> Batch:
        B, T = len(lengths), max(lengths)
        made: Batch = {
            part: torch.randn(B, T, points, 3, device=self.device, dtype=self.dtype) for part, points in POINTS.items()
        }
        made["attention_mask"] = (torch.arange(T) < torch.tensor(lengths).unsqueeze(1)).long().to(self.device)
        return made | {"gt_sentence": list(texts)}

    def loss(self, batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.device.type == "cpu" and has_bf16(self.device)):
            return self.model(batch, batch)["loss"]

    @torch_chooses()
    def generate(self, batch: Batch, tokens: int, beams: int) -> Tensor:
        self.model.eval()
        with torch.no_grad():
            return self.model.generate(self.model(batch, batch), tokens, beams)


class MSKA(Peer):
    key = "mska"

    def __init__(self, checkout: Path, device: torch.device) -> None:
        names: dict[str, Any] = {"torch": torch, "nn": nn, "math": math, "np": np}
        names = defined(checkout / "recognition.py", ("PositionalEncoding", "STAttentionBlock", "DSTA"), names)
        config = yaml.safe_load((checkout / "configs/phoenix-2014t_s2t.yaml").read_text())
        model = names["DSTA"](cfg=config["model"]["RecognitionNetwork"]["DSTA-Net"], num_channel=3).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3, betas=(0.9, 0.998))
        super().__init__("MSKA's encoder", model, device, optimizer)

    def batch(self, lengths: Sequence[int], texts: Sequence[str]) -> Batch:
        return {"keypoint": _There(torch.randn(len(lengths), 3, max(lengths), 133, device=self.device))}

    def loss(self, batch: Batch) -> Tensor:
        with train_autocast(self.device):
            return sum(out.float().square().mean() for out in self.model(batch))


class _Made:
    """Stands for a transformers class: a new model in place of a downloaded one."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def from_pretrained(self, *_: Any, **__: Any) -> Any:
        return self.make()


class _Words:
    """Stands for mT5's tokenizer: one token a word, then the end."""

    pad_token_id = 0

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __call__(self, texts: Sequence[str], **_: Any) -> Any:
        from transformers import BatchEncoding

        rows = [
            [3 + zlib.crc32(word.encode()) % (self.vocabulary - 3) for word in text.split()] + [2] for text in texts
        ]
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        return BatchEncoding({"input_ids": ids, "attention_mask": (ids != 0).long()})


class _Mean(nn.Module):
    """Stands for mT5 where the encoder alone is measured: logits are a mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.embed_tokens = nn.Embedding(8, 768)

    def forward(self, inputs_embeds: Tensor, labels: Tensor, **_: Any) -> dict[str, Tensor]:
        return {"logits": inputs_embeds.mean(1)[:, None, :8].expand(-1, labels.shape[1], -1)}


class _There:
    """A tensor that is on its device already, wherever .cuda() would send it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def cuda(self) -> Tensor:
        return self.tensor
