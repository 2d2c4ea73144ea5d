"""What a pickle may make: checked dicts, arrays, dtypes, tensor memory, and the functions that it may call.

None of them can be changed by a pickle. Each refuses arguments that no writer of plain data gives.
"""

from __future__ import annotations

import math
import pickle
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

MAX_AXES = 8  # of an array of objects
_KEY_TYPES = (str, int, bytes, bool, type(None))
# Dtype of the memory of torch storages. A bfloat16 is the upper half of a float32.
STORAGE_DTYPES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "bfloat16", "Long": "<i8", "Int": "<i4", "Short": "<i2",
    "Char": "i1", "Byte": "u1", "Bool": "?",
}  # fmt: skip


class Dict(dict[Any, Any]):
    """A dict whose keys are quick to hash and to compare: strings, numbers, None."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if type(key) not in _KEY_TYPES or (type(key) is int and abs(key) >= 2**60):
            raise pickle.UnpicklingError(f"a dict key is a {type(key).__name__}, wanted a string or a number")
        super().__setitem__(key, value)


class Array(np.ndarray):
    """An array that a pickle makes empty and then fills: numbers and strings, as many as its shape says.

    It replaces numpy's `_reconstruct`. A pickle cannot change it, since it has a `__setstate__`.

    Attributes:
        objects: Of an array of objects: its values in nested lists, in a list. Such an array stays empty.
    """

    objects: list[Any] | None = None

    def __new__(cls, kind: Any, *_: Any) -> Array:
        """Make an empty array.

        Args:
            kind: Name of its class.
            *_: Shape and dtype, which are not used.

        Returns:
            The array.

        Raises:
            UnpicklingError: The class is not numpy.ndarray.
        """
        if kind != "numpy.ndarray":
            raise pickle.UnpicklingError("an array of a class that is not numpy.ndarray")
        return _NEW(cls, 0)

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        if type(dtype) is DType and dtype.numpy.hasobject:
            self.objects = [_nested(shape, data)]
            return
        if type(dtype) is not DType or type(data) is not bytes or not data:
            data = _array_bytes(dtype, shape, data)
        check_text(data, dtype.numpy)
        # numpy checks the shape against the number of bytes.
        _FILL(self, (1, shape, dtype.numpy, fortran, data))


_NEW, _FILL = np.ndarray.__new__, np.ndarray.__setstate__


def _nested(shape: Any, values: Any) -> Any:
    """The values of an array of objects, which a pickle lists row by row, in a list for each of its axes."""
    if type(values) is not list or type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
        raise pickle.UnpicklingError("an array of objects without a list of them")
    if math.prod(shape) != len(values) or len(shape) > MAX_AXES:
        raise pickle.UnpicklingError(f"an array of objects whose shape does not fit its {len(values)} values")
    for width in shape[:0:-1] if values else ():
        values = [values[i : i + width] for i in range(0, len(values), width)]
    return values if shape else values[0]


class DType:
    """A dtype of numbers, strings or objects.

    Attributes:
        numpy: The dtype.
    """

    __slots__ = ("numpy",)
    KINDS = re.compile(r"[biufSU?](\d*)")

    def __init__(self, code: Any, *_: Any) -> None:
        """Read a dtype.

        Args:
            code: Kind and size, such as "f4".
            *_: Not used.

        Raises:
            UnpicklingError: The dtype is of records.
        """
        if code in ("O", "O4", "O8"):
            self.numpy = np.dtype(object)
            return
        found = self.KINDS.fullmatch(code) if isinstance(code, str) else None
        if not found or not 0 < int(found[1] or 1) <= 2**16:
            raise pickle.UnpicklingError("an array of records; wanted numbers or strings")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.numpy = self.numpy.newbyteorder(">")


def _array_bytes(dtype: Any, shape: Any, data: Any) -> bytes:
    if type(dtype) is not DType or type(shape) is not tuple or dtype.numpy.hasobject:
        raise pickle.UnpicklingError("an array without numbers or shape")
    if isinstance(data, str):  # Python 2
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError(f"an array made of a {type(data).__name__}; wanted numbers or strings")
    if any(type(n) is not int or not 0 <= n <= max(len(data), 2**16) for n in shape):
        raise pickle.UnpicklingError(f"an array whose shape does not fit its {len(data)} bytes")
    check_text(data, dtype.numpy)
    return bytes(data)


def check_text(data: bytes | bytearray, dtype: np.dtype) -> None:
    """Check the characters of texts in an array. numpy does not, and strings of Python cannot be made of others.

    Args:
        data: Bytes of the array.
        dtype: Its dtype.

    Raises:
        ValueError: A character is none.
    """
    if dtype.kind == "U":
        codes = np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder), len(data) // 4)
        if codes.size and codes.max() > sys.maxunicode:
            raise ValueError(f"a character of number {codes.max()}")


class Storage:
    """Memory of a tensor.

    Attributes:
        dtype: Dtype as STORAGE_DTYPES has it.
        count: Number of values.
        values: (count,) the values. None until their bytes are found behind the pickle.
    """

    __slots__ = ("count", "dtype", "values")

    def __init__(self, dtype: str, count: int) -> None:
        """Describe the memory of a tensor.

        Args:
            dtype: Dtype as STORAGE_DTYPES has it.
            count: Number of values.
        """
        self.dtype, self.count = dtype, count
        self.values: np.ndarray | None = None

    def __setstate__(self, _: Any) -> NoReturn:
        raise pickle.UnpicklingError("a pickle may not change a tensor's memory")


class AllowedFunction:
    """A function that a pickle may call but cannot change."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        """Allow a function.

        Args:
            run: The function.
        """
        self._run = run

    def __setstate__(self, _: Any) -> NoReturn:
        raise pickle.UnpicklingError("a pickle may not change what it calls")

    def __call__(self, *args: Any) -> Any:
        """Call the function.

        Args:
            *args: Its arguments, as the pickle has them.

        Returns:
            Its result.
        """
        return self._run(*args)


def frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Replace numpy's `_frombuffer`.

    Args:
        data: Bytes of the array.
        dtype: Its dtype.
        shape: Its shape.
        order: "F" or "C".

    Returns:
        The array.

    Raises:
        UnpicklingError: The arguments make no array of numbers or strings.
    """
    data = _array_bytes(dtype, shape, data)
    return np.frombuffer(data, dtype.numpy).reshape(shape, order="F" if order == "F" else "C")


def scalar(dtype: Any, data: Any) -> Any:
    """Replace numpy's `scalar`.

    Args:
        dtype: Dtype of the number.
        data: Its bytes.

    Returns:
        A number of Python.

    Raises:
        UnpicklingError: The arguments make no number.
    """
    return np.frombuffer(_array_bytes(dtype, (), data), dtype.numpy).reshape(()).item()


def encode_latin1(text: Any, encoding: Any) -> bytes:
    """Replace `_codecs.encode`, by which protocol 2 stores bytes.

    Args:
        text: The bytes as text.
        encoding: "latin1".

    Returns:
        The bytes.

    Raises:
        UnpicklingError: The text or the encoding is another.
    """
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("_codecs.encode of anything but latin1 text")
    return text.encode("latin1")


def new_dict(*args: Any) -> Dict:
    """Replace OrderedDict and defaultdict.

    Args:
        *args: A list of pairs (OrderedDict of Python 2), a factory (defaultdict), or nothing.

    Returns:
        The dict.
    """
    filled = Dict()
    for key, value in args[0] if args and isinstance(args[0], list) else ():
        filled[key] = value
    return filled


def empty_bytes(*args: Any) -> bytes:
    """Replace `bytes` without arguments.

    Args:
        *args: Nothing.

    Returns:
        No bytes.

    Raises:
        UnpicklingError: There are arguments.
    """
    if args:
        raise pickle.UnpicklingError("bytes() of something")
    return b""


def new_bytearray(*args: Any) -> bytearray:
    """Replace `bytearray` of bytes.

    Args:
        *args: Bytes, or nothing.

    Returns:
        The bytes.

    Raises:
        UnpicklingError: The argument is not bytes.
    """
    if args and not (len(args) == 1 and isinstance(args[0], bytes)):
        raise pickle.UnpicklingError("bytearray() of something that is not bytes")
    return bytearray(*args)


def torch_size(values: Any = ()) -> tuple[Any, ...]:
    """Replace `torch.Size`.

    Args:
        values: A list or tuple.

    Returns:
        The size as a tuple.

    Raises:
        UnpicklingError: The argument is something else.
    """
    if not isinstance(values, list | tuple):
        raise pickle.UnpicklingError("a torch.Size of something else")
    return tuple(values)


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """Replace torch's `_rebuild_tensor_v2`.

    Args:
        storage: Storage with values.
        offset: First value of the tensor.
        size: Its shape.
        stride: Values between two entries of each axis.
        *_: Gradients and hooks, which are not used.

    Returns:
        A read-only view of the storage.

    Raises:
        UnpicklingError: The shape does not fit the storage.
    """
    numbers = (offset, *size, *stride)
    whole = all(type(n) is int and 0 <= n < 2**31 for n in numbers)
    if not isinstance(storage, Storage) or storage.values is None or len(size) != len(stride) or not whole:
        raise pickle.UnpicklingError("a tensor with an impossible shape")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else -1
    available = len(storage.values)
    if count > available or last >= available or max(size, default=0) > max(available, 2**16):
        raise pickle.UnpicklingError(f"a tensor of {count} numbers in {available}")
    if not count:
        return np.zeros(size, storage.values.dtype)
    width = storage.values.itemsize
    strides = tuple(step * width for step in stride)
    return np.lib.stride_tricks.as_strided(storage.values[offset:], size, strides, writeable=False)
