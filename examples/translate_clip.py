"""Translate the clips of a file, each with its three best texts.

usage: python examples/translate_clip.py PATH [MODEL]
"""

import sys

import sign_models as sm

translator = sm.load(sys.argv[2] if len(sys.argv) > 2 else "models:/sign-translator@candidate")
for clip in sm.read(sys.argv[1]):
    for segment in translator.translate(clip, beams=4, n_best=3):
        sure = "" if segment.confidence is None else f" ({segment.confidence:.0%})"
        print(f"{clip.id} {segment.start:.2f}-{segment.end:.2f} s: {segment.text}{sure}; or {segment.n_best}")
