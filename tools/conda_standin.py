"""`conda` for a machine without conda: answers what MLflow asks, with this project's own environment.

Without it a bare `mlflow run .` fails, since MLproject names a conda.yaml, and leaves a run that stays RUNNING.
MLflow's whole use of conda (mlflow/utils/conda.py) is

    conda --help
    conda env list --json                       answered with none, so that the next line always comes
    conda env create -n NAME --file conda.yaml  checks every version in the file against this environment
    source activate NAME                        finds bin/activate of the environment, which ignores NAME

`make setup` installs it as .venv/bin/conda, and only where there is no other conda.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml
from packaging.requirements import InvalidRequirement, Requirement

REMEDY = "run `make setup`, or `mlflow run` with --env-manager virtualenv, or install conda"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="conda", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    environments = commands.add_parser("env").add_subparsers(dest="action", required=True)
    environments.add_parser("list").add_argument("--json", action="store_true", required=True)
    create = environments.add_parser("create")
    create.add_argument("-n", "--name", required=True)
    create.add_argument("-f", "--file", type=Path, required=True)
    commands.add_parser("install-standin", help="put this file into the running environment as bin/conda")
    given = parser.parse_args(arguments)
    if given.command == "install-standin":
        print(installed(Path(sys.prefix) / "bin" / "conda"))
        return 0
    if given.action == "list":
        print(json.dumps({"envs": []}))
        return 0
    if mismatches := disagreements(given.file):
        lines = [
            f"conda (stand-in of this project): {sys.prefix} does not agree with {given.file}:",
            *mismatches,
            REMEDY,
        ]
        print("\n  ".join(lines), file=sys.stderr)
        return 1
    return 0


def disagreements(conda_yaml: Path) -> list[str]:
    """What conda.yaml asks for and the running environment does not have, a line each."""
    found: list[str] = []
    for entry in yaml.safe_load(conda_yaml.read_text(encoding="utf-8"))["dependencies"]:
        lines = entry["pip"] if isinstance(entry, dict) else [entry]
        found += filter(None, (_disagreement(line, pip=isinstance(entry, dict)) for line in lines))
    return found


def _disagreement(line: str, pip: bool) -> str | None:
    try:
        wanted = Requirement(line if pip else re.sub(r"(?<![<>=!])=([\d.]+)$", r"==\1.*", line))  # conda's python=3.11
    except InvalidRequirement:
        return f"'{line}' cannot be checked"
    if wanted.marker is not None and not wanted.marker.evaluate():
        return None
    if not pip and wanted.name == "python":
        have = ".".join(map(str, sys.version_info[:3]))
    elif not pip and wanted.name != "pip":
        return f"'{line}' is a conda package, which only conda can install"
    else:
        try:
            have = version(wanted.name)
        except PackageNotFoundError:
            return f"{line} is not installed"
    return None if wanted.specifier.contains(have, prereleases=True) else f"{line} is asked for, {have} is installed"


def installed(target: Path) -> str:
    """Writes the stand-in to `target`, unless another conda is there, and says what was done."""
    elsewhere = [folder for folder in os.get_exec_path() if Path(folder) != target.parent]
    if other := shutil.which("conda", path=os.pathsep.join(elsewhere)):
        target.unlink(missing_ok=True)
        return f"conda: using {other}"
    target.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).resolve()))} "$@"\n'
    )
    target.chmod(0o755)
    return f"conda: there is none; {target} stands in for it"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
