"""What lies at a path: which container, told by its first bytes, and its contents, read within stated limits."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.folders import is_inside, list_folder
from sign_models.keypoints.formats.encodings import decode, head_text, is_text
from sign_models.keypoints.pickles import safe_pickle
from sign_models.keypoints.sequence import Unit
from sign_models.keypoints.trees import check_json, parse_json

Kind = Literal["folder", "pose", "npz", "npy", "parquet", "pickle", "json", "hdf5", "mat", "text", "unknown"]

HEAD_BYTES = 4096  # bytes by which a file is told
MAX_JSON_BYTES = 2**28  # what it may hold is counted too, by trees.check_json
MAX_ARRAY_BYTES = 2**31  # of one array of an npz or npy file, unzipped
CHUNK_BYTES = 2**20  # bytes that are read at a time
MAX_LINE_CHARACTERS = 2**24  # characters of a line of text
MAX_HEADER_BYTES = 10_000  # of an npy header
MAGIC: dict[bytes, Kind] = {b"PK\x03\x04": "npz", b"PK\x05\x06": "npz", b"\x93NUMPY": "npy", b"PAR1": "parquet"}
MAGIC |= {b"\x89HDF\r\n\x1a\n": "hdf5", b"MATLAB 5.0 MAT-file": "mat", b"MATLAB 7.3 MAT-file": "mat"}
SUFFIXES: dict[str, Kind] = {
    ".pkl": "pickle", ".pickle": "pickle", ".json": "json", ".npz": "npz", ".npy": "npy", ".parquet": "parquet",
    ".h5": "hdf5", ".hdf5": "hdf5", ".mat": "mat",
}  # fmt: skip
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".psv", ".skels", ".files", ".text")
# Pickles of protocol 0 and 1 have no magic bytes: a container or a class by its full name, then its place in the memo.
_OLD_PICKLE = re.compile(rb"\(*(?:[\]}]|\([ldt]?|c[\w.]+\r?\n\w+\r?\n)(?:p\d+\r?\n|q[\x00-\x08])")
_BROKEN_ARRAY = (
    ValueError, KeyError, TypeError, OSError, EOFError, MemoryError, SyntaxError, OverflowError, RecursionError,
    zlib.error, zipfile.BadZipFile, tokenize.TokenError,
)  # fmt: skip
POSE_VERSIONS = (0.0, 0.1, 0.2)
# A file of one frame: NAME_000012.json, NAME_000012_keypoints.json, 12.npy.
NUMBERED = re.compile(r"(?P<clip>.*?)[_.-]?(?P<number>\d{1,15})(_keypoints)?\.json|\d{1,15}\.npy")
MAX_PROBED_FILES = 16  # files of frames by which a folder is told: in the first ones nobody may be seen yet


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about files that do not say it themselves.

    layout: a name in LAYOUTS. unit, fps: as in KeypointSequence. size: (width, height) of the pictures in pixels.
    texts: "folders": a clip without a text has the name of its folder. tiers: of ELAN files, that hold the sentences.
    times: the unit of starts and ends. labels: a file or folder of label files that lie elsewhere.
    """

    layout: str | None = None
    fps: float | None = None
    unit: Unit | None = None
    size: tuple[float, float] | None = None
    texts: Literal["folders"] | None = None
    tiers: tuple[str, ...] = ()
    times: Literal["seconds", "ms", "frames"] | None = None
    labels: str | None = None


DEFAULT_OPTIONS = ReadOptions()


@dataclass(frozen=True)
class Source:
    """A file or a folder: where it lies, its bare name, and the id that a single clip in it would have.

    members: (part, file) of the files that together are one clip. root: real path of the folder that was asked for, ""
    where it is this one or its own folder.
    """

    place: str
    name: str
    id: str
    is_folder: bool = False
    members: tuple[tuple[str, Source], ...] = ()
    root: str = ""

    @cached_property
    def path(self) -> Path:
        return Path(self.place)

    @cached_property
    def _listed(self) -> tuple[list[os.DirEntry[str]], list[DataError]]:
        return list_folder(self.place, self.root or os.path.realpath(self.place))

    @property
    def files(self) -> list[Path]:
        """The regular files in a folder, by name."""
        return [Path(entry.path) for entry in self._listed[0] if not entry.is_dir()]

    @property
    def unreadable(self) -> list[DataError]:
        """What in a folder may not be read: devices, FIFOs, sockets, links that lead out of it."""
        return self._listed[1]

    @property
    def children(self) -> Iterator[Source]:
        """What lies in a folder, by name. An id is the path below the folder asked for, without the ending."""
        root = self.root or os.path.realpath(self.place)
        for entry in self._listed[0]:
            name, folder = entry.name, entry.is_dir()
            id = name if folder or name.endswith(".") else name.rpartition(".")[0] or name
            yield Source(entry.path, name, f"{self.id}/{id}" if self.id else id, folder, root=root)

    def sibling(self, suffix: str) -> Path | None:
        """The file of the same name with another ending, where there is one."""
        path = self.path.with_suffix(suffix)
        return path if is_inside(path, self.root or os.path.realpath(self.path.parent)) else None

    @cached_property
    def head(self) -> bytes:
        """The first bytes of a file, unzipped where it is gzipped."""
        try:
            with open(self.place, "rb", buffering=0) as file:
                head = file.read(HEAD_BYTES)
            if head[:2] == b"\x1f\x8b":
                with gzip.open(self.place) as unzipped:
                    head = unzipped.read(HEAD_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"cannot be read ({error})", place=self.name, wanted="a whole file", remedy="copy it again"
            ) from error
        return head

    @cached_property
    def kind(self) -> Kind:
        if self.is_folder:
            return "folder"
        head, suffix = self.head, self.path.suffix.lower()
        if suffix in TEXT_SUFFIXES and is_text(head):  # before any rule that two or four letters meet
            return "text"
        for magic, kind in MAGIC.items():
            if head.startswith(magic) and not (magic == b"PAR1" and is_text(head)):
                return kind
        if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
            return "pickle"
        if head_text(head).lstrip()[:1] in ("{", "["):
            return "json"
        if self._is_pose():
            return "pose"
        if suffix in SUFFIXES:  # broken, or without a mark of its own; its reader says which
            return SUFFIXES[suffix]
        if _OLD_PICKLE.match(head):
            return "pickle"
        return "text" if is_text(head) else "unknown"

    def _is_pose(self) -> bool:
        if self.path.suffix.lower() == ".pose":
            return True
        if len(self.head) < 14:
            return False
        version, *_size, components, name = struct.unpack_from("<f5H", self.head)
        known = any(math.isclose(version, v, abs_tol=1e-4) for v in POSE_VERSIONS)
        return known and 0 < components < 32 and 0 < name < 128 and self.head[14 : 14 + name].isascii()

    @cached_property
    def first_frame(self) -> Any:
        """What one picture's JSON file holds: the file's contents, or those of the first file of a folder of frames."""
        if not self.is_folder:
            return self.tree if self.kind == "json" else None
        frames = [path for path in self.files if path.suffix == ".json" and NUMBERED.fullmatch(path.name)]
        for path in frames[:MAX_PROBED_FILES]:
            with suppress(DataError):  # whoever reads the file says what is wrong with it
                if tree := read_json(path):
                    return tree
        return None

    @cached_property
    def tree(self) -> Any:
        """Contents of a pickle, JSON, npz or HDF5 file: containers, numbers, strings and arrays."""
        match self.kind:
            case "pickle":
                return safe_pickle.load(self.place)
            case "json":
                return read_json(self.path)
            case "npz":
                return Npz(self.path)
            case "npy":
                return read_npy(self.path)
            case "hdf5":
                from sign_models.keypoints.formats.hdf5 import tree_of
                from sign_models.keypoints.formats.parts import are_named
                from sign_models.keypoints.formats.records import is_named

                return tree_of(self.path, lambda names: is_named(names) or are_named(names))
        return None


def read_json(path: Path) -> Any:
    """Parsed JSON, gzipped or not. DataError on anything that is not JSON, too large or nested too deeply."""
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
    """A text file of any encoding that `encodings` knows, gzipped or not. DataError where it is none, or too large."""
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
    """What a file holds, unzipped, as far as a little beyond MAX_JSON_BYTES."""
    data = bytearray()
    with open_binary(path) as file:
        while len(data) <= MAX_JSON_BYTES and (chunk := file.read(CHUNK_BYTES)):
            data += chunk
    return data


def open_binary(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file in UTF-8, gzipped or not. DataError on other encodings and on endless lines."""
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


def read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return _read_array(file, path.stat().st_size, path.name)


def _read_array(file: IO[bytes], size: int, place: str) -> np.ndarray:
    """One array in numpy's own format; its header is believed only as far as there are bytes. Never unpickles."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(file, max_header_size=MAX_HEADER_BYTES)
        count = math.prod(shape)
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
        return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")
    except _BROKEN_ARRAY as error:
        raise DataError(
            f"is a broken array ({str(error)[:120]})", place=place, wanted="a whole npy array", remedy="save it again"
        ) from error


class Npz(Mapping[str, Any]):
    """The arrays of an npz file, each read when it is asked for; arrays of no dimension come back as plain values."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
        try:
            with self.archive.open(member) as file:
                array = _read_array(file, member.file_size, place)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise DataError(
                f"cannot be unzipped ({error})", place=place, wanted="a whole npz", remedy="copy or save it again"
            ) from error
        return array.item() if array.ndim == 0 else array

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)
