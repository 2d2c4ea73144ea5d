"""Writes the files beside it, by the code of git commit 4757141, whose CTC had token 0 for its blank.

git worktree add /tmp/earlier 4757141; cd /tmp/earlier; PYTHONPATH=. python THIS FOLDER/make.py
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from sign_models.models.storage import save
from tests import tiny
from tests.models import clips
from tests.stages.recorders import Memory, Stopped
from tests.stages.training import train

FOLDER = Path(__file__).parent
LENGTHS, SEED = (40, 33, 24, 18), 3
SMALL = {
    "skeleton__model__part_width": 2, "skeleton__model__width": 8, "temporal__model__width": 8,
    "alignment__decoder__width": 8, "alignment__training__steps": 12,
}  # fmt: skip


def main() -> None:
    from sign_models.data.inputs import Inputs  # where it was then

    model = clips.translator()
    torch.manual_seed(1)
    for weights in model.temporal.parameters():
        torch.nn.init.normal_(weights, std=3 / weights.shape[-1] ** 0.5 if weights.ndim > 1 else 0.0)
    model.alignment.ctc.weight.data *= 20
    save(model, FOLDER / "translator")
    with torch.no_grad():
        found = model.translate(*model(*clips.batch(LENGTHS, SEED)))
    told = [[[h.text, h.score] for h in hypotheses] for hypotheses in found]
    (FOLDER / "texts.json").write_text(json.dumps(told, indent=1))
    inputs = Inputs.of(tiny.write_data(Path("data")), None, None, None)
    try:
        train(inputs, "alignment", Memory(FOLDER / "checkpoint", stop_after=2), **SMALL)
    except Stopped:
        return


if __name__ == "__main__":
    main()
