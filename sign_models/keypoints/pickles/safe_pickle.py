"""Read pickles of strangers: containers, numbers, strings, numpy arrays and CPU tensors; anything else is refused.

Nothing that a pickle names is ever imported or run. Four guards stand one behind the other:

1. A scan of the opcodes, before anything is built (`pickle_scan`). It refuses opcodes that no writer of data uses,
   lengths past the end of the file, memo places that would make the unpickler allocate gigabytes, too many objects.
2. The names. `find_class` hands out functions of this file, which a pickle cannot change, for the few names allowed.
3. Dictionaries. Every dict becomes one that checks its keys (strings, numbers, None), because hashing nested tuples can
   be made to take for ever. The scan splices the opcodes for that in.
4. A count of what was built (`trees.check_tree`): lists that hold themselves, or one another many times over.

Tensors come back as numpy arrays: torch is never imported, and the pickle inside a tensor passes the same three guards.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickle
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from gzip import BadGzipFile, GzipFile
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.pickles.pickle_scan import Buffer, Pieces, Scanner, read_unframed
from sign_models.keypoints.trees import check_tree, memory_for

MAX_BYTES = 2**31  # of a file, unzipped
_CHUNK = 2**20
_KEY_TYPES = (str, int, bytes, bool, type(None))
_PICKLE_ERRORS = (
    pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, ValueError, TypeError,
    OverflowError, MemoryError, RecursionError, struct.error,
)  # fmt: skip


def load(path: Path | str, *, max_bytes: int = MAX_BYTES) -> Any:
    """What the pickle at `path`, gzipped or not, holds. DataError on anything but the kinds of data named above."""
    place = os.path.basename(path)
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise DataError(
                    f"holds {size:,} bytes", place=place, wanted=f"at most {max_bytes:,}", remedy="split the file"
                )
            # A large file is mapped, so that its arrays are in memory only once.
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
    """What one pickle in memory holds; `place` is what errors name."""
    if not len(data):
        raise DataError("is empty", place=place, wanted="a pickle", remedy="copy or export it again")
    tree = _Stream(data, place).next()
    check_tree(tree, place, max_bytes=memory_for(len(data)))
    return tree


def _unzip(file: io.FileIO, place: str, max_bytes: int) -> bytearray:
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
    """Pickles one after another in one buffer."""

    def __init__(self, data: Buffer, place: str, *, storages: bool = False) -> None:
        self.scanner = Scanner(data, place, storages=storages)

    def next(self) -> Any:
        begin, pieces = self.scanner.position, self.scanner.scan()
        try:
            if not self.scanner.blocks:
                return _unpickle(pieces, self.scanner)
            with suppress(*_PICKLE_ERRORS):  # as when it refers again to an array that was folded
                return _unfolded(_unpickle(pieces, self.scanner), len(self.scanner.blocks))
            plain = Scanner(self.scanner.data, self.scanner.place, fold=False)
            plain.position = begin
            return _unpickle(plain.scan(), plain)
        except _PICKLE_ERRORS as error:
            raise self.scanner.broken(f"{type(error).__name__}: {error}"[:200]) from error


def _unpickle(pieces: list[memoryview], scanner: Scanner) -> Any:
    size = sum(map(len, pieces))
    file = io.BytesIO(b"".join(pieces)) if size < _CHUNK else Pieces(pieces)
    return _Unpickler(io.BufferedReader(file, min(size, _CHUNK)), scanner).load()


class Arrays:
    """What was a list of arrays of one shape and dtype. parts: the same ones in order, joined: each (N, *shape)."""

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts = parts

    @property
    def nbytes(self) -> int:
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


class _Folded:
    """Stands in a list for those arrays after the one before it that are like it. parts: (N, *shape) each."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts = parts


def _unfolded(tree: Any, count: int) -> Any:
    """The tree with Arrays in place of each list that holds some of `count` _Folded.

    UnpicklingError where one stands elsewhere or twice, or where such a list holds anything but like arrays.
    """
    root, seen = [tree], set[int]()
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if type(value) is list and (folded := [*map(type, value)].count(_Folded)):
                parts: list[np.ndarray] = []
                for item in value:
                    parts += item.parts if type(item) is _Folded else [item[None].view(np.ndarray)]
                dtype, shape = parts[0].dtype, parts[0].shape[1:]
                for part in parts:
                    if part.dtype != dtype or part.shape[1:] != shape:
                        raise pickle.UnpicklingError("a list of unlike arrays")
                node[key] = Arrays(parts)
                count -= folded
            elif type(value) is _Folded:
                raise pickle.UnpicklingError("like arrays outside a list")
            elif isinstance(value, dict | list | tuple) and id(value) not in seen:
                seen.add(id(value))
                todo.append(value)
    if count:
        raise pickle.UnpicklingError("like arrays in two places")
    return root[0]


class _Dict(dict):
    """A dict that a pickle fills: no key can be slow to hash or to compare."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if type(key) not in _KEY_TYPES or (type(key) is int and abs(key) >= 2**60):
            raise pickle.UnpicklingError(f"a dict key is a {type(key).__name__}, wanted a string or a number")
        super().__setitem__(key, value)


class _Array(np.ndarray):
    """An array that a pickle makes empty and then fills in: numbers and strings only, as many as the shape says.

    Stands for numpy's `_reconstruct` itself. Having a `__setstate__`, it cannot be changed by a pickle.
    """

    def __new__(cls, kind: Any, *_: Any) -> _Array:
        if kind != "numpy.ndarray":
            raise pickle.UnpicklingError("an array of a class that is not numpy.ndarray")
        return _NEW(cls, 0)

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        if type(dtype) is not _DType or type(data) is not bytes or not data:
            data = _checked(dtype, shape, data)
        # numpy holds the shape against the number of bytes.
        _FILL(self, (1, shape, dtype.numpy, fortran, data))


_NEW, _FILL = np.ndarray.__new__, np.ndarray.__setstate__


class _DType:
    """A dtype as a pickle describes it."""

    __slots__ = ("numpy",)
    KINDS = re.compile(r"[biufSU?](\d*)")

    def __init__(self, code: Any, *_: Any) -> None:
        found = self.KINDS.fullmatch(code) if isinstance(code, str) else None
        if not found or not 0 < int(found[1] or 1) <= 2**16:
            raise pickle.UnpicklingError("an array of objects or records; wanted numbers or strings")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.numpy = self.numpy.newbyteorder(">")


def _checked(dtype: Any, shape: Any, data: Any) -> bytes:
    if type(dtype) is not _DType or type(shape) is not tuple:
        raise pickle.UnpicklingError("an array without numbers or shape")
    if isinstance(data, str):  # Python 2
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError(f"an array made of a {type(data).__name__}; wanted numbers or strings")
    if any(type(n) is not int or not 0 <= n <= max(len(data), 2**16) for n in shape):
        raise pickle.UnpicklingError(f"an array whose shape does not fit its {len(data)} bytes")
    return bytes(data)


class _Storage:
    """A tensor's memory; None until its bytes are found behind the pickle."""

    __slots__ = ("count", "dtype", "values")

    def __init__(self, dtype: str, count: int) -> None:
        self.dtype, self.count = dtype, count
        self.values: np.ndarray | None = None

    def __setstate__(self, _: Any) -> NoReturn:
        raise pickle.UnpicklingError("a pickle may not change a tensor's memory")


class _Function:
    """What a pickle may call, and may not change."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def __setstate__(self, _: Any) -> NoReturn:
        raise pickle.UnpicklingError("a pickle may not change what it calls")

    def __call__(self, *args: Any) -> Any:
        return self._run(*args)


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    data = _checked(dtype, shape, data)
    return np.frombuffer(data, dtype.numpy).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: Any, data: Any) -> Any:
    return np.frombuffer(_checked(dtype, (), data), dtype.numpy).reshape(()).item()


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("_codecs.encode of anything but latin1 text")
    return text.encode("latin1")


def _new_dict(*args: Any) -> _Dict:
    filled = _Dict()
    # OrderedDict([[key, value], ...]) of Python 2; defaultdict(factory) has no list.
    for key, value in args[0] if args and isinstance(args[0], list) else ():
        filled[key] = value
    return filled


def _bytes(*args: Any) -> bytes:
    if args:
        raise pickle.UnpicklingError("bytes() of something")
    return b""


def _bytearray(*args: Any) -> bytearray:
    if args and not (len(args) == 1 and isinstance(args[0], bytes)):
        raise pickle.UnpicklingError("bytearray() of something that is not bytes")
    return bytearray(*args)


def _size(values: Any = ()) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple):
        raise pickle.UnpicklingError("a torch.Size of something else")
    return tuple(values)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    numbers = (offset, *size, *stride)
    whole = all(type(n) is int and 0 <= n < 2**31 for n in numbers)
    if not isinstance(storage, _Storage) or storage.values is None or len(size) != len(stride) or not whole:
        raise pickle.UnpicklingError("a tensor with an impossible shape")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else -1
    held = len(storage.values)
    if count > held or last >= held or max(size, default=0) > max(held, 2**16):
        raise pickle.UnpicklingError(f"a tensor of {count} numbers in {held}")
    if not count:
        return np.zeros(size, storage.values.dtype)
    width = storage.values.itemsize
    strides = tuple(step * width for step in stride)
    return np.lib.stride_tricks.as_strided(storage.values[offset:], size, strides, writeable=False)


# Storages and the numpy dtype of their memory; a bfloat16 is the upper half of a float32.
_STORAGES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "bfloat16", "Long": "<i8", "Int": "<i4", "Short": "<i2",
    "Char": "i1", "Byte": "u1", "Bool": "?",
}  # fmt: skip
_MAGIC = 0x1950A86A20F9469CFC6C  # of torch.save before its zip format, which tensors use inside pickles to this day


def _load_storage(data: Any, place: str) -> _Storage:
    if not isinstance(data, bytes):
        raise pickle.UnpicklingError("a tensor without bytes")
    stream = _Stream(data, f"{place}: a tensor", storages=True)
    magic, _version, _system, storage, keys = (stream.next() for _ in range(5))
    if magic != _MAGIC or not isinstance(storage, _Storage) or not isinstance(keys, list) or len(keys) != 1:
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


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "numpy.dtype": _DType,
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "collections.OrderedDict": _new_dict,
    "collections.defaultdict": _new_dict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch.Size": _size,
}
# Classes that appear as arguments only: they stand for themselves, as strings that nobody can call.
_NAMES = frozenset(
    ["numpy.ndarray", *(f"builtins.{kind}" for kind in ("list", "dict", "int", "float", "str"))]
    + [f"torch.{kind}Storage" for kind in _STORAGES]
)
_LOAD_STORAGE = "torch.storage._load_from_bytes"
# What find_class gives for each name, also for those of numpy 1 and of Python 2.
_FOUND: dict[str, Any] = {name: run if run is _Array else _Function(run) for name, run in _FUNCTIONS.items()}
_FOUND |= {name: name for name in _NAMES}
_FOUND |= {name.replace("numpy._core.", "numpy.core.", 1): found for name, found in _FOUND.items()}
_FOUND |= {name.replace("builtins.", "__builtin__.", 1): found for name, found in _FOUND.items()}
ALLOWED = tuple(sorted({*_FUNCTIONS, *_NAMES, _LOAD_STORAGE}))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, scanner: Scanner) -> None:
        super().__init__(file, encoding="latin1")
        self.place, self.storages = scanner.place, scanner.storages
        self.blocks = iter(scanner.blocks)

    def find_class(self, module: str, name: str) -> Any:
        if isinstance(module, str) and isinstance(name, str):
            full = f"{module}.{name}"
            if full in _FOUND:
                return _FOUND[full]
            if full == _LOAD_STORAGE and not self.storages:
                return _Function(lambda data: _load_storage(data, self.place))
        raise DataError(
            f"the pickle names {str(module)[:60]}.{str(name)[:60]}, which was not run",
            place=self.place,
            wanted="only dicts, lists, numbers, strings, numpy arrays and tensors",
            remedy=f"save it again as plain arrays; allowed names: {', '.join(ALLOWED)}",
        )

    def persistent_load(self, pid: Any) -> Any:
        if pid is None:
            return _Dict()
        if type(pid) is _Array:  # those like it that follow, which the scan has taken out
            return _Folded([block.view(pid.dtype).reshape(-1, *pid.shape) for block in next(self.blocks)])
        if not self.storages or type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
            raise pickle.UnpicklingError("a reference to something outside the pickle")
        kind, count, view = pid[1], pid[4], pid[5:]
        dtype = _STORAGES.get(kind.removeprefix("torch.").removesuffix("Storage")) if isinstance(kind, str) else None
        if dtype is None or type(count) is not int or (view and view[0] is not None):
            raise pickle.UnpicklingError("a tensor of an unknown kind")
        return _Storage(dtype, count)
