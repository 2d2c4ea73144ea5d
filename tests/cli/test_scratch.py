"""Temporary files of a command end with it, or with the next one where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sign_models.cli.scratch import scratch_folder

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import sys, tempfile, time
from sign_models import interruption
from sign_models.cli.scratch import scratch_folder
interruption.guard()
with scratch_folder() as folder:
    open(tempfile.mkdtemp(prefix="sign-model-") + "/weights", "w").write("x")
    print(folder, flush=True)
    sys.stdin.readline()
    time.sleep(60)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty temporary folder of the machine."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def start() -> tuple[subprocess.Popen[str], Path]:
    child = subprocess.Popen(
        [sys.executable, "-c", WORK], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    return child, Path(child.stdout.readline().strip())


def test_all_temporary_files_are_in_it_and_end_with_it(root: Path) -> None:
    with scratch_folder() as folder:
        with tempfile.TemporaryDirectory(prefix="sign-model-") as inner, tempfile.NamedTemporaryFile() as file:
            assert Path(inner).parent == Path(file.name).parent == folder and folder.parent == root
        kept = tempfile.mkdtemp()  # as MLflow's downloads
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not Path(kept).exists() and not [*root.iterdir()] and tempfile.gettempdir() == str(root)


def test_what_a_kill_leaves_is_removed_and_what_is_in_use_stays(root: Path) -> None:
    (killed, left), (alive, used) = start(), start()
    try:
        killed.kill()
        killed.wait()
        assert (left / ".in-use").exists()
        with scratch_folder():
            assert not left.exists() and [*used.glob("sign-model-*/weights")]
    finally:
        alive.kill()
        alive.wait()
    with scratch_folder():
        assert not used.exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_ended_by_force_leaves_nothing(root: Path, signum: signal.Signals) -> None:
    child, folder = start()
    child.send_signal(signum)
    assert child.wait(30) == 128 + signum
    assert not folder.exists()


def test_folders_of_others_stay(root: Path) -> None:
    (root / "sign-run-of-mine").mkdir()
    (root / "sign-videos").mkdir()
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / ".in-use").touch()
    (root / "sign-run-link").symlink_to(root / "elsewhere")
    (root / "sign-run-file").touch()
    with scratch_folder():
        pass
    found = {path.name for path in root.iterdir()}
    assert found == {"sign-run-of-mine", "sign-videos", "elsewhere", "sign-run-link", "sign-run-file"}
    assert (root / "elsewhere" / ".in-use").exists()


def test_the_command_line_uses_it(root: Path) -> None:
    child, left = start()
    child.kill()
    child.wait()
    command = [sys.executable, "-m", "entrypoints.prune", "--yes", "perhaps"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.returncode == 2 and not left.exists() and not [*root.glob("sign-*")], done.stderr
