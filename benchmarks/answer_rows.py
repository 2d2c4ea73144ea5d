"""Rows of benchmarks/speed.py about what a trained model answers: texts and representations."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from benchmarks import roofline
from benchmarks.bench import BEAMS, COUNTED, TOKENS, Bench, beside, weights
from benchmarks.figures import Figure
from benchmarks.generated import encoder, lengths_like_phoenix, translator
from benchmarks.peers import UniSign
from sign_models.data.batching import Batch, DeviceCorpus
from sign_models.keypoints.sequence import from_canonical
from sign_models.models.translator import Translator
from sign_models.serving.predictor import Predictor
from sign_models.stages.generate import generate as generate_texts
from sign_models.stages.represent import represent as represent_videos

SENTENCE = 15  # tokens of PHOENIX14T's mean sentence, its end included


def _translated(model: Translator, few: Batch) -> float:
    return len(model.translate(*model(few.x, few.mask)))


def generate(b: Bench) -> Iterator[Figure]:
    gpu = b.device.type == "cuda"
    for big in (False, True):
        name, clips = ("mt5_base", 256) if big else ("default", 1024)
        params = b.params(generate__batch_size=256)
        corpus = b.corpus(lengths_like_phoenix(clips if gpu else clips // 32))
        model = translator(params, big, TOKENS, BEAMS, b.device)
        few = DeviceCorpus(corpus, b.device).unaugmented(np.arange(COUNTED))
        work = roofline.count(partial(_translated, model, few))
        peers = [UniSign(b.peers["unisign"], b.device, whole=True)] if big and "unisign" in b.peers else []
        asked = [(peer, batch) for peer in peers for _, batch in b.batches(peer, corpus, 64, 1)]
        rates, theirs = list[float](), list[list[float]]()
        for turn in range(b.rounds + 1):
            spent = roofline.seconds(generate_texts, b.device, model, corpus, {}, params.generate)
            row = [
                len(batch["gt_sentence"]) / roofline.seconds(peer.generate, b.device, batch, TOKENS, BEAMS)
                for peer, batch in asked
            ]
            if turn:
                rates.append(len(corpus) / spent)
                theirs.append(row)
        goal = None if not gpu else 200 if big else 1500
        about = f"beam {BEAMS}, {TOKENS} tokens, {weights(model)}"
        yield Figure(f"generate.{name}", tuple(rates), "sentences/s", goal, work=work, about=about)
        yield from beside(f"generate.{name}", rates, peers, theirs, "sentences/s", {})


def represent(b: Bench) -> Iterator[Figure]:
    gpu = b.device.type == "cuda"
    params = b.params()
    corpus = b.corpus(lengths_like_phoenix(8192 if gpu else 256))
    model = encoder(params).to(b.device)
    few = DeviceCorpus(corpus, b.device).unaugmented(np.arange(COUNTED))
    with torch.no_grad():
        work = roofline.count(lambda: (model.encode(few.x, few.mask), float(few.lengths.sum()))[1])
    peers = b.encoders()
    batches = [(peer, *b.batches(peer, corpus, 10**6, 1)[0]) for peer in peers]
    rates, theirs = list[float](), list[list[float]]()
    for turn in range(b.rounds + 1):
        made = represent_videos(model, corpus, params.represent.batch_frames)
        spent = roofline.seconds(deque, b.device, made, 0)
        row = [n / roofline.seconds(peer.encode, b.device, batch) for peer, n, batch in batches]
        if turn:
            rates.append(len(corpus.frames) / spent)
            theirs.append(row)
    goal = 5e6 if gpu else None
    yield Figure("represent", tuple(rates), "frames/s", goal, work=work, about=weights(model))
    yield from beside("represent", rates, peers, theirs, "frames/s", {})


def clip(b: Bench) -> Iterator[Figure]:
    """One clip of 256 frames to text, in process, as the served model answers."""
    sequence = from_canonical("clip", b.corpus([256] * 4).clip(0))
    for tokens, goal in ((SENTENCE, 60.0), (TOKENS, None)):
        model = Predictor(translator(b.params(), False, tokens, BEAMS, torch.device("cpu")))
        spent = [roofline.seconds(model.predict, b.device, [sequence], beams=BEAMS) for _ in range(3 + 30)]
        goal = goal if b.device.type == "cpu" else None
        values = tuple(1000 * s for s in spent[3:])
        yield Figure(f"clip.{tokens}_tokens", values, "ms", goal, most=True, about=f"beam {BEAMS}")
