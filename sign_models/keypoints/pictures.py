"""Skeletons drawn as they are, as the model saw them, and as it restored them. Knows matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sign_models.keypoints.layouts import BONES, PARTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"body": "#444444", "left_hand": "#1f77b4", "right_hand": "#d62728", "face": "#8c8c8c"}


def restorations(original: np.ndarray, masked: np.ndarray, restored: np.ndarray, title: str) -> Figure:
    """One row a frame: original, masked, restored. Each (N, K, 3): x, y in shoulder widths, confidence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.6 * len(original)), layout="constrained")
    axes = figure.subplots(len(original), 3, squeeze=False)
    for row, frames in zip(axes, zip(original, masked, restored, strict=True), strict=True):
        seen = frames[0][frames[0][:, 2] > 0, :2]
        low, high = seen.min(0) - 0.2, seen.max(0) + 0.2
        for axis, frame, name in zip(row, frames, ("original", "masked", "restored"), strict=True):
            draw(axis, frame)
            axis.set(title=name, xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal", xticks=[], yticks=[])
    figure.suptitle(title)
    return figure


def draw(axis: Axes, frame: np.ndarray) -> None:
    """One skeleton (K, 3); what is not seen is not drawn."""
    from matplotlib.collections import LineCollection

    seen = frame[:, 2] > 0
    bones = [bone for bone in BONES if seen[list(bone)].all()]
    lines = frame[np.array(bones, dtype=int).reshape(-1, 2), :2]
    # one collection: a line for each bone takes several times as long
    axis.add_collection(LineCollection(list(lines), colors=[_colour(start) for start, _ in bones], linewidths=1))
    places = np.flatnonzero(seen)
    x, y = frame[places, :2].T
    axis.scatter(x, y, s=2, color=[_colour(int(place)) for place in places])


def _colour(place: int) -> str:
    return next(COLOURS[part] for part, places in PARTS.items() if places.start <= place < places.stop)
