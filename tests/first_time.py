"""README.md as a first-time user takes it: each line of its code blocks, in its order, in a fresh copy of the project.

`python -m tests.first_time`, in a folder whose mlflow.db holds a pipeline trained on my_data with tiny.yaml (test_first_time
makes it so). Lines run as they stand, but for those of ADAPTED, and those of ELSEWHERE, which are only parsed.
"""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from mlflow.projects.utils import load_project

from sign_models import interruption
from sign_models.cli import commands

# Trained already, on the tests' own data: a pipeline would take minutes, one on the embedded corpus many.
TINY = "-P data=my_data -P config_override=tiny.yaml"
ADAPTED = {
    "make pipeline": f"make pipeline ARGS='{TINY} -P skip_trained=true'",
    "make test": "make test ARGS='-n 0 -p no:cacheprovider tests/test_params.py -k test_presets_exist'",
    "make ui": "make ui ARGS=--help",
    "mlflow run . -e pipeline -P skip_trained=true": f"mlflow run . -e pipeline -P skip_trained=true {TINY}",
    "mlflow run . -e pipeline -P stage=skeleton -P inference=false": (
        f"mlflow run . -e pipeline -P stage=skeleton -P inference=false {TINY} -P skeleton.training.steps=2"
    ),
    "mlflow run . -P data=my_data": f"mlflow run . {TINY} -P skip_trained=true",
    "mlflow run . -e compose -P source=my_signs -P out=my_corpus": (
        "mlflow run . -e compose -P source=my_signs -P out=my_corpus -P words=2,3 -P sentences=12,4,6"
    ),
    "python -m entrypoints.translate --videos clip.mp4 --model candidate --srt true --out captions": (
        "python -m entrypoints.translate --videos clip.pose --model candidate --srt true --out captions"
    ),
    "mlflow run . -e evaluate -P models=champion,candidate -P data=my_data": (
        "mlflow run . -e evaluate -P models=champion,candidate -P data=my_data -P splits=test"
    ),
}
# Line -> the test that does its work.
ELSEWHERE = {
    "mlflow run .": "tests/pipeline/test_pipeline.py",
    "mlflow run . -e alignment -P epochs=50": "tests/pipeline/test_pipeline.py",
    "mlflow run . -e temporal -P skeleton_model=candidate": "tests/pipeline/test_pipeline.py",
    "mlflow run . -e pipeline -P preset=quick": "tests/pipeline/test_sweep.py",
    "mlflow run . -e alignment -P training.lr=1e-4": "tests/test_params.py",
    "mlflow run . -e pipeline -P config_override=my.yaml": "tests/test_params.py",
    "python -m entrypoints.alignment --epochs 50": "tests/cli/test_entrypoints.py",
    "make video": "tests/video/test_extract.py",
    "mlflow run . -e extract -P videos=my_videos -P out=my_poses": "tests/video/test_extract.py",
    'make demo ARGS="-P model=candidate"': "tests/serving/test_page.py",
    "mlflow run . -e sweep -P stage=alignment -P trials=20 -P space=space.yaml": "tests/pipeline/test_sweep.py",
    "mlflow run . -e export -P format=onnx -P out=my_onnx": "tests/pipeline/test_export.py",
    "mlflow models serve -m models:/sign-translator@champion --env-manager local -p 5001": (
        "tests/serving/test_serving.py"
    ),
}


def steps(readme: str) -> Iterator[tuple[str, str]]:
    """(language, line or whole block) of the code blocks, in order: lines of shells, blocks of Python and YAML."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", readme, re.M | re.S):
        if language in ("", "bash"):
            yield from (("bash", line) for line in (re.split(r" {2,}#", row)[0].strip() for row in block.splitlines()))
        else:
            yield language, block


def entry_of(line: str) -> tuple[str, list[str]]:
    """Module and words of the command that a line of `mlflow run` or `python -m` starts."""
    words = shlex.split(line)
    if words[0] == "mlflow":
        entry = words[words.index("-e") + 1] if "-e" in words else "main"
        given = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "-P")
        started = load_project(".").get_entry_point(entry).compute_command(given, ".")
        words = shlex.split(started)[1:]
    name = words[2].removeprefix("entrypoints.")
    return "import_" if name == "import" else name, words[3:]


def do(line: str) -> None:
    """Do what a line says, adapted; raise where it fails."""
    if line in ELSEWHERE:
        if not line.startswith(("make ", "mlflow models")):
            name, words = entry_of(line)
            main = importlib.import_module(f"entrypoints.{name}").main
            main.make_context(name, words)
        return
    adapted = ADAPTED.get(line, line)
    if adapted.startswith("make "):
        subprocess.run(["make", "READY=ready", *shlex.split(adapted)[1:]], check=True, stdout=subprocess.DEVNULL)
        return
    name, words = entry_of(adapted)
    try:
        commands.run(importlib.import_module(f"entrypoints.{name}").main, words)
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{line}: exit code {end.code}") from end
    finally:
        interruption.release()


def main() -> None:
    """Follow the README; the last line says how many steps were done."""
    done = 0
    for language, step in steps(Path("README.md").read_text(encoding="utf-8")):
        begin = time.perf_counter()
        if language == "bash":
            do(step)
        elif language == "python":
            exec(compile(step, "README.md", "exec"), {})
        else:
            Path(re.search(r"# (\S+\.yaml)", step)[1]).write_text(step, encoding="utf-8")
        done += 1
        print(f"-- {time.perf_counter() - begin:.1f} s: {step.splitlines()[0]}", flush=True)
    print(f"{done} steps done")


if __name__ == "__main__":
    main()
