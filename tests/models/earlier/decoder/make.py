"""Writes the files beside it, by the code of git commit a638ab0, whose decoder was a T5 of transformers.

git worktree add /tmp/earlier a638ab0; cd /tmp/earlier; PYTHONPATH=. python THIS FOLDER/make.py
"""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import torch

from sign_models.models import precision
from sign_models.models.storage import save
from tests import tiny
from tests.models import clips
from tests.stages.recorders import Memory, Stopped
from tests.stages.training import train

FOLDER = Path(__file__).parent
LENGTHS, SEED = (40, 33, 24, 18), 3
STEPS, STOPPED = 12, 8
SMALL = {
    "skeleton__model__part_width": 2, "skeleton__model__width": 8, "temporal__model__width": 8,
    "alignment__decoder__width": 8, "alignment__decoder__layers": 2, "alignment__decoder__dropout": 0.1,
    "alignment__training__steps": STEPS, "alignment__training__evaluations": STEPS,
}  # fmt: skip


def main() -> None:
    from sign_models.datasets.inputs import Inputs
    from sign_models.models.text import TextModel

    precision.has_bf16 = lambda device: False  # the same figures on every machine
    model = clips.translator("bpe", beams=4)
    torch.manual_seed(2)
    model.alignment.text = TextModel.from_scratch(model.alignment.vocabulary, 8, 2, 2, 0.1).eval()
    for weights in model.temporal.parameters():
        torch.nn.init.normal_(weights, std=3 / weights.shape[-1] ** 0.5 if weights.ndim > 1 else 0.0)
    model.alignment.ctc.weight.data *= 20
    save(model, FOLDER / "translator")
    with torch.no_grad():
        found = model.translate(*model(*clips.batch(LENGTHS, SEED)))
    told = [[[h.text, h.score] for h in hypotheses] for hypotheses in found]
    (FOLDER / "texts.json").write_text(json.dumps(told, indent=1))

    with tempfile.TemporaryDirectory() as scratch:
        inputs = Inputs.of(tiny.write_data(Path(scratch)), None, None, None)
        with suppress(Stopped):
            train(inputs, "alignment", Memory(FOLDER / "checkpoint", stop_after=STOPPED), **SMALL)
        whole = Memory(Path(scratch, "whole"))
        train(inputs, "alignment", whole, **SMALL)
    losses = {name: [*points.values()] for name, points in whole.points.items() if name in ("train/loss", "train/text")}
    (FOLDER / "losses.json").write_text(json.dumps(losses, indent=1))


if __name__ == "__main__":
    main()
