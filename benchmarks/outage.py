"""A training whose tracking server goes away for a while: what is lost, how long training stood still.

usage: python -m benchmarks.outage [--away SECONDS] [--steps N] [--checkpoint-minutes M]

The skeleton stage on the tests' tiny data, through `mlflow server` on this machine. The server is killed once the first
points are stored, and started again on the same port and store after --away seconds.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow

from sign_models.tracking.checkpoints import RunCheckpoints
from sign_models.tracking.runs import Run
from sign_models.training.loop import LOG_STEPS
from tests import tiny
from tests.tracking.servers import Server

METRIC = "train/loss"


def measure(folder: Path, away: float, steps: int, minutes: float) -> str:
    data = tiny.write_data(folder / "data")
    (data / "tiny.yaml").write_text(tiny.PARAMS)
    server = Server(folder)
    server.start()
    os.environ["MLFLOW_TRACKING_URI"] = server.uri
    settings = [
        "--steps",
        f"{steps}",
        "--training.checkpoint-minutes",
        f"{minutes}",
        "--training.evaluations",
        f"{steps // 100}",
    ]
    command = [sys.executable, "-m", "entrypoints.skeleton", "--data", str(data), "--config-override"]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen([*command, str(data / "tiny.yaml"), *settings], stderr=log, stdout=log)
        client = mlflow.MlflowClient()
        while not any(METRIC in run.data.metrics for run in client.search_runs(["0"])):
            if process.poll() is not None:
                log.seek(0)
                raise SystemExit(log.read())
            time.sleep(0.5)
        server.stop()
        left = time.time()
        time.sleep(away)
        server.start()
        back = time.time()
        code = process.wait()
        log.seek(0)
        said = [line.strip() for line in log if "tracking store" in line]
    [run] = client.search_runs(["0"])
    points = client.get_metric_history(run.info.run_id, METRIC)
    times = [point.timestamp / 1000 for point in points]
    within = sum(left < t < back for t in times)
    expected = set(range(LOG_STEPS - 1, steps, LOG_STEPS))
    missing, twice = expected - {p.step for p in points}, len(points) - len({p.step for p in points})
    pause = max(b - a for a, b in itertools.pairwise(times))
    checkpoints = RunCheckpoints(Run(run.info.run_id, "0", "skeleton", True)).steps()
    server.stop()
    return "\n".join(
        [f"away {back - left:.0f} s; exit code {code}, run {run.info.status}, checkpoints of steps {checkpoints}",
         f"points of {METRIC}: {len(points)}, {len(missing)} missing, {twice} twice, {within} made during the outage",
         f"longest time between two points: {pause:.1f} s", *said]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--away", type=float, default=60)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--checkpoint-minutes", type=float, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sign-outage-") as folder:
        print(measure(Path(folder), given.away, given.steps, given.checkpoint_minutes))


if __name__ == "__main__":
    main()
