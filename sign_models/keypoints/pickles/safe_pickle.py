"""Reading of untrusted pickles: containers, numbers, strings, numpy arrays and CPU tensors. Anything else is refused.

Nothing that a pickle names is ever imported or run. There are four checks:

1. The opcodes, before anything is built (`pickle_scan`). Refused are opcodes that no writer of data uses, lengths past
   the end of the file, memo places that would make the unpickler allocate gigabytes, and too many objects.
2. The names. `find_class` returns functions of `allowed`, which a pickle cannot change, for the few allowed names.
3. The dictionaries. Every dict is replaced by one that checks its keys, because hashing nested tuples can take without
   end. The scan inserts the opcodes for that.
4. The size of what was built (`trees.check_tree`): lists that hold themselves, or one another many times.

Tensors are returned as numpy arrays. torch is not imported, and the pickle inside a tensor passes the same checks.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.pickles.allowed import (
    STORAGE_DTYPES,
    AllowedFunction,
    Array,
    Dict,
    DType,
    Storage,
    empty_bytes,
    encode_latin1,
    frombuffer,
    new_bytearray,
    new_dict,
    rebuild_tensor,
    scalar,
    torch_size,
)
from sign_models.keypoints.pickles.folded_arrays import Folded, unfold
from sign_models.keypoints.pickles.pickle_scan import Buffer, PieceFile, Scanner, read_unframed
from sign_models.keypoints.trees import check_tree, memory_for

MAX_BYTES = 2**31  # of a file, unzipped
_CHUNK = 2**20
_PICKLE_ERRORS = (
    pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, ValueError, TypeError,
    OverflowError, MemoryError, RecursionError, struct.error,
)  # fmt: skip


def load(path: Path | str, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a pickle.

    Args:
        path: File, gzipped or not.
        max_bytes: Size of the file at most, unzipped.

    Returns:
        Containers, numbers, strings and arrays. Lists of like arrays are Arrays.

    Raises:
        DataError: The file cannot be read, is too large or no pickle, or holds anything else.
    """
    place = os.path.basename(path)
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise DataError(
                    f"holds {size:,} bytes", place=place, wanted=f"at most {max_bytes:,}", remedy="split the file"
                )
            # A large file is mapped, so that its arrays are in memory once only.
            data = read_unframed(file, size) if size < _CHUNK else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            zipped = data[:2] == b"\x1f\x8b"
            return loads(_unzip(file, place, max_bytes) if zipped else data, place)
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})",
            place=place,
            wanted="a pickle",
            remedy="see who may read it, or copy it again",
        ) from error


def loads(data: Buffer, place: str) -> Any:
    """Read a pickle in memory.

    Args:
        data: The pickle, not gzipped.
        place: What an error message names.

    Returns:
        As load.

    Raises:
        DataError: As load.
    """
    if not len(data):
        raise DataError("is empty", place=place, wanted="a pickle", remedy="copy or export it again")
    tree = _Stream(data, place).next()
    check_tree(tree, place, max_bytes=memory_for(len(data)))
    return tree


def _unzip(file: io.FileIO, place: str, max_bytes: int) -> bytearray:
    """Unzip a file. DataError where it is damaged or larger than `max_bytes`."""
    data = bytearray()
    file.seek(0)
    try:
        with GzipFile(fileobj=io.BufferedReader(file)) as unzipped:
            while chunk := unzipped.read(_CHUNK):
                data += chunk
                if len(data) > max_bytes:
                    raise DataError(
                        f"unzips to more than {max_bytes:,} bytes",
                        place=place,
                        wanted="a smaller file",
                        remedy="split it",
                    )
    except (EOFError, zlib.error, BadGzipFile) as error:
        raise DataError(
            "is a broken or truncated gzip file", place=place, wanted="a whole one", remedy="copy or export it again"
        ) from error
    return data


class _Stream:
    """Consecutive pickles in a buffer."""

    def __init__(self, data: Buffer, place: str, *, storages: bool = False) -> None:
        self.scanner = Scanner(data, place, storages=storages)

    def next(self) -> Any:
        """The next pickle of the stream. Arrays that a later part refers to are not taken out."""
        begin, pieces = self.scanner.position, self.scanner.scan()
        try:
            if not self.scanner.blocks:
                return _unpickle(pieces, self.scanner)
            with suppress(*_PICKLE_ERRORS):  # e.g. it refers again to an array that was taken out
                return unfold(_unpickle(pieces, self.scanner), len(self.scanner.blocks))
            plain = Scanner(self.scanner.data, self.scanner.place, fold=False)
            plain.position = begin
            return _unpickle(plain.scan(), plain)
        except _PICKLE_ERRORS as error:
            raise self.scanner.broken(f"{type(error).__name__}: {error}"[:200]) from error


def _unpickle(pieces: list[memoryview], scanner: Scanner) -> Any:
    size = sum(map(len, pieces))
    file = io.BytesIO(b"".join(pieces)) if size < _CHUNK else PieceFile(pieces)
    unpickler = _Unpickler(io.BufferedReader(file, min(size, _CHUNK)), scanner)
    tree = unpickler.load()
    return _without_objects(tree) if unpickler.objects else tree


def _without_objects(tree: Any) -> Any:
    """Replace arrays of objects by lists of their values, in place, and tuples by lists.

    Each container is visited once, also where one holds itself: check_tree refuses that.
    """
    root: list[Any] = [tree]
    seen: dict[int, Any] = {}  # what stands for a container, which is kept so that no other gets its id
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            if type(value) is Array and value.objects is not None:
                value = value.objects[0]
                if type(value) is Array and value.objects is not None:  # it may hold itself
                    raise pickle.UnpicklingError("an array of objects in one without axes")
            if isinstance(value, list | dict | tuple):
                if id(value) not in seen:
                    seen[id(value)] = value, list(value) if isinstance(value, tuple) else value
                    todo.append(seen[id(value)][1])
                value = seen[id(value)][1]
            node[key] = value
    return root[0]


_MAGIC = 0x1950A86A20F9469CFC6C  # of torch.save's format before zip, which tensors inside pickles still use


def _load_storage(data: Any, place: str) -> Storage:
    """Values of a tensor that torch.save() has put into bytes of their own."""
    if not isinstance(data, bytes):
        raise pickle.UnpicklingError("a tensor without bytes")
    stream = _Stream(data, f"{place}: a tensor", storages=True)
    magic, _version, _system, storage, keys = (stream.next() for _ in range(5))
    if magic != _MAGIC or not isinstance(storage, Storage) or not isinstance(keys, list) or len(keys) != 1:
        raise pickle.UnpicklingError("a tensor in an unknown form")
    (count,) = struct.unpack_from("<q", data, stream.scanner.position)
    wide = np.dtype("<u2" if storage.dtype == "bfloat16" else storage.dtype)
    if count != storage.count or count < 0:
        raise pickle.UnpicklingError("a tensor whose lengths contradict each other")
    values = np.frombuffer(data, wide, count, stream.scanner.position + 8) if count else np.zeros(0, wide)
    if storage.dtype == "bfloat16":
        values = (values.astype("<u4") << 16).view("<f4")
    storage.values = values
    return storage


_DTYPE = "numpy.dtype"
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "numpy._core.multiarray._reconstruct": Array,
    "numpy._core.multiarray.scalar": scalar,
    "numpy._core.numeric._frombuffer": frombuffer,
    _DTYPE: DType,
    "_codecs.encode": encode_latin1,
    "builtins.bytes": empty_bytes,
    "builtins.bytearray": new_bytearray,
    "collections.OrderedDict": new_dict,
    "collections.defaultdict": new_dict,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch.Size": torch_size,
}
# Classes that are arguments only: they are returned as strings, which cannot be called.
_NAMES = frozenset(
    ["numpy.ndarray", *(f"builtins.{kind}" for kind in ("list", "dict", "int", "float", "str"))]
    + [f"torch.{kind}Storage" for kind in STORAGE_DTYPES]
)
_LOAD_STORAGE = "torch.storage._load_from_bytes"
# What find_class returns for each name, including names of numpy 1 and of Python 2.
_FOUND: dict[str, Any] = {name: run if run is Array else AllowedFunction(run) for name, run in _FUNCTIONS.items()}
_FOUND |= {name: name for name in _NAMES}
_FOUND |= {name.replace("numpy._core.", "numpy.core.", 1): found for name, found in _FOUND.items()}
_FOUND |= {name.replace("builtins.", "__builtin__.", 1): found for name, found in _FOUND.items()}
ALLOWED = tuple(sorted({*_FUNCTIONS, *_NAMES, _LOAD_STORAGE}))


class _Unpickler(pickle.Unpickler):
    """Makes of a scanned pickle what the allowed names build, and of arrays those that the scan has taken out."""

    def __init__(self, file: Any, scanner: Scanner) -> None:
        super().__init__(file, encoding="latin1")
        self.place, self.storages = scanner.place, scanner.storages
        self.blocks = iter(scanner.blocks)
        self.objects = False  # whether there may be arrays of objects

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for an allowed name. DataError for any other, which is not imported."""
        if isinstance(module, str) and isinstance(name, str):
            full = f"{module}.{name}"
            if full == _DTYPE:
                return AllowedFunction(self._dtype)
            if full in _FOUND:
                return _FOUND[full]
            if full == _LOAD_STORAGE and not self.storages:
                return AllowedFunction(lambda data: _load_storage(data, self.place))
        raise DataError(
            f"the pickle names {str(module)[:60]}.{str(name)[:60]}, which was not run",
            place=self.place,
            wanted="only dicts, lists, numbers, strings, numpy arrays and tensors",
            remedy=f"save it again as plain arrays; allowed names: {', '.join(ALLOWED)}",
        )

    def _dtype(self, *args: Any) -> DType:
        found = DType(*args)
        self.objects |= found.numpy.hasobject
        return found

    def persistent_load(self, pid: Any) -> Any:
        """The storage of a tensor, or an array that the scan has put there."""
        if pid is None:
            return Dict()
        if type(pid) is Array:  # like arrays that follow, which the scan has taken out
            return Folded([block.view(pid.dtype).reshape(-1, *pid.shape) for block in next(self.blocks)])
        if not self.storages or type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
            raise pickle.UnpicklingError("a reference to something outside the pickle")
        kind, count, view = pid[1], pid[4], pid[5:]
        dtype = (
            STORAGE_DTYPES.get(kind.removeprefix("torch.").removesuffix("Storage")) if isinstance(kind, str) else None
        )
        if dtype is None or type(count) is not int or (view and view[0] is not None):
            raise pickle.UnpicklingError("a tensor of an unknown kind")
        return Storage(dtype, count)
