"""Which functions of the package a clip passes on its way from a file to its text: the rows of docs/architecture.md.

The tests' tiny videos are read in this process and translated by an untrained model: by `stages.generate`, and as a
served model answers them. A function counts once, and as one that is given a clip where an argument is or holds an
array of two dimensions or more; weights are no such array. Functions without a name, such as lambdas, do not count.

usage: python -m tools.clip_path [--list]
"""

from __future__ import annotations

import argparse
import inspect
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch

from sign_models.data.tokenizer import train_tokenizer
from sign_models.datasets import inputs
from sign_models.keypoints import formats
from sign_models.models.alignment import AlignmentModel
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.models.text.decoder import TextDecoder
from sign_models.models.text.tokenizer import TextTokenizer
from sign_models.models.translator import Generation, Translator
from sign_models.serving.predictor import Predictor
from sign_models.stages.generate import generate
from tests import tiny

PACKAGE = Path(inputs.__file__).parents[1]


def is_clip(value: Any) -> bool:
    """Whether a value is an array of two dimensions or more that is no weight of a model."""
    return isinstance(value, np.ndarray | torch.Tensor) and value.ndim > 1 and not isinstance(value, torch.nn.Parameter)


def holds_clip(value: Any) -> bool:
    """Whether a value is such an array, or has one among its items or attributes."""
    if isinstance(value, Mapping):
        return any(map(is_clip, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(is_clip, value))
    if is_clip(value) or isinstance(value, torch.nn.Module | type):
        return is_clip(value)
    return any(map(is_clip, getattr(value, "__dict__", {}).values()))


def name_of(code: CodeType) -> str | None:
    """Module and name of a function of the package, None of other code."""
    named = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
    file = Path(code.co_filename)
    return f"{file.relative_to(PACKAGE)}:{code.co_qualname}" if named and PACKAGE in file.parents else None


def passed(task: Callable[[], object]) -> dict[str, bool]:
    """Functions that a task calls, by module and name, and whether each was given a clip."""
    found: dict[str, bool] = {}
    name = cache(name_of)

    def called(frame: FrameType, event: str, _: object) -> None:
        if event != "call" or (function := name(frame.f_code)) is None or found.get(function):
            return
        arguments, *more = inspect.getargs(frame.f_code)
        named = [*arguments, *filter(None, more)]
        found[function] = any(holds_clip(frame.f_locals[argument]) for argument in named)

    sys.setprofile(called)
    try:
        task()
    finally:
        sys.setprofile(None)
    return found


def translator(texts: list[str]) -> Translator:
    """An untrained translator of the tests' sizes."""
    torch.manual_seed(0)
    fps, frames = tiny.params().data.fps, 32
    skeleton = SkeletonModel(part_width=8, width=32, layers=1, context=1, dropout=0.0, fps=fps)
    temporal = TemporalModel(skeleton, width=32, layers=1, heads=2, stride=4, dropout=0.0, window=frames, fps=fps)
    tokenizer = TextTokenizer(train_tokenizer(texts, [], "word", 100))
    text = TextDecoder(len(tokenizer), width=32, layers=1, heads=2, dropout=0.0)
    search = Generation(beams=2, max_length=8, length_penalty=1.0, ctc_weight=0.3, window=frames)
    return Translator(temporal, AlignmentModel(32, len(tokenizer), text), tokenizer, search, finetuned=False).eval()


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the functions")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, params = translator([row["text"] for row in tiny.texts()]), tiny.params().generate
    formats.isolated = lambda function, *given: function(*given)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        data = tiny.write_data(Path(folder) / "data")

        def from_file() -> None:
            found = inputs.Inputs.from_paths(data, None, None, None)
            generate(model, found.videos, found.texts, params)

        def served() -> None:
            Predictor(model).predict(list(formats.read(data / inputs.VIDEOS)))

        for way, task in (("from a file to its text", from_file), ("as a served model answers it", served)):
            found = passed(task)
            with_clip = sorted(name for name, given in found.items() if given)
            print(f"{way}: {len(with_clip)} functions are given a clip, {len(found)} are called")
            if options.list:
                print(*(f"    {name}" for name in with_clip), sep="\n")


if __name__ == "__main__":
    main()
