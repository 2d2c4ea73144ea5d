"""Stores, texts and models with random weights for benchmarks/speed.py: cheap to make, in the sizes of real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from benchmarks.peers import mt5_base
from benchmarks.store import LONGEST, MEAN, SHAPE, SHORTEST
from sign_models.data.corpus import Clip, Corpus
from sign_models.data.tokenizer import END, PAD, START, UNKNOWN, train_tokenizer
from sign_models.datasets.checks import MEASURES
from sign_models.datasets.readers import Position, Sample
from sign_models.datasets.store import open_store
from sign_models.datasets.store_writer import StoreWriter
from sign_models.keypoints.layouts import CANONICAL
from sign_models.models.alignment import AlignmentModel
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.models.text import TextModel
from sign_models.models.text.decoder import TextDecoder
from sign_models.models.text.pretrained import PretrainedText
from sign_models.models.text.tokenizer import TextTokenizer
from sign_models.models.translator import Generation, Translator
from sign_models.params.schema import PipelineParams

WORDS = 2887  # PHOENIX14T's German vocabulary
TEXT_SHAPE, TEXT_MEAN = 6.0, 14.0  # of a gamma distribution: words a sentence
DEV = 8  # clips
POOL = 2**13  # frames of one long movement that clips are cut from


def lengths_like_phoenix(clips: int, seed: int = 0) -> list[int]:
    drawn = np.random.default_rng(seed).gamma(SHAPE, MEAN / SHAPE, clips)
    return [int(n) for n in np.clip(drawn, SHORTEST, LONGEST)]


def sentences(count: int, seed: int = 0) -> list[str]:
    """Words w1, w2, ... as often as Zipf says."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, WORDS + 1)
    words = np.maximum(1, rng.gamma(TEXT_SHAPE, TEXT_MEAN / TEXT_SHAPE, count).round().astype(int))
    return [" ".join(f"w{k}" for k in rng.choice(WORDS, n, p=share / share.sum())) for n in words]


def stored(folder: Path, lengths: Sequence[int]) -> Corpus:
    """A store of `lengths` training clips and DEV others, opened."""
    rng = np.random.default_rng(0)
    pool = rng.uniform(-2, 2, (1, len(CANONICAL), 3)) + rng.normal(0, 0.02, (POOL, len(CANONICAL), 3)).cumsum(0) % 1
    pool[..., 2] = rng.uniform(0.2, 1, pool.shape[:2])
    pool = pool.astype(np.float16)
    every = [*lengths, *lengths_like_phoenix(DEV, 1)]
    texts = sentences(len(every))
    writer = StoreWriter(folder, {"source": "generated"})
    for i, length in enumerate(every):
        values = pool[(start := int(rng.integers(POOL - length))) : start + length]
        split = "train" if i < len(lengths) else "dev"
        clip = Clip(f"clip_{i:07}", values, hashlib.sha256(values.data).hexdigest(), 25.0, split, None, texts[i])
        writer.add(Sample(clip, "canonical", np.zeros(len(MEASURES), np.float32), clip.id), Position(i + 1, 0))
    writer.finish(None)
    return open_store(folder)


def encoder(params: PipelineParams) -> TemporalModel:
    skeleton = SkeletonModel(**params.skeleton.model.model_dump())
    return TemporalModel(skeleton, **params.temporal.model.model_dump(), window=params.temporal.max_frames)


def tokenizer() -> TextTokenizer:
    return TextTokenizer(train_tokenizer(sentences(2000, 1), [], "word", WORDS))


def decoder_folder(folder: Path, device: torch.device) -> Path:
    """A text model of mT5-base's size with a tokenizer, as `alignment.decoder.pretrained` wants it."""
    mt5_base(device).cpu().save_pretrained(folder)
    names = {"pad_token": PAD, "bos_token": START, "eos_token": END, "unk_token": UNKNOWN}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend, **names).save_pretrained(folder)
    return folder


def translator(params: PipelineParams, big: bool, tokens: int, beams: int, device: torch.device) -> Translator:
    """big: with a text model of mT5-base's size and of a pruned vocabulary in place of the params' decoder."""
    words, d = tokenizer(), params.alignment.decoder
    text: TextModel
    if big:
        text = PretrainedText(mt5_base(device, len(words)))
    else:
        text = TextDecoder(len(words), d.width, d.layers, d.heads, d.dropout)
    temporal = encoder(params)
    alignment = AlignmentModel(temporal.width, text.vocabulary, text)
    generation = Generation(beams, tokens, 1.0, 0.5, params.alignment.max_frames)
    return Translator(temporal, alignment, words, generation, True).to(device).eval()
