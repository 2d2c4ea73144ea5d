"""How fast every part is, beside peers in the same run and beside the hardware's limit.

usage: python -m benchmarks.speed [--rows temporal,generate,...] [--peer unisign=CHECKOUT] [--peer mska=CHECKOUT]
           [--preset NAME] [--set NAME=VALUE ...] [--rounds N] [--processes N ...] [--out FILE] [--picture FILE]
           [--no-log]

Clips are generated: a store with PHOENIX14T's lengths (mean 117, 95 % below 208 frames) and texts of 14 words. Training
is a stage's own `train`: reading, varying, masking, optimiser and averaging are counted. Between two of its reports
(training.LOG_STEPS steps) the peers train on clips of the same lengths, so that every ratio is of neighbours
in one run. Frames are real ones, without padding; warm-up is not counted; figures are medians (least - most). Roofs:
products counted by torch, bytes as unfused operations move them, beside a product and a copy measured on the device.
Rows: temporal, alignment, generate, represent, clip, cpu (temporal and clip on 2 cores), start, entry, processes (one
and each number of --processes), loader, memory, scaling, kernels (each Triton kernel left out alone). Results go to
MLflow (--no-log: not), as JSON to --out, as a table to standard output.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.answer_rows import clip, generate, represent
from benchmarks.bench import ROOT, Bench, Skipped, run
from benchmarks.figures import Figure, growth, record, table, written
from benchmarks.kernel_rows import kernels
from benchmarks.peers import FILES
from benchmarks.roofline import Work
from benchmarks.training_rows import alignment, entry, loader, memory, processes, scaling, temporal
from sign_models.datasets.demo import lexicon_folder


def cpu(b: Bench) -> Iterator[Figure]:
    """temporal and clip again in a process that has 2 cores and no GPU."""
    out = b.folder / "cpu.json"
    command = [sys.executable, "-m", "benchmarks.speed", "--rows=temporal,clip", f"--rounds={min(3, b.rounds)}"]
    command += [*(f"--set={pair}" for pair in b.given.set), "--no-log", f"--out={out}"]
    command += [f"--preset={b.given.preset}"] if b.given.preset else []
    command += [f"--peer=unisign={b.peers['unisign']}"] if "unisign" in b.peers else []
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    cores = sorted(os.sched_getaffinity(0))[:2]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL,
                   preexec_fn=lambda: os.sched_setaffinity(0, cores))  # fmt: skip
    for row in json.loads(out.read_text())["figures"]:
        work = None if row["work"] is None else Work(**row["work"])
        yield Figure(**row | {"name": f"cpu.{row['name']}", "values": tuple(row["values"]), "work": work})


def start(b: Bench) -> Iterator[Figure]:
    """Commands as they are typed, the median of three."""
    commands = sorted(path.stem for path in ROOT.glob("entrypoints/[a-z]*.py"))
    took = {name: [run(["-m", f"entrypoints.{name}", "--help"], ROOT) for _ in range(3)] for name in commands}
    slowest = max(took, key=lambda name: statistics.median(took[name]))
    yield Figure("start.help", tuple(took[slowest]), "s", 1, most=True, about=f"the slowest, {slowest}")
    if importlib.util.find_spec("mlflow") is None:
        raise Skipped("commands that work need MLflow")
    few: dict[str, object] = {"steps": 2, "batch_size": 4}
    run(["-m", "entrypoints.pipeline", *(f"--{k.replace('_', '-')}={v}" for k, v in few.items())], b.folder)
    (one := b.folder / "one").mkdir()
    shutil.copy(min(lexicon_folder().glob("ase/*.pose")), one)
    rows: dict[str, tuple[str, dict[str, object], float, str]] = {
        "skipped": ("pipeline", few | {"skip_trained": "true"}, 5, "every stage skipped"),
        "lineage": ("lineage", {}, 4, "of the candidate"),
        "promote": ("promote", {}, 8, "the candidate"),
        "generate": ("generate", {"data": one}, 8, "one clip"),
    }
    for name, (command, given, goal, about) in rows.items():
        line = ["-m", "mlflow", "run", str(ROOT), "-e", command, "--env-manager", "local"]
        line += [f"-P{key}={value}" for key, value in given.items()]
        spent = tuple(run(line, b.folder) for _ in range(3))
        yield Figure(f"start.{name}", spent, "s", goal, most=True, about=f"mlflow run -e {command}, {about}")


ROWS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    f.__name__: f
    for f in (
        temporal,
        alignment,
        generate,
        represent,
        clip,
        cpu,
        start,
        entry,
        processes,
        loader,
        memory,
        scaling,
        kernels,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(row for row in ROWS if row not in ("clip", "kernels")))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=CHECKOUT", help=" or ".join(FILES))
    parser.add_argument("--preset", help="base on a GPU, none on a CPU")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alignment-batches", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--processes", type=int, nargs="+", default=[2], help="of the row processes, beside one")
    parser.add_argument("--scaling", default="frames,length,weights")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path, help="of the row scaling, as PNG")
    parser.add_argument("--no-log", action="store_true")
    given = parser.parse_args()
    if unknown := set(given.rows.split(",")) - ROWS.keys():
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    for name, path in (pair.split("=", 1) for pair in given.peer):
        if name not in FILES or not (Path(path) / FILES[name]).is_file():
            parser.error(
                f"--peer {name}={path}: wanted one of {', '.join(FILES)} and a checkout with {FILES.get(name)}"
            )
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="sign-speed-") as folder:
        b = Bench(given, Path(folder))
        for row in given.rows.split(","):
            began = time.perf_counter()
            try:
                for figure in ROWS[row](b):
                    figures.append(figure)
                    print(figure.line(b.ceiling), file=sys.stderr, flush=True)
            except Skipped as reason:
                print(f"{row}: {reason}", file=sys.stderr)
            print(f"{row}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            if given.out:
                given.out.write_text(written(figures, b.device, b.ceiling))
        if given.picture:
            growth(figures).savefig(given.picture, dpi=150)
        if not given.no_log:
            record(figures, b.device, b.ceiling)
        print(table(figures, b.device, b.ceiling))


if __name__ == "__main__":
    main()
