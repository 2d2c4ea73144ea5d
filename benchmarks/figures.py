"""What benchmarks/speed.py measured: one figure a line, beside its goal and the device's limit."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import transformers

from benchmarks.roofline import Ceiling, Work


@dataclass(frozen=True)
class Figure:
    """One line of the table. goal: at least this, or at most where `most` is True."""

    name: str
    values: tuple[float, ...]
    unit: str
    goal: float | None = None
    most: bool = False
    work: Work | None = None
    about: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.value <= self.goal if self.most else self.value >= self.goal

    def line(self, ceiling: Ceiling) -> str:
        goal = "" if self.goal is None else f"{'at most' if self.most else 'at least'} {_short(self.goal)}"
        met = {True: "yes", False: "no", None: ""}[self.met]
        spread = f" ({_short(min(self.values))} - {_short(max(self.values))})" if len(self.values) > 1 else ""
        cells = [self.name, f"{_short(self.value)}{spread} {self.unit}", goal, met, self.roof(ceiling), self.about]
        return f"| {' | '.join(cells)} |"

    def roof(self, ceiling: Ceiling) -> str:
        """What the device's products and its memory would allow, and the share of it that is reached."""
        if self.work is None or not self.unit.endswith("/s"):
            return ""
        products, moves = ceiling.products / self.work.flops, ceiling.bandwidth / self.work.bytes
        return (
            f"{self.work.flops / 1e6:,.1f} MFLOP, {self.work.bytes / 1e3:,.0f} KB unfused each: products allow "
            f"{_short(products)} ({self.value / products:.1%} reached), unfused traffic {_short(moves)}"
        )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def about(device: torch.device, c: Ceiling) -> dict[str, str]:
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    return {
        "device": name,
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "bf16 TFLOP/s": f"{c.bf16 / 1e12:.3g}",
        "float32 TFLOP/s": f"{c.float32 / 1e12:.3g}",
        "GB/s": f"{c.bandwidth / 1e9:.3g}",
    }


def table(figures: Sequence[Figure], device: torch.device, ceiling: Ceiling) -> str:
    lines = [", ".join(f"{name} {value}" for name, value in about(device, ceiling).items()), ""]
    lines += ["| figure | median (least - most) | goal | met | roofline | about |", "|---|---|---|---|---|---|"]
    return "\n".join(lines + [figure.line(ceiling) for figure in figures])


def written(figures: Sequence[Figure], device: torch.device, ceiling: Ceiling) -> str:
    return json.dumps({"about": about(device, ceiling), "figures": [asdict(figure) for figure in figures]}, indent=1)


GROWTH = {"frames": "frames of the corpus", "length": "frames a clip", "weights": "million weights"}


def growth(figures: Sequence[Figure]) -> Any:
    """What a frame costs as each thing grows, from the row `scaling`; for weights also what a FLOP costs."""
    from matplotlib.figure import Figure as Picture

    kinds = [kind for kind in GROWTH if any(f.name.startswith(f"scaling.{kind}.") for f in figures)]
    picture = Picture(figsize=(3.4 * max(1, len(kinds)), 3.4), layout="constrained")
    for place, kind in enumerate(kinds, 1):
        axis = picture.add_subplot(1, len(kinds), place)
        points = [(f, float(f.name.split(".")[2])) for f in figures if f.name.startswith(f"scaling.{kind}.")]
        curves = {"ns a frame": [f.value for f, _ in points]}
        if kind == "weights":
            curves["ns a MFLOP"] = [f.value / f.work.flops * 1e6 for f, _ in points if f.work]
        for name, values in curves.items():
            axis.plot([x for _, x in points], values, marker="o", label=name)
        axis.set(xscale="log", yscale="log" if kind == "weights" else "linear", xlabel=GROWTH[kind])
        axis.set_ylim(bottom=None if kind == "weights" else 0)
        axis.grid(alpha=0.3)
        axis.legend()
    return picture


def record(figures: Sequence[Figure], device: torch.device, ceiling: Ceiling) -> None:
    """As a run of its own in MLflow."""
    from sign_models.tracking.runs import stage_run

    with stage_run("speed") as run:
        run.log_params(about(device, ceiling))
        run.log_metrics({figure.name: figure.value for figure in figures}, 0)
        run.log_text(written(figures, device, ceiling), "speed.json")
        run.log_text(table(figures, device, ceiling), "table.md")
        run.log_figure(growth(figures), "scaling.png")
