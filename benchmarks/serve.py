"""How fast a served translator answers, alone and under load, and whether its memory stays flat.

usage: python -m benchmarks.serve --model models:/sign-translator@champion [--workers N] [--clients N] [--seconds N]
                                [--hostile N]

Starts `mlflow models serve --env-manager local` with one thread of computation a worker, asks it over loopback from
this process, and stops it. Every request is one clip of about FRAMES frames, a phrase of the demo corpus, as base64
npz. The memory is the resident memory of all processes of the server. --hostile clients send requests beside the others
that must each be refused with a status of the 4xx.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from sign_models.datasets.inputs import Inputs
from sign_models.keypoints.sequence import from_canonical
from sign_models.serving.served_model import clip_of

FRAMES = 256
CLIPS = 32
ALONE = 60  # requests of a single client
START = 180  # seconds that the server may take
HOST = "127.0.0.1"
PATIENT = {"UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60"}  # s; uvicorn ends a worker that does not answer it within 5


@dataclass
class Load:
    """seconds: of every request; errors: what was answered in place of 200; memory: MiB at the start and after each
    quarter; cpu: seconds of computation of the server."""

    took: float = 0.0
    cpu: float = 0.0
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def row(self, name: str) -> str:
        p50, p95 = np.percentile(self.seconds, [50, 95]) * 1000
        memory = ", ".join(f"{m:.0f}" for m in self.memory) or "-"
        count = len(self.seconds)
        speed = f"{count / self.took:.1f} | {p50:.0f} | {p95:.0f} | {1000 * self.cpu / count:.0f}"
        return f"| {name} | {count} | {len(self.errors)} | {speed} | {memory} |"


def requests() -> list[bytes]:
    """The clips of the demo corpus whose lengths are nearest to FRAMES."""
    videos = Inputs.from_paths(None, None, None, None).videos
    nearest = np.argsort(abs(videos.lengths - FRAMES), kind="stable")[:CLIPS]
    clips = [(videos.ids[i], videos.frames[videos.offsets[i] : videos.offsets[i + 1]]) for i in nearest]
    return [json.dumps({"inputs": [clip_of(from_canonical(name, np.asarray(clip)))]}).encode() for name, clip in clips]


@contextmanager
def served(model: str, workers: int) -> Iterator[tuple[int, psutil.Process]]:
    """-> port, and the server's first process."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where MLflow looks for uvicorn
    options = ["-m", model, "--env-manager", "local", "--host", HOST, "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": path} | PATIENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + START
        while not answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("mlflow models serve does not start")
            time.sleep(0.2)
        time.sleep(10)  # the first worker answers; the others still load the model
        yield port, psutil.Process(process.pid)
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def hostile_requests() -> list[bytes]:
    """Each to be refused: bombs, what is no JSON, and clips that are none."""
    clips: list[object] = [
        {"npz": "bm8gbnB6"}, {"npz": "%%%"}, {"pose": "bm8gcG9zZQ=="}, {"keypoints": [[[1, 2]] * 7]}, {"clip": 1},
        {"keypoints": [[[float("nan"), 1, 1]] * 75]}, {"keypoints": []}, {}, None,
    ]  # fmt: skip
    return [
        b'{"inputs": [' + b"{}," * 2_000_000 + b"{}]}",
        b'{"inputs": [{"keypoints": [' + b"[]," * 2_000_000 + b"[]]}]}",
        b'{"inputs": ' + b"[" * 200_000,
        b"\xff\xfe no JSON",
        *(json.dumps({"inputs": [clip]}).encode() for clip in clips),
    ]


def ask(port: int, bodies: Iterator[bytes], until: float, load: Load, refused: bool = False) -> None:
    """One client: request after request until the clock says so, or none is left. refused: whether each must be."""
    connection = http.client.HTTPConnection(HOST, port, timeout=120)
    for body in bodies:
        if time.monotonic() >= until:
            break
        start = time.perf_counter()
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        load.seconds.append(time.perf_counter() - start)
        if answer.status // 100 != 4 if refused else answer.status != 200:
            load.errors.append(said[-4000:].decode(errors="replace"))
    connection.close()


def under_load(
    port: int, server: psutil.Process, bodies: list[bytes], clients: int, seconds: float, hostile: int = 0
) -> tuple[Load, Load]:
    """What came of the clients, and of the hostile ones beside them."""
    load, bad = Load(memory=[resident(server)]), Load()
    start, cpu = time.monotonic(), computed(server)
    threads = [
        threading.Thread(target=ask, args=(port, itertools.cycle(bodies[i:] + bodies[:i]), start + seconds, load))
        for i in range(clients)
    ]
    wrong = hostile_requests()
    threads += [
        threading.Thread(target=ask, args=(port, itertools.cycle(wrong[i:] + wrong[:i]), start + seconds, bad, True))
        for i in range(hostile)
    ]
    for thread in threads:
        thread.start()
    for part in (1, 2, 3, 4):
        time.sleep(max(0, start + part * seconds / 4 - time.monotonic()))
        load.memory.append(resident(server))
    for thread in threads:
        thread.join()
    load.took, load.cpu = time.monotonic() - start, computed(server) - cpu
    bad.took, bad.cpu = load.took, load.cpu
    return load, bad


def computed(server: psutil.Process) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in [server, *server.children(recursive=True)])


def resident(server: psutil.Process) -> float:
    return sum(p.memory_info().rss for p in [server, *server.children(recursive=True)]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--hostile", type=int, default=0, help="clients beside them whose requests must be refused")
    given = parser.parse_args()
    bodies = requests()
    with served(given.model, given.workers) as (port, server):
        warm = Load()
        ask(port, iter(bodies), time.monotonic() + 60, warm)
        store_lock = Load()
        start, cpu = time.monotonic(), computed(server)
        ask(port, itertools.islice(itertools.cycle(bodies), ALONE), start + 60, store_lock)
        store_lock.took, store_lock.cpu = time.monotonic() - start, computed(server) - cpu
        load, bad = under_load(port, server, bodies, given.clients, given.seconds, given.hostile)
    print("| clients | answers | errors | answers/s | p50 ms | p95 ms | CPU ms an answer | MiB: start, each quarter |")
    print("|---|---|---|---|---|---|---|---|")
    print(store_lock.row("1"))
    print(load.row(str(given.clients)))
    if bad.seconds:
        print(bad.row(f"{given.hostile} hostile"))
    if wrong := [*warm.errors, *store_lock.errors, *load.errors, *bad.errors]:
        raise SystemExit(wrong[0])


if __name__ == "__main__":
    main()
