"""Frames a second of body and hands: as `extract` finds them, and by MediaPipe's legacy Holistic, in turn.

usage: python -m benchmarks.extraction --video CLIP [--frames 64] [--rounds 3] [--legacy PYTHON]

The frames are decoded before anything is timed; the first five are not counted. PYTHON is the interpreter of an
environment of its own, since Holistic needs numpy below 2:

    python3.11 -m venv legacy && legacy/bin/pip install mediapipe==0.10.21 "numpy<2"
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from sign_models.video import decode
from sign_models.video.landmarks import Landmarker
from sign_models.video.models import model_files

WARM_UP, MAX_SIDE = 5, 1280
HOLISTIC = """
import json, sys, time
import numpy as np
import mediapipe as mp
frames, warm_up = np.load(sys.argv[1]), int(sys.argv[2])
with mp.solutions.holistic.Holistic(model_complexity=1) as holistic:
    found = []
    for i, frame in enumerate(frames):
        if i == warm_up:
            begin = time.perf_counter()
        found.append(holistic.process(frame).pose_landmarks is not None)
    print(json.dumps([(len(frames) - warm_up) / (time.perf_counter() - begin), sum(found)]))
"""


def ours(frames: np.ndarray) -> tuple[float, int]:
    """Frames a second, and frames with a body, of frames (N, H, W, 3)."""
    found, begin = 0, 0.0
    with Landmarker(model_files()) as landmarker:
        for i, frame in enumerate(frames):
            if i == WARM_UP:
                begin = time.perf_counter()
            found += bool(landmarker.detect(frame, i / 30).bodies)
        return (len(frames) - WARM_UP) / (time.perf_counter() - begin), found


def holistic(python: str, file: Path) -> tuple[float, int]:
    """The same of the frames in a file, by the older library in another interpreter."""
    done = subprocess.run([python, "-c", HOLISTIC, str(file), str(WARM_UP)], capture_output=True, text=True, check=True)
    rate, found = json.loads(done.stdout.splitlines()[-1])
    return float(rate), int(found)


def main() -> None:
    """Print a row a program: its rates, their median, and how many frames showed a body."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--legacy")
    given = parser.parse_args()
    decoded = decode.frames(given.video, max_side=MAX_SIDE)
    frames = np.stack([frame.pixels for frame in islice(decoded, given.frames)])
    found: dict[str, list[tuple[float, int]]] = {"extract": []}
    if given.legacy:
        found["legacy Holistic"] = []
    print(f"{len(frames)} frames of {frames.shape[2]} x {frames.shape[1]}, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        np.save(file := Path(folder, "frames.npy"), frames)
        for _ in range(given.rounds):
            if given.legacy:
                found["legacy Holistic"].append(holistic(given.legacy, file))
            found["extract"].append(ours(frames))
    print("| | frames/s | median | frames with a body |\n|---|---|--:|--:|")
    for name, rows in found.items():
        rates = [rate for rate, _ in rows]
        told = ", ".join(f"{rate:.1f}" for rate in rates)
        print(f"| {name} | {told} | {statistics.median(rates):.1f} | {rows[-1][1]} of {len(frames)} |")


if __name__ == "__main__":
    main()
