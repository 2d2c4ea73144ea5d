"""What a long clip costs in memory and time, and whether its sentences get the texts that they get alone.

usage: python -m benchmarks.long [--model models:/sign-translator@champion] [--data DIR] [--frames 1000,10000,100000]

The clip: the sentences of a corpus (DIR's, else the embedded one's; its test split), one after another and over again,
with PAUSE frames between them in which no hand is seen. Each figure is that of a process of its own: the growth of its
peak resident memory, after it has answered one sentence. Without --model the translator has random weights and the
default sizes; texts are then not compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.generated import translator
from sign_models.data.corpus import Corpus
from sign_models.data.splits import clips_of_split
from sign_models.datasets.inputs import Inputs
from sign_models.keypoints.layouts import PARTS, PLACE
from sign_models.keypoints.sequence import from_canonical
from sign_models.models.storage import load
from sign_models.models.translator import Translator
from sign_models.params import load as parameters
from sign_models.serving.predictor import Predictor
from sign_models.serving.served_model import Clip, clip_of, sequences_of
from sign_models.stages.generate import generate
from sign_models.stages.represent import represent
from sign_models.tracking.registered.registry import resolve

PAUSE = 40  # frames
TOKENS, BEAMS = 15, 4  # of the texts of random weights
FPS = 25.0


def sentences(data: Path | None) -> list[np.ndarray]:
    videos = Inputs.from_paths(data, None, None, None).videos
    return [np.asarray(videos.clip(i)) for i in clips_of_split(videos, "test")]


def long_clip(parts: list[np.ndarray], frames: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """-> `frames` frames of them, and of each whole sentence in it which it is and its middle frame."""
    pieces: list[np.ndarray] = []
    known, at = [], 0
    while at < frames:
        for place, part in enumerate(parts):
            pause = np.repeat(part[-1:], PAUSE, 0)
            for name in ("left_hand", "right_hand"):
                pause[:, PARTS[name]] = 0
            pause[:, [PLACE["body.left_wrist"], PLACE["body.right_wrist"]]] = 0
            known += [(place, at + len(part) // 2)] if at + len(part) <= frames else []
            pieces += [part, pause]
            at += len(part) + PAUSE
    return np.concatenate(pieces)[:frames], known


def measured(work: Callable[[np.ndarray], Any], first: np.ndarray, clip: np.ndarray) -> tuple[float, float, Any]:
    """-> seconds, MiB by which the peak has grown, what came of it."""
    work(first)
    before, began = peak(), time.perf_counter()
    found = work(clip)
    return time.perf_counter() - began, peak() - before, found


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(name: str, frames: int, uri: str, data: Path | None) -> dict[str, Any]:
    """A row of the table, in this process."""
    params = parameters.resolve()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: Translator = (
        load(resolve(uri, "translator").path()) if uri else translator(params, False, TOKENS, BEAMS, device)
    )
    parts = sentences(data)
    clip, known = long_clip(parts, frames)

    def corpus(values: np.ndarray) -> Corpus:
        return Corpus.from_sequences([replace(from_canonical("long", values), fps=FPS)])

    predictor = Predictor(model)
    works: dict[str, Callable[[np.ndarray], list[dict[str, Any]]]] = {
        "represent": lambda values: [{"vectors": len(a)} for _, a in represent(model.temporal, corpus(values), 16_384)],
        "generate": lambda values: generate(model, corpus(values), {}, params.generate).rows,
        "serve": lambda values: predictor.predict(
            sequences_of([Clip(**clip_of(from_canonical("long", values)))]), windows=True, reject_below=0
        ),
    }
    seconds, grown, [found] = measured(works[name], parts[0], clip)
    row = {"work": name, "frames": frames, "input": clip.nbytes / 2**20, "seconds": seconds, "grown": grown}
    windows = found.get("windows", [])
    if uri and windows:
        alone = predictor.predict([from_canonical("one", part) for part in parts], reject_below=0)
        texts = [(place, [w["text"] for w in windows if w["frames"][0] <= m < w["frames"][1]]) for place, m in known]
        row["alike"] = 100 * float(np.mean([said == [alone[place]["text"]] for place, said in texts]))
    return row | {"windows": len(windows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--frames", default="1000,10000,100000")
    parser.add_argument("--only", help="one kind of work, in this process, as JSON")
    given = parser.parse_args()
    if given.only:
        print(json.dumps(one(given.only, int(given.frames), given.model, given.data)))
        return
    print("| work | frames | MiB of the clip | windows | seconds | MiB that the peak grew | texts as alone, % |")
    print("|---|---|---|---|---|---|---|")
    options = [f"--model={given.model}", *([f"--data={given.data}"] if given.data else [])]
    for work in ("represent", "generate", "serve"):
        for frames in given.frames.split(","):
            command = [sys.executable, "-m", "benchmarks.long", f"--only={work}", f"--frames={frames}", *options]
            said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            r = json.loads(said.splitlines()[-1])
            alike = f"{r['alike']:.1f}" if "alike" in r else "-"
            grown = f"{r['seconds']:.1f} | {r['grown']:.0f}"
            print(
                f"| {work} | {r['frames']:,} | {r['input']:.1f} | {r['windows'] or '-'} | {grown} | {alike} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
