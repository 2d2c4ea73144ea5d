"""A generated signer: every landmark of every layout, at plausible places, in shoulder widths from the shoulders."""

from functools import cache

import numpy as np

from sign_models.keypoints.landmarks import FINGERS, IGNORED
from sign_models.keypoints.layouts import LAYOUTS

_BODY = {
    "nose": (0, -0.6), "neck": (0, 0), "head_top": (0, -1.1), "mid_hip": (0, 1.4), "eye": (0.1, -0.7),
    "eye_inner": (0.07, -0.7), "eye_outer": (0.13, -0.7), "ear": (0.2, -0.65), "mouth": (0.06, -0.45),
    "shoulder": (0.5, 0), "elbow": (0.8, 0.7), "wrist": (0.4, 0.6), "pinky": (0.3, 0.5), "index": (0.28, 0.45),
    "thumb": (0.35, 0.5), "hip": (0.33, 1.4), "knee": (0.3, 2.3), "ankle": (0.3, 3.2), "heel": (0.3, 3.3),
    "foot_index": (0.35, 3.35), "big_toe": (0.35, 3.35), "small_toe": (0.4, 3.35),
}  # fmt: skip


def _hand(landmark: str) -> tuple[float, float]:
    if landmark == "wrist":
        return _BODY["wrist"]
    finger = next(i for i, name in enumerate(FINGERS) if landmark.startswith(name))
    joint = ["cmc", "mcp", "pip", "ip", "dip", "tip"].index(landmark.rsplit("_", 1)[1])
    return 0.4 - 0.12 + 0.06 * finger, 0.6 - 0.28 - 0.05 * joint


def _place(name: str) -> tuple[float, float]:
    """Where a landmark is, mirrored for the signer's right."""
    part, landmark = name.split(".")
    side = -1 if "right" in name else 1
    if part in ("left_hand", "right_hand"):
        x, y = _hand(landmark)
        return side * x, y
    words = [word for word in landmark.split("_") if word not in ("left", "right")]
    if part in ("body", "world"):
        x, y = _BODY["_".join(words)]
        return side * x, y
    if landmark in ("nose_tip", "nose_base"):
        return 0, -0.6
    # Faces: any fixed place will do, as long as the lids' two points lie about their middle.
    if words[0] == "eye":
        x = {"inner": 0.07, "outer": 0.13}.get(words[1], 0.1)
        shift = {"0": 0.01, "1": -0.01}.get(words[-1], 0)
        return side * (x + shift), -0.7 + {"upper": -0.02, "lower": 0.02}.get(words[1], 0)
    if landmark in ("mouth_left", "mouth_right"):
        return side * 0.06, -0.45
    if landmark in ("left_jaw_0", "right_jaw_0"):
        return side * 0.2, -0.65
    spread = sum(map(ord, "_".join(words))) % 17 / 100
    return side * spread, -0.5 + spread


@cache
def _places(layout: str) -> np.ndarray:
    return np.array([(np.nan, np.nan) if name == IGNORED else _place(name) for name in LAYOUTS[layout]], np.float64)


def signer(layout: str, frames: int = 12, seed: int = 0) -> np.ndarray:
    """(T, K, 2) float64, the same movement in every layout: the hands and the arms sway, the body leans a little."""
    rng = np.random.default_rng(seed)
    phase, lean = rng.uniform(0, 6), rng.uniform(0.02, 0.05)
    time = np.arange(frames) / 5 + phase
    points = np.repeat(_places(layout)[None], frames, 0)
    for i, name in enumerate(LAYOUTS[layout]):
        reach = 0.3 if "hand" in name or "wrist" in name else 0.15 if "elbow" in name else 0.0
        points[:, i, 0] += lean * np.sin(time) + reach * np.sin(2 * time) * (-1 if "right" in name else 1)
        points[:, i, 1] += reach * np.cos(3 * time)
    return points


def pixels(layout: str, frames: int = 12, seed: int = 0, size: tuple[float, float] = (640, 480)) -> np.ndarray:
    """The signer in a picture: the shoulders a quarter of its height wide, in its middle."""
    width, height = size
    return signer(layout, frames, seed) * height / 4 + np.array([width / 2, height / 3])
