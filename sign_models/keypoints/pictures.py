"""Figures of skeletons: original, masked and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sign_models.keypoints.layouts import BONES, PARTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"body": "#444444", "left_hand": "#1f77b4", "right_hand": "#d62728", "face": "#8c8c8c"}


def restoration_figure(original: np.ndarray, masked: np.ndarray, restored: np.ndarray, title: str) -> Figure:
    """Draw frames, one a row: original, masked and restored.

    Args:
        original: (N, K, 3) frames: x and y in shoulder widths, confidence.
        masked: (N, K, 3) the same with masked landmarks unseen.
        restored: (N, K, 3) the same as the model restores them.
        title: Title of the figure.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.6 * len(original)), layout="constrained")
    axes = figure.subplots(len(original), 3, squeeze=False)
    for row, frames in zip(axes, zip(original, masked, restored, strict=True), strict=True):
        seen = frames[0][frames[0][:, 2] > 0, :2]
        low, high = seen.min(0) - 0.2, seen.max(0) + 0.2
        for axis, frame, name in zip(row, frames, ("original", "masked", "restored"), strict=True):
            draw_skeleton(axis, frame)
            axis.set(title=name, xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal", xticks=[], yticks=[])
    figure.suptitle(title)
    return figure


def draw_skeleton(axis: Axes, frame: np.ndarray) -> None:
    """Draw a skeleton without its unseen landmarks.

    Args:
        axis: Where to draw.
        frame: (K, 3) x, y and confidence.
    """
    from matplotlib.collections import LineCollection

    seen = frame[:, 2] > 0
    bones = [bone for bone in BONES if seen[list(bone)].all()]
    lines = frame[np.array(bones, dtype=int).reshape(-1, 2), :2]
    # one collection: a line for each bone takes several times as long
    axis.add_collection(LineCollection(list(lines), colors=[_colour(start) for start, _ in bones], linewidths=1))
    places = np.flatnonzero(seen)
    axis.scatter(frame[places, 0], frame[places, 1], s=2, color=[_colour(int(place)) for place in places])


def _colour(place: int) -> str:
    return next(COLOURS[part] for part, places in PARTS.items() if places.start <= place < places.stop)
