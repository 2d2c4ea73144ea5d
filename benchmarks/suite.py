"""One table over all sets: what quality.py --suite runs. Sets are the lines, variants the columns.

usage: python -m benchmarks.quality --suite DIR [--seeds 3] [--variants default,scratch] [--labels SET=30/60,...]
           [--variant "NAME [VARIANT] NAME=VALUE ..."] [--across] [--at-once 16] [--minutes N] [--out FILE]
           [--rotations N] [--merge FILE ...]

The second table says how far each model's confidence can be trusted (docs/confidence.md). With --across each model is
asked about the test clips of all other sets too, in which hardly anything is what it knows.

A set is a folder under DIR with the three input files, with all of its labels or by each number that --labels gives.
With --rotations each set is N, in which signers of training and dev take turns at being new (rotations.py): dev of a
set may be one signer.
Work is a graph of tasks: a set is read once, each pretraining is shared by the alignments that want it, and many tasks
run at once, in processes of their own, on as many GPUs as there are (--at-once; start CUDA's MPS first, it lets them
share a GPU). Tasks of the first seed come first, so what --minutes cuts off are later seeds; means are over seeds that
are whole. A task that fails is told and left out, and the command then ends with status 1.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import trainings
from benchmarks.degraded import KINDS
from benchmarks.rotations import Source
from benchmarks.trainings import VARIANTS, Row, Variant
from sign_models.datasets.inputs import KEYPOINTS, TEXTS, VIDEOS, Inputs
from sign_models.params import load
from sign_models.params.schema import PipelineParams

FIGURE = "bleu4"


@dataclass(frozen=True)
class Setup:
    """What all tasks of a command share. folder: for what tasks hand on to each other. across: sets that every model is
    asked about."""

    folder: Path
    scoring: str
    kinds: tuple[str, ...] = ()
    across: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Found:
    """The rows of one training. set: the folder's name, and the labels where they are fewer than the set has."""

    set: str
    rows: list[Row]


@dataclass(frozen=True)
class Outcome:
    found: list[Found]
    failures: list[str]
    left_out: int  # trainings that --minutes left no time for


# Tasks, each in some process ------------------------------------------------------------------------------------------


def prepare(setup: Setup, source: Source) -> tuple[int, int]:
    """Read a set and keep it parsed; its frames and labelled training sentences."""
    inputs = source.read()
    videos, texts = inputs.videos, inputs.texts
    labelled = sum(videos.splits[videos.index[name]] in ("train", None) for name in texts)
    frames = int(videos.lengths.sum() + inputs.keypoints.lengths.sum())
    with (setup.folder / f"{source.name}.set").open("wb") as file:
        pickle.dump(inputs, file, protocol=5)
    return frames, labelled


@lru_cache(maxsize=2)
def _read(path: Path) -> Inputs:
    with path.open("rb") as file:
        inputs: Inputs = pickle.load(file)
    return inputs


def pretrain(setup: Setup, name: str, params: PipelineParams, variant: Variant, key: str) -> dict[str, float]:
    model, seconds = trainings.pretrained(_read(setup.folder / f"{name}.set"), params, variant, None)
    torch.save(model, setup.folder / f"{key}.model")
    return seconds


def align(
    setup: Setup, name: str, params: PipelineParams, variant: str, count: int, key: str, before: dict[str, float]
) -> list[Row]:
    """Train on `count` labelled sentences from the pretraining `key`, and score."""
    inputs, seed = _read(setup.folder / f"{name}.set"), params.alignment.training.seed
    base = torch.load(setup.folder / f"{key}.model", weights_only=False)
    texts = trainings.labelled(inputs, count, seed)
    model = trainings.aligned(inputs, texts, params, base, setup.scoring, None)
    model = replace(model, seconds=before | model.seconds)
    others = {o.name: Inputs.from_paths(o, None, None, None) for o in setup.across if o.name != name}
    row = partial(Row, variant, count, seed)
    return [*trainings.scored(inputs, texts, row, model, setup.scoring, list(setup.kinds), others)]


def _begin(places: Any, threads: int) -> None:
    """Of a worker process: its GPU and its share of the cores."""
    os.environ["CUDA_VISIBLE_DEVICES"] = str(places.get())
    torch.set_num_threads(threads)


# The graph of tasks ---------------------------------------------------------------------------------------------------


class Tasks:
    """Runs callables, so many at once, the lowest priority first; what waits when time is over is left out."""

    def __init__(self, executor: Executor, at_once: int, until: float) -> None:
        self.executor, self.at_once, self.until = executor, at_once, until
        self.failures: list[str] = []
        self._ready: list[tuple[tuple[int, ...], int, str, Callable[[Any], None], tuple[Any, ...]]] = []
        self._added = 0

    def add(self, priority: tuple[int, ...], name: str, then: Callable[[Any], None], *call: Any) -> None:
        """call: a function and its arguments; then: given what it returned, in this process."""
        heapq.heappush(self._ready, (priority, self._added, name, then, call))
        self._added += 1

    def run(self) -> None:
        running: dict[Future[Any], tuple[str, Callable[[Any], None]]] = {}
        while running or (self._ready and time.monotonic() < self.until):
            while self._ready and len(running) < self.at_once and time.monotonic() < self.until:
                _, _, name, then, call = heapq.heappop(self._ready)
                running[self.executor.submit(*call)] = name, then
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, then = running.pop(future)
                error = future.exception()
                if error is None:
                    then(future.result())
                    continue
                self.failures.append(f"{name}: {type(error).__name__}: {error}")
                print(f"failed: {name}\n" + "".join(traceback.format_exception(error)), file=sys.stderr, flush=True)


def folders(suite: Path) -> list[Path]:
    """Every folder with the three input files under `suite`."""
    return sorted(
        {path.parent for path in suite.rglob(TEXTS) if all((path.parent / n).exists() for n in (KEYPOINTS, VIDEOS))}
    )


def key_of(name: str, params: PipelineParams, variant: Variant, keys: dict[str, str]) -> str:
    """One for all that share a pretraining: a short name, which `keys` remembers."""
    told = [name, params.skeleton.model_dump(), params.temporal.model_dump(), sorted(variant.untrained)]
    return keys.setdefault(json.dumps(told, default=str), f"{name}.{len(keys)}")


def trained(
    setup: Setup, tasks: Tasks, sources: Sequence[Source], labels: dict[str, list[int]],
    plans: dict[tuple[str, int], tuple[Variant, PipelineParams]],
) -> list[Found]:  # fmt: skip
    """plans: the variant and its parameters, by variant's name and seed."""
    found: list[Found] = []
    keys: dict[str, str] = {}

    def read(source: Source, size: tuple[int, int]) -> None:
        frames, total = size
        waiting: dict[str, list[tuple[str, int]]] = {}
        for (variant, seed), (chosen, params) in plans.items():
            waiting.setdefault(key_of(source.name, params, chosen, keys), []).append((variant, seed))
        for key, plan in waiting.items():
            chosen, params = plans[plan[0]]
            name, priority = f"{source.name} pretraining {key}", (plan[0][1], -frames, 0)

            def then(seconds: dict[str, float], key: str = key, plan: list[tuple[str, int]] = plan) -> None:
                for (variant, seed), count in ((p, c) for p in plan for c in labels.get(source.name, [total])):
                    count = min(count, total)
                    line = source.name if count == total else f"{source.name}@{count}"
                    call = (align, setup, source.name, plans[variant, seed][1], variant, count, key, seconds)
                    tasks.add((seed, -frames, 1), f"{line} {variant} seed {seed}", keep(line), *call)

            tasks.add(priority, name, then, pretrain, setup, source.name, params, chosen, key)

    def keep(line: str) -> Callable[[list[Row]], None]:
        def then(rows: list[Row]) -> None:
            found.append(Found(line, rows))
            for row in rows:
                print(json.dumps({"set": line} | asdict(row)), flush=True)

        return then

    for source in sources:
        tasks.add((-1,), source.name, lambda size, source=source: read(source, size), prepare, setup, source)  # type: ignore[misc]
    tasks.run()
    return found


# Reporting ------------------------------------------------------------------------------------------------------------

Scores = dict[tuple[str, str, str], dict[int, float]]  # set, variant, split -> seed -> score


def scores(found: Sequence[Found], figure: str = FIGURE) -> tuple[Scores, list[int]]:
    """Of clips as they are; and the seeds that every variant has on every set, the only ones that are taken."""
    every: Scores = {}
    for one in found:
        for row in one.rows:
            if not row.kind:
                every.setdefault((one.set, row.variant, row.split), {})[row.seed] = row.scores[figure]
    sets, variants = {s for s, _, _ in every}, {v for _, v, _ in every}
    cells = [every.get((s, v, "test"), {}).keys() for s in sets for v in variants]
    whole = sorted(set.intersection(*map(set, cells))) if cells else []
    return {place: {seed: by[seed] for seed in whole if seed in by} for place, by in every.items()}, whole


def table(found: Sequence[Found], figure: str = FIGURE) -> str:
    """A line a set and split, a column a variant: mean and standard deviation over the seeds. Then over the sets:
    mean, rank (1 is best), spread over seeds, and what a choice on dev of the other sets gives on test."""
    every, seeds = scores(found, figure)
    if not seeds:
        return "no seed has a score of every variant on every set"
    sets = sorted({s for s, _, _ in every}, key=lambda name: [*map(_number, name.replace("@", " ").split())])
    variants = [*dict.fromkeys(v for _, v, _ in every)]
    lines = [f"{figure}, seeds {', '.join(map(str, seeds))}", "", "| set | split | " + " | ".join(variants) + " |"]
    lines.append("|---|---|" + "---|" * len(variants))
    for split in ("dev", "test"):
        here = [s for s in sets if all(every.get((s, v, split)) for v in variants)]
        if not here:
            continue
        values = np.array([[[*every[s, v, split].values()] for v in variants] for s in here])  # sets, variants, seeds
        for name, line in zip(here, values, strict=True):
            lines.append(_line(name, split, [trainings.spread([*cell]) for cell in line]))
        means = values.mean(2)
        over_seeds = values.std(2, ddof=1).mean(0) if len(seeds) > 1 else np.full(len(variants), np.nan)
        for name, line in (
            ("mean", means.mean(0)), ("mean rank", ranks(means).mean(0)), ("spread over seeds", over_seeds)
        ):  # fmt: skip
            lines.append(_line(f"**{name}**", split, [f"{value:.1f}" for value in line]))
    if len(variants) > 1 and len(sets) > 1 and all((s, v, "dev") in every for s in sets for v in variants):
        dev, test = (
            np.array([[np.mean([*every[s, v, split].values()]) for v in variants] for s in sets])
            for split in ("dev", "test")
        )
        chosen = chosen_elsewhere(dev)
        told = ", ".join(f"{s}: {variants[v]} {test[i, v]:.1f}" for i, (s, v) in enumerate(zip(sets, chosen)))  # noqa: B905
        mean = np.mean([test[i, v] for i, v in enumerate(chosen)])
        lines += ["", f"Each set by the variant that dev of the other sets prefers, test: mean {mean:.1f} ({told})"]
    return "\n".join(lines)


def trust_table(found: Sequence[Found]) -> str:
    """A line a set, and what else its models were asked about; for each variant the means over its seeds of the share
    of test clips that it answers, of those that are right, and of clips without signing that it answers, in percent."""
    every: dict[tuple[str, str], dict[str, list[dict[str, float]]]] = {}
    for one in found:
        for row in one.rows:
            if row.split == "test" and "coverage" in row.scores:
                every.setdefault((one.set, row.kind), {}).setdefault(row.variant, []).append(row.scores)
    if not every:
        return ""
    variants = [*dict.fromkeys(variant for of in every.values() for variant in of)]
    names = ("coverage", "precision_accepted", "false_accepts")
    lines = ["answered, right of those, false accepts; percent, test", "", "| set | asked about | "]
    lines[-1] += " | ".join(variants) + " |"
    lines.append("|---|---|" + "---|" * len(variants))
    for name, kind in sorted(every, key=lambda place: (*map(_number, place[0].replace("@", " ").split()), place[1])):
        cells = []
        for variant in variants:
            rows = every[name, kind].get(variant, [])
            known = [[100 * row[figure] for row in rows if figure in row] for figure in names]
            cells.append(" / ".join(f"{np.mean(values):.1f}" if values else "-" for values in known))
        lines.append(_line(name, kind or "its own", cells))
    return "\n".join(lines)


def _number(word: str) -> tuple[int, str]:
    return (int(word), "") if word.isdigit() else (-1, word)


def _line(name: str, split: str, cells: list[str]) -> str:
    return f"| {name} | {split} | " + " | ".join(cells) + " |"


def ranks(means: np.ndarray) -> np.ndarray:
    """(sets, variants) scores -> ranks within each set, 1 the highest; equal scores share the mean of their ranks."""
    above = (means[:, None, :] > means[:, :, None]).sum(2)
    equal = (means[:, None, :] == means[:, :, None]).sum(2)
    return np.asarray(1 + above + (equal - 1) / 2)


def chosen_elsewhere(dev: np.ndarray) -> list[int]:
    """(sets, variants) dev scores -> for each set the variant with the highest mean over the other sets."""
    return [int((dev.sum(0) - line).argmax()) for line in dev]


# The command ----------------------------------------------------------------------------------------------------------


def variant_of(words: str) -> tuple[str, Variant]:
    """Of "NAME [VARIANT] NAME=VALUE ...": one put together on the command line. ValueError where a part is unknown."""
    name, *parts = words.split()
    out = Variant()
    for part in parts:
        more = Variant(dict([part.split("=", 1)])) if "=" in part else VARIANTS.get(part)
        if more is None:
            raise ValueError(f"{part!r} is neither NAME=VALUE nor a variant")
        out = Variant(out.sets | more.sets, out.untrained + more.untrained, more.preset or out.preset)
    return name, out


def measured(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Outcome:
    """given: what quality.py's parser read."""
    given_folders = folders(given.suite)
    if not given_folders:
        parser.error(f"no folder with {KEYPOINTS}, {VIDEOS} and {TEXTS} under {given.suite}")
    if len({folder.name for folder in given_folders}) < len(given_folders):
        parser.error(f"two folders under {given.suite} have the same name")
    if given.rotations and (given.across or given.labels):
        parser.error("--rotations goes with neither --across nor --labels")
    turns = range(given.rotations) if given.rotations else [0]
    sources = [Source(folder, turn, given.rotations) for folder in given_folders for turn in turns]
    labels: dict[str, list[int]] = {}
    for part in filter(None, (given.labels or "").split(",")):
        name, _, counts = part.partition("=")
        if name not in {source.name for source in sources} or not counts.replace("/", "").isdigit():
            parser.error(f"--labels {part!r}: with --suite it is SET=COUNT/COUNT, SET a folder's name")
        labels[name] = [int(count) for count in counts.split("/")]
    known = VARIANTS
    try:
        known = VARIANTS | dict(map(variant_of, given.variant))
    except ValueError as error:
        parser.error(f"--variant: {error}")
    names = [*filter(None, given.variants.split(",")), *(words.split()[0] for words in given.variant)]
    if unknown := {*names} - known.keys():
        parser.error(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    sets = dict(pair.split("=", 1) for pair in given.set)
    plans = {}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name in names:
            preset = known[name].preset or given.preset
            params = load.resolve(None, preset, None, sets | known[name].sets | {"seed": str(seed)})
            plans[name, seed] = known[name], params
    until = time.monotonic() + 60 * given.minutes if given.minutes else float("inf")
    wanted = len(plans) * sum(len(labels.get(source.name, [0])) for source in sources)
    with tempfile.TemporaryDirectory(prefix="suite-") as folder, _executor(given.at_once) as executor:
        tasks = Tasks(executor, given.at_once, until)
        kinds, across = tuple(KINDS) if given.degraded else (), tuple(given_folders) if given.across else ()
        setup = Setup(Path(folder), given.scoring, kinds, across)
        found = trained(setup, tasks, sources, labels, plans)
    return Outcome(found, tasks.failures, wanted - len(found))


def _executor(at_once: int) -> Executor:
    if at_once == 1:
        return ThreadPoolExecutor(1)
    context = get_context("spawn")  # a CUDA context does not survive a fork
    places = context.Queue()
    for i in range(at_once):
        places.put(i % max(1, torch.cuda.device_count()))
    threads = max(1, (os.cpu_count() or 1) // at_once)
    return ProcessPoolExecutor(at_once, context, _begin, (places, threads))


def main(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """quality.py's with --suite; with --merge too, of what earlier commands wrote."""
    outcome = Outcome([*read(given.merge)], [], 0) if given.merge else measured(parser, given)
    if given.out:
        given.out.write_text(json.dumps([asdict(one) for one in outcome.found], indent=1))
    report = f"{table(outcome.found)}\n\n{trust_table(outcome.found)}".rstrip()
    print(report)
    if not given.no_log and not given.merge:
        from sign_models.tracking.runs import stage_run

        with stage_run("quality") as run:
            run.log_text(report, "table.md")
            run.log_text(json.dumps([asdict(one) for one in outcome.found]), "rows.json")
    if outcome.left_out:
        print(f"{outcome.left_out} trainings are missing: failed, or no time was left", file=sys.stderr)
    if outcome.failures:
        raise SystemExit("\n".join(outcome.failures))


def read(files: Sequence[Path]) -> Iterator[Found]:
    """Of files that --out wrote."""
    for file in files:
        for one in json.loads(file.read_text()):
            yield Found(one["set"], [Row(**row) for row in one["rows"]])
