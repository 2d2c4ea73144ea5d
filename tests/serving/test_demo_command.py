"""The command that serves the page: an address that is taken, and how it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests import warm
from tests.conftest import Command


def test_a_port_that_is_taken_is_told_before_any_work(empty: Command) -> None:
    pytest.importorskip("websockets", reason="the optional extra `video` is not installed: make video")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = empty("demo", "--port", port, data=False, params=False)
    assert done.code == 2
    assert re.fullmatch(rf"ResourceError: 127.0.0.1:{port}: cannot listen there .*give another port.*\n", done.err)


@pytest.mark.parametrize(
    ("name", "value"), [("port", "0"), ("port", "65536"), ("port", "web"), ("strict-extractor", "perhaps")]
)
def test_mistakes_are_refused(empty: Command, name: str, value: str) -> None:
    done = empty("demo", f"--{name}", value, data=False, params=False)
    assert done.code == 2 and value in done.err


@pytest.mark.server
@pytest.mark.video
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed: it fetches MediaPipe's package")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_serves_until_it_is_told_to_end(built: Path, tmp_path: Path, signum: int, code: int) -> None:
    shutil.copy(built / "mlflow.db", tmp_path / "mlflow.db")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "entrypoints.demo", "--model", "sign-translator@candidate", "--port", str(port)]
    root = str(Path(__file__).resolve().parents[2])
    env = os.environ | {"PYTHONPATH": root, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    process = warm.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None and f"http://127.0.0.1:{port}/" in process.stdout.readline()
        about = requests.get(f"http://127.0.0.1:{port}/about", timeout=60).json()
        assert about["model"] == "models:/sign-translator/1" and about["fps"] == 25.0
        wasm = requests.head(f"http://127.0.0.1:{port}/assets/mediapipe/vision_wasm_internal.wasm", timeout=60)
        assert wasm.status_code in (200, 405)
        process.send_signal(signum)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code and "Traceback" not in told, told
    assert {p.name for p in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db.lock"}
