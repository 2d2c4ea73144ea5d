"""Kill pipelines at random moments, type the same command again, and look at what is left.

usage: python -m benchmarks.kills [--kills N] [--seed N] [--most N] [--folder DIR] [--table FILE]

A pipeline on the tests' tiny data is killed (SIGKILL, SIGTERM, SIGINT) up to --most times before it may end; every
fourth command is `mlflow run`, of which only the runner is killed. Half of the kills come at any time, half shortly
after a moment of their own has begun: a checkpoint, a step of a registration, the end of a run. After each kill and at
each end everything in the store is looked at (`faults`); the end must equal that of a pipeline nobody killed. --table
writes what happened between the two marks of a Markdown file.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stores import Aim, End, Store, command, differences, faults, result, run, running, write_table
from tests import tiny

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
AIMS = {  # name of a moment -> seconds within which the signal follows its beginning
    "save": 0.1, "_save": 0.05, "log_artifact": 0.005, "log_artifacts": 0.01, "_delete": 0.01, "_log_model": 1.0,
    "_try_package": 0.5, "finalize_logged_model": 0.02, "_link": 0.05, "_create_version": 0.05,
    "set_registered_model_alias": 0.02, "_end": 0.05, "begin": 0.3, "represent": 0.2, "generate": 0.3, "step": 0.05,
}  # fmt: skip
LONGEST = 18.0  # s, of a pipeline without `mlflow run`: when a kill at any time comes at the latest
LAUNCH = 6.0  # s that `mlflow run` takes before the command
MARKS = ("<!-- kills -->", "<!-- end of kills -->")


@dataclass
class Kill:
    """A row of the table."""

    pipeline: int
    through: str
    end: End
    faults: list[str]


def drawn(draw: random.Random) -> Aim:
    """Half of the kills come at any time, half shortly after the beginning of a moment of AIMS."""
    chosen = draw.choice(SIGNALS)
    if draw.random() < 0.5:
        return Aim(chosen, draw.uniform(0.2, LONGEST))
    moment = draw.choice(list(AIMS))
    return Aim(chosen, draw.uniform(0, AIMS[moment]), moment, draw.randint(1, 4))


# The whole -----------------------------------------------------------------------------------------------------------


def kill_pipelines(kills: int, seed: int, most: int, folder: Path) -> tuple[list[Kill], list[str]]:
    """Rows of the table, and what was wrong at the ends of the pipelines."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    data = tiny.write_data(folder / "data")
    (data / "tiny.yaml").write_text(tiny.PARAMS)
    options = (f"data={data}", f"config_override={data / 'tiny.yaml'}", "skip_trained=true")
    first = _store(folder, 0)
    end = run(command("pipeline", *options), first)
    assert end.code == 0, end.log
    unbroken = result(first)
    print(f"the unbroken pipeline took {end.seconds:.0f} s", flush=True)
    draw = random.Random(seed)
    rows: list[Kill] = []
    wrong: list[str] = []
    number = 0
    while len(rows) < kills:
        number += 1
        store = _store(folder, number)
        for attempt in range(most + 1):
            launched = draw.random() < 0.25
            aim = drawn(draw) if attempt < most and len(rows) < kills else None
            if aim and launched and not aim.moment:
                aim = Aim(aim.signal, aim.delay + LAUNCH)
            earlier = running(store)
            end = run(command("pipeline", *options, launched=launched), store, aim)
            if end.sent is None:  # it ended before its kill was due
                wrong += [f"pipeline {number}: {fault}" for fault in _at_end(end, store, unbroken)]
                break
            told = end.sent != signal.SIGKILL and not launched  # the command itself could end its runs
            found = faults(store, ended=told, earlier=earlier)
            if end.looked:
                left = earlier.items() & running(store).items()
                found += [f"run {run_id} of an earlier command is RUNNING" for run_id, _ in left]
            rows.append(Kill(number, "mlflow run" if launched else "python -m", end, found))
            print(_row(len(rows), rows[-1]), flush=True)
    return rows, wrong


def _store(folder: Path, number: int) -> Store:
    path = folder / f"pipeline {number}"
    path.mkdir()
    return Store(path)


def _at_end(end: End, store: Store, unbroken: dict[str, object]) -> list[str]:
    if end.code != 0:
        return [f"exit code {end.code}: {end.log[-2000:]}"]
    return faults(store, ended=True) + differences(store, unbroken)


def _row(number: int, kill: Kill) -> str:
    end = kill.end
    assert end.sent is not None
    told = "; ".join(kill.faults) or "sound"
    cells = (
        number,
        kill.pipeline,
        kill.through,
        end.sent.name,
        f"{end.seconds:.1f}",
        end.stage,
        end.inside,
        end.code,
        told,
    )
    return f"| {' | '.join(map(str, cells))} |"


def table(rows: list[Kill]) -> str:
    names = ("kill", "pipeline", "through", "signal", "after s", "stage", "inside", "exit code", "store after it")
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return "\n".join([*lines, *(_row(i, row) for i, row in enumerate(rows, 1))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=8, help="kills of one pipeline")
    parser.add_argument("--folder", type=Path, help="where the stores are left; default: a temporary folder")
    parser.add_argument("--table", type=Path, help="Markdown file that gets the table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sign-kills-") as scratch:
        rows, wrong = kill_pipelines(given.kills, given.seed, given.most, given.folder or Path(scratch))
    wrong += [f"kill {i}: {fault}" for i, row in enumerate(rows, 1) for fault in row.faults]
    pipelines = len({row.pipeline for row in rows})
    stages = ", ".join(f"{stage} {n}" for stage, n in Counter(row.end.stage for row in rows).most_common())
    said = f"{len(rows)} kills of {pipelines} pipelines ({stages}), seed {given.seed}; {len(wrong)} faults."
    print("\n".join([said, *wrong]))
    if given.table:
        write_table(given.table, MARKS, f"{said}\n\n{table(rows)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
