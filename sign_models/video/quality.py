"""What is wrong with a clip by what its frames show: one rule for an extraction's report, `translate` and the page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sign_models.keypoints.landmarks import HAND
from sign_models.video.following import BODY, HANDS, SHOULDERS, shoulder_width

MAX_SIDE_PIXELS = 1280  # of the picture that the models get; they see crops of 256 pixels at most
MIN_SHOULDER_PIXELS = 60.0  # below it a hand has fewer than about 25 pixels
MIN_BODY_SHARE = 0.9
MIN_HAND_SHARE = 0.5  # of the frames: with either hand
MIN_FACE_SHARE = 0.5
MAX_BAD_SHARE = 0.2


def look(values: np.ndarray, size: tuple[float, float]) -> dict[str, bool]:
    """Tell what a frame shows.

    Args:
        values: (75, 4) landmarks of the signer in pixels: x, y, depth, confidence.
        size: (width, height) of the picture in the same pixels.

    Returns:
        "body", "left_hand", "right_hand"; "no_shoulders": MediaPipe answers a whole body wherever it finds some of one,
        and here a shoulder is a guess outside of the picture; "too_small": shoulders below MIN_SHOULDER_PIXELS.
    """
    seen = {
        name: bool(values[start, 3] > 0)
        for name, start in (("body", 0), ("left_hand", HANDS), ("right_hand", HANDS + len(HAND)))
    }
    shoulders = values[BODY][SHOULDERS, :2]
    outside = bool((shoulders < 0).any() or (shoulders > size).any())
    scale = min(1.0, MAX_SIDE_PIXELS / max(size))
    small = shoulder_width(values[BODY]) * scale < MIN_SHOULDER_PIXELS
    return seen | {"no_shoulders": seen["body"] and outside, "too_small": seen["body"] and small}


def shares(values: np.ndarray, size: tuple[float, float]) -> dict[str, float]:
    """Tell what the frames of a clip show.

    Args:
        values: (T, 75, 4) as in look.
        size: As in look.

    Returns:
        Shares of the frames in [0, 1], by look's names.
    """
    seen = [look(frame, size) for frame in values]
    return {name: sum(frame[name] for frame in seen) / len(seen) for name in seen[0]}


def faults(share: Mapping[str, float], *, face: bool = False) -> dict[str, float]:
    """Find what a user should look at.

    Args:
        share: Shares of the frames with what look and extract.Counts name; those that are missing are not judged.
        face: Whether a face was looked for.

    Returns:
        The share to be told, by what is wrong: "body", "hands", "face", "several_people", "no_shoulders", "too_dark",
        "too_small".
    """
    found = {}
    if share["body"] < MIN_BODY_SHARE:
        found["body"] = share["body"]
    if (hands := max(share["left_hand"], share["right_hand"])) < MIN_HAND_SHARE:
        found["hands"] = hands
    if face and share["face"] < MIN_FACE_SHARE:
        found["face"] = share["face"]
    if share.get("several_people", 0) > 0:
        found["several_people"] = share["several_people"]
    return found | {
        name: share[name] for name in ("no_shoulders", "too_dark", "too_small") if share.get(name, 0) > MAX_BAD_SHARE
    }
