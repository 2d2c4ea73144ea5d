"""A model that answers without torch, in the folder layout that models.load reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.keypoints.sequence import KeypointSequence
from sign_models.tracking.registered.registration import register
from sign_models.tracking.registered.registry import ModelRef
from sign_models.tracking.runs import stage_run

ROLES = ("skeleton", "temporal", "alignment", "translator")


class Fake:
    """models.load's answer: says how many frames it saw, times its weight."""

    def __init__(self, folder: Path) -> None:
        self.stage = json.loads((folder / "config.json").read_text())["stage"]
        self.fps: float | None = None
        self.weight = float((folder / "model.safetensors").read_text())

    def predict(self, sequences: list[KeypointSequence], **options: int) -> list[dict[str, Any]]:
        return [{"text": f"{self.stage} {len(s)}", "score": self.weight * len(s), **options} for s in sequences]


def write(folder: Path, stage: str, weight: float = 1.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    generation = {"generation": {"beams": 4}} if stage == "translator" else {}
    (folder / "config.json").write_text(json.dumps({"stage": stage, "width": 8, **generation}))
    (folder / "model.safetensors").write_text(str(weight))
    return folder


def train_all(folder: Path, weight: float = 1.0) -> dict[str, ModelRef]:
    """All four models and the representations, tagged as phases tags them; the newest of each is used."""
    made: dict[str, ModelRef] = {}
    represented = ""
    for stage, role, upstream in (
        ("skeleton", "skeleton", ()),
        ("temporal", "temporal", ("skeleton",)),
        ("represent", "", ("temporal",)),
        ("alignment", "alignment", ("temporal",)),
        ("generate", "translator", ("alignment",)),
    ):
        with stage_run(stage) as run:
            used = {name: made[name] for name in upstream}
            run.log_params({f"{stage}.model.width": 8, f"{stage}.augment.noise": 0.1})
            run.log_code_state()
            run.log_dataset("videos", (stage[0] + "0") * 32, f"{stage}.videos", {"clips": 12}, source="/data/cafe")
            for name, model in used.items():
                run.set_tags(
                    {f"sign.upstream.{name}.asked": model.asked, f"sign.upstream.{name}": model.uri,
                     f"sign.upstream.{name}.run_id": model.run_id, f"sign.upstream.{name}.model_id": model.model_id}
                )  # fmt: skip
            if stage == "alignment":
                run.set_tags({"sign.upstream.representations": represented})
            if stage == "represent":
                represented = run.id
                continue
            made[role] = register(
                run, role, write(folder / role, role, weight), metrics={"score": 90.0},
                upstream=used, tags={}, step=1,
            )  # fmt: skip
    return made


def clips(frames: tuple[int, ...] = (3, 5), layout: str = "mediapipe_75") -> list[KeypointSequence]:
    draw = np.random.default_rng(0)
    return [
        KeypointSequence(
            f"clip {i}", draw.random((t, 75, 2), np.float32), np.ones((t, 75), np.float32), layout, fps=25.0
        )
        for i, t in enumerate(frames)
    ]
