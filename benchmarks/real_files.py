"""Every folder of real files: imported, and a quick pipeline trained on its store, by the commands a user types.

usage: python -m benchmarks.real_files [--clips N] FOLDER ...

A clip without a text is given one, the name of its file. Splits are made where there are SPLIT clips or more; below
--clips clips a folder is imported only. Runs go to a tracking store of their own, which is removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sign_models.datasets.store import open_store

SPLIT = 10  # clips
SHARES = "0.6,0.2,0.2"


def command(name: str, *arguments: object, folder: Path) -> float:
    """Seconds that an entry point took; ends the program with what it printed where it failed."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PYTHONPATH": str(Path.cwd())}
    began = time.perf_counter()
    line = [sys.executable, "-m", f"entrypoints.{name}", *map(str, arguments)]
    done = subprocess.run(line, env=environment, cwd=folder, capture_output=True, text=True)  # artifacts lie there
    if done.returncode:
        raise SystemExit(f"{' '.join(line[1:])}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def through(source: Path, folder: Path, clips: int) -> str:
    """A line of the table: what was imported, and how the pipeline went."""
    found, store, texts = folder / "found", folder / "store", folder / "texts.json"
    importing = command("import", "--source", source, "--out", found, folder=folder)
    corpus = open_store(found)
    rows = {id: text or Path(id).name for id, text in zip(corpus.ids, corpus.texts, strict=True)}
    texts.write_text(json.dumps(rows), encoding="utf-8")
    splits = ["--split-ratio", SHARES, "--group", "id"] if len(corpus) >= SPLIT else []
    told = f"| {source.name} | {len(corpus)} | {len(corpus.frames):,} | {importing:.0f} s |"
    if len(corpus) < clips:
        return f"{told} too few clips |"
    again = ["--source", source, "--out", store, "--texts", texts, "--on-leak", "report", *splits]
    command("import", *again, folder=folder)
    return f"{told} {command('pipeline', '--data', store, '--preset', 'quick', folder=folder):.0f} s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--clips", type=int, default=2, help="that a pipeline takes at least")
    given = parser.parse_args()
    print("| folder | clips | frames | import | quick pipeline |\n|---|---|---|---|---|")
    for source in given.folders:
        with tempfile.TemporaryDirectory() as folder:
            print(through(source.resolve(), Path(folder), given.clips), flush=True)


if __name__ == "__main__":
    main()
