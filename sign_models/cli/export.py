"""What export was asked: text to typed options."""

from __future__ import annotations

from collections.abc import Mapping

from sign_models.cli.values import experiment, path, truth
from sign_models.errors import ParamsError
from sign_models.pipeline.export import FORMATS, ExportOptions
from sign_models.tracking.registered.promotion import CHAMPION


def parse(given: Mapping[str, str]) -> ExportOptions:
    """Read the options, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
    """
    if given["format"] and given["format"] not in FORMATS:
        raise ParamsError(f"'{given['format']}'", place="format", wanted=" or ".join(FORMATS))
    out = path(given, "out")
    if out is None:
        remedy = "add --out DIR, or -P out=DIR"
        raise ParamsError("not given", place="out", wanted="a new folder", remedy=remedy)
    return ExportOptions(given["version"] or CHAMPION, out, truth("int8", given["int8"]), experiment(given))
