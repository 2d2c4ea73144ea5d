"""Options of import."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from sign_models.cli.values import experiment
from sign_models.datasets.importing import ImportRules, Splitting
from sign_models.errors import ParamsError
from sign_models.keypoints.formats.files.source import ReadOptions
from sign_models.keypoints.sequence import RENAMED_UNITS
from sign_models.pipeline.importing import ImportOptions

FOLDERS: Literal["folders"] = "folders"  # in place of a file of texts: a clip's folder is named by its text
CHOICES = {
    "mirror": ("auto", "never"),
    "times": ("seconds", "ms", "frames"),
    "on_bad_sample": ("stop", "reject"),
    "on_leak": ("stop", "report"),
    "unit": ("pixel", "normalized", "centered"),
}


def parse_verify(given: Mapping[str, str]) -> Path:
    """Read the option verify.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The store to verify.

    Raises:
        ParamsError: Another option stands beside it.
    """
    if others := [name for name, value in given.items() if value and name not in ("verify", "relative_to")]:
        raise ParamsError(f"{', '.join(others)} beside it", place="verify", remedy="leave them out")
    return _path(given, "verify")


def parse(given: Mapping[str, str]) -> ImportOptions:
    """Read the options, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
    """
    for name in ("source", "out"):
        if not given[name]:
            raise ParamsError("not given", place=name, wanted="a path", remedy=f"add --{name} PATH, or -P {name}=PATH")
    for name, choices in CHOICES.items():
        if given[name] and given[name] not in choices:
            if name == "unit" and (new := RENAMED_UNITS.get(given[name])):
                raise ParamsError(f"'{given[name]}' is called '{new}' now", place=name, remedy=f"write {name}={new}")
            raise ParamsError(f"'{given[name]}'", place=name, wanted=" or ".join(choices))
    chosen: dict[str, Any] = {name: given[name] for name in CHOICES if given[name]}
    unit, times, mirroring = chosen.pop("unit", None), chosen.pop("times", None), chosen.pop("mirror", "auto")
    size = _numbers(given, "size", "x", "a width and a height such as 640x480", 2)
    fps = _numbers(given, "fps", " ", "frames a second, such as 25", 1)
    workers = _numbers(given, "workers", " ", "a number of processes", 1)
    layout = given["layout"]
    if layout.endswith((".yaml", ".yml")):
        layout = str(_path(given, "layout"))
    return ImportOptions(
        source=_path(given, "source"),
        out=_path(given, "out"),
        rules=ImportRules(
            texts=_path(given, "texts") if given["texts"] not in ("", FOLDERS) else None,
            group=_group(given["group"]),
            splitting=_splitting(given),
            mirroring=mirroring,
            **chosen,
        ),
        reading=ReadOptions(
            layout or None,
            fps[0] if fps else None,
            unit,
            (size[0], size[1]) if size else None,
            texts=FOLDERS if given["texts"] == FOLDERS else None,
            tiers=tuple(name.strip() for name in given["tiers"].split(",") if name.strip()),
            times=times,
            labels=str(_path(given, "labels")) if given["labels"] else None,
        ),
        workers=int(workers[0]) if workers else None,
        experiment=experiment(given),
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
    """Read `count` numbers of 0 or more; None where not given."""
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
