"""Options of evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sign_models.cli.values import experiment, path
from sign_models.datasets.inputs import Inputs
from sign_models.errors import ParamsError
from sign_models.params import load
from sign_models.params.schema import GenerateParams
from sign_models.pipeline.evaluate import EvaluateOptions, named_version
from sign_models.pipeline.options import DEFAULT_ALIAS


def parse(given: Mapping[str, str]) -> EvaluateOptions:
    """Read the options, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
        DataError: An input cannot be used.
    """
    files, videos = ("hypotheses", "references"), ("models", "data", "videos", "texts", "splits", "beams")
    if any(given[name] for name in files):
        if missing := [name for name in files if not given[name]]:
            raise ParamsError("not given", place=missing[0], wanted="a file of one sentence a line")
        if others := [n for n in (*videos, "length_penalty", "batch_size", "reject_below") if given.get(n)]:
            raise ParamsError(f"{', '.join(others)} beside it", place="hypotheses", remedy="leave them out")
    data, own_videos, texts = (path(given, name) for name in ("data", "videos", "texts"))
    base = Path(given["relative_to"] or ".")
    options = EvaluateOptions(
        models=tuple(dict.fromkeys(_items(given["models"]))) or (DEFAULT_ALIAS,),
        inputs=Inputs.from_paths(data, None, own_videos, texts),
        params=scoring(given),
        hypotheses=tuple(dict.fromkeys(base / Path(name).expanduser() for name in _items(given["hypotheses"]))),
        references=path(given, "references"),
        experiment=experiment(given),
    )
    for spec in options.models:
        named_version(spec)
    return options


def scoring(given: Mapping[str, str]) -> GenerateParams:
    """Read the parameters of generate.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The parameters, with those changed that are given.

    Raises:
        ParamsError: A value is not valid; the message has the nearest one.
    """
    sets = {name: given[name] for name in GenerateParams.model_fields if given.get(name)}
    return load.resolve("generate", sets=sets).generate


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
