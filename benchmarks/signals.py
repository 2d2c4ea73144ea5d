"""Send SIGTERM or SIGINT to every command at random moments, and look at how it ends.

usage: python -m benchmarks.signals [--signals N] [--seed N] [--commands NAME,...] [--folder DIR] [--table FILE]

All commands work in turn on one store that holds two translators of the tests' tiny data. Each is run whole once, then
a signal comes at a random moment of its length. Wanted each time: exit code 130 or 143 with `interrupted` in the output
and every run that it opened KILLED, or 0 and FINISHED where it was done before; soon; no alias that moves after the
signal, unless the command says that it is done; no traceback; no process left. --table writes the counts between the
two marks of a Markdown file.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import moments
from benchmarks.stores import ROOT, Aim, Store, command, due, environment, orphans, write_table
from tests import tiny

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SOON_S = 3.0
START_S = 0.3  # after which the first signal comes: Python has started
PATIENCE_S = 600.0
ENDLESS_S = {"demo": 20.0}  # commands that serve until they are stopped, and when that is at the latest
MARKS = ("<!-- signals -->", "<!-- end of signals -->")


@dataclass
class Ended:
    """How a command ended. before, after: alias -> version when the signal was sent and at the end."""

    name: str
    sent: signal.Signals | None
    at_s: float
    code: int
    took_s: float  # from the signal on
    before: dict[str, int]
    after: dict[str, int]
    statuses: list[str]  # of the runs that it opened
    log: str
    left: list[int]

    def faults(self) -> Iterator[str]:
        """What is wrong with it."""
        interrupted = self.code in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        if not interrupted and self.code not in (0, *(-s for s in SIGNALS)):
            yield f"exit code {self.code}"
        if wrong := {*self.statuses} - {"FINISHED" if self.code == 0 else "KILLED"}:
            # a stage of a pipeline that was done before the signal stays done
            if self.code == 0 or wrong != {"FINISHED"} or "KILLED" not in self.statuses:
                yield f"exit code {self.code}, runs {', '.join(self.statuses)}"
        if self.code != 0 and self.before != self.after:
            yield f"aliases moved from {self.before} to {self.after} after the signal"
        if interrupted != ("interrupted" in self.log):
            yield "it does not say how it ended"
        if any(word in self.log for word in ("Traceback", "Exception ignored")) and self.code != -signal.SIGINT:
            yield "a traceback"
        if self.left:
            yield f"processes {self.left} are left"


def read(store: Store, query: str) -> list[tuple]:
    with sqlite3.connect(f"file:{store.folder / 'mlflow.db'}?mode=ro", uri=True, timeout=30) as opened:
        return opened.execute(query).fetchall()


def aliases(store: Store) -> dict[str, int]:
    rows = read(store, "SELECT name, alias, version FROM registered_model_aliases")
    return {f"{name}@{alias}": int(version) for name, alias, version in rows}


def statuses(store: Store) -> dict[str, str]:
    return dict(read(store, "SELECT run_uuid, status FROM runs"))


def run(
    name: str,
    typed: list[str],
    store: Store,
    sent: signal.Signals | None = None,
    at_s: float = 0.0,
    moment: str = "",
    start: Callable[..., Any] = subprocess.Popen,
) -> Ended:
    """Run a command, to its end where nothing is `sent` after `at_s` seconds, or at a `moment`, where it waits.

    Args:
        name: Of the command.
        typed: Its command line.
        store: Where it works.
        sent: The signal that it gets. None: none.
        at_s: When, in seconds after the start or the moment.
        moment: The moment, as in moments.MOMENTS.
        start: Starts it, with the arguments of subprocess.Popen.

    Returns:
        How it ended.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    watched = moments.watched(store.folder, ROOT, f"{moment} 1") if moment else {}
    known = statuses(store) if (store.folder / "mlflow.db").exists() else {}
    with (store.folder / "log").open("w+") as log:
        process = start(
            typed,
            cwd=store.folder,
            env=environment(store) | watched,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        began = time.monotonic()
        before: dict[str, int] = {}
        if sent is not None:
            aim = Aim(sent, 0.0, moment.partition(" ")[0], int(moment.partition(" ")[2] or 1))
            while moment and process.poll() is None and not due(aim, store.folder / "moments", began):
                time.sleep(0.01)
            try:
                process.wait(at_s)
            except subprocess.TimeoutExpired:
                process.send_signal(sent)
                began = time.monotonic()
                before = aliases(store)
            else:
                sent = None
        code = process.wait(PATIENCE_S)
        took = time.monotonic() - began
        log.seek(0)
        found = statuses(store)
        opened = [status for run_id, status in found.items() if run_id not in known]
        return Ended(name, sent, at_s, code, took, before, aliases(store), opened, log.read(), orphans(store))


def commands(store: Store, data: Path) -> dict[str, Callable[[int], list[str]]]:
    """Name -> what is typed the n-th time."""
    options = (f"data={data}", f"config_override={data / 'tiny.yaml'}")
    stages = ("pipeline", "skeleton", "temporal", "represent", "alignment", "generate")
    scored = (f"data={data}", "force=true", "reason=a benchmark")
    clips = data / "video_sequences.pkl"
    return {name: lambda n, name=name: command(name, *options, f"seed={n}") for name in stages[:3]} | {
        "represent": lambda n: command("represent", *options),
        "alignment": lambda n: command("alignment", *options, f"seed={n}"),
        "generate": lambda n: command("generate", *options),
        "evaluate": lambda n: command("evaluate", "models=1,2", f"data={data}"),
        "promote": lambda n: command("promote", f"version={1 + n % 2}", *scored),
        "rollback": lambda n: command("promote", "rollback=true"),
        "lineage": lambda n: command("lineage", "model=sign-translator/1"),
        "prune": lambda n: command("prune", "yes=true"),
        "import": lambda n: command("import_", f"source={clips}", f"out={store.folder / f'store {n} {time.time()}'}"),
        "demo": lambda n: command("demo", "model=1", "port=8099"),
        "translate": lambda n: command("translate", f"videos={clips}", "model=1"),
    }


def prepare(folder: Path) -> tuple[Store, Path]:
    """A store with two translators, scored on other texts, that are the champion and the one before."""
    data = tiny.write_data(folder / "data")
    (data / "tiny.yaml").write_text(tiny.PARAMS)
    other = Path(shutil.copytree(data, folder / "other"))
    texts = (other / "text_data.json").read_text()
    (other / "text_data.json").write_text(texts.replace("water", "juice"))
    store = Store(folder / "store")
    store.folder.mkdir()
    override = f"config_override={data / 'tiny.yaml'}"
    for name, options in (
        ("pipeline", (f"data={data}", override)),
        ("generate", (f"data={other}", override)),
        ("promote", ("version=1",)),
        ("promote", ("version=2", "force=true", "reason=a benchmark")),
    ):
        ended = run(name, command(name, *options), store)
        if ended.code != 0:
            sys.exit(ended.log)
    return store, data


def send(count: int, seed: int, chosen: list[str], folder: Path) -> list[Ended]:
    """The ends of `count` commands that a signal met."""
    store, data = prepare(folder)
    every = commands(store, data)
    names = chosen or list(every)
    lengths = {}
    for name in names:
        if name in ENDLESS_S:
            lengths[name] = ENDLESS_S[name]
            continue
        ended = run(name, every[name](0), store)
        lengths[name] = ended.took_s
        print(f"{name} takes {ended.took_s:.1f} s, exit code {ended.code}", flush=True)
    draw = random.Random(seed)
    found: list[Ended] = []
    number = 0
    while len(found) < count:
        name = names[number % len(names)]
        number += 1
        sent, at_s = SIGNALS[len(found) % 2], draw.uniform(START_S, lengths[name])
        ended = run(name, every[name](number), store, sent, at_s)
        if ended.sent is not None:
            found.append(ended)
            faults = "; ".join(ended.faults())
            if faults:
                (folder / f"log {len(found)}").write_text(ended.log)
            shown = f"{len(found)} {name} {sent.name} at {at_s:.1f} s: {ended.code} after {ended.took_s:.2f} s"
            print(f"{shown} {'FAULT ' + faults if faults else ''}", flush=True)
    return found


def table(found: list[Ended]) -> str:
    """Counts for each command."""
    head = ("command", "signals", "KILLED", "done before", "before the handler", "within 3 s", "longest s", "faults")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name in [*dict.fromkeys(e.name for e in found), "all"]:
        rows = [e for e in found if name in (e.name, "all")]
        cells = (
            name, len(rows), sum(e.code > 128 for e in rows), sum(e.code == 0 for e in rows),
            sum(e.code < 0 for e in rows), sum(e.took_s <= SOON_S for e in rows), f"{max(e.took_s for e in rows):.1f}",
            sum(bool([*e.faults()]) for e in rows),
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", default="")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="signals-"))
    found = send(given.signals, given.seed, [n for n in given.commands.split(",") if n], folder)
    faults = [f"{i} {e.name}: {fault}" for i, e in enumerate(found, 1) for fault in e.faults()]
    median = statistics.median(e.took_s for e in found)
    said = f"{len(found)} signals, seed {given.seed}: {len(faults)} faults; half of the ends within {median:.2f} s."
    print("\n".join([said, *faults, table(found)]))
    if given.table:
        write_table(given.table, MARKS, f"{said}\n\n{table(found)}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
