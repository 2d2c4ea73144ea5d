"""Hostile inputs against the commands that read them: each must end in one message, in time and in little memory.

usage: python -m benchmarks.attacks [--only WORD] [--list]

An attack is a function under `attack(...)`: it takes an empty folder, makes a hostile file or folder there and returns
what is run on it. Each runs in a process of its own under this one's eyes; time is by the clock, memory the largest sum
over the process and its children. Others add theirs with `attack`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SECONDS, MEBIBYTES = 60.0, 256  # beyond MEBIBYTES, 4 times the file; the interpreter itself is not counted
Command = list[str]


@dataclass(frozen=True)
class Attack:
    """name: what is done. says: what must stand in the message; "" where the command must succeed."""

    name: str
    says: str
    make: Callable[[Path], Command]
    quick: bool  # whether the tests run it


ATTACKS: list[Attack] = []


def attack(name: str, says: str, *, quick: bool = False) -> Callable[[Callable[[Path], Command]], None]:
    """Register a function that makes a hostile input and returns the command that reads it."""

    def register(make: Callable[[Path], Command]) -> None:
        ATTACKS.append(Attack(name, says, make, quick))

    return register


def reading(path: Path) -> Command:
    """Reads a path as every command does, without MLflow: prints ids, or the message and exits with 2."""
    program = (
        "import sys\n"
        "from sign_models.data.corpus import Corpus\n"
        "from sign_models.errors import SignError\n"
        "from sign_models.keypoints import formats\n"
        "try:\n"
        "    print(len(Corpus.from_sequences(formats.read(sys.argv[1]), sys.argv[1])), 'clips')\n"
        "except SignError as error:\n"
        "    print(error, file=sys.stderr), sys.exit(2)\n"
    )
    return [sys.executable, "-c", program, str(path)]


def texts(path: Path) -> Command:
    """Reads a text_data.json."""
    program = (
        "import sys\n"
        "from sign_models.data.texts import read_texts\n"
        "from sign_models.errors import SignError\n"
        "try:\n"
        "    print(len(read_texts(sys.argv[1])), 'texts')\n"
        "except SignError as error:\n"
        "    print(error, file=sys.stderr), sys.exit(2)\n"
    )
    return [sys.executable, "-c", program, str(path)]


def command(entry: str, *words: str) -> Command:
    """One of ours, as it is typed."""
    return [sys.executable, "-m", f"entrypoints.{entry}", *words]


CLIP = (np.random.default_rng(0).random((8, 75, 2)) * 300).astype(np.float32)


def put(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Pickles --------------------------------------------------------------------------------------------------------------


@attack("pickle: a list that holds itself", "holds itself", quick=True)
def _(folder: Path) -> Command:
    held: list[object] = []
    held.append(held)
    return reading(put(folder / "a.pkl", pickle.dumps(held)))


@attack("pickle: lists shared 40 levels deep", "counted every time", quick=True)
def _(folder: Path) -> Command:
    held: list[object] = [1, 2]
    for _ in range(40):
        held = [held, held]
    return reading(put(folder / "a.pkl", pickle.dumps({"clip": held})))


@attack("pickle: one array of a megabyte 100,000 times", "counted every time", quick=True)
def _(folder: Path) -> Command:
    return reading(put(folder / "a.pkl", pickle.dumps([np.zeros(2**17)] * 100_000)))


@attack("pickle: a number of a million digits", "no readable pickle")
def _(folder: Path) -> Command:
    return reading(put(folder / "a.pkl", pickle.dumps({"keypoints": CLIP, "start": 10**10**6})))


@attack("pickle: os.system", "was not run", quick=True)
def _(folder: Path) -> Command:
    return reading(put(folder / "a.pkl", b"cos\nsystem\n(S'touch hacked'\ntR."))


@attack("pickle: 1 MB of gzip that unzips to 1 GB", "more than")
def _(folder: Path) -> Command:
    return reading(put(folder / "a.pkl", gzip.compress(pickle.dumps(np.zeros((10**6, 133, 1), np.float64)), 9)))


# JSON -----------------------------------------------------------------------------------------------------------------


@attack("JSON: `[],` 80 million times", "values, which take")
def _(folder: Path) -> Command:
    return reading(put(folder / "a.json", b"[" + b"[]," * 80_000_000 + b"0]"))


@attack("JSON: `{}` 2 million times, as texts", "values, which take")
def _(folder: Path) -> Command:
    return texts(put(folder / "text_data.json", b"[" + b"{}," * 2_000_000 + b"0]"))


@attack("JSON: 30 MB of empty frames", "values, which take")
def _(folder: Path) -> Command:
    return reading(put(folder / "a.json", b'{"keypoints": [' + b"[]," * 10_000_000 + b"[]]}"))


@attack("JSON: 200,000 brackets", "no readable JSON", quick=True)
def _(folder: Path) -> Command:
    return reading(put(folder / "a.json", "[" * 200_000))


@attack("JSON: a number of 5,000 digits", "is not JSON", quick=True)
def _(folder: Path) -> Command:
    return texts(put(folder / "text_data.json", '[{"id": ' + "9" * 5000 + "}]"))


@attack("JSON: 4,000 strings, one of a megabyte, as coordinates", "wanted numbers")
def _(folder: Path) -> Command:
    return reading(put(folder / "a.json", json.dumps({"clip": [["a" * 2**20] + ["b"] * 4000]})))


# Requests -------------------------------------------------------------------------------------------------------------


def request(path: Path) -> Command:
    """Parses a request's body as MLflow's own server does once it has loaded one of our models."""
    program = (
        "import sys\n"
        "from mlflow.pyfunc import scoring_server\n"
        "from sign_models.serving.request_limits import guard_server\n"
        "guard_server(ValueError)\n"
        "try:\n"
        "    print(len(scoring_server._decode_json_input(open(sys.argv[1], 'rb').read())))\n"
        "except ValueError as error:\n"
        "    print(error, file=sys.stderr), sys.exit(2)\n"
    )
    return [sys.executable, "-c", program, str(path)]


@attack("request: `{}` 6 million times", "objects")
def _(folder: Path) -> Command:
    return request(put(folder / "a.json", b'{"inputs": [' + b"{}," * 6_000_000 + b"{}]}"))


@attack("request: 30 MB of empty frames", "values, which take")
def _(folder: Path) -> Command:
    return request(put(folder / "a.json", b'{"inputs": [{"keypoints": [' + b"[]," * 10_000_000 + b"[]]}]}"))


@attack("request: 200,000 brackets", "levels of lists", quick=True)
def _(folder: Path) -> Command:
    return request(put(folder / "a.json", b'{"inputs": ' + b"[" * 200_000))


# Folders --------------------------------------------------------------------------------------------------------------


@attack("folder: a link to /dev/zero", "leads out of the folder", quick=True)
def _(folder: Path) -> Command:
    np.save(folder / "a.npy", CLIP)
    (folder / "0.npy").symlink_to("/dev/zero")
    return reading(folder)


@attack("folder: a FIFO", "a FIFO", quick=True)
def _(folder: Path) -> Command:
    np.save(folder / "a.npy", CLIP)
    os.mkfifo(folder / "x.json")
    return reading(folder)


@attack("folder: a link to a file elsewhere", "leads out of the folder")
def _(folder: Path) -> Command:
    np.save(folder / "a.npy", CLIP)
    (folder / "b.csv").symlink_to("/etc/passwd")
    return reading(folder)


@attack("folder: 8 folders that link to one another", "")
def _(folder: Path) -> Command:
    np.save(folder / "a.npy", CLIP)
    for i in range(8):
        (folder / f"d{i}").mkdir()
        for j in range(8):
            (folder / f"d{i}" / f"to{j}").symlink_to(f"../d{j}")
    return reading(folder)


@attack("source: /dev/zero itself", "a device")
def _(folder: Path) -> Command:
    return reading(Path("/dev/zero"))


# Values ---------------------------------------------------------------------------------------------------------------


@attack("id: NUL", "its id holds the character", quick=True)
def _(folder: Path) -> Command:
    return reading(put(folder / "a.json", json.dumps({"a\0b": CLIP.tolist()})))


@attack("id: 70,000 characters", "its id has 70,000 characters")
def _(folder: Path) -> Command:
    return reading(put(folder / "a.json", json.dumps({"x" * 70_000: CLIP.tolist()})))


@attack("text: half of a surrogate pair", "its text holds the character")
def _(folder: Path) -> Command:
    return reading(put(folder / "a.json", json.dumps([{"id": "a", "keypoints": CLIP.tolist(), "text": "\ud83d"}])))


@attack("fps: 1e-320", "a frame rate")
def _(folder: Path) -> Command:
    return reading(put(folder / "a.pkl", pickle.dumps([{"id": "a", "keypoints": CLIP, "fps": 1e-320}])))


# Parameters -----------------------------------------------------------------------------------------------------------


@attack("YAML: a bomb of aliases", "alias")
def _(folder: Path) -> Command:
    lines = ["a: &a [x, x]"] + [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefg", "bcdefgh", strict=True)
    ]
    return command("alignment", "--config-override", str(put(folder / "p.yaml", "\n".join(lines))))


@attack("YAML: 5,000 brackets", "nested too deep")
def _(folder: Path) -> Command:
    return command("alignment", "--config-override", str(put(folder / "p.yaml", "[" * 5000)))


@attack("parameter: a seed of 10^22", "seed")
def _(folder: Path) -> Command:
    return command("alignment", "--seed", str(10**22))


@attack("parameter: a preset out of its folder", "does not exist")
def _(folder: Path) -> Command:
    return command("alignment", "--preset", "../skeleton")


# Running them ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """failure: "" where the attack was held. memory: mebibytes at most, over all processes of the command."""

    attack: Attack
    seconds: float
    memory: float
    bytes: int
    message: str
    failure: str


def run(one: Attack) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "input")
        folder.mkdir()
        words = one.make(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "MLFLOW_TRACKING_URI": f"sqlite:///{name}/mlflow.db"}
        began = time.monotonic()
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        peak = _Peak(process.pid)
        try:
            said = "".join(process.communicate(timeout=2 * SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
            said = "".join(process.communicate())
        seconds, memory = time.monotonic() - began, peak.stop()
    message = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    allowed = MEBIBYTES + 4 * size / 2**20 + _BARE
    failures = [
        f"exit code {process.returncode}" * (process.returncode != (2 if one.says else 0)),
        f"no {one.says!r} in its message" * (one.says not in said),
        "a traceback" * ("Traceback" in said),
        f"{seconds:.0f} s" * (seconds > SECONDS),
        f"{memory:.0f} of {allowed:.0f} MiB" * (memory > allowed),
    ]
    return Outcome(one, seconds, memory, size, message, ", ".join(filter(None, failures)))


_BARE = 600  # mebibytes of the interpreters and libraries of a command that reads nothing


class _Peak:
    """Looks at the memory of a process and those that it started until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._on = pid, 0.0, True
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while self._on:
            self._peak = max(self._peak, _resident(self._pid))
            time.sleep(0.02)

    def stop(self) -> float:
        self._on = False
        self._thread.join()
        return self._peak


def _resident(pid: int) -> float:
    """Mebibytes of a process and of all below it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20 + sum(_resident(int(child)) for child in children)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    parser.add_argument("--list", action="store_true", help="name them and end")
    given = parser.parse_args()
    chosen = [one for one in ATTACKS if given.only in one.name]
    if given.list:
        print("\n".join(one.name for one in chosen))
        return
    print("| attack | bytes | s | MiB | held |\n|---|---|---|---|---|")
    failed = 0
    for one in chosen:
        found = run(one)
        failed += bool(found.failure)
        held = (found.failure and f"NO: {found.failure}: {found.message[:80]}") or "yes"
        print(f"| {one.name} | {found.bytes:,} | {found.seconds:.1f} | {found.memory:.0f} | {held} |", flush=True)
    print(f"\n{len(chosen)} attacks, {failed} not held")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
