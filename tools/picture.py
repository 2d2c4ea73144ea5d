"""The picture of the README: frames of a phrase of the embedded corpus, with its text.

usage: python -m tools.picture [--out docs/images/signer.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sign_models.datasets import demo
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.pictures import draw_skeleton
from sign_models.keypoints.sequence import KeypointSequence

FRAMES = 6
TEXT = "tea"


def picture(text: str) -> Figure:
    """Frames of a fingerspelled text, evenly over its time, under them the text."""
    points, confidence = demo.fingerspell(text, np.random.default_rng(0))
    clip = normalise(KeypointSequence(text, points, confidence, demo.LAYOUT, "pixel", demo.IMAGE_SIZE, demo.FPS))
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    axes = figure.subplots(1, FRAMES)
    shown = clip[np.linspace(0, len(clip) - 1, FRAMES).astype(int)]
    points = shown[shown[..., 2] > 0][:, :2]
    low, high = points.min(0) - 0.1, points.max(0) + 0.1
    for axis, frame in zip(axes, shown, strict=True):
        draw_skeleton(axis, frame)
        axis.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
        axis.axis("off")
    figure.supxlabel(f"sign-translator: “{text}”", fontsize=13)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/signer.png"))
    picture(TEXT).savefig(parser.parse_args().out, dpi=110)


if __name__ == "__main__":
    main()
