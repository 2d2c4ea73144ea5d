"""Size, speed and texts of exported translators beside torch's: one thread, one clip at a time.

MODEL is a version, or a folder that `publish` wrote.

usage: python -m benchmarks.exported --exported my_onnx,my_int8 [--model MODEL] [--data DIR] [--clips 50] [--beams 1]

The clips are those of the test split, of DIR or of the embedded corpus. A time is the median over the clips, of the
second time that each is read.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import sacrebleu
import torch

from sign_models import serving
from sign_models.data.splits import clips_of_split
from sign_models.datasets.inputs import Inputs
from sign_models.keypoints.sequence import KeypointSequence, from_canonical
from sign_models.serving.exported import ExportedTranslator
from sign_models.tracking.registered.registry import resolve


def measured(read: Callable[[KeypointSequence], str], clips: list[KeypointSequence]) -> tuple[list[str], float]:
    """Texts, and the median of milliseconds a clip."""
    texts, times = [], []
    for clip in clips:
        read(clip)
        begin = time.perf_counter()
        texts.append(read(clip))
        times.append(1e3 * (time.perf_counter() - begin))
    return texts, statistics.median(times)


def _text(translator: ExportedTranslator, beams: int | None, clip: KeypointSequence) -> str:
    return " ".join(segment.text for segment in translator.translate(clip, beams=beams, reject_below=0.0))


def main() -> None:
    """Print a row for torch and one for each exported folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exported", required=True)
    parser.add_argument("--model", default="models:/sign-translator@candidate")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--beams", type=int, help="of the search; as the model was trained for where not given")
    given = parser.parse_args()
    torch.set_num_threads(1)
    inputs = Inputs.from_paths(given.data, None, None, None)
    videos = inputs.videos
    chosen = [i for i in clips_of_split(videos, "test") if videos.ids[i] in inputs.texts][: given.clips]
    clips = [from_canonical(videos.ids[i], videos.clip(i)) for i in chosen]
    references = [inputs.texts[videos.ids[i]] for i in chosen]
    named = Path(given.model)
    folder = named if named.is_dir() else resolve(given.model, "translator").path()
    predictor = serving.load(folder)
    wanted, took = measured(
        lambda clip: str(predictor.predict([clip], beams=given.beams, reject_below=0.0)[0]["text"]), clips
    )
    rows = [("torch", (folder / "model.safetensors").stat().st_size, wanted, took)]
    for name in given.exported.split(","):
        translator = ExportedTranslator(Path(name), threads=1)
        found, took = measured(partial(_text, translator, given.beams), clips)
        rows.append((name, sum(f.stat().st_size for f in Path(name).glob("*.onnx")), found, took))
    print("| | MB | ms a clip | texts as torch's | chrF |\n|---|---|---|---|---|")
    for name, size, texts, took in rows:
        same = sum(a == b for a, b in zip(texts, wanted, strict=True))
        chrf = sacrebleu.corpus_chrf(texts, [references]).score
        print(f"| {name} | {size / 1e6:.1f} | {took:.1f} | {same} of {len(clips)} | {chrf:.1f} |")


if __name__ == "__main__":
    main()
