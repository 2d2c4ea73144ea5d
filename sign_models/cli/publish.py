"""What publish was asked: text to typed options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sign_models.cli.values import experiment, license_name, path, truth
from sign_models.errors import ParamsError
from sign_models.pipeline.publish import PublishOptions
from sign_models.tracking.registered.hub import REPO, SCHEME
from sign_models.tracking.registered.promotion import CHAMPION


def parse(given: Mapping[str, str]) -> PublishOptions:
    """Read the options, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
    """
    return PublishOptions(
        version=given["version"] or CHAMPION,
        repo=_repo(given),
        private=truth("private", given["private"], True),
        replace=truth("replace", given["replace"]),
        experiment=experiment(given),
        license=license_name(given.get("license", "")),
    )


def _repo(given: Mapping[str, str]) -> Path | str:
    """A folder where it can be none of the Hub's names, or is there; else `user/name`."""
    typed, folder = given["repo"], path(given, "repo")
    if folder is None:
        remedy = "add --repo, or -P repo=..."
        raise ParamsError("not given", place="repo", wanted="a folder, or user/name on the Hub", remedy=remedy)
    name = typed.removeprefix(SCHEME)
    if name == typed and (folder.exists() or typed.startswith(".") or not re.fullmatch(r"[^/\\]+/[^/\\]+", typed)):
        return folder
    found = REPO.fullmatch(name)
    if not found or found["revision"]:
        raise ParamsError(f"{typed!r}", place="repo", wanted="user/name on the Hub", remedy=f"for a folder: ./{name}")
    return name
