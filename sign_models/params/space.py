"""The space that a sweep searches: parameters by name, each with a range or with choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sign_models.errors import ParamsError
from sign_models.params.load import read_yaml

WANTED = "{low: NUMBER, high: NUMBER, log: true|false} or a list of values"


@dataclass(frozen=True)
class Range:
    """Numbers from low to high; whole ones where both are. log: drawn evenly by their logarithm."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def corners(self) -> tuple[Any, ...]:
        """Values by which the whole range is checked."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[str | int | float | bool, ...]

    def corners(self) -> tuple[Any, ...]:
        """Values by which the choice is checked."""
        return self.values


@dataclass(frozen=True)
class Space:
    """Parameters of a stage, without the stage in front, and where each is searched."""

    places: Mapping[str, Range | Choice]

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {name: asdict(place) for name, place in self.places.items()}


def read_space(file: Path) -> Space:
    """The space of a YAML file.

    Raises:
        ParamsError: The file is no such space; every mistake is named.
    """
    content = read_yaml(file)
    mistakes: list[str] = []
    places: dict[str, Range | Choice] = {}
    for name, value in content.items():
        place = _place(value)
        if place is None:
            mistakes.append(f"{file.name}: {name} is {value!r:.60}; wanted {WANTED}")
        else:
            places[str(name)] = place
    if not content:
        mistakes.append(f"{file.name}: names no parameter; wanted at least one, e.g. training.lr: {WANTED}")
    if mistakes:
        raise ParamsError("\n  ".join(mistakes))
    return Space(places)


def _place(value: Any) -> Range | Choice | None:
    if isinstance(value, list) and value and all(isinstance(item, str | int | float | bool) for item in value):
        return Choice(tuple(value))
    if not isinstance(value, dict) or not {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        return None
    low, high, log = _number(value["low"]), _number(value["high"]), value.get("log", False)
    if low is None or high is None or not isinstance(log, bool) or not low < high or (log and low <= 0):
        return None
    return Range(low, high, log)


def _number(value: Any) -> float | None:
    """YAML reads 1e-4 as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
