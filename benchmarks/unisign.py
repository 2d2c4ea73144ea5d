"""Uni-Sign's pose encoder with a T5 of our size, run from a public checkout of it: the peer of benchmarks/quality.py.

usage: python -m benchmarks.quality --data DIR --peer unisign=CHECKOUT      (github.com/ZechengLi19/Uni-Sign)

The model is the checkout's `models.Uni_Sign`, pose only, around a T5 with random weights; its clips are cut, scaled and
clipped by the checkout's `load_part_kp`. Nothing of it is copied here. From the pipeline come the clips (canonical
landmarks, put at their places in COCO-WholeBody's order; six points of the inner mouth stay unseen), the splits, the
tokenizer, the text model's width and heads, and the scorer. Where 15 epochs of a few sentences would be over in a
moment, it trains for `min_steps` as ours does.
"""

from __future__ import annotations

import ast
import copy
import math
import random
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration, T5Tokenizer, get_scheduler

from sign_models.data.corpus import Corpus
from sign_models.data.splits import clips_of_split
from sign_models.data.tokenizer import END, PAD, UNKNOWN, train_tokenizer
from sign_models.errors import DataError
from sign_models.evaluation.metrics import score as metrics_score
from sign_models.keypoints.layouts import CANONICAL, LAYOUTS
from sign_models.params.schema import AlignmentParams
from sign_models.stages.alignment_task import EVALUATED

Clip = dict[str, Tensor]  # part -> (T, landmarks, 3) float32: x, y in [-1, 1], confidence
SCORED = 64  # clips translated at a time


@dataclass(frozen=True)
class Recipe:
    """As shared/data/cafe's reference was made; what it does not say is the default of the checkout's own parser."""

    epochs: int = 15
    batch_size: int = 16
    lr: float = 3e-4
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    label_smoothing: float = 0.2
    layers: int = 4  # of the encoder, and of the decoder
    max_frames: int = 256  # of a longer clip as many are drawn, anew each time
    beams: int = 4
    max_new_tokens: int = 100


class Checkout:
    """The code of a checkout. Of its modules only the named definitions are run: the rest of them imports what reads
    videos and drives GPUs (torchvision, decord, deepspeed), which poses need nothing of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("models.py", "datasets.py", "stgcn_layers/__init__.py"):
            if not (folder / name).is_file():
                raise DataError("missing", place=str(folder / name), wanted="a checkout of Uni-Sign")

    @cached_property
    def load_part_kp(self) -> Any:
        names = {"np": np, "torch": torch, "copy": copy}
        return defined(self.folder / "datasets.py", ("load_part_kp", "crop_scale"), names)["load_part_kp"]

    def model(self, text: T5ForConditionalGeneration, tokenizer: Any, label_smoothing: float) -> nn.Module:
        """Uni_Sign around `text`, which takes the place of the mt5-base of width 768 that it was written for."""
        wanted = ("Uni_Sign", "trunc_normal_", "_no_grad_trunc_normal_")
        with tempfile.TemporaryDirectory(prefix="sign-peer-") as folder:
            text.save_pretrained(folder)
            T5Tokenizer().save_pretrained(folder)
            names: dict[str, Any] = {
                "torch": torch, "nn": nn, "math": math, "warnings": warnings, "mt5_path": folder,
                "MT5ForConditionalGeneration": T5ForConditionalGeneration, "T5Tokenizer": T5Tokenizer,
            }  # fmt: skip
            sys.path.insert(0, str(self.folder))
            try:
                layers = import_module("stgcn_layers")
            finally:
                sys.path.remove(str(self.folder))
            names |= {"Graph": layers.Graph, "get_stgcn_chain": layers.get_stgcn_chain}
            model = defined(self.folder / "models.py", wanted, names)["Uni_Sign"](
                SimpleNamespace(hidden_dim=256, dataset="", rgb_support=False, label_smoothing=label_smoothing)
            )
        model.mt5_tokenizer = tokenizer
        model.pose_proj = nn.Linear(model.pose_proj.in_features, text.config.d_model)
        model.pose_proj.apply(model._init_weights)
        return model


def defined(file: Path, wanted: tuple[str, ...], names: dict[str, Any]) -> dict[str, Any]:
    """`names` and the functions and classes `wanted` of a checkout's module, the rest of which is not run."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    chosen = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name in wanted]
    if missing := {*wanted} - {n.name for n in chosen}:
        raise DataError(f"no {', '.join(sorted(missing))}", place=str(file), wanted="the peer's own code")
    space = dict(names)
    exec(compile(ast.Module([*chosen], []), file, "exec"), space)
    return space


class Clips:
    """Clips as Uni-Sign reads them, prepared once where no frame of theirs is left out."""

    def __init__(self, checkout: Checkout, corpus: Corpus, recipe: Recipe | None = None) -> None:
        self.checkout, self.corpus, self.recipe = checkout, corpus, recipe or Recipe()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.whole: dict[int, Clip] = {}

    def of(self, corpus: Corpus) -> Clips:
        """Other clips, read alike."""
        return Clips(self.checkout, corpus, self.recipe)

    def __getitem__(self, i: int) -> Clip:
        frames = int(self.corpus.lengths[i])
        if frames > self.recipe.max_frames:
            return self._prepared(i, sorted(random.sample(range(frames), self.recipe.max_frames)))
        if i not in self.whole:
            self.whole[i] = self._prepared(i, list(range(frames)))
        return self.whole[i]

    def _prepared(self, i: int, frames: list[int]) -> Clip:
        x = self.corpus.clip(i)[frames].astype(np.float64)
        full = np.zeros((len(x), len(LAYOUTS["coco_wholebody_133"]), 3))
        full[:, PLACES] = x[:, KNOWN]
        parts = self.checkout.load_part_kp(full[:, None, :, :2], full[:, None, :, 2], force_ok=True)
        return {name: value.float().to(self.device) for name, value in parts.items()}

    def batch(self, places: np.ndarray) -> dict[str, Tensor]:
        """Padded with each clip's last frame, as the checkout's collate_fn does."""
        clips = [self[int(i)] for i in places]
        lengths = torch.tensor([len(clip["body"]) for clip in clips], device=self.device)
        steps = torch.arange(int(lengths.max()), device=self.device)
        out = {
            part: torch.stack([clip[part][steps.clamp(max=len(clip[part]) - 1)] for clip in clips]) for part in clips[0]
        }
        return out | {"attention_mask": (steps < lengths.unsqueeze(1)).long()}


KNOWN = [i for i, name in enumerate(CANONICAL) if name in LAYOUTS["coco_wholebody_133"]]
PLACES = [LAYOUTS["coco_wholebody_133"].index(CANONICAL[i]) for i in KNOWN]


@dataclass
class Peer:
    """A trained Uni_Sign."""

    model: Any  # a Uni_Sign
    recipe: Recipe
    seconds: float

    @property
    def weights(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @torch.no_grad()
    def translate(self, clips: Clips, places: np.ndarray) -> list[str]:
        """-> a text for each place, in the order of `places`."""
        self.model.eval()
        texts: dict[int, str] = {}
        by_length = places[np.argsort(clips.corpus.lengths[places], kind="stable")]
        for chosen in np.array_split(by_length, -(-len(by_length) // SCORED)):
            with autocast(clips.device):
                encoded = self.model(clips.batch(chosen), {"gt_sentence": [""] * len(chosen)})
                tokens = self.model.generate(encoded, self.recipe.max_new_tokens, self.recipe.beams)
            found = self.model.mt5_tokenizer.batch_decode(tokens, skip_special_tokens=True)
            texts |= {int(i): text.strip() for i, text in zip(chosen, found, strict=True)}
        return [texts[int(i)] for i in places]


def autocast(device: torch.device) -> torch.autocast:
    """deepspeed's bf16, as the recipe has it, on a GPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def train(
    clips: Clips, texts: dict[str, str], params: AlignmentParams, scoring: str, seed: int, steps: int | None = None
) -> Peer:
    """Train on the videos of split train that have a text; the weights that score best on dev are kept.

    steps: how long, where the recipe's epochs (at least params' min_steps) are not meant.
    """
    recipe = clips.recipe
    random.seed(seed)
    torch.manual_seed(seed)
    corpus = clips.corpus
    written = np.array([name in texts for name in corpus.ids])
    train, dev = (
        places[written[places]] for places in (clips_of_split(corpus, "train", None), clips_of_split(corpus, "dev"))
    )
    dev = dev[np.random.default_rng(seed).permutation(len(dev))[:EVALUATED]] if len(dev) else train[:EVALUATED]
    references = [texts[corpus.ids[i]] for i in dev]
    for i in (*train, *dev):  # their loader does this beside the training, in eight processes
        clips[int(i)]
    began = time.monotonic()
    model = clips.checkout.model(*text_side(params, [texts[corpus.ids[i]] for i in train], references, recipe),
                           recipe.label_smoothing).to(clips.device)  # fmt: skip
    peer = Peer(model, recipe, 0.0)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, eps=1e-9)
    size = min(recipe.batch_size, len(train))
    total = steps or max(recipe.epochs * (len(train) // size), params.training.min_steps)
    schedule = get_scheduler("cosine", optimizer, 0, total)
    every = -(-total // recipe.epochs)
    best, best_score = model.state_dict(), -1.0
    order = np.empty(0, np.int64)
    rng = np.random.default_rng(seed)
    for step in range(1, total + 1):
        if len(order) < size:  # the rest of an epoch is dropped, as the recipe's loader does
            order = rng.permutation(train)
        chosen, order = order[:size], order[size:]
        model.train()
        with autocast(clips.device):
            loss = model(clips.batch(chosen), {"gt_sentence": [texts[corpus.ids[i]] for i in chosen]})["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == total:
            score = metrics_score(peer.translate(clips, dev), references, scoring).bleu4
            print(f"unisign: step {step}/{total}  loss {loss:.3f}  dev bleu4 {score:.1f}", file=sys.stderr, flush=True)
            if score > best_score:
                best_score, best = score, {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best)
    peer.seconds = time.monotonic() - began
    return peer


def text_side(
    params: AlignmentParams, train: list[str], dev: list[str], recipe: Recipe
) -> tuple[T5ForConditionalGeneration, Any]:
    """A T5 with random weights, of the width and heads of our decoder, and our tokenizer."""
    trained = train_tokenizer(train, dev, params.tokenizer.kind, params.tokenizer.vocabulary)
    trained.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, trained.token_to_id(END))])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)
    d = params.decoder
    config = T5Config(
        vocab_size=len(tokenizer), d_model=d.width, d_kv=d.width // d.heads, d_ff=4 * d.width, num_heads=d.heads,
        num_layers=recipe.layers, num_decoder_layers=recipe.layers, dropout_rate=d.dropout,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return T5ForConditionalGeneration(config), tokenizer
