"""Files of tables: Parquet and CSV in batches of rows, with any separator, decimal sign and encoding."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.files.containers import open_binary, read_text
from sign_models.keypoints.formats.files.encodings import first_line, head_text, utf16_of
from sign_models.keypoints.formats.files.source import Source
from sign_models.keypoints.formats.tables.table_columns import cell_of, renamed

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS = 4096
MAX_GROUP_BYTES = 2**31  # of a row group of a Parquet file, unpacked
MAX_ROW_BYTES = 2**24  # of a row of a CSV file
_DELIMITERS = "\t;|,^"
_SEPARATORS = f"{_DELIMITERS} "  # a space where there is no other
MAX_COMMENTS = 64  # lines before a header
_SEPARATOR_LINE = re.compile(r"sep=.", re.IGNORECASE)  # Excel's own first line
_COMMA, _POINT = re.compile(r"-?\d+,\d+"), re.compile(r"-?\d+\.\d+")
_LANDMARK = re.compile(r"([xyzvc]_?\w*\d+|[xyz]|.+_[xyzc])", re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """The header of a CSV file.

    Attributes:
        names: Its columns.
        delimiter: Their separator.
        decimal_comma: Whether numbers have a decimal comma.
        lines: Lines before it.
    """

    names: list[str]
    delimiter: str = ","
    decimal_comma: bool = False
    lines: int = 0


def header(source: Source) -> Header:
    """Read the header of a CSV file from its first bytes.

    Args:
        source: The file.

    Returns:
        The header. A long one may be incomplete.
    """
    head = head_text(source.head)
    body, lines = _from_header(head)
    first, rest = first_line(body)
    counts = {delimiter: first.count(delimiter) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda d: counts[d])
    if not counts[delimiter] and " " in first:
        delimiter = " "
    cells = [cell.strip() for cell in _cells(rest, delimiter)]
    decimal_comma = any(map(_COMMA.fullmatch, cells)) and not any(map(_POINT.fullmatch, cells))
    return Header(_names(first.lstrip("# "), delimiter), delimiter, decimal_comma, lines)


def _from_header(text: str) -> tuple[str, int]:
    """A table without the lines before its header, which are Excel's, comments or empty, and how many they are."""
    lines = 0
    while lines < MAX_COMMENTS:
        line, rest = first_line(text)
        separators, below = (sum(map(one.count, _SEPARATORS)) for one in (line, first_line(rest)[0]))
        is_comment = line.startswith("#") and separators < below
        if not rest or not (is_comment or not line.strip() or _SEPARATOR_LINE.fullmatch(line)):
            break
        text, lines = rest, lines + 1
    return text, lines


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return [cell for row in csv.reader(text.splitlines(), delimiter=delimiter) for cell in row]
    except csv.Error:
        return []


def _names(line: str, delimiter: str) -> list[str]:
    """Columns of a header, none where it is no CSV."""
    try:
        return renamed(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))
    except csv.Error:  # such as a cell beyond its limit
        return []


def is_nested(kind: pa.DataType) -> bool:
    """Tell columns of lists.

    Args:
        kind: Type of a column.

    Returns:
        Whether its cells are lists.
    """
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def column_names(source: Source) -> list[str]:
    """List the columns of a Parquet file.

    Args:
        source: The file.

    Returns:
        Their names, as `renamed` gives them.

    Raises:
        DataError: The file is broken.
    """
    with _as_data_error(source.name):
        return renamed(list(_parquet(source).schema_arrow.names))


def nested_columns(source: Source) -> list[str]:
    """List the columns of a Parquet file whose cells are lists of numbers or objects.

    Args:
        source: The file.

    Returns:
        Their names.

    Raises:
        DataError: The file is broken.
    """
    import pyarrow as pa

    def leaf(kind: pa.DataType) -> pa.DataType:
        return leaf(kind.value_type) if is_nested(kind) else kind

    with _as_data_error(source.name):
        fields = list(_parquet(source).schema_arrow)
        text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
        lists = [field.name for field in fields if is_nested(field.type) and not any(t(leaf(field.type)) for t in text)]
        return renamed(lists)


def _parquet(source: Source) -> Any:
    from pyarrow import parquet

    # The limits hold for the footer, which a file may describe as larger than memory.
    file = parquet.ParquetFile(source.path, thrift_string_size_limit=2**24, thrift_container_size_limit=2**20)
    _check_parquet(file.metadata, source.name)
    return file


@contextmanager
def _as_data_error(place: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, EOFError, RecursionError) as error:
        found = f"is no readable table ({str(error)[:120]})"
        raise DataError(found, place=place, wanted="a whole file", remedy="export it again") from error


def batches(source: Source, rows: int = 2**16) -> Iterator[pa.RecordBatch]:
    """Read a table in batches of rows, so that memory does not grow with it.

    Args:
        source: Parquet or CSV file.
        rows: Rows of a batch of a Parquet file.

    Yields:
        Batches, with the common names of columns.

    Raises:
        DataError: The table is broken or too wide, or a row has more cells than the header.
    """
    with _as_data_error(source.name):
        if source.kind == "parquet":
            yield from map(_validated, _parquet(source).iter_batches(batch_size=rows))
        else:
            yield from map(_validated, _csv(source))


def as_floats(values: pa.Array) -> np.ndarray:
    """Convert a column to numbers. Arrow's own to_numpy() imports pandas, which takes half a second.

    Args:
        values: (N,) of any type that Arrow casts to numbers.

    Returns:
        (N,) float64, NaN where empty.

    Raises:
        pyarrow.ArrowException: They are no numbers.
    """
    import pyarrow as pa

    column = pa.RecordBatch.from_arrays([values.cast(pa.float64())], [""])
    return np.asarray(column.to_tensor(null_to_nan=True)).reshape(-1)


def _csv(source: Source) -> Iterator[pa.RecordBatch]:
    """Batches of a CSV file: landmarks as numbers, all other columns as text."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    found = header(source)
    # Arrow reads UTF-8 only, and lines are looked for by their line feeds below.
    plain = utf16_of(source.head) is None and not re.search(rb"\r(?!\n|$)", source.head)
    whole = "" if plain else re.sub(r"\r\n?", "\n", read_text(source.path))
    with open_binary(source.path) if plain else io.BytesIO(whole.encode()) as text:
        for _ in range(found.lines):
            text.readline(MAX_ROW_BYTES)
        first = text.readline(MAX_ROW_BYTES).decode("utf-8-sig", "replace").rstrip("\r\n")
        names = _names(first.lstrip("# "), found.delimiter)
        other = {n: pa.string() for n in names if not (_LANDMARK.fullmatch(n) or cell_of(n))} | {"frame": pa.string()}
        other.pop("landmark_index", None)
        yield from arrow_csv.open_csv(
            text,
            read_options=arrow_csv.ReadOptions(block_size=MAX_ROW_BYTES, column_names=names),
            parse_options=arrow_csv.ParseOptions(delimiter=found.delimiter),
            convert_options=arrow_csv.ConvertOptions(
                column_types=other,
                decimal_point="," if found.decimal_comma else ".",
                strings_can_be_null=False,
            ),
        )


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Check offsets and encoding of a batch. Raises ArrowInvalid or UnicodeDecodeError."""
    batch.validate(full=True)
    names = renamed(batch.schema.names)
    return batch.rename_columns(names) if names != batch.schema.names else batch


def _check_parquet(metadata: Any, place: str) -> None:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns)]
    if metadata.num_columns > MAX_COLUMNS or any(not 0 <= size <= MAX_GROUP_BYTES for size in columns):
        raise DataError(
            f"says it has {metadata.num_columns} columns of up to {max(columns, default=0):,} bytes",
            place=place,
            wanted=f"at most {MAX_COLUMNS} columns, and {MAX_GROUP_BYTES:,} bytes of a column in a row group",
            remedy="write it with smaller row groups",
        )
