"""A newcomer with a fresh copy of what git holds follows README.md line by line, and every line works in its order."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import first_time, warm
from tests.conftest import ROOT
from tests.datasets.test_compose import folder_of_signs
from tests.keypoints.file_examples import pose_openpose


def fresh_copy(folder: Path) -> Path:
    """The files that a commit of the working tree would hold, and nothing that git ignores."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("no git repository: there is nothing to clone")
    for name in filter(None, os.fsdecode(done.stdout).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def test_every_line_of_the_readme_works_in_its_order(built: Path, tiny_data: Path, tmp_path: Path) -> None:
    copy = fresh_copy(tmp_path / "sign-models")
    # what a user brings, and what `make setup` would have made
    shutil.copy(built / "mlflow.db", copy)
    shutil.copytree(tiny_data, copy / "my_data")
    (copy / "my_data" / "tiny.yaml").rename(copy / "tiny.yaml")
    for name in ("my_poses", "my_signs"):
        folder_of_signs(copy / name)
    pose_openpose(copy)
    (copy / "space.yaml").write_text("training.lr: {low: 1e-4, high: 1e-3}")
    (copy / ".venv").symlink_to(sys.prefix)
    (copy / "ready").touch()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_RUN", "MLFLOW_TRACKING", "MLFLOW_EXP"))}
    env |= {"PYTHONPATH": str(copy)}
    done = warm.run([sys.executable, "-m", "tests.first_time"], cwd=copy, env=env)
    steps = [*first_time.steps((ROOT / "README.md").read_text(encoding="utf-8"))]
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == f"{len(steps)} steps done" and len(steps) > 25
    assert (copy / "captions" / "clip.srt").is_file() and (copy / "my-translator" / "model.safetensors").is_file()
    assert (copy / "my_store").is_dir() and (copy / "my_corpus" / "text_data.json").is_file()


def test_what_is_adapted_stands_in_the_readme_and_what_is_done_elsewhere_is_there() -> None:
    lines = {step for language, step in first_time.steps((ROOT / "README.md").read_text()) if language == "bash"}
    assert first_time.ADAPTED.keys() | first_time.ELSEWHERE.keys() <= lines
    assert not first_time.ADAPTED.keys() & first_time.ELSEWHERE.keys()
    assert [test for test in first_time.ELSEWHERE.values() if not (ROOT / test).is_file()] == []
