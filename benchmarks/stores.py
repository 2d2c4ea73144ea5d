"""Commands that are run until a signal meets them, and what must be true of the store that they leave."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
from safetensors.numpy import load_file

from benchmarks import moments
from sign_models.errors import UpstreamError
from sign_models.stages.declaration import model_names
from sign_models.tracking.process import PID, STARTED
from sign_models.tracking.registered.registration import smoke_test
from sign_models.tracking.registered.registry import WEIGHTS, aliases_of, ready, resolve, versions_of
from sign_models.tracking.runs import STAGE

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "SIGN_KILLS"  # in the environment of a command and all that it starts
GRACE = 60.0  # s that a command has to end after its signal
PATIENCE = 900.0  # s that a command has to end by itself
TIMED = ("frames_per_second", "seconds")  # metrics that no two runs share


@dataclass(frozen=True)
class Aim:
    """When a signal comes: `delay` seconds after the `number`-th time that `moment` begins, or after the start."""

    signal: signal.Signals
    delay: float
    moment: str = ""
    number: int = 1


@dataclass
class End:
    """How a command ended. inside: the innermost watched function at the signal. signal: None where none was sent.

    looked: it had looked for runs that earlier commands left.
    """

    code: int
    seconds: float
    stage: str
    inside: str
    looked: bool
    sent: signal.Signals | None
    log: str


@dataclass
class Store:
    """A folder in which commands are run, on its mlflow.db or a server. sound: digests of what was loaded already."""

    folder: Path
    server: str = ""
    sound: set[str] = field(default_factory=set)

    @property
    def uri(self) -> str:
        return self.server or f"sqlite:///{self.folder / 'mlflow.db'}"

    @contextmanager
    def used(self) -> Iterator[mlflow.MlflowClient]:
        """This process works on the store."""
        before, here = os.environ.get("MLFLOW_TRACKING_URI"), Path.cwd()
        os.environ["MLFLOW_TRACKING_URI"] = self.uri
        os.chdir(self.folder)
        try:
            yield mlflow.MlflowClient()
        finally:
            os.chdir(here)
            os.environ.pop("MLFLOW_TRACKING_URI")
            if before is not None:
                os.environ["MLFLOW_TRACKING_URI"] = before


def command(entry: str, *options: str, launched: bool = False) -> list[str]:
    """`python -m entrypoints.ENTRY --OPTIONS`, or the same through `mlflow run`. options: name=value."""
    if not launched:
        pairs = [part for o in options for part in (f"--{o.partition('=')[0].replace('_', '-')}", o.partition("=")[2])]
        return [sys.executable, "-m", f"entrypoints.{entry}", *pairs]
    given = [part for o in options for part in ("-P", o)]
    return [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", entry, "--env-manager", "local", *given]


def environment(store: Store) -> dict[str, str]:
    """Variables of a command that works on the store."""
    return {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {
        "MLFLOW_TRACKING_URI": store.uri, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT), TOKEN: str(store.folder),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }  # fmt: skip


def run(
    typed: list[str], store: Store, aim: Aim | None = None, hold: str = "", start: Callable[..., Any] = subprocess.Popen
) -> End:
    """Run a command until it ends, or until `aim`; then until it is gone, with everything that it started.

    Args:
        typed: The command line.
        store: Where it works.
        aim: When a signal comes. None: never.
        hold: Where it stands still, as in moments.watched().
        start: Starts it, with the arguments of subprocess.Popen.

    Returns:
        How it ended.
    """
    (store.folder / "moments").unlink(missing_ok=True)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    watched = moments.watched(store.folder, ROOT, hold)
    with (store.folder / "log").open("w+") as log:
        process = start(
            typed,
            cwd=store.folder,
            env=environment(store) | watched,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        began, sent, stage, inside = time.monotonic(), None, "", ""
        while process.poll() is None and time.monotonic() - began < PATIENCE:
            if aim is not None and due(aim, store.folder / "moments", began):
                stage, inside = _position(store.folder / "moments")
                process.send_signal(aim.signal)
                sent = aim.signal
                break
            time.sleep(0.001 if aim is not None and not hold else 0.05)  # what is held waits
        seconds = time.monotonic() - began
        if not _soon(lambda: process.poll() is not None):
            process.kill()
        log.seek(0)
        looked = any(line[1:3] == ["-", "close_dead_runs"] for line in _lines(store.folder / "moments"))
        return End(process.wait(), seconds, stage, inside, looked, sent, log.read())


def write_table(file: Path, marks: tuple[str, str], text: str) -> None:
    """Put a text between two marks of a Markdown file, in place of what is there."""
    before, _, rest = file.read_text().partition(marks[0])
    after = rest.partition(marks[1])[2]
    file.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}")


def due(aim: Aim, file: Path, began: float) -> bool:
    """Whether the moment of an aim has come, in a command that tells its moments to `file`."""
    if not aim.moment:
        return time.monotonic() - began > aim.delay
    if not file.exists() or len([x for x in _lines(file) if x[1:3] == ["+", aim.moment]]) < aim.number:
        return False
    time.sleep(aim.delay)
    return True


def _lines(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def _position(file: Path) -> tuple[str, str]:
    """The stage and the innermost watched function that has begun and not ended."""
    stage, inside = "start", []
    for _, sign, name, *said in _lines(file):
        if sign == "+":
            inside.append(name)
            if name == "begin":
                stage = said[0]
        elif inside:
            inside.remove(name)
    return stage, inside[-1] if inside else ""


# What must be true ---------------------------------------------------------------------------------------------------


def faults(store: Store, *, ended: bool, earlier: Collection[str] = ()) -> list[str]:
    """What is wrong with a store that no command works on. ended: none but the `earlier` runs may be RUNNING."""
    found = [f"process {pid} lives on" for pid in orphans(store)]
    if not Path(store.folder, "mlflow.db").exists():
        return found
    with store.used() as client:
        runs = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000)
        for run in runs:
            if ended and run.info.status == "RUNNING" and run.info.run_id not in earlier:
                found.append(f"run {run.info.run_id} of {run.data.tags.get(STAGE)} is RUNNING")
            if twice := [name for name in run.data.metrics if _twice(client, run.info.run_id, name)]:
                stage = run.data.tags.get(STAGE)
                found.append(f"run {run.info.run_id} of {stage} has a step twice in {', '.join(twice)}")
        found += [fault for path in store.folder.glob("mlruns/**/manifest.json") for fault in _checkpoint(path, store)]
        found += [fault for stage in model_names() for fault in _versions(stage, store)]
    return found


def running(store: Store) -> dict[str, str]:
    """RUNNING runs, each with the process that signed it last: a command that takes one up signs it anew."""
    if not Path(store.folder, "mlflow.db").exists():
        return {}
    with store.used() as client:
        experiments = [e.experiment_id for e in client.search_experiments()]
        found = client.search_runs(experiments, "attributes.status = 'RUNNING'")
        return {r.info.run_id: f"{r.data.tags.get(PID)} {r.data.tags.get(STARTED)}" for r in found}


def _twice(client: mlflow.MlflowClient, run_id: str, metric: str) -> bool:
    steps = [point.step for point in client.get_metric_history(run_id, metric)]
    return len(steps) != len(set(steps))


def orphans(store: Store) -> list[int]:
    """Processes that a command left, once they had some time."""

    def left() -> list[int]:
        found = []
        for process in psutil.process_iter(["environ", "status"]):
            environment = process.info["environ"] or {}
            if environment.get(TOKEN) == str(store.folder) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        return found

    return [] if _soon(lambda: not left()) else left()


def _soon(true: Callable[[], bool]) -> bool:
    """Whether it comes true in GRACE seconds of sleep: the clock goes on where somebody stops all of us for a while."""
    for _ in range(int(GRACE / 0.1)):
        if true():
            return True
        time.sleep(0.1)
    return true()


def _checkpoint(manifest: Path, store: Store) -> Iterator[str]:
    """A checkpoint that says that it is whole must be."""
    content = manifest.read_bytes()
    if (known := hashlib.sha256(str(manifest).encode() + content).hexdigest()) in store.sound:
        return
    for name, digest in json.loads(content)["files"].items():
        path = manifest.parent / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"{path} is not what its manifest says"
            return
    load_file(manifest.with_name("state.safetensors"))
    json.loads(manifest.with_name("progress.json").read_text())
    store.sound.add(known)


def _versions(stage: str, store: Store) -> Iterator[str]:
    """An alias must lead to a version that answers; so must every version that this project would use."""
    name = model_names()[stage]
    for alias in aliases_of(name):
        try:
            resolve(alias, stage)
        except UpstreamError as error:
            yield f"{name}@{alias}: {error}"
    for version in versions_of(name):
        try:
            model = ready(version, str(version.version), stage)
        except UpstreamError:
            continue  # refused, as it should be
        if model.model_id not in store.sound:
            smoke_test(model)
            store.sound.add(model.model_id)


def result(store: Store) -> dict[str, object]:
    """What the newest versions are and were made with, in comparable form: weights, curves, representations, texts."""
    found: dict[str, object] = {}
    with store.used() as client:
        for stage, name in model_names().items():
            if "candidate" not in aliases_of(name):
                continue
            model = resolve("candidate", stage)
            found[f"{stage}: weights"] = _digests(load_file(model.path() / WEIGHTS))
            found[f"{stage}: curves"] = {
                metric: sorted((p.step, p.value) for p in client.get_metric_history(model.run_id, metric))
                for metric in client.get_run(model.run_id).data.metrics
                if not metric.endswith(TIMED)
            }
            if stage == "translator":
                answers = json.loads(mlflow.artifacts.load_text(f"runs:/{model.run_id}/generation_results.json"))
                found["texts"] = [(row["id"], row["text"]) for row in answers["results"]]
        represented = client.search_runs(["0"], f"tags.`{STAGE}` = 'represent' and attributes.status = 'FINISHED'")
        for run in represented:
            path = f"{run.info.artifact_uri}/temporal_representations_all/all_representations.npz"
            with np.load(path) as arrays:
                found["representations"] = _digests(arrays)
    return found


def _digests(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {name: hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in arrays}


def differences(store: Store, unbroken: dict[str, object]) -> list[str]:
    found = result(store)
    return [
        f"{name} differ from those of the unbroken pipeline" for name in unbroken if found.get(name) != unbroken[name]
    ]
