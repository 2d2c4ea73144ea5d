"""What each parameter means, for `--help` and docs/parameters.md, as the schema and params/*.yaml say it.

`python -m sign_models.params.describe > docs/parameters.md` writes the page; a test holds it to the schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel

from sign_models.params.load import flatten, kinds, resolve, section, sections
from sign_models.params.schema import MAX_COUNT, PipelineParams

HEADER = """# Parameters

Every parameter of every stage. This page is made from `sign_models/params/schema.py` and `params/*.yaml` by
`python -m sign_models.params.describe > docs/parameters.md`.

Set one with `-P alignment.training.lr=1e-4` (MLflow), `--alignment.training.lr 1e-4` (command) or in a YAML file with
`config_override`. A command of one stage takes the names without the stage. Presets (`params/presets`) change defaults.
"""
COMPARISONS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
TYPE_NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): "null"}


class Parameter(NamedTuple):
    """One parameter as the documentation shows it.

    Attributes:
        name: Dotted name with the stage in front.
        accepts: Accepted values in words.
        default: Value in params/*.yaml, as MLflow shows it.
        meaning: Description in the schema.
    """

    name: str
    accepts: str
    default: str
    meaning: str


def parameters(stage: str, schema: type[PipelineParams] = PipelineParams) -> list[Parameter]:
    """Describe the parameters of a stage.

    Args:
        stage: Section of the schema.
        schema: Type of all parameters.

    Returns:
        The parameters in the order of the schema, sections flattened.
    """
    defaults = flatten(getattr(resolve(schema=schema), stage), stage)
    return [
        Parameter(name, accepts, str(defaults[name]), meaning)
        for name, accepts, meaning in _walk(sections(schema)[stage], f"{stage}.")
    ]


def markdown() -> str:
    """Write the page docs/parameters.md.

    Returns:
        The page in Markdown: a table for each stage.
    """
    lines = [HEADER]
    for stage in sections():
        lines += [f"## {stage}", "", "| name | accepts | default | meaning |", "|---|---|---|---|"]
        lines += [f"| `{p.name}` | {p.accepts} | {_code(p.default)} | {p.meaning} |" for p in parameters(stage)]
        lines.append("")
    return "\n".join(lines)


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for key, field in model.model_fields.items():
        if inner := section(field.annotation):
            yield from _walk(inner, f"{prefix}{key}.")
        else:
            annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            yield prefix + key, accepted(annotation), field.description or ""


def accepted(annotation: Any) -> str:
    """Say in words what an annotation accepts.

    Args:
        annotation: Type annotation of a parameter, with its limits (`Annotated`).

    Returns:
        Words such as `integer > 0`, `number from 0 to 1 or null` or `auto, word or char`.
    """
    if get_origin(annotation) is Annotated:
        kind, *limits = get_args(annotation)
        return " ".join(filter(None, (accepted(kind), _range(limits))))
    if get_origin(annotation) is Literal:
        *first, last = map(str, get_args(annotation))
        return f"{', '.join(first)} or {last}" if first else last
    if get_origin(annotation) is list:
        return f"list of {accepted(get_args(annotation)[0])}"
    alternatives = get_args(annotation) if len(kinds(annotation)) > 1 else ()
    return " or ".join(map(accepted, alternatives)) if alternatives else TYPE_NAMES[annotation]


def _range(limits: list[Any]) -> str:
    """Words for pydantic's limits, or "" without limits."""
    limits = [part for limit in limits for part in getattr(limit, "metadata", [limit])]
    bounds = {name: getattr(limit, name) for limit in limits for name in COMPARISONS if hasattr(limit, name)}
    bounds = {name: bound for name, bound in bounds.items() if bound != MAX_COUNT}  # not worth telling
    if {"ge", "le"} <= bounds.keys():
        return f"from {bounds['ge']} to {bounds['le']}"
    return ", ".join(f"{COMPARISONS[name]} {bound}" for name, bound in bounds.items())


def _code(default: str) -> str:
    return f"`{default}`" if default else "empty"


if __name__ == "__main__":
    print(markdown(), end="")
