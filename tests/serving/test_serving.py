"""The translator behind a real `mlflow models serve` on this machine, one server for all tests of this module."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import pytest
import requests

from sign_models.keypoints.formats import read
from sign_models.serving.served_model import MAX_BEAMS, MAX_CLIPS, MAX_FRAMES, clip_of
from tests import tiny, warm
from tests.conftest import ROOT, use_store

pytestmark = pytest.mark.server
MODEL = "sign-translator"
POSE = next(p for p in sorted(Path(str(resources.files("spoken_to_signed"))).rglob("*.pose")))


@dataclass(frozen=True)
class Server:
    port: int
    process: psutil.Process

    def post(self, body: str | bytes, kind: str = "application/json") -> requests.Response:
        url = f"http://127.0.0.1:{self.port}/invocations"
        return requests.post(url, data=body, headers={"Content-Type": kind}, timeout=60)

    def ask(self, *clips: dict[str, Any], **params: int) -> list[dict[str, Any]]:
        answer = self.post(json.dumps({"inputs": list(clips), "params": params}))
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()["predictions"]

    def refusal(self, *clips: Any, **params: Any) -> str:
        """The message of a 400."""
        answer = self.post(json.dumps({"inputs": list(clips), "params": params}))
        assert answer.status_code == 400, answer.text[:500]
        return answer.json()["message"]


@pytest.fixture(scope="module")
def store(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose mlflow.db holds a finished pipeline, its translator the champion."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(built / "mlflow.db", folder)
    with pytest.MonkeyPatch.context() as patch:
        use_store(folder, patch)
        mlflow.MlflowClient().set_registered_model_alias(MODEL, "champion", "1")
        yield folder


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = ["models", "serve", "-m", f"models:/{MODEL}@champion", "--env-manager", "local", "-p", str(port)]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"  # where MLflow looks for uvicorn
    with (store / "server.log").open("wb") as log:
        process = warm.Popen(
            [sys.executable, "-m", "mlflow", *serve], cwd=store, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = time.monotonic() + 240
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/ping", timeout=1)
                break
            except requests.ConnectionError:
                assert process.poll() is None and time.monotonic() < end, (store / "server.log").read_text()[-2000:]
                time.sleep(0.2)
        yield Server(port, psutil.Process(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def generated(store: Path) -> dict[str, dict[str, Any]]:
    """Rows of generation_results.json by id."""
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias(MODEL, "champion")
    content = json.loads(mlflow.artifacts.load_text(f"runs:/{version.run_id}/generation_results.json"))
    return {row["id"]: row for row in content["results"]}


def npz(array: np.ndarray) -> str:
    file = io.BytesIO()
    np.savez_compressed(file, keypoints=array)
    return base64.b64encode(file.getvalue()).decode()


def pose_file() -> str:
    return base64.b64encode(POSE.read_bytes()).decode()


def told(clip: np.ndarray) -> dict[str, Any]:
    return {"npz": npz(clip), "layout": tiny.LAYOUT, "fps": tiny.FPS}


CLIP = tiny.clip(3, 20, ["tea", "milk"])


def test_a_ragged_batch_gets_the_texts_that_generate_gave(server: Server, generated: dict) -> None:
    videos = {name: clip for name, clip in tiny.videos().items() if name in generated}
    assert len({len(clip) for clip in videos.values()}) > 2
    answers = server.ask(*map(told, videos.values()))
    assert [a["text"] for a in answers] == [generated[name]["text"] for name in videos]
    assert [a["score"] for a in answers] == pytest.approx([generated[n]["score"] for n in videos], abs=1e-3)


def test_callers_at_once_get_each_their_own_answer(server: Server, generated: dict) -> None:
    videos = {name: clip for name, clip in tiny.videos().items() if name in generated}
    names = [*videos] * 3
    with ThreadPoolExecutor(len(names)) as pool:
        answers = [*pool.map(lambda name: server.ask(told(videos[name])), names)]
    assert [a["text"] for [a] in answers] == [generated[name]["text"] for name in names]


def test_every_form_of_a_clip_gets_the_same_text(server: Server) -> None:
    lists, packed = server.ask({"keypoints": CLIP.tolist()}, {"npz": npz(CLIP)})
    assert lists == packed and lists["text"]
    [sequence] = read(POSE)
    raw, lines, unpacked = server.ask(
        {"pose": pose_file()}, {"pose": base64.encodebytes(POSE.read_bytes()).decode()}, clip_of(sequence)
    )
    assert raw == lines == unpacked


def test_a_long_clip_is_answered_in_windows(server: Server) -> None:
    """Of at most half as many frames again as tiny's longest training clip has, 40."""
    clip = np.concatenate([tiny.clip(i, 30, [word]) for i, word in enumerate(tiny.WORDS)])
    [plain] = server.ask(told(clip))
    [answer] = server.ask(told(clip), windows=True)
    windows = answer.pop("windows")
    assert answer == plain and plain["text"] == " ".join(w["text"] for w in windows if w["text"])
    spans = [w["frames"] for w in windows]
    assert spans[0][0] == 0 and spans[-1][1] == len(clip)
    assert all(end == begin for (_, end), (begin, _) in pairwise(spans)) and max(b - a for a, b in spans) <= 60
    assert [(w["start"], w["end"]) for w in windows] == [(a / tiny.FPS, b / tiny.FPS) for a, b in spans]


def test_n_best_are_ordered_and_begin_with_the_answer(server: Server) -> None:
    [answer] = server.ask({"npz": npz(CLIP)}, beams=4, n_best=3)
    scores = [found["score"] for found in answer["n_best"]]
    assert 1 < len(scores) <= 3 and scores == sorted(scores, reverse=True)
    assert answer["n_best"][0] == {"text": answer["text"], "score": answer["score"]}
    assert f"1 to {MAX_BEAMS}" in server.refusal({"npz": npz(CLIP)}, beams=MAX_BEAMS + 1)
    [one] = server.ask({"npz": npz(CLIP)})
    assert {"text", "score"} == one.keys()


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([{"npz": npz(CLIP)}] * (MAX_CLIPS + 1), f"at most {MAX_CLIPS}"),
        ([{"npz": npz(np.ones((MAX_FRAMES + 1, 75, 2), np.int8))}], f"{MAX_FRAMES + 1} frames"),
        ([{"npz": npz(np.ones((MAX_FRAMES, 75, 2), np.int8))}] * 2, "a request"),
        ([{"npz": npz(np.zeros((4_000_000, 75), np.int8))}], "bytes"),
        ([{"npz": npz(np.full((4, 75, 3), np.nan))}], "clip 0: no landmark is seen"),
        ([{"keypoints": [[[1.0, float("nan"), 1.0]] * 75]}], "no landmark is seen"),
        ([{"keypoints": [[[1.0, 1.0]] * 7]}], "7 landmarks a frame fit no known layout"),
        ([{"npz": npz(CLIP), "layout": "coco_wholebody_133"}], "coco_wholebody_133"),
        ([{"npz": npz(CLIP), "fps": "fast"}], "fps: Input should be a valid number"),
        ([{"pose": npz(CLIP)}], "no readable .pose"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_a_limit_is_answered_with_the_reason(server: Server, clips: list[Any], message: str) -> None:
    said = server.refusal(*clips)
    assert message in said and len(said) < 1000
    assert server.ask({"npz": npz(CLIP)})


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[1, 2]", "application/json", 400),
        (b'{"clips": []}', "application/json", 400),
        (b'{"inputs": 3}', "application/json", 400),
        (b'{"inputs": [3]}', "application/json", 400),
        (b"\xff\xfe\x00", "application/json", 400),
        (b"keypoints\n3\n", "text/csv", 400),
        (b"keypoints", "text/plain", 415),
    ],
)
def test_what_is_no_request_is_answered_with_a_status_of_the_4xx(
    server: Server, body: bytes, kind: str, status: int
) -> None:
    assert server.post(body, kind).status_code == status
    assert server.ask({"npz": npz(CLIP)})


BOMBS = {
    "6 MB of empty objects": (b'{"inputs": [' + b"{}," * 2_000_000 + b"{}]}", "objects"),
    "30 MB of empty frames": (b'{"inputs": [{"keypoints": [' + b"[]," * 10_000_000 + b"[]]}]}", "values, which take"),
    "200,000 brackets": (b'{"inputs": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "levels of lists"),
    "brackets without an end": (b'{"inputs": ' + b"[" * 200_000, "levels of lists"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_request_is_counted_before_it_is_parsed(server: Server, name: str) -> None:
    body, message = BOMBS[name]
    before = server.process.memory_info().rss + sum(c.memory_info().rss for c in server.process.children(True))
    answer = server.post(body, "application/json")
    after = server.process.memory_info().rss + sum(c.memory_info().rss for c in server.process.children(True))
    assert answer.status_code == 400 and message in answer.json()["message"]
    assert after - before < 4 * len(body) + 2**28
    assert server.ask({"npz": npz(CLIP)})


def test_the_server_is_still_the_one_that_was_started(server: Server) -> None:
    """Last but one of this module: after all that was refused, nothing was restarted."""
    assert server.process.is_running() and len(server.process.children(recursive=True)) <= 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_first_request_of_the_docs_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    block = next(b for b in blocks("docs/serving.md", "bash") if "curl" in b)
    request = block[block.index("printf") :].replace(":5001", f":{server.port}")
    shutil.copy(POSE, tmp_path / "clip.pose")
    said = subprocess.run(["bash", "-c", request], cwd=tmp_path, capture_output=True, text=True, timeout=60).stdout
    [answer] = json.loads(said)["predictions"]
    assert answer["text"] == server.ask({"pose": pose_file()})[0]["text"] and len(answer["n_best"]) > 1


def test_the_requests_of_the_docs_work_as_they_stand(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("clip.npy", CLIP)
    shutil.copy(POSE, "clip.pose")
    requested = [b for b in blocks("docs/serving.md", "python") if ":5001" in b]
    assert requested
    for block in requested:
        exec(compile(block.replace(":5001", f":{server.port}"), "docs/serving.md", "exec"), {})
        assert server.ask({"npz": npz(CLIP)})[0]["text"] in capsys.readouterr().out


def test_spark_gives_the_texts_of_generate(store: Path, tiny_data: Path, generated: dict, tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is 450 MB and not among what is installed; docs/serving.md")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("Spark needs Java 17 or newer; docs/serving.md")
    from benchmarks.spark import by_spark

    clips = [clip for clip in read(tiny_data / "video_sequences.pkl") if clip.id in generated]
    texts = by_spark(f"models:/{MODEL}@champion", clips, 2, tmp_path)
    assert texts == {clip.id: generated[clip.id]["text"] for clip in clips}


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(encoding="utf-8"), re.S)


ALONE = """
import json, sys

class OnlyTheModels:  # before MLflow, which loads the entry points of installed packages
    def find_spec(self, name, path=None, target=None):
        if name == "sign_models" and not any(folder.startswith(sys.argv[1]) for folder in sys.path):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, OnlyTheModels())
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = model.predict(json.load(open(sys.argv[2]))["inputs"])
assert sys.modules["sign_models"].__file__.startswith(sys.argv[1]), sys.modules["sign_models"].__file__
print(json.dumps(answers))
"""


def test_the_packed_model_answers_without_this_repository(server: Server, store: Path, tmp_path: Path) -> None:
    """Copied elsewhere, in a Python without the repository, its PYTHONPATH or an editable install on the path."""
    location = Path(mlflow.artifacts.download_artifacts(f"models:/{MODEL}@champion", dst_path=str(tmp_path / "model")))
    (tmp_path / "request.json").write_text(json.dumps({"inputs": [told(CLIP)]}))
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(location), str(tmp_path / "request.json")],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])[0]["text"] == server.ask(told(CLIP))[0]["text"]
