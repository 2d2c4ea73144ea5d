"""The phase before all others: files of keypoints to a store, as one MLflow run."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sign_models.datasets.importing import AS_TOLD, OnBad, OnLeak, Splitting, import_corpus
from sign_models.datasets.samples import Reading
from sign_models.datasets.store import open_store, store_digest
from sign_models.errors import ParamsError
from sign_models.tracking.runs import stage_run

CHOICES = {"on_bad_sample": ("stop", "reject"), "on_leak": ("stop", "report"), "unit": ("pixel", "picture", "body")}


@dataclass(frozen=True)
class ImportOptions:
    """As import_corpus; experiment: MLflow's, "" for the default."""

    source: Path
    out: Path
    texts: Path | None = None
    reading: Reading = AS_TOLD
    group: str = ""
    splitting: Splitting | None = None
    on_bad_sample: OnBad = "stop"
    on_leak: OnLeak = "stop"
    workers: int | None = None
    experiment: str = ""


def run_import(options: ImportOptions) -> None:
    """Write the store, print its report and log it as an artifact."""
    o = options
    with stage_run("import", experiment=o.experiment or None) as run:
        run.log_code_state()
        began, read = time.monotonic(), 0
        with tqdm(desc="import", unit="frame", unit_scale=True, disable=not sys.stderr.isatty()) as bar:

            def progress(frames: int) -> None:
                nonlocal read
                read += frames
                bar.update(frames)

            report = import_corpus(
                o.source,
                o.out,
                reading=o.reading,
                texts=o.texts,
                group=o.group,
                splitting=o.splitting,
                on_bad_sample=o.on_bad_sample,
                on_leak=o.on_leak,
                workers=o.workers,
                progress=progress,
            )
        seconds = time.monotonic() - began
        digest, profile = store_digest(o.out), {name: report.numbers[name] for name in ("clips", "frames")}
        run.log_dataset("store", digest, "import", profile, str(o.source))
        run.log_artifacts(o.out / "report", "report")
        run.log_metrics(report.metrics() | {"frames_per_second": read / seconds}, 0)
    print(report.markdown())
    print(f"{o.out}: {profile['clips']} clips, digest {digest[:12]}")


def run_verify(given: Mapping[str, str]) -> None:
    """Check every byte of the store that `verify` names."""
    if others := [name for name, value in given.items() if value and name not in ("verify", "relative_to")]:
        raise ParamsError(f"{', '.join(others)} beside it", place="verify", remedy="leave them out")
    path = _path(given, "verify")
    corpus = open_store(path, full=True)
    print(f"{path}: every byte as written; {len(corpus)} clips, {len(corpus.frames)} frames")


def parse(given: Mapping[str, str]) -> ImportOptions:
    """given: option name -> text, "" where not given. ParamsError before any work."""
    for name in ("source", "out"):
        if not given[name]:
            raise ParamsError("not given", place=name, wanted="a path", remedy=f"add --{name} PATH, or -P {name}=PATH")
    if given["experiment"] and "MLFLOW_RUN_ID" in os.environ:
        remedy = f"use mlflow run --experiment-name {given['experiment']}"
        raise ParamsError("mlflow run has already made the run elsewhere", place="experiment", remedy=remedy)
    for name, choices in CHOICES.items():
        if given[name] and given[name] not in choices:
            raise ParamsError(f"'{given[name]}'", place=name, wanted=" or ".join(choices))
    chosen: dict[str, Any] = {name: given[name] for name in CHOICES if given[name]}
    unit = chosen.pop("unit", None)
    size = _numbers(given, "size", "x", "a width and a height such as 640x480", 2)
    fps = _numbers(given, "fps", " ", "frames a second, such as 25", 1)
    workers = _numbers(given, "workers", " ", "a number of processes", 1)
    layout = given["layout"]
    if layout.endswith((".yaml", ".yml")):
        layout = str(_path(given, "layout"))
    return ImportOptions(
        source=_path(given, "source"),
        out=_path(given, "out"),
        texts=_path(given, "texts") if given["texts"] else None,
        reading=Reading(layout or None, fps[0] if fps else None, unit, (size[0], size[1]) if size else None),
        group=_group(given["group"]),
        splitting=_splitting(given),
        workers=int(workers[0]) if workers else None,
        experiment=given["experiment"],
        **chosen,
    )


def _splitting(given: Mapping[str, str]) -> Splitting | None:
    wanted = "shares of train, dev and test that make 1, such as 0.8,0.1,0.1"
    ratio = _numbers(given, "split_ratio", ",", wanted, 3)
    seed = _numbers(given, "seed", " ", "a whole number", 1)
    if ratio is None:
        if seed:
            raise ParamsError("given without split_ratio", place="seed", remedy="add --split-ratio 0.8,0.1,0.1")
        return None
    if not ratio[0] or abs(sum(ratio) - 1) > 1e-6:
        raise ParamsError(f"'{given['split_ratio']}'", place="split_ratio", wanted=wanted)
    return Splitting((ratio[0], ratio[1], ratio[2]), int(seed[0]) if seed else 0)


def _group(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        wanted = "signer, video, id, or a regular expression that finds the group in the id"
        raise ParamsError(f"'{value}' is no expression ({error})", place="group", wanted=wanted) from error
    return value


def _numbers(given: Mapping[str, str], name: str, between: str, wanted: str, count: int) -> tuple[float, ...] | None:
    """`count` numbers of 0 or more; None where not given."""
    if not given[name]:
        return None
    try:
        numbers = tuple(float(part) for part in given[name].lower().split(between))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(0 <= n < float("inf") for n in numbers):
        raise ParamsError(f"'{given[name]}'", place=name, wanted=wanted)
    return numbers


def _path(given: Mapping[str, str], name: str) -> Path:
    return Path(given["relative_to"] or ".") / Path(given[name]).expanduser()
