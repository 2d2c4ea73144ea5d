"""Whether GPUs of little memory train together a text side that one cannot: each keeps a part of the optimizer's state.

usage: python -m benchmarks.sharded [--limit GIB] [--layers 34] [--clips 8] [--steps 40] [--processes 2]
    [--kinds one,several,sharded]

A text side of about 1 B weights (T5's form, random) behind the default encoder, `alignment.train` as the stage runs it.
Each process may take --limit GiB of its GPU. Trained in one process, in several, and in several with
`training.shard_optimizer`: the peak of memory of each process, seconds a step, and losses.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from benchmarks.bench import LOG_STEPS
from benchmarks.generated import encoder, lengths_like_phoenix, stored, tokenizer
from benchmarks.metric_logger import Unkept
from sign_models.data.tokenizer import END, PAD, START, UNKNOWN
from sign_models.datasets.store import open_store
from sign_models.errors import ResourceError
from sign_models.params import load
from sign_models.stages.alignment import train
from sign_models.training.distributed import init_distributed

GIB = 2**30
RATE = 1e-4


class Losses(Unkept):
    """Keeps what training says of its losses, and when."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float, float]] = []

    def metrics(self, values: dict[str, float], step: int) -> None:
        if "train/loss" in values:
            self.points.append((step, values["train/loss"], time.perf_counter()))


def write_text_model(folder: Path, layers: int) -> int:
    """-> weights."""
    words = tokenizer()
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(words), d_model=1024, d_kv=64, d_ff=4096, num_heads=16, num_layers=layers,
            num_decoder_layers=layers, decoder_start_token_id=0, pad_token_id=0, eos_token_id=2, bos_token_id=1,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    names = {"pad_token": PAD, "bos_token": START, "eos_token": END, "unk_token": UNKNOWN}
    PreTrainedTokenizerFast(tokenizer_object=words.backend, **names).save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def trained(rank: int, size: int, folder: Path, given: argparse.Namespace, sharded: bool) -> None:
    """One process; writes what it found to FOLDER/found-<rank>.json."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    sets = {
        "steps": given.steps, "epochs": "null", "min_steps": 1, "batch_size": given.clips, "evaluations": 1, "lr": RATE,
        "checkpoint_minutes": 1e6, "shard_optimizer": str(sharded).lower(),
    }  # fmt: skip
    asked = {f"alignment.training.{name}": str(value) for name, value in sets.items()}
    params = load.resolve(None, "", None, asked | {"alignment.decoder.pretrained": str(folder / "text")})
    torch.manual_seed(0)
    corpus = open_store(folder / "store")
    texts = {name: text for name, text in zip(corpus.ids, corpus.texts, strict=True) if text}
    logger, found = Losses(), dict[str, Any]()
    with init_distributed():
        cuda = torch.cuda.is_available()
        if cuda and given.limit:
            total = torch.cuda.get_device_properties(rank).total_memory
            torch.cuda.set_per_process_memory_fraction(given.limit * GIB / total, rank)
        try:
            train(params.alignment, corpus, texts, encoder(params), logger, "split")
        except (ResourceError, torch.OutOfMemoryError) as error:
            found["failed"] = str(error).partition("\n")[0][:160]
        found["gib"] = torch.cuda.max_memory_allocated() / GIB if cuda else None
        found["losses"] = [(step, loss) for step, loss, _ in logger.points]
        if len(logger.points) > 1:
            (first, _, begun), (last, _, ended) = logger.points[0], logger.points[-1]
            found["seconds_a_step"] = (ended - begun) / (last - first)
        (folder / f"found-{rank}.json").write_text(json.dumps(found))
        if "failed" in found:
            os._exit(1)  # the others wait for this process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=21.0, help="GiB of each GPU; 0: all")
    parser.add_argument("--layers", type=int, default=34, help="of the encoder, and as many of the decoder")
    parser.add_argument("--clips", type=int, default=8, help="a step, over all processes")
    parser.add_argument("--steps", type=int, default=2 * LOG_STEPS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kinds", default="one,several,sharded")
    given = parser.parse_args()
    every = {"one": (1, False), "several": (given.processes, False), "sharded": (given.processes, True)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = write_text_model(folder / "text", given.layers)
        stored(folder / "store", lengths_like_phoenix(given.clips * LOG_STEPS))
        print(
            f"text side: {weights / 1e6:.0f} M weights; {given.clips} clips a step; at most {given.limit:g} GiB a GPU"
        )
        for size, sharded in (every[kind] for kind in given.kinds.split(",")):
            for old in folder.glob("found-*.json"):
                old.unlink()
            work = partial(trained, size=size, folder=folder, given=given, sharded=sharded)
            try:
                mp.spawn(_ranked, (work,), nprocs=size)
            except (mp.ProcessExitedException, mp.ProcessRaisedException) as error:
                print(str(error).strip().splitlines()[-1][:200], file=sys.stderr)
            found = [json.loads(file.read_text()) for file in sorted(folder.glob("found-*.json"))]
            print(
                f"{size} process{'es' if size > 1 else ''}{', sharded' if sharded else ''}: {json.dumps(found)}",
                flush=True,
            )


def _ranked(rank: int, work: partial[None]) -> None:
    work(rank)


if __name__ == "__main__":
    main()
