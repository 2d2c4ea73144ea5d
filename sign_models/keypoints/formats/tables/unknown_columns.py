"""Unknown columns of tables of landmarks."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from sign_models.errors import DataError
from sign_models.keypoints.formats.tables.table_columns import LONG_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa


class UnknownColumns:
    """Unknown columns of a table without an id: one of them may say which rows are one clip."""

    IGNORED = re.compile(
        r"(row_?id|unnamed.*|index|time.*|.*_?ms|seconds|fps|width|height|hand(edness)?|score.*|)", re.I
    )

    def __init__(self) -> None:
        """Start without rows."""
        self._runs: dict[str, int] = {}
        self._last: dict[str, Any] = {}
        self._rows = 0

    def add(self, batch: pa.RecordBatch, names: list[str]) -> None:
        """Count the changes of unknown columns.

        Args:
            batch: The next rows.
            names: The columns.
        """
        import pyarrow as pa

        for name in names:
            column = batch.column(name)
            if self.IGNORED.fullmatch(name) or name in LONG_COLUMNS or pa.types.is_floating(column.type):
                continue
            values = column.to_pylist()
            if not any(isinstance(value, str) and not _is_fraction(value) for value in values[:1]) and not (
                pa.types.is_integer(column.type)
            ):
                continue
            runs = sum(a != b for a, b in itertools.pairwise(values))
            first = self._last.get(name, values[0] if values else None)
            self._runs[name] = self._runs.get(name, 1) + runs + (bool(values) and values[0] != first)
            self._last[name] = values[-1] if values else first
        self._rows += batch.num_rows

    def check(self, place: str) -> None:
        """Check that no column looks like an id.

        Args:
            place: What an error message names.

        Raises:
            DataError: A column stays the same for some rows and then changes.
        """
        for name, runs in self._runs.items():
            if 1 < runs < self._rows:
                raise DataError(
                    f"column {name!r} changes {runs - 1} times, and no column is known to tell the clips apart",
                    place=place,
                    wanted="a column named id where rows of several clips are in one table",
                    remedy=f"rename {name!r} to id if it tells the clips apart, else remove it",
                )


def _is_fraction(value: str) -> bool:
    return bool(re.fullmatch(r"-?\d*[.,]\d+(e-?\d+)?", value.strip(), re.IGNORECASE))
