"""What a command was asked: text of options to typed values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sign_models.errors import ParamsError, UpstreamError
from sign_models.params import load
from sign_models.params.schema import TRAINING_OPTIONS
from sign_models.pipeline.options import EMBEDDED, Options
from sign_models.stages.declaration import STAGES, by_role, option_name, params_schema

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def parse(stage: str | None, given: dict[str, Any], overrides: Sequence[str]) -> Options:
    """Read options, before any work.

    Args:
        stage: Its name. None: the pipeline.
        given: Text by option, as click read it; "" where not given.
        overrides: What click did not know: `--name value` and `--name=value`, dotted parameter names.

    Returns:
        The typed options.

    Raises:
        ParamsError: An option or parameter cannot be used.
        UpstreamError: A file is given where a model or run must be named.
    """
    base = Path(given["relative_to"] or ".")
    chosen = _stage(given.get("stage", "")) or stage
    accepted = tuple(name for name in given if name not in TRAINING_OPTIONS)
    sets = {name: given[name] for name in TRAINING_OPTIONS if given.get(name)} | _pairs(overrides)
    override = _path(given["config_override"], base)
    upstream = {role: given[option_name(role)] for role in (STAGES[stage].upstream_roles if stage else ())}
    for role, value in upstream.items():
        refuse_file(option_name(role), value, base, run_only=not by_role()[role].registers)
    embedded = not any(given[name] for name in ("data", "keypoints", "videos", "texts"))
    preset = ",".join(filter(None, (EMBEDDED if embedded else "", given["preset"])))
    return Options(
        params=load.resolve(chosen, preset, override, sets, accepted, params_schema()),
        data=_path(given["data"], base),
        keypoints=_path(given["keypoints"], base),
        videos=_path(given["videos"], base),
        texts=_path(given["texts"], base),
        stage=chosen if stage is None else None,
        skip_trained=truth("skip_trained", given.get("skip_trained", ""), False),
        inference=_inference(given),
        force=_force(given.get("force", "")),
        upstream={role: value for role, value in upstream.items() if value},
        experiment=experiment(given),
        preset=preset,
        config_override=override,
        processes=_processes(given.get("processes", "")),
        candidate=truth("candidate", given.get("candidate", ""), True),
        license=license_name(given.get("license", "")),
    )


def license_name(value: str) -> str:
    """Read the name of a licence.

    Args:
        value: Its text.

    Returns:
        The name as it was typed; "" where none is given.

    Raises:
        ParamsError: It is no single line of at most 200 characters.
    """
    if not value.isprintable() or len(value) > 200:
        wanted = "a name on one line, such as cc-by-4.0, at most 200 characters"
        raise ParamsError(f"{value[:40]!r}", place="license", wanted=wanted)
    return value.strip()


def refuse_file(name: str, value: str, base: Path = Path(), run_only: bool = False) -> None:
    """Refuse a file where a run, or something in the registry, must be named.

    Args:
        name: Of the option.
        value: What was given.
        base: Folder that relative paths count from.
        run_only: Whether only a run can be named.

    Raises:
        UpstreamError: The value can only be a file.
    """
    uri = re.match(r"(runs|models|mlflow-artifacts):/", value)
    plain = re.fullmatch(r"[\w-]*", value)  # all that MLflow allows in an alias, a version or a run ID
    if value and not uri and (not plain or (base / value).is_file()):
        wanted = "a run ID" if run_only else "an alias, a version, a run ID or an MLflow URI"
        example = "8f14e45f..." if run_only else "candidate, 3 or models:/sign-skeleton/3"
        raise UpstreamError(f"'{value}' looks like a file", place=name, wanted=wanted, remedy=f"e.g. {example}")


def _pairs(arguments: Sequence[str]) -> dict[str, str]:
    """Read `--name value`, `--name=value` and `--name` (true) -> text by name; its dashes count as underscores."""
    pairs: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or name == "--":
            raise ParamsError(f"'{name}' is not an option", place="command line", wanted="--name value")
        if not equals:
            value = "true" if not rest or rest[0].startswith("--") else rest.pop(0)
        pairs[name[2:].replace("-", "_")] = value
    return pairs


def _path(value: str, base: Path) -> Path | None:
    return base / Path(value).expanduser() if value else None


def path(given: Mapping[str, str], name: str) -> Path | None:
    """The path that an option names, counted from the option relative_to.

    Args:
        given: Text by option; "" where not given.
        name: Of the option.

    Returns:
        The path. None: it is not given.
    """
    return _path(given[name], Path(given["relative_to"] or "."))


def with_videos(given: Mapping[str, str]) -> dict[str, str]:
    """Take the videos that stand without `--videos` before them.

    Args:
        given: Text by option, and of the argument "video"; "" where not given.

    Returns:
        The same, the videos among the options.

    Raises:
        ParamsError: Both are given.
    """
    bare = given.get("video", "")
    if bare and given["videos"]:
        raise ParamsError(f"given twice, as '{given['videos']}' and '{bare}'", place="videos", remedy="leave one out")
    return {**given, "videos": given["videos"] or bare}


def experiment(given: Mapping[str, str]) -> str:
    """The experiment that was named.

    Args:
        given: Text by option; "" where not given.

    Returns:
        Its name; "" where none is given.

    Raises:
        ParamsError: `mlflow run` has already made the run of this process.
    """
    if given["experiment"] and "MLFLOW_RUN_ID" in os.environ:
        remedy = f"use mlflow run --experiment-name {given['experiment']}"
        raise ParamsError("mlflow run has already made the run elsewhere", place="experiment", remedy=remedy)
    return given["experiment"]


def truth(name: str, value: str, default: bool = False) -> bool:
    """Read a flag.

    Args:
        name: Of the option.
        value: Its text.
        default: Where the text is empty.

    Returns:
        Its value.

    Raises:
        ParamsError: It is neither true nor false.
    """
    if not value:
        return default
    if value.lower() not in TRUE + FALSE:
        raise ParamsError(f"'{value}'", place=name, wanted="true or false")
    return value.lower() in TRUE


def _inference(given: dict[str, Any]) -> bool:
    off = bool(given.get("no_inference", False))
    wanted = truth("inference", given.get("inference", ""), not off)
    if off and wanted:
        raise ParamsError("both --no-inference and --inference true", place="inference", remedy="leave one out")
    return wanted


def to_arguments(given: Mapping[str, Any]) -> list[str]:
    """Write what click read as it could have been typed.

    Args:
        given: Value by option.

    Returns:
        The words, as a shell would hand them on.
    """
    names = {name: f"--{name.replace('_', '-')}" for name in given}
    return [names[name] if value is True else f"{names[name]}={value}" for name, value in given.items() if value]


def _processes(value: str) -> int:
    if value and not (value.isdecimal() and len(value) < 6 and int(value) > 0):
        raise ParamsError(f"'{value}'", place="processes", wanted="a number from 1 on")
    return int(value or 1)


def _stage(value: str) -> str | None:
    for stage in STAGES:
        if value == stage:
            return stage
    if value:
        raise _no_stage("stage", value, [*STAGES])
    return None


def _force(value: str) -> tuple[str, ...]:
    named = tuple(part.strip() for part in value.split(",") if part.strip())
    for part in named:
        if part not in (*STAGES, "all"):
            raise _no_stage("force", part, (*STAGES, "all"))
    return named


def _no_stage(place: str, value: str, choices: Sequence[str]) -> ParamsError:
    near = load.nearest(value, choices)
    hint = f"did you mean '{near}'?" if near else ""
    return ParamsError(f"'{value}' does not exist", place=place, wanted=f"one of {', '.join(choices)}", remedy=hint)
