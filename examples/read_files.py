"""Read keypoint files of any known format, and show what a model makes of them.

usage: python examples/read_files.py PATH
"""

import sys

import sign_models as sm
from sign_models.keypoints.normalise import normalise

for clip in sm.read(sys.argv[1]):
    frames, landmarks = clip.confidence.shape
    rate = "unknown" if clip.fps is None else f"{clip.fps:g} fps"
    print(f"{clip.id}: {frames} frames of {landmarks} landmarks ({clip.layout}), {rate}")
    seen = (normalise(clip)[..., 2] > 0).mean()  # canonical landmarks: x, y in shoulder widths, confidence last
    print(f"    {seen:.0%} of the model's landmarks are seen")
