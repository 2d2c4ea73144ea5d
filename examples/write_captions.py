"""Translate a clip and write its texts with their times as SubRip, WebVTT and ELAN files.

usage: python examples/write_captions.py PATH OUT [MODEL]
"""

import sys
from pathlib import Path

import sign_models as sm
from sign_models.video import captions

path, out, *model = sys.argv[1:]
translator = sm.load(*(model or ["models:/sign-translator@candidate"]))
Path(out).mkdir(parents=True, exist_ok=True)
for clip in sm.read(path):
    segments = translator.translate(clip)
    for suffix, write in {"srt": captions.to_srt, "vtt": captions.to_vtt, "eaf": captions.to_eaf}.items():
        file = Path(out, f"{clip.id}.{suffix}")
        file.write_text(write(segments), encoding="utf-8")
        print(file)
