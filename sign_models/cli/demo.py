"""Options of demo."""

from __future__ import annotations

from collections.abc import Mapping

from sign_models.cli.values import experiment, truth
from sign_models.errors import ParamsError
from sign_models.pipeline.demo import DemoOptions
from sign_models.pipeline.translate import CHAMPION


def parse(given: Mapping[str, str]) -> DemoOptions:
    """Read the options, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
    """
    port = given["port"] or "8080"
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ParamsError(f"'{port}'", place="port", wanted="1 to 65535")
    strict = truth("strict_extractor", given["strict_extractor"])
    host = given["host"] or "127.0.0.1"
    return DemoOptions(given["model"] or CHAMPION, host, int(port), strict, experiment(given))
