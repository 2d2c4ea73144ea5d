"""Contents of JSON, text, npy and npz files, read within limits."""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.files.encodings import decode
from sign_models.keypoints.pickles import safe_pickle
from sign_models.keypoints.pickles.allowed import check_text
from sign_models.keypoints.trees import check_json, parse_json

MAX_JSON_BYTES = 2**28  # its values are limited too, by trees.check_json
MAX_ARRAY_BYTES = 2**31  # of one array of an npz or npy file, unzipped
CHUNK_BYTES = 2**20  # read at a time
MAX_LINE_CHARACTERS = 2**24  # of a line of text
MAX_HEADER_BYTES = 10_000  # of an npy header
# Type, order and shape in it. Types with several fields, which are refused, are no text.
_HEADER = tuple(
    rf"""['"]{name}['"]\s*:\s*{value}"""
    for name, value in (
        ("descr", r"""['"]([^'"]{1,32})['"]"""),
        ("fortran_order", "(True|False)"),
        ("shape", r"\(([\dL, ]*)\)"),
    )
)
_BROKEN_ARRAY = (
    ValueError, KeyError, TypeError, OSError, EOFError, MemoryError, OverflowError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def read_json(path: Path) -> Any:
    """Read JSON or JSON lines.

    Args:
        path: File, gzipped or not.

    Returns:
        Its content. Of JSON lines a list.

    Raises:
        DataError: The file is not JSON, too large, or nested too deeply.
    """
    try:
        data = _read_bytes(path)
        if len(data) > MAX_JSON_BYTES:
            raise DataError(
                "holds too much JSON",
                place=path.name,
                wanted=f"at most {MAX_JSON_BYTES:,} bytes",
                remedy="save it as a pickle or npz of arrays, or split it",
            )
        check_json(data, path.name)
        text = decode(data, path.name)
        try:
            return parse_json(text)
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):
                raise
            return [parse_json(line) for line in text.splitlines() if line.strip()]  # JSON lines
    except (OSError, EOFError, zlib.error, ValueError, MemoryError) as error:
        raise DataError(
            f"is no readable JSON ({str(error)[:120]})",
            place=path.name,
            wanted="a whole file",
            remedy="export it again",
        ) from error


def read_text(path: Path) -> str:
    """Read a text of any encoding that `encodings` knows.

    Args:
        path: File, gzipped or not.

    Returns:
        The text.

    Raises:
        DataError: The file cannot be read, is too large, or of an unknown encoding.
    """
    try:
        data = _read_bytes(path)
    except (OSError, EOFError, zlib.error) as error:
        found = f"is no readable text ({str(error)[:120]})"
        raise DataError(found, place=path.name, wanted="a whole file", remedy="copy it again") from error
    if len(data) > MAX_JSON_BYTES:
        wanted = f"at most {MAX_JSON_BYTES:,} bytes"
        raise DataError("holds too much text", place=path.name, wanted=wanted, remedy="split the file")
    return decode(data, path.name)


def _read_bytes(path: Path) -> bytearray:
    """Content of a file, unzipped, up to somewhat more than MAX_JSON_BYTES."""
    data = bytearray()
    with open_binary(path) as file:
        while len(data) <= MAX_JSON_BYTES and (chunk := file.read(CHUNK_BYTES)):
            data += chunk
    return data


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading.

    Args:
        path: File, gzipped or not.

    Returns:
        The file, unzipped.

    Raises:
        OSError: The file cannot be opened.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def read_lines(path: Path) -> Iterator[str]:
    """Read a text in UTF-8 line by line.

    Args:
        path: File, gzipped or not.

    Yields:
        Lines with their line feed.

    Raises:
        DataError: The file cannot be read, is not UTF-8, or has lines that are too long.
    """
    total = 0
    try:
        with io.TextIOWrapper(open_binary(path), encoding="utf-8-sig", newline="") as file:
            while line := file.readline(MAX_LINE_CHARACTERS):
                total += len(line)
                if len(line) == MAX_LINE_CHARACTERS or total > safe_pickle.MAX_BYTES:
                    most = f"{MAX_LINE_CHARACTERS:,} characters, or more than {safe_pickle.MAX_BYTES:,} in all"
                    found = f"a line of more than {most}"
                    raise DataError(found, place=path.name, remedy="split the file")
                yield line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        found = f"is no readable text ({str(error)[:120]})"
        raise DataError(found, place=path.name, wanted="UTF-8", remedy="export it again") from error


def read_npy(path: Path) -> Any:
    """Read an npy file.

    Args:
        path: File, gzipped or not.

    Returns:
        Its array. Of an array of objects its values in nested lists.

    Raises:
        DataError: The file is broken, too large, or has objects that safe_pickle refuses.
    """
    try:
        with open_binary(path) as file:
            size = MAX_ARRAY_BYTES if isinstance(file, gzip.GzipFile) else path.stat().st_size
            return _read_array(file, size, path.name)
    except OSError as error:
        found = f"cannot be read ({error})"
        raise DataError(found, place=path.name, wanted="a whole file", remedy="copy it again") from error


def npy_shape(path: Path) -> tuple[int, ...] | None:
    """Read the shape of the array in an npy file, and nothing else.

    Args:
        path: File, gzipped or not.

    Returns:
        Its shape, or None of an array of objects.

    Raises:
        DataError: The file is broken.
    """
    try:
        with open_binary(path) as file:
            return _shape_of(file, path.name)
    except OSError as error:
        found = f"cannot be read ({error})"
        raise DataError(found, place=path.name, wanted="a whole file", remedy="copy it again") from error


def _shape_of(file: IO[bytes], place: str) -> tuple[int, ...] | None:
    try:
        shape, _, dtype = _header(file, place)
    except _BROKEN_ARRAY as error:
        raise _broken_array(error, place) from error
    return None if dtype.hasobject else shape


def _broken_array(error: Exception, place: str) -> DataError:
    found = f"is a broken array ({str(error)[:120]})"
    return DataError(found, place=place, wanted="a whole npy array", remedy="save it again")


def _read_array(file: IO[bytes], size: int, place: str, objects: bool = True) -> Any:
    """Read an array of numpy's format. Its header is checked against the number of bytes.

    Objects are read by safe_pickle, if they are to be: arrays of several lengths, a dict, texts.
    """
    try:
        shape, fortran, dtype = _header(file, place)
        count = math.prod(shape)
        if dtype.hasobject and objects:
            return safe_pickle.loads(file.read(min(size, safe_pickle.MAX_BYTES)), place)
        if dtype.kind not in "biufSU" or not dtype.itemsize:
            raise DataError(f"holds {dtype} values", place=place, wanted="numbers", remedy="save plain arrays")
        impossible = any(not 0 <= n < 2**31 for n in shape)
        if impossible or count * dtype.itemsize > min(size, MAX_ARRAY_BYTES):
            raise DataError(
                f"says it holds {count} values, more than its {size} bytes can",
                place=place,
                wanted="a whole npy array",
                remedy="save it again",
            )
        data = file.read(count * dtype.itemsize)
        check_text(data, dtype)
        return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")
    except _BROKEN_ARRAY as error:
        raise _broken_array(error, place) from error


def _header(file: IO[bytes], place: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type of an array of numpy's format.

    KeyError or ValueError for another file, DataError for values of several fields.

    numpy evaluates the header as Python. Python 3.11 fails at that now and then where several threads do so at once, as
    those of a server do (https://github.com/python/cpython/issues/106905).
    """
    version = np.lib.format.read_magic(file)
    size = {(1, 0): 2, (2, 0): 4, (3, 0): 4}[version]
    length = int.from_bytes(file.read(size), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length:,} bytes")
    header = file.read(length).decode("latin-1")
    kind, order, sizes = (re.search(pattern, header) for pattern in _HEADER)
    if order and sizes and not kind:
        raise DataError("holds values of several fields", place=place, wanted="numbers", remedy="save plain arrays")
    if not (kind and order and sizes):
        raise ValueError(f"header {header[:60]!r}")
    shape = tuple(int(size.rstrip("L")) for size in sizes[1].replace(" ", "").split(",") if size)
    return shape, order[1] == "True", np.dtype(kind[1])


class Npz(Mapping[str, Any]):
    """The arrays of an npz file, each read when it is asked for. Arrays without dimensions are returned as values."""

    def __init__(self, path: Path, objects: bool = True) -> None:
        """List the arrays.

        Args:
            path: The file.
            objects: Whether arrays of objects are read, by safe_pickle. False: they are refused.

        Raises:
            DataError: The file is no npz, or has no arrays or two of one name.
        """
        self.path, self.objects = path, objects
        try:
            self.archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DataError(
                f"is a broken zip file ({error})",
                place=path.name,
                wanted="the npz of numpy.savez",
                remedy="copy or save it again",
            ) from error
        members = [m for m in self.archive.infolist() if m.filename.endswith(".npy")]
        if not members and any(m.filename in ("xl/workbook.xml", "content.xml") for m in self.archive.infolist()):
            found, remedy = "is a spreadsheet", "save its table as CSV in UTF-8"
            raise DataError(found, place=path.name, wanted="labels as text", remedy=remedy)
        if not members and any(m.filename.endswith("data.pkl") for m in self.archive.infolist()):
            found, remedy = (
                "is a file of torch.save",
                "save its tensors as arrays: numpy.savez(path, keypoints=t.numpy())",
            )
            raise DataError(found, place=path.name, wanted="the npz of numpy.savez", remedy=remedy)
        if not members:
            raise DataError("holds no arrays", place=path.name, wanted="the npz of numpy.savez", remedy="save it again")
        self.members = {m.filename.removesuffix(".npy"): m for m in members}
        if len(self.members) < len(members):
            raise DataError(
                "holds two arrays of one name", place=path.name, wanted="each id once", remedy="rename one of the two"
            )

    def __getitem__(self, name: str) -> Any:
        member = self.members[name]
        place = f"{self.path.name}: array {name!r}"
        if member.file_size > MAX_ARRAY_BYTES:
            raise DataError(
                f"unzips to {member.file_size:,} bytes",
                place=place,
                wanted=f"at most {MAX_ARRAY_BYTES:,}",
                remedy="split the clip",
            )
        with self._open(name) as file:
            array = _read_array(file, member.file_size, place, self.objects)
        return array.item() if isinstance(array, np.ndarray) and array.ndim == 0 else array

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self.archive.open(self.members[name]) as file:
                yield file
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            place = f"{self.path.name}: array {name!r}"
            raise DataError(
                f"cannot be unzipped ({error})", place=place, wanted="a whole npz", remedy="copy or save it again"
            ) from error

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Read the shape of an array, and nothing else of it.

        Args:
            name: Its name.

        Returns:
            The shape. Of an array of objects that of its list.

        Raises:
            DataError: The array is broken.
        """
        with self._open(name) as file:
            shape = _shape_of(file, f"{self.path.name}: array {name!r}")
        if shape is not None:
            return shape
        values = self[name]
        return (len(values),) if isinstance(values, list) else ()

    def __contains__(self, name: object) -> bool:
        return name in self.members  # a mapping's own would read the array

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)
