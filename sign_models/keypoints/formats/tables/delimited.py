"""Label tables in text: a header and a row for each clip, with any separator, quoting and encoding."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from sign_models.errors import DataError
from sign_models.keypoints.formats.files.containers import read_text
from sign_models.keypoints.formats.files.encodings import first_line, head_text
from sign_models.keypoints.formats.files.source import Source
from sign_models.keypoints.formats.tables.columns import FRAME, TEXT, first_of, is_known, names_a_clip
from sign_models.keypoints.formats.tables.table_columns import is_landmark

Row = tuple[str, dict[str, str]]  # what messages name, and cells by column

_DELIMITERS = "\t|;,"
_UNUSUAL = re.compile(r"^[\w\- ]*?\w(\s*[^\w\s\"'-]{1,3}\s*|\s+)\w")
_SEPARATOR_LINE = re.compile(r"sep=.(\r\n?|\n)", re.IGNORECASE)  # Excel's own first line
_LIST = re.compile(r"\s*\[\s*(\[|-?\d|NaN|null)")  # numbers, which `list_tables` reads
MAX_COMMENTS = 64  # lines before the header


def rows(source: Source) -> list[Row] | None:
    """Read a table of labels.

    Args:
        source: A text file.

    Returns:
        Its rows, or None if the header has no id or no text.

    Raises:
        DataError: A row has more cells than there are columns, or the file cannot be read.
    """
    if _separator(_first_line(head_text(source.head))) is None:
        return None
    text = _from_header(read_text(source.path))
    separator = _separator(_first_line(text))
    if separator is None:
        return None
    return _checked(_cells(text, separator, source.name), source.name)


def pairs(source: Source) -> list[tuple[str, str, str]] | None:
    """Read a table without a header whose rows are an id and a text, as AUTSL has them.

    Args:
        source: A text file.

    Returns:
        What messages name, id and text of every row. None where a row has more or fewer cells.

    Raises:
        DataError: The file cannot be read.
    """
    first = first_line(head_text(source.head))[0]
    separator = next((one for one in _DELIMITERS if len(first.split(one)) > 1), None)
    if separator is None or (len(first.split(separator)) > 2 and '"' not in first):
        return None
    found, error = _parsed(read_text(source.path), separator, csv.QUOTE_MINIMAL)
    if error or not found or any(len(cells) != 2 for _, cells in found) or _LIST.match(found[-1][1][1]):
        return None
    return [(f"{source.name}: line {line}", cells[0].strip(), cells[1].strip()) for line, cells in found]


def _first_line(text: str) -> str:
    return first_line(_from_header(text))[0]


def _from_header(text: str) -> str:
    """A table without what stands before its header: Excel's line, comments and empty lines."""
    text = _SEPARATOR_LINE.sub("", text, count=1) if _SEPARATOR_LINE.match(text) else text
    for _ in range(MAX_COMMENTS):
        text = text.lstrip("\r\n")
        if not text.startswith("#"):
            break
        line, rest = first_line(text)
        if _separator(line.lstrip("# ")):
            return text.lstrip("# ")
        text = rest
    return text


def _separator(line: str) -> str | None:
    """Separator of the columns in a header of labels, None for another line."""
    unusual = _UNUSUAL.match(line)
    separators: list[str] = [*_DELIMITERS, *([unusual[1].strip() or " "] if unusual else [])]
    for separator in separators:
        if separator not in line:
            continue  # one column, and no table; as a name of one its whole line would be taken apart
        names = [name.strip(" \t\ufeff\"'") for name in line.split(separator)]
        if sum(map(is_landmark, names)) >= 4:
            return None  # a table of landmarks, which `table` reads
        if separator == " " and not all(map(is_known, names)):
            continue  # a sentence
        if first_of(names, FRAME) is None and first_of(names, TEXT) and names_a_clip(names):
            return separator
    return None


def _cells(text: str, separator: str, place: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row, the header first. Empty lines are left out."""
    if len(separator) > 1 or separator == " ":
        found = [(i, [cell.strip() for cell in line.split(separator)]) for i, line in enumerate(text.splitlines(), 1)]
        return iter([(i, cells) for i, cells in found if any(cells)])
    quoted, error = _parsed(text, separator, csv.QUOTE_MINIMAL)
    # Sentences between tabs or bars may have single quotation marks, which are ordinary characters then.
    if separator in "\t|" and (error or _ragged(quoted)):
        plain, _ = _parsed(text, separator, csv.QUOTE_NONE)
        if not _ragged(plain) or error:
            return iter(plain)
    if error:
        line = quoted[-1][0] + 1 if quoted else 1
        remedy = "quote the cells, and double the quotation marks in them"
        raise DataError(f"row in line {line}: {error}", place=place, wanted="CSV", remedy=remedy)
    return iter(quoted)


def _parsed(text: str, separator: str, quoting: int) -> tuple[list[tuple[int, list[str]]], str]:
    """Rows, and why they end early, or ""."""
    # csv's own reader counts lines; newline="" keeps line breaks within cells as they are.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=quoting,  # type: ignore[arg-type]
        skipinitialspace=separator not in "\t",
        strict=True,
    )
    found: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((reader.line_num, cells))
    except csv.Error as error:
        return found, str(error)
    return found, ""


def _ragged(found: list[tuple[int, list[str]]]) -> bool:
    return any(len(cells) != len(found[0][1]) for _, cells in found)


def _checked(cells: Iterator[tuple[int, list[str]]], place: str) -> list[Row]:
    _, header = next(cells)
    names = [name.strip().strip("\ufeff") for name in header]
    while names and not names[-1]:
        names.pop()
    if not names_a_clip(names) or first_of(names, TEXT) is None:
        raise DataError(f"columns {', '.join(names[:8])}", place=place, wanted="an id and a text")
    result = []
    for line, row in cells:
        if beyond := [cell for cell in row[len(names) :] if cell.strip()]:
            raise DataError(
                f"{len(names) + len(beyond)} cells for {len(names)} columns: {beyond[0][:40]!r} is beyond the last",
                place=f"{place}: line {line}",
                wanted="a cell a column",
                remedy="quote cells that hold the separator",
            )
        result.append((f"{place}: line {line}", {n: c.strip() for n, c in zip(names, row, strict=False)}))
    return result
