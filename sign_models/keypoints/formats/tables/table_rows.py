"""Rows of tables of landmarks: the rows of each clip, and what their other columns say of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.tables.table_files import as_floats, is_nested

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ClipColumns:
    """Other columns of a clip's rows.

    Attributes:
        id: Id of the clip, or None.
        values: Distinct values of its rows for "text", "split" and "group", without empty ones.
    """

    id: str | None
    values: dict[str, dict[str, None]]

    def one(self, kind: str, column: str | None, place: str) -> str | None:
        """Get the value that all rows have.

        Args:
            kind: "text", "split" or "group".
            column: Name of the column, or None.
            place: What an error message names.

        Returns:
            The value, or None.

        Raises:
            DataError: The value changes within the clip.
        """
        found = list(self.values.get(kind, {}))
        if len(found) > 1:
            raise DataError(
                f"column {column!r} changes within the clip: {found[0][:40]!r}, then {found[1][:40]!r}",
                place=place,
                wanted="one value a clip",
                remedy="add a column id that tells which rows are one clip, or remove the column",
            )
        return found[0] if found else None


def by_id(batch: pa.RecordBatch, column: str | None) -> Iterator[tuple[str | None, pa.RecordBatch]]:
    """Split a batch where the id changes.

    Args:
        batch: Rows.
        column: Column of the ids, or None.

    Yields:
        Ids and consecutive rows. Without a column None and all rows.
    """
    if column is None:
        yield None, batch
        return
    codes = batch.column(column).dictionary_encode()
    indices = as_floats(codes.indices)
    cuts = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
    for start, stop in itertools.pairwise(cuts):
        if stop > start:
            yield str(codes[start].as_py()).strip(), batch.slice(start, stop - start)


def values_of(batch: pa.RecordBatch, column: str | None) -> list[str]:
    """List the distinct values of a column.

    Args:
        batch: Rows.
        column: Name of the column, or None.

    Returns:
        The values as text, without empty ones. Lists of words are joined.
    """
    if column is None:
        return []
    values = batch.column(column)
    if is_nested(values.type):
        return [" ".join(map(str, words)) for words in values.to_pylist() if words]
    found = values.unique().to_pylist()
    return [str(value) for value in found if value is not None and str(value).strip()]


def numbers_of(batch: pa.RecordBatch, column: str, place: str) -> np.ndarray:
    """Read a column of numbers.

    Args:
        batch: Rows.
        column: Name of the column.
        place: What an error message names.

    Returns:
        (N,) float64, NaN where empty.

    Raises:
        DataError: It holds something else than numbers.
    """
    import pyarrow as pa

    try:
        return as_floats(batch.column(column))
    except pa.ArrowException as error:
        found = f"column {column!r} holds something else than numbers ({str(error)[:80]})"
        raise DataError(found, place=place, wanted="numbers", remedy="export it again") from error


def column_of(batch: pa.RecordBatch, name: str) -> np.ndarray | None:
    """Read a column that may tell the times of frames.

    Args:
        batch: Rows.
        name: Name of the column.

    Returns:
        Numbers, or as texts what else may be a time. None for other types.
    """
    import pyarrow as pa

    column, types = batch.column(name), pa.types
    if types.is_integer(column.type) or types.is_floating(column.type) or types.is_decimal(column.type):
        return numbers_of(batch, name, name)
    if types.is_duration(column.type):
        steps = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
        return np.array([f"{(value or 0) / steps!r} s" for value in column.cast(pa.int64()).to_pylist()])
    if types.is_temporal(column.type):
        column = column.cast(pa.string())
    elif types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (types.is_string(column.type) or types.is_large_string(column.type)):
        return None
    return np.array([value or "" for value in column.to_pylist()])


def all_numbers_of(batch: pa.RecordBatch, columns: list[str], place: str) -> np.ndarray:
    """Read columns of numbers at once, which takes half as long as one by one.

    Args:
        batch: Rows.
        columns: Names of the columns.
        place: What an error message names.

    Returns:
        (N, columns) float64, NaN where empty.

    Raises:
        DataError: One holds something else than numbers.
    """
    import pyarrow as pa

    try:
        cells = [batch.column(column).cast(pa.float64()) for column in columns]
        return np.asarray(pa.RecordBatch.from_arrays(cells, columns).to_tensor(null_to_nan=True))
    except pa.ArrowException:  # one by one, so that the column is named
        return np.stack([numbers_of(batch, column, place) for column in columns], 1)


def integers_of(batch: pa.RecordBatch, column: str, place: str) -> np.ndarray:
    """Read a column of whole numbers.

    Args:
        batch: Rows.
        column: Name of the column.
        place: What an error message names.

    Returns:
        (N,) int64.

    Raises:
        DataError: It holds something else.
    """
    numbers = numbers_of(batch, column, place)
    if not ((numbers == np.floor(numbers)) & (np.abs(numbers) < 2**40)).all():
        raise DataError(f"column {column!r} is not whole numbers", place=place, wanted="0, 1, 2, ...")
    return numbers.astype(np.int64)
