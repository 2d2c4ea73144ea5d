"""Options of translate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from sign_models.cli.values import experiment, path, truth, with_videos
from sign_models.errors import ParamsError
from sign_models.pipeline.translate import CHAMPION, FORMS, UNSURE, TranslateOptions


def parse(given: Mapping[str, str]) -> TranslateOptions:
    """Read the options, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
    """
    given = with_videos(given)
    videos, out = path(given, "videos"), path(given, "out")
    if videos is None:
        remedy = "add --videos PATH, or -P videos=PATH"
        raise ParamsError("not given", place="videos", wanted="videos or files of keypoints", remedy=remedy)
    forms = tuple(form for form in FORMS if truth(form, given[form]))
    if out is None and forms:
        raise ParamsError("not given", place="out", wanted="a folder for the files", remedy="add --out DIR")
    strict = truth("strict_extractor", given["strict_extractor"])
    n_best = given["n_best"] or "1"
    if not n_best.isdecimal() or not 1 <= int(n_best) <= 16:
        raise ParamsError(f"'{n_best}'", place="n_best", wanted="1 to 16")
    unsure, below = given.get("unsure") or UNSURE[0], given.get("reject_below") or ""
    if unsure not in UNSURE:
        raise ParamsError(f"'{unsure}'", place="unsure", wanted=" or ".join(UNSURE))
    return TranslateOptions(
        videos,
        given["model"] or CHAMPION,
        out or Path(),
        forms,
        int(n_best),
        strict,
        path(given, "overlay"),
        experiment(given),
        unsure,
        _share("reject_below", below) if below else None,
    )


def _share(name: str, value: str) -> float:
    """A number from 0 to 1."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ParamsError(f"'{value}'", place=name, wanted="0 to 1")
    return number
