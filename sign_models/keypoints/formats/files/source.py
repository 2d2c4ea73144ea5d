"""Files and folders: their kind of container, by the first bytes, and their contents, read within limits."""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sign_models.errors import DataError
from sign_models.keypoints.folders import is_inside, list_folder
from sign_models.keypoints.formats.files.containers import Npz, read_json, read_npy
from sign_models.keypoints.formats.files.encodings import head_text, is_text
from sign_models.keypoints.pickles import safe_pickle
from sign_models.keypoints.sequence import Unit

Kind = Literal["folder", "pose", "npz", "npy", "parquet", "pickle", "json", "hdf5", "mat", "lfs", "text", "unknown"]

HEAD_BYTES = 4096  # by which the kind of a file is recognised
MAGIC: dict[bytes, Kind] = {b"PK\x03\x04": "npz", b"PK\x05\x06": "npz", b"\x93NUMPY": "npy", b"PAR1": "parquet"}
MAGIC |= {b"\x89HDF\r\n\x1a\n": "hdf5", b"MATLAB 5.0 MAT-file": "mat", b"MATLAB 7.3 MAT-file": "mat"}
BINARY = {magic: MAGIC[magic] for magic in (b"PK\x03\x04", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n")}  # no text begins so
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
SUFFIXES: dict[str, Kind] = {
    ".pkl": "pickle", ".pickle": "pickle", ".json": "json", ".npz": "npz", ".npy": "npy", ".parquet": "parquet",
    ".h5": "hdf5", ".hdf5": "hdf5", ".mat": "mat",
}  # fmt: skip
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".psv", ".skels", ".files", ".text")
# Pickles of protocol 0 and 1 have no magic bytes: a container or a class by its full name, then its place in the memo.
_OLD_PICKLE = re.compile(rb"\(*(?:[\]}]|\([ldt]?|c[\w.]+\r?\n\w+\r?\n)(?:p\d+\r?\n|q[\x00-\x08])")
# An object with a key, or a list of objects, lists, numbers, texts or constants. "[section]" and "{id}" begin others.
_JSON = re.compile(r"\s*(\{\s*(\"|\}|$)|\[\s*([\[{\"\]\d-]|null|true|false|NaN|$))")
POSE_VERSIONS = (0.0, 0.1, 0.2)
# A file of one frame: NAME_000012.json, NAME_000012_keypoints.json, 12.npy.
NUMBERED = re.compile(r"(?P<clip>.*?)[_.-]?(?P<number>\d{1,15})(_keypoints)?\.json|\d{1,15}\.npy")
MAX_PROBED_FILES = 16  # files of frames by which a folder is recognised: the first ones may be empty


def stem_of(name: str) -> str:
    """Remove the ending of a file's name, and the one before ".gz": "a.json.gz" is "a".

    Args:
        name: Name of a file.

    Returns:
        What is left, or the whole name where nothing would be.
    """
    whole = name[: -len(".gz")] if name.lower().endswith(".gz") and "." in name[1 : -len(".gz")] else name
    return whole if whole.endswith(".") else whole.rpartition(".")[0] or whole


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about files that do not say it themselves. None: nothing.

    Attributes:
        layout: Name of a layout.
        fps: Frames per second.
        unit: As in KeypointSequence.
        size: (width, height) of the images in pixels.
        texts: "folders": a clip without a text gets the name of its folder.
        tiers: Tiers of ELAN files that hold the sentences. (): guessed.
        times: Unit of starts and ends in label files.
        labels: Path of a label file, or of a folder of them, outside the source.
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
    """A file or a folder.

    Attributes:
        place: Its path.
        name: Its name, for messages.
        id: Id of a single clip in it.
        is_folder: Whether it is a folder.
        members: Parts and files that together are one clip, as `parts` groups them.
        root: Real path of the folder that the user named. "": this folder, or the folder of this file.
    """

    place: str
    name: str
    id: str
    is_folder: bool = False
    members: tuple[tuple[str, Source], ...] = ()
    root: str = ""

    @cached_property
    def path(self) -> Path:
        """`place` as a path."""
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
        """Errors of entries that must not be read: devices, FIFOs, sockets, links that lead out of the folder."""
        return self._listed[1]

    @property
    def children(self) -> Iterator[Source]:
        """Files and folders in a folder, by name. An id is the path below `root` without the suffix."""
        root = self.root or os.path.realpath(self.place)
        for entry in self._listed[0]:
            name, folder = entry.name, entry.is_dir()
            id = name if folder else stem_of(name)
            yield Source(entry.path, name, f"{self.id}/{id}" if self.id else id, folder, root=root)

    def sibling(self, suffix: str) -> Path | None:
        """Find the file of the same name with another suffix.

        Args:
            suffix: The suffix, with its dot.

        Returns:
            Its path, or None.
        """
        path = self.path.with_suffix(suffix)
        return path if is_inside(path, self.root or os.path.realpath(self.path.parent)) else None

    @cached_property
    def head(self) -> bytes:
        """The first HEAD_BYTES of a file, unzipped if it is gzipped. DataError if it cannot be read."""
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
        """Kind of container, by the first bytes and then by the suffix. DataError if the file cannot be read."""
        if self.is_folder:
            return "folder"
        head, suffix = self.head, self.path.suffix.lower()
        if head.startswith(LFS_POINTER):
            return "lfs"
        if suffix not in TEXT_SUFFIXES and (kind := next((k for m, k in BINARY.items() if head.startswith(m)), None)):
            return kind
        is_json = _JSON.match(head_text(head)) is not None
        if suffix in TEXT_SUFFIXES and is_text(head) and not is_json:  # before any rule that two or four letters meet
            return "text"
        for magic, kind in MAGIC.items():
            if head.startswith(magic) and not (magic == b"PAR1" and is_text(head)):
                return kind
        if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
            return "pickle"
        if is_json:
            return "json"
        if self._is_pose():
            return "pose"
        if suffix in SUFFIXES:  # broken or without magic bytes, as its reader will find out
            return SUFFIXES[suffix]
        if _OLD_PICKLE.match(head):
            return "pickle"
        return "text" if is_text(head) else "unknown"

    def _is_pose(self) -> bool:
        """Whether a file is called .pose or begins with a header of that format."""
        if self.path.suffix.lower() == ".pose":
            return True
        if len(self.head) < 14:
            return False
        version, *_size, components, name = struct.unpack_from("<f5H", self.head)
        known = any(math.isclose(version, v, abs_tol=1e-4) for v in POSE_VERSIONS)
        return known and 0 < components < 32 and 0 < name < 128 and self.head[14 : 14 + name].isascii()

    @cached_property
    def first_frame(self) -> Any:
        """Contents of a JSON file, or of the first file of a folder of frames that has any. None otherwise."""
        if not self.is_folder:
            return self.tree if self.kind == "json" else None
        frames = [path for path in self.files if path.suffix == ".json" and NUMBERED.fullmatch(path.name)]
        for path in frames[:MAX_PROBED_FILES]:
            with suppress(DataError):  # the error is raised when the file is read as a frame
                if tree := read_json(path):
                    return tree
        return None

    @cached_property
    def tree(self) -> Any:
        """Contents of a pickle, JSON, npz, npy or HDF5 file: containers, numbers, strings and arrays.

        None for other kinds. DataError if the file is broken or too large.
        """
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
                from sign_models.keypoints.formats.files.hdf5 import tree_of
                from sign_models.keypoints.formats.part_names import are_named
                from sign_models.keypoints.formats.records import is_named

                return tree_of(self.path, lambda names: is_named(names) or are_named(names))
        return None
