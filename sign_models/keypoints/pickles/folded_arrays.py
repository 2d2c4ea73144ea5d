"""Lists of arrays of one shape and dtype, which the scan of a pickle has taken out of it.

N arrays of a list.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np


class Arrays:
    """A list of arrays of one shape and dtype, concatenated.

    Attributes:
        parts: The arrays in their order, several at a time: (N, *shape) each.
    """

    def __init__(self, parts: list[np.ndarray]) -> None:
        """Take over concatenated arrays.

        Args:
            parts: (N, *shape) each.
        """
        self.parts = parts

    @property
    def nbytes(self) -> int:
        """Size of all arrays, in bytes."""
        return sum(part.nbytes for part in self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._single)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._single[index]

    @cached_property
    def _single(self) -> list[np.ndarray]:
        return list(chain.from_iterable(self.parts))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """(N, *shape), always a copy."""
        return np.concatenate(self.parts, dtype=dtype)


class Folded:
    """Placeholder in a list for arrays that are like the one before it.

    Attributes:
        parts: (N, *shape) each.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: list[np.ndarray]) -> None:
        """Take over concatenated arrays.

        Args:
            parts: (N, *shape) each.
        """
        self.parts = parts


def unfold(tree: Any, count: int) -> Any:
    """Replace lists with placeholders by Arrays.

    Args:
        tree: Containers, arrays, values and placeholders.
        count: Number of placeholders.

    Returns:
        The tree.

    Raises:
        UnpicklingError: A placeholder is outside a list or occurs twice, or its list holds anything but like arrays.
    """
    root, seen = [tree], set[int]()
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if type(value) is list and (folded := [*map(type, value)].count(Folded)):
                parts: list[np.ndarray] = []
                for item in value:
                    parts += item.parts if type(item) is Folded else [item[None].view(np.ndarray)]
                dtype, shape = parts[0].dtype, parts[0].shape[1:]
                for part in parts:
                    if part.dtype != dtype or part.shape[1:] != shape:
                        raise pickle.UnpicklingError("a list of unlike arrays")
                node[key] = Arrays(parts)
                count -= folded
            elif type(value) is Folded:
                raise pickle.UnpicklingError("like arrays outside a list")
            elif isinstance(value, dict | list | tuple) and id(value) not in seen:
                seen.add(id(value))
                todo.append(value)
    if count:
        raise pickle.UnpicklingError("like arrays in two places")
    return root[0]
