"""Random normalised clips, and models of a few thousand weights."""

from __future__ import annotations

import torch
from torch import Tensor

from sign_models.data.tokenizer import train_tokenizer
from sign_models.keypoints.layouts import CANONICAL
from sign_models.models.alignment import AlignmentModel
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.models.text.decoder import TextDecoder
from sign_models.models.text.tokenizer import TextTokenizer
from sign_models.models.translator import Generation, Translator

TEXTS = ["tea please", "coffee now", "tea now", "please"]
WIDTH, STRIDE = 16, 4


def batch(lengths: tuple[int, ...], seed: int = 0, unseen: float = 0.2) -> tuple[Tensor, Tensor]:
    """x (B, T, K, 3), zero where unseen or padded, and mask (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    T = max(lengths)
    mask = torch.arange(T) < torch.tensor(lengths).unsqueeze(1)
    xy = torch.randn(len(lengths), T, len(CANONICAL), 2, generator=generator)
    seen = (torch.rand(len(lengths), T, len(CANONICAL), 1, generator=generator) >= unseen) * mask[..., None, None]
    return torch.cat([xy * seen, seen.float()], -1), mask


def skeleton() -> SkeletonModel:
    torch.manual_seed(0)
    return SkeletonModel(part_width=8, width=WIDTH, layers=2, context=1, dropout=0.1).eval()


def temporal() -> TemporalModel:
    model = skeleton()
    return TemporalModel(model, width=WIDTH, layers=2, heads=2, stride=STRIDE, dropout=0.1, window=64).eval()


def translator(kind: str = "word", beams: int = 2) -> Translator:
    tokenizer = TextTokenizer(train_tokenizer(TEXTS, [], kind, 100))
    encoder = temporal()
    text = TextDecoder(len(tokenizer), 8, 1, 2, 0.0)
    alignment = AlignmentModel(WIDTH, len(tokenizer), text)
    generation = Generation(beams=beams, max_length=6, length_penalty=1.0, ctc_weight=0.3, window=64)
    return Translator(encoder, alignment, tokenizer, generation, True).eval()
