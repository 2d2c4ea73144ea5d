"""The space that a sweep searches: parameters by name, each with a range or with choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sign_models.errors import ParamsError
from sign_models.params.load import read_yaml

WANTED = "{low: NUMBER, high: NUMBER, log: true|false} or a list of values"
EXAMPLE = "'training.lr: {low: 1e-4, high: 2e-3, log: true}' (docs/sweep.md)"


@dataclass(frozen=True)
class Range:
    """An interval of numbers.

    Attributes:
        low: Least value.
        high: Largest value. Only integers are sampled where both are integers.
        log: Whether the logarithm is sampled uniformly, not the value.
    """

    low: float
    high: float
    log: bool = False

    @property
    def integer(self) -> bool:
        """Whether only integers are sampled."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def boundary_values(self) -> tuple[Any, ...]:
        """Give the values by which the range is checked.

        Returns:
            Both ends. The whole range is valid if they are.
        """
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """A list of values, of which one is sampled.

    Attributes:
        values: Distinct values, numbers, texts or truth values.
    """

    values: tuple[str | int | float | bool, ...]

    def boundary_values(self) -> tuple[Any, ...]:
        """Give the values by which the choice is checked.

        Returns:
            All values, since each may be invalid by itself.
        """
        return self.values


@dataclass(frozen=True)
class Space:
    """The search space of a sweep.

    Attributes:
        domains: Range or choice by the name of the parameter, without the stage in front.
    """

    domains: Mapping[str, Range | Choice]

    def as_dict(self) -> dict[str, Any]:
        """Convert the space to JSON.

        Returns:
            Fields of each domain, by the name of the parameter.
        """
        return {name: asdict(domain) for name, domain in self.domains.items()}


def read_space(file: Path) -> Space:
    """Read the search space of a sweep.

    Args:
        file: YAML file that maps each parameter to a list of values or to {low, high, log}.

    Returns:
        The space. Whether the parameters exist is not checked here.

    Raises:
        ParamsError: The file is not such a space. The message lists every mistake.
    """
    content = read_yaml(file, EXAMPLE)
    mistakes: list[str] = []
    domains: dict[str, Range | Choice] = {}
    for name, value in content.items():
        domain = _domain(value)
        if domain is None:
            mistakes.append(f"{file.name}: {name} is {value!r:.60}; wanted {WANTED}")
        else:
            domains[str(name)] = domain
    if not content:
        mistakes.append(f"{file.name}: names no parameter; wanted NAME: {WANTED}")
    if mistakes:
        raise ParamsError("\n  ".join(mistakes), remedy="docs/sweep.md has an example")
    return Space(domains)


def _domain(value: Any) -> Range | Choice | None:
    if isinstance(value, list) and value and all(isinstance(item, str | int | float | bool) for item in value):
        return Choice(tuple(value))
    if not isinstance(value, dict) or not {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        return None
    low, high, log = _number(value["low"]), _number(value["high"]), value.get("log", False)
    if low is None or high is None or not isinstance(log, bool) or not low < high or (log and low <= 0):
        return None
    return Range(low, high, log)


def _number(value: Any) -> float | None:
    """A number, also where YAML reads it as text (1e-4); else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
