"""HDF5 files: arrays by id, and records and parts in groups. Needs the optional extra `hdf5`.

A dataset (T, K, C) is a clip whose id is its path. A group with `keypoints`, or with the parts of a clip, is a record.
Attributes (`text`, `label`, `fps`, `layout`, ...) of a dataset or group are its metadata, those of the file belong
to all its clips. Links, virtual datasets and data in other files are refused. h5py hangs on some damaged files, so that
another process reads each file first.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.records import CONFIDENCE, GENERIC, KEYPOINTS, MAX_FIELDS, is_named
from sign_models.keypoints.formats.tables.columns import SPLIT_WORDS, TEXT, first_of

MAX_ARRAY_BYTES = 2**31
MAX_RATIO = 1032  # largest ratio of unpacked to packed bytes in deflate
MAX_OBJECTS = 2**20
MAX_DEPTH = 8  # groups in groups
PROBE = [sys.executable, "-I", str(Path(__file__).with_name("hdf5_probe.py"))]
MAX_SECONDS, MIN_BYTES_A_SECOND = 20, 10_000_000  # limit of the time for reading a file
_BROKEN = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


class _Probe:
    """A process that reads each file before this one does, and is killed if it hangs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def check(self, path: Path) -> None:
        """Read a file in the other process.

        Args:
            path: The file.

        Raises:
            DataError: The file makes h5py fail, crash or hang.
        """
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                PROBE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        process, answers = self._process, queue.SimpleQueue[str]()
        assert process.stdin is not None and process.stdout is not None
        read = process.stdout.readline
        size = path.stat().st_size
        with suppress(OSError):
            process.stdin.write(json.dumps([str(path), min(MAX_ARRAY_BYTES, size * MAX_RATIO), MAX_DEPTH + 2]) + "\n")
            process.stdin.flush()
        threading.Thread(target=lambda: answers.put(read()), daemon=True).start()
        try:
            answer = answers.get(timeout=MAX_SECONDS + size / MIN_BYTES_A_SECOND).strip()
        except queue.Empty:
            process.kill()
            answer = "reading it does not end"
        if answer != "read":
            raise _broken(path, RuntimeError(answer or "the library ends on it"))


_probe = _Probe()


class Hdf5(Mapping[str, Any]):
    """A group as a mapping. Arrays and groups in it are read when they are asked for."""

    def __init__(
        self, group: Any, path: Path, keys: list[str], attributes: Mapping[str, Any], by_id: bool = False
    ) -> None:
        """Make a mapping of a group.

        Args:
            group: Group of h5py.
            path: The file.
            keys: Paths below the group that are keys.
            attributes: Attributes, which are keys too. In a mapping of clips they are those of every clip.
            by_id: Whether the group is a mapping of clips.
        """
        self._group, self._path, self._keys, self._by_id = group, path, dict.fromkeys(keys), by_id
        own = {name: value for name, value in attributes.items() if name not in self._keys}
        self._attributes = {} if by_id else own
        self._of_all = attributes if by_id else {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._keys:
            return self._attributes[name]
        found = _member(self._group, name, self._path)
        attributes = {**self._of_all, **(_split_of(name) if self._by_id else {}), **_attributes_of(found, self._path)}
        if _is_group(found):
            group = Hdf5(found, self._path, _names(found, self._path), attributes)
            one = _only_array(found, self._path) if self._by_id else None
            return group if one is None else {**{k: group[k] for k in group if k != one}, "keypoints": group[one]}
        array = _array(found, self._path)
        tells = self._by_id and attributes and isinstance(array, np.ndarray) and array.ndim > 1
        return {"keypoints": array, **attributes} if tells else array

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Read the shape of an array, and nothing else of it.

        Args:
            name: Its name.

        Returns:
            The shape, () of a group or an attribute.

        Raises:
            DataError: The file is broken.
        """
        found = _member(self._group, name, self._path) if name in self._keys else None
        return tuple(getattr(found, "shape", None) or ())

    def __iter__(self) -> Iterator[str]:
        return iter([*self._attributes, *self._keys])

    def __len__(self) -> int:
        return len(self._attributes) + len(self._keys)


def tree_of(path: Path, is_clip: Callable[[list[str]], bool]) -> Mapping[str, Any]:
    """Open a file.

    Args:
        path: The file.
        is_clip: Whether the names in a group are those of a record or of the parts of a clip.

    Returns:
        The record or the parts of one clip, or clips by id.

    Raises:
        DataError: The file cannot be read, or h5py is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        remedy = "pip install 'sign-models[hdf5]', or save it as npz"
        raise DataError("is HDF5", place=path.name, wanted="the optional extra hdf5", remedy=remedy) from error
    _probe.check(path)
    try:
        file = h5py.File(path, "r")
    except _BROKEN as error:
        raise _broken(path, error) from error
    names, attributes = _names(file, path), _attributes_of(file, path)
    if is_clip(names):
        return Hdf5(file, path, names, attributes)
    arrays = [name for name in names if getattr(_member(file, name, path), "ndim", 0) > 1]
    if len(arrays) == 1 and not any(_is_group(_member(file, name, path)) for name in names):
        one = Hdf5(file, path, names, attributes)  # a clip whatever the array is called
        dataset = _member(file, arrays[0], path)
        return {**{k: one[k] for k in one if k != arrays[0]}, **_attributes(dataset, path), "keypoints": one[arrays[0]]}
    keys: list[str] = []
    _walk(file, "", keys, path, is_clip)
    return Hdf5(file, path, keys, attributes, by_id=True)


def _walk(group: Any, above: str, keys: list[str], path: Path, is_clip: Callable[[list[str]], bool]) -> None:
    """Add the paths of the clips below a group to `keys`, in the order of their names."""
    if above.count("/") > MAX_DEPTH:
        raise DataError("groups within groups", place=f"{path.name}: {above[:60]}", wanted=f"{MAX_DEPTH} at most")
    for name in _names(group, path):
        found, place = _member(group, name, path), f"{above}{name}"
        if _is_group(found) and not is_clip(_names(found, path)) and _only_array(found, path) is None:
            _walk(found, f"{place}/", keys, path, is_clip)
        elif _is_group(found) or found.ndim > 1 or not above:  # not metadata of the clips in the same group
            keys.append(place)
        if len(keys) > MAX_OBJECTS:
            raise DataError(f"more than {MAX_OBJECTS:,} objects", place=path.name, remedy="split the file")


def _only_array(group: Any, path: Path) -> str | None:
    """The array of a group that is one clip: it has a name for any array, or metadata beside it. Else None."""
    names = _names(group, path)
    if is_named(names) or len(names) > MAX_FIELDS:
        return None
    members = {name: _member(group, name, path) for name in names}
    arrays = [name for name, member in members.items() if getattr(member, "ndim", 0) > 1 and name not in CONFIDENCE]
    if len(arrays) != 1 or any(map(_is_group, members.values())):
        return None
    beside = first_of(names, (*TEXT, *CONFIDENCE, "fps")) not in (None, arrays[0])
    return arrays[0] if beside or arrays[0].lower() in GENERIC else None


def _is_group(found: Any) -> bool:
    return hasattr(found, "keys")


def _names(group: Any, path: Path) -> list[str]:
    try:
        return [name for name in group.keys() if isinstance(name, str)]  # noqa: SIM118  bytes: no UTF-8
    except _BROKEN as error:
        raise _broken(path, error) from error


def _member(group: Any, name: str, path: Path) -> Any:
    import h5py

    try:
        for place in _prefixes(name):
            if not isinstance(group.get(place, getlink=True), h5py.HardLink):
                raise DataError("a link to elsewhere", place=f"{path.name}: {place[:60]}", wanted="the data itself")
        return group[name]
    except _BROKEN as error:
        raise _broken(path, error) from error


def _prefixes(name: str) -> Iterator[str]:
    """Paths above a path and the path itself: "a", "a/b", "a/b/c"."""
    parts = name.split("/")
    yield from ("/".join(parts[: i + 1]) for i in range(len(parts)))


def _array(dataset: Any, path: Path) -> Any:
    """An array of numbers, or the text or number of a dataset with one."""
    place = f"{path.name}: {dataset.name}"
    try:
        if dataset.is_virtual or dataset.external:
            raise DataError(
                "data in other files", place=place, wanted="the data itself", remedy="copy it into the file"
            )
        size, most = dataset.size * dataset.dtype.itemsize, path.stat().st_size * (MAX_RATIO if dataset.chunks else 1)
        if size > min(MAX_ARRAY_BYTES, most):
            raise DataError(f"says it holds {size:,} bytes", place=place, wanted="no more than its file can hold")
        value = dataset[()]
    except _BROKEN as error:
        raise _broken(path, error) from error
    return _plain(value)


def _plain(value: Any) -> Any:
    """Convert text to str, and an array of one number to the number."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
        return [_plain(one) for one in value.ravel()] if value.ndim else _plain(value.item())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic):
        return value.item()
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 and value.ndim <= 1 else value


def _attributes_of(thing: Any, path: Path) -> dict[str, Any]:
    """Attributes of a dataset or group, and of the keypoints in a record."""
    attributes = _attributes(thing, path)
    for name in KEYPOINTS:
        if _is_group(thing) and name in thing:
            attributes |= _attributes(_member(thing, name, path), path)
    return attributes


def _attributes(thing: Any, path: Path) -> dict[str, Any]:
    """Attributes that are texts or numbers."""
    try:
        found = {name: _plain(value) for name, value in thing.attrs.items()}
    except _BROKEN as error:
        raise _broken(path, error) from error
    return {name: value for name, value in found.items() if isinstance(value, str | int | float)}


def _split_of(name: str) -> dict[str, str]:
    """The split in the name of a group above a clip."""
    return next(({"split": SPLIT_WORDS[part]} for part in name.lower().split("/")[:-1] if part in SPLIT_WORDS), {})


def _broken(path: Path, error: BaseException) -> DataError:
    found = f"is no readable HDF5 file ({str(error)[:80]})"
    return DataError(found, place=path.name, wanted="a whole file", remedy="copy or save it again")
