"""Limits of untrusted trees of containers, checked before the trees are built or used.

A few bytes can describe a tree without end: JSON takes up to 30 times its size in memory, and a pickle may refer to one
list twice in every level of another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import Any, NamedTuple

from sign_models.errors import DataError

MEMORY_PER_BYTE, FREE_MEMORY = 4, 2**28  # bytes of memory that reading may take: so many a byte of the file, and these
MAX_VALUES = 2**25  # containers and values of a tree, each as often as it is referred to
MAX_DEPTH = 32  # containers within one another
ARRAYS_AS_LISTS = "save the keypoints as an npz, or a pickle of numpy arrays"
# Bytes that CPython takes for what begins at one of these characters: a list with room for four, a dict with room for
# five, a number in a list, and half of a string without its characters.
_COSTS = {b"[": 88, b"{": 184, b",": 34, b'"': 26}
_CONTAINERS = (list, tuple, dict)
_NUMBERS: frozenset[type] = frozenset([int, float, bool, type(None)])
_SCALARS = _NUMBERS | {str, bytes, bytearray, complex}


def memory_for(size: int) -> int:
    """Limit the memory for reading a file.

    Args:
        size: Size of the file, in bytes.

    Returns:
        Bytes of memory that reading it may take.
    """
    return MEMORY_PER_BYTE * size + FREE_MEMORY


def check_json(data: bytes | bytearray, place: str, *, memory: int | None = None) -> None:
    """Estimate the memory of JSON from its bytes, before it is parsed.

    Args:
        data: The JSON, not yet decoded.
        place: What an error message names.
        memory: Bytes that its values may take. None: memory_for its size.

    Raises:
        DataError: The values would take more.
    """
    counts = {character: data.count(character) for character in _COSTS}
    takes = 2 * len(data) + sum(counts[character] * cost for character, cost in _COSTS.items())
    allowed = memory_for(len(data)) if memory is None else memory
    if takes > allowed:
        values = sum(counts[character] for character in (b"[", b"{", b","))
        raise DataError(
            f"holds {values:,} values, which take {takes / 2**20:,.0f} MiB",
            place=place,
            wanted=f"at most {allowed / 2**20:,.0f} MiB for {len(data):,} bytes of JSON",
            remedy=f"{ARRAYS_AS_LISTS}, or split the file",
        )


def parse_json(text: str, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parse JSON that check_json has accepted.

    Args:
        text: The JSON.
        hook: As `object_pairs_hook` of json.loads.

    Returns:
        Its content.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=hook)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


class _Counted(NamedTuple):
    """Size of a container: values, bytes of arrays, levels of containers. What is referred to twice counts twice."""

    values: int
    array_bytes: int
    depth: int


def check_tree(tree: Any, place: str, *, numbers: bool = False, max_bytes: int | None = None) -> None:
    """Check the size of a tree. What is referred to several times counts every time, but is visited once.

    Args:
        tree: Containers, arrays and values.
        place: What an error message names.
        numbers: Whether only numbers, None and arrays of numbers are accepted.
        max_bytes: Bytes of its arrays at most. None: no limit.

    Raises:
        DataError: A container holds itself, the tree exceeds MAX_VALUES, MAX_DEPTH or `max_bytes`, or holds other
            values.
    """
    scalars = _NUMBERS if numbers else _SCALARS
    counted: dict[int, _Counted] = {}
    entered: set[int] = set()
    todo = [tree] if isinstance(tree, _CONTAINERS) else []
    while todo:
        node, key = todo[-1], id(todo[-1])
        values = node.values() if isinstance(node, Mapping) else node
        if lists := _lists_of_scalars(values, scalars, place):
            counted[key] = _Counted(len(values) + lists, 0, 2)
            todo.pop()
            continue
        others = [] if scalars.issuperset(map(type, values)) else [v for v in values if type(v) not in scalars]
        if any(isinstance(value, type) for value in others):
            wanted = "numbers, texts and arrays"
            raise DataError("holds a class in place of a value", place=place, wanted=wanted, remedy="save it again")
        inner = [value for value in others if isinstance(value, _CONTAINERS)]
        if numbers and len(inner) < len(others):
            _check_numbers(others, place)
        if key not in counted and (waiting := [value for value in inner if id(value) not in counted]):
            if key in entered:
                raise _refused("holds a container that holds itself", place)
            entered.add(key)
            todo += waiting
            continue
        todo.pop()
        of_inner = [counted[id(value)] for value in inner]
        found = counted[key] = _Counted(
            len(values) + sum(c.values for c in of_inner),
            sum(getattr(v, "nbytes", 0) for v in others) + sum(c.array_bytes for c in of_inner),
            1 + max((c.depth for c in of_inner), default=0),
        )
        if found.values > MAX_VALUES:
            raise _refused(f"holds {found.values:,} values, those of a shared list counted every time", place)
        if found.depth > MAX_DEPTH:
            raise _refused(f"holds more than {MAX_DEPTH} containers within one another", place)
        if max_bytes is not None and found.array_bytes > max_bytes:
            raise _refused(f"holds {found.array_bytes:,} bytes, those of a shared array counted every time", place)


def _lists_of_scalars(values: Collection[Any], scalars: frozenset[type], place: str) -> int:
    """Number of scalars if all values are lists of scalars, as in most of a tree; else 0."""
    if {*map(type, values)} != {list}:
        return 0
    count = sum(map(len, values))
    if count > MAX_VALUES:  # before they are looked at: it may be one list many times
        raise _refused(f"holds {count:,} values, those of a shared list counted every time", place)
    return count if scalars.issuperset(map(type, chain.from_iterable(values))) else 0


def _check_numbers(others: list[Any], place: str) -> None:
    for value in others:
        if not isinstance(value, _CONTAINERS) and getattr(getattr(value, "dtype", None), "kind", "") not in tuple(
            "biuf"
        ):
            raise DataError(
                f"keypoints of type {type(value).__name__}", place=place, wanted="numbers", remedy="save it as float32"
            )


def _refused(found: str, place: str) -> DataError:
    wanted = f"at most {MAX_VALUES:,} values, {MAX_DEPTH} levels deep"
    return DataError(found, place=place, wanted=wanted, remedy=ARRAYS_AS_LISTS)
