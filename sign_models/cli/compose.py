"""Options of compose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sign_models.cli.values import path, truth
from sign_models.datasets.compose import Recipe
from sign_models.errors import ParamsError

DEFAULT = Recipe()


def parse(given: Mapping[str, str]) -> tuple[Path, Path, Recipe]:
    """Read the options, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        Source, folder to write to, and recipe.

    Raises:
        ParamsError: One of them cannot be used.
    """
    source, out = path(given, "source"), path(given, "out")
    for name, place in (("source", source), ("out", out)):
        if place is None:
            raise ParamsError("not given", place=name, wanted="a path", remedy=f"add --{name} PATH, or -P {name}=PATH")
    assert source is not None and out is not None
    recipe = replace(DEFAULT, by_signer=truth("by_signer", given["by_signer"], DEFAULT.by_signer))
    if given["sentences"]:
        train, dev, test = _counts(given, "sentences", 3, "numbers for train, dev and test, such as 480,60,120")
        recipe = replace(recipe, sentences=(train, dev, test))
    if given["words"]:
        fewest, most = _counts(given, "words", 2, "the fewest and the most signs, such as 2,5")
        if not 1 <= fewest <= most:
            raise ParamsError(f"'{given['words']}'", place="words", wanted="the fewest, from 1 on, and then the most")
        recipe = replace(recipe, words=(fewest, most))
    if given["transition"]:
        recipe = replace(recipe, transition=_counts(given, "transition", 1, "a number of frames, from 0 on")[0])
    if given["seed"]:
        recipe = replace(recipe, seed=_counts(given, "seed", 1, "a number from 0 on")[0])
    if given["seen"]:
        if not re.fullmatch(r"0(\.\d+)?|1(\.0+)?|\.\d+", given["seen"]):
            raise ParamsError(f"'{given['seen']}'", place="seen", wanted="a share from 0 to 1")
        recipe = replace(recipe, seen=float(given["seen"]))
    return source, out, recipe


def _counts(given: Mapping[str, str], name: str, count: int, wanted: str) -> list[int]:
    parts = [part.strip() for part in given[name].split(",")]
    if len(parts) != count or not all(re.fullmatch(r"\d{1,9}", part) for part in parts):
        raise ParamsError(f"'{given[name]}'", place=name, wanted=wanted)
    return [int(part) for part in parts]
