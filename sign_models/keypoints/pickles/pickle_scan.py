"""Scan of the opcodes of a pickle before it is read. Opcodes that no writer of data uses are refused.

The unpickler believes every number in the file: a memo place of two billion makes it allocate 34 GB, and a length of
nine exabytes is allocated before it is read. The scan is the first check of `safe_pickle`.
"""

from __future__ import annotations

import io
import mmap
import re
from typing import Any

import numpy as np

from sign_models.errors import DataError

MAX_OBJECTS = 2**25  # opcodes of a file, bytes of strings and arrays not counted
MAX_INTEGER_BYTES = 16  # longer numbers are no data, and Python is slow at numbers of a million digits
NEW_DICT = b"NQ"  # None, then BINPERSID: the unpickler's persistent_load(None) makes the dict
# The array on top of the stack again, then BINPERSID: persistent_load(array) returns all like arrays that follow. They
# fill as many memo places as their own opcodes would.
NEXT_ARRAYS, IN_MEMO = b"2Q", 6 * b"\x94"

# A run of opcodes of fixed length, or ended by a line feed, that need no further look ("(d" is an empty dict of
# protocol 0), or of the strings before every first array, then perhaps an opcode that is followed by as many bytes as
# its argument of 4, 1 or 8 bytes says.
_RUN = re.compile(
    rb"(?:[N\]lt)ase\x85-\x89ubR01\x93\x94]++|\((?!d)|[Kqh].|M..|[Jj].{4}|G.{8}|\x80[\x00-\x05]"
    rb"|\x8c(?:\x16numpy\._core\.multiarray|\x15numpy\.core\.multiarray|\x0c_reconstruct|\x05numpy|\x07ndarray"
    rb"|\x05dtype|\x02[a-z][1-8]|\x01[<|])|C\x01b"
    rb"|[FSVg][^\n]*+\n|[IL][^\n]{0,40}\n|c[^\n]*+\n[^\n]*+\n"
    + b"".join(b"|\x8a" + re.escape(bytes([n])) + b".{%d}" % n for n in range(MAX_INTEGER_BYTES + 1))
    +
    # Never matches: up to Python 3.11.4 a possessive repeat ends where its last, failed, attempt had got to.
    rb"|(?!))*+"
    rb"(?:[BXT](.{4})|[CU\x8c](.)|[\x8d\x8e\x96](.{8}))?",
    re.DOTALL,
)
# The opcodes between the numbers of two arrays in a list: the end of the first, whose start a frame may cut off, then
# the second up to its numbers.
_END_OF_ARRAY = b"\x94t\x94b"
_ARRAY = re.compile(
    rb"(?:\x94?t\x94b)?(?:e\()?"
    rb"(h.h.K\x00\x85\x94h.\x87\x94R\x94\(K\x01(?:K.|M..)+[\x85-\x87]\x94(?:h.|j....)\x89(?:B....|C.))",
    re.DOTALL,
)
_COMPARED_BYTES = 2**15  # of opcodes, compared at a time
_DIGITS = re.compile(rb"(\d{1,19})\n")  # the memo place of protocol 0
# Class names as protocol 4 and as earlier ones write them, and the opcodes that make an object: NEWOBJ, NEWOBJ_EX.
_NAMED = re.compile(rb"\x8c.([\w.]+)\x94\x8c.([\w.]+)\x94\x93|c([\w.]+)\n([\w.]+)\n", re.DOTALL)
_MAKES_OBJECT, _NEAR = (0x81, 0x92), 500  # bytes before the opcode in which the name is searched
_STOP, _DICT, _FRAME = ord("."), ord("}"), 0x95
_FRAME_BYTES = 9  # the opcode and its length
_PUT, _LONG_BINPUT, _PERSISTENT = ord("p"), ord("r"), ord("Q")

Buffer = bytes | bytearray | mmap.mmap


def read_unframed(file: io.FileIO, size: int) -> bytes | bytearray:
    """Read a pickle without the opcodes of its frames.

    Args:
        file: File at its start.
        size: Its size, in bytes.

    Returns:
        The pickle without frames if they follow one another to its end, else the file as it is.
    """
    opcodes, at, frame = bytearray(size), 2, file.read(11)
    opcodes[:2], frame = frame[:2], frame[2:]
    with memoryview(opcodes) as view:
        while len(frame) == _FRAME_BYTES and frame[0] == _FRAME:
            length = int.from_bytes(frame[1:], "little")
            # The opcode of the next frame is read too, and overwritten.
            if (count := file.readinto(view[at : at + length + _FRAME_BYTES])) < length:
                break
            frame, at = bytes(view[at + length : at + count]), at + length
    if frame:
        file.seek(0)
        return file.read()
    del opcodes[at:]
    return opcodes


class Scanner:
    """Scanner of consecutive pickles in a buffer.

    Attributes:
        position: Where the next pickle begins.
        blocks: For each NEXT_ARRAYS the numbers of its arrays in their order, (N, bytes) uint8 each.
    """

    def __init__(self, data: Buffer, place: str, *, storages: bool = False, fold: bool = True) -> None:
        """Begin at the start of a buffer.

        Args:
            data: The pickles.
            place: What an error message names.
            storages: Whether the pickles may refer to the memory of a tensor, as those inside a tensor do.
            fold: Whether like arrays are taken out.
        """
        self.data, self.place, self.storages, self.fold = data, place, storages, fold and not storages
        self.position, self.objects = 0, 0
        self.blocks: list[list[np.ndarray]] = []

    def scan(self) -> list[memoryview]:
        """Scan a pickle.

        Returns:
            Its opcodes without frames. New dicts are replaced by checked ones, like arrays by NEXT_ARRAYS.

        Raises:
            DataError: The pickle is truncated, too large, or has other opcodes than those of data.
        """
        data, view = self.data, memoryview(self.data)
        pieces: list[memoryview] = []
        start = at = self.position
        last = b""
        while run := _RUN.match(data, at):  # always: a run may be empty
            before, at = at, run.end()
            self.objects += at - before + 1
            if sized := run.lastindex:
                head, size = run[0], int.from_bytes(run[sized], "little")
                at += size
                array = _ARRAY.fullmatch(head) if self.fold and size else None
                if array and (like := self._like(array[1], at, size)):
                    again = sum(map(len, like))
                    pieces += [view[start : at + len(_END_OF_ARRAY)], memoryview(NEXT_ARRAYS + IN_MEMO * again)]
                    self.blocks.append(like)
                    start = at = self.position
                    self.objects += again * len(head)
                elif head == last:
                    again = _repeats(data, at, head, size)
                    at += again * (len(head) + size)
                    self.objects += again * len(head)
                last = head
            if at >= len(data):
                raise self.broken("it ends too early")
            self._check_objects()
            if sized:
                continue
            code = data[at]
            if code == _STOP:
                self.position = at + 1
                return [*pieces, view[start : at + 1]]
            if code == _DICT or data[at : at + 2] == b"(d":
                pieces += [view[start:at], memoryview(NEW_DICT)]
                start = at = at + (1 if code == _DICT else 2)
            elif code == _FRAME:
                pieces.append(view[start:at])
                start = at = at + 9
            elif code == _LONG_BINPUT:
                self._check_memo(int.from_bytes(data[at + 1 : at + 5], "little"), at)
                at += 5
            elif code == _PUT and (digits := _DIGITS.match(data, at + 1)):
                self._check_memo(int(digits[1]), at)
                at = digits.end()
            elif code == _PERSISTENT and self.storages:
                at += 1
            else:
                self._refuse_object(code, at)
                raise self.broken(f"opcode {code:#04x} at byte {at} belongs to no pickle of plain data")
        raise self.broken("it ends too early")

    def _like(self, opcodes: bytes, at: int, size: int) -> list[np.ndarray]:
        """Numbers of the arrays like the one whose numbers end at `at`, (N, size) uint8 each; [] if there are few.

        A frame may begin between two of them. `position` is then behind the last one.
        """
        data, head, blocks = self.data, _END_OF_ARRAY + opcodes, list[np.ndarray]()
        period = len(head) + size
        while data[at : at + len(_END_OF_ARRAY)] == _END_OF_ARRAY:
            end = self.position = at + len(_END_OF_ARRAY)
            framed = 9 if data[end : end + 1] == b"\x95" else 0
            first = end + framed + len(opcodes)
            if data[first - len(opcodes) : first] != opcodes or first + size > len(data):
                return blocks
            count = 1 + _repeats(data, first + size, head, size)
            block = np.ndarray((count, size), np.uint8, data, first, (period, 1))
            blocks.append(block.copy() if isinstance(data, mmap.mmap) else block)  # files may change
            at = first + count * period - len(head)
        return []

    def _check_objects(self) -> None:
        """DataError for more objects than memory is meant to hold."""
        if self.objects > MAX_OBJECTS:
            raise DataError(
                f"holds more than {MAX_OBJECTS:,} objects",
                place=self.place,
                wanted="numbers as arrays, not as lists",
                remedy="save each clip as one numpy array",
            )

    def _check_memo(self, index: int, at: int) -> None:
        if index > at:  # writers number the memo 0, 1, 2, ...; the unpickler allocates up to the highest number
            raise self.broken(f"memo place {index} at byte {at}")

    def _refuse_object(self, code: int, at: int) -> None:
        """DataError with the class's name if this opcode makes an object, such as a table of pandas."""
        named = list(_NAMED.finditer(self.data, max(0, at - _NEAR), at))
        if code not in _MAKES_OBJECT or not named:
            return
        module, name = (part.decode() for part in (named[-1][1] or named[-1][3], named[-1][2] or named[-1][4]))
        remedy = "save it again as plain arrays, such as {id: array of (frames, landmarks, channels)}"
        if module.startswith("pandas"):
            remedy = "save a table with `to_parquet` or `to_csv`, or its numbers with `to_numpy`"
        raise DataError(
            f"holds an object of {module}.{name}, which is not made",
            place=self.place,
            wanted="only dicts, lists, numbers, strings, numpy arrays and tensors",
            remedy=remedy,
        )

    def broken(self, why: str) -> DataError:
        """Make the error of a broken pickle.

        Args:
            why: What is wrong.

        Returns:
            The error, to be raised.
        """
        return DataError(
            f"is no readable pickle: {why}", place=self.place, wanted="a whole pickle", remedy="copy or export it again"
        )


def _repeats(data: Buffer, at: int, head: bytes, size: int) -> int:
    """Count how many more times the same opcodes follow, each before `size` bytes, as in a list of arrays."""
    period = len(head) + size
    found, most = 0, (len(data) - at) // period
    while found < most and data[at : at + len(head)] == head:
        count = min(most - found, 1 + _COMPARED_BYTES // len(head))
        heads, wanted = np.ndarray((count, len(head)), np.uint8, data, at, (period, 1)).tobytes(), head * count
        if heads != wanted:
            differs = np.frombuffer(heads, np.uint8) != np.frombuffer(wanted, np.uint8)
            return found + int(differs.argmax()) // len(head)
        found, at = found + count, at + count * period
    return found


class PieceFile(io.RawIOBase):
    """A readable file of pieces of memory, which are not concatenated."""

    def __init__(self, pieces: list[memoryview]) -> None:
        """Begin at the first piece.

        Args:
            pieces: The pieces in their order.
        """
        self.pieces, self.piece, self.at = pieces, 0, 0

    def readable(self) -> bool:
        """Tell that the file can be read.

        Returns:
            True.
        """
        return True

    def readinto(self, target: Any) -> int:
        """Read the rest of a piece into a buffer.

        Args:
            target: The buffer.

        Returns:
            Number of bytes. 0 at the end.
        """
        while self.piece < len(self.pieces) and self.at == len(self.pieces[self.piece]):
            self.piece, self.at = self.piece + 1, 0
        if self.piece == len(self.pieces):
            return 0
        part = self.pieces[self.piece][self.at : self.at + len(target)]
        target[: len(part)] = part
        self.at += len(part)
        return len(part)
