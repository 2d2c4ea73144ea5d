"""Processes of tests/warm.py behave as those that subprocess starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm

TELLS = "import os, sys; print(sys.argv, os.getcwd(), sys.path[:3], os.environ['GIVEN'], os.getsid(0) == os.getpid(), "
SHOWN = {
    "what it is": TELLS + "__name__, sys.stdin.read())",
    "an exit code": "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)",
    "a message": "raise SystemExit('told')",
    "an error": "raise ValueError('told')",
    "a handler at the end": "import atexit; atexit.register(print, 'done')",
    "its own death": "import os; os.kill(os.getpid(), 9)",
    "a thread": "import threading, time; threading.Timer(0.1, print, ('late',)).start()",
    "a child": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1)'], check=True)",
}
Start = Callable[..., Any]
KINDS = pytest.mark.parametrize("start", [subprocess.Popen, warm.Popen], ids=["started", "forked"])


def ended(start: Start, line: list[str], folder: Path, **more: Any) -> tuple[int, str, list[str]]:
    """Exit code, output and the last line of the errors."""
    env = {**os.environ, "GIVEN": "x", "PYTHONPATH": f"{folder}{os.pathsep}{folder / 'more'}"}
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = start([sys.executable, *line], cwd=folder, env=env, stdout=out, stderr=err, text=True, **more)
        code = process.wait(60)
        out.seek(0), err.seek(0)
        return code, out.read(), err.read().splitlines()[-1:]


@pytest.mark.parametrize("code", SHOWN)
@pytest.mark.parametrize("session", [False, True])
def test_a_forked_process_does_as_a_started_one(
    code: str, session: bool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    line = ["-c", SHOWN[code], "one", "two words"]
    found = [ended(start, line, tmp_path, start_new_session=session) for start in (_without_input, warm.Popen)]
    assert found[0] == found[1]


def _without_input(*arguments: Any, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(*arguments, stdin=subprocess.DEVNULL, **more)


@KINDS
def test_a_module_is_main_and_its_folder_comes_first(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nprint(__name__, sys.argv[1:], sys.path[0], __file__)\n")
    code, out, _ = ended(start, ["-m", "mine", "a"], tmp_path)
    assert (code, out) == (0, f"__main__ ['a'] {tmp_path} {tmp_path / 'mine.py'}\n")


@KINDS
def test_what_is_customised_comes_before_the_command(start: Start, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "sitecustomize.py").write_text("print('first')\n")
    assert ended(start, ["-c", "print('then')"], tmp_path)[:2] == (0, "first\nthen\n")


@KINDS
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_and_the_exit_code_says_so(start: Start, signum: int, tmp_path: Path) -> None:
    process = start(
        [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "on\n" and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signum)
    _, told = process.communicate(timeout=30)
    assert process.returncode == process.poll() == -signum and ("KeyboardInterrupt" in told) == (
        signum == signal.SIGINT
    )
    process.kill()  # it has ended: nobody else gets it
