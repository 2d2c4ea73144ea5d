"""The record at the end of a `.pose` file, which says how the poses were made.

It is JSON, then its length (uint32, little-endian), then MAGIC. Version 0.2 of the format counts its frames, so that
other readers stop before the record.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sign_models.errors import DataError
from sign_models.keypoints.extractor import extractor_line

MAGIC = b"SIGNREC1"
MAX_RECORD_BYTES = 2**20
_TAIL = struct.Struct(f"<I{len(MAGIC)}s")


def pack_record(record: Mapping[str, Any]) -> bytes:
    """Serialise a record.

    Args:
        record: Values that JSON can hold.

    Returns:
        Bytes to be appended to the poses.
    """
    text = json.dumps(dict(record), sort_keys=True).encode()
    return text + _TAIL.pack(len(text), MAGIC)


def read_record(path: Path) -> dict[str, Any] | None:
    """Read the record of a `.pose` file.

    Args:
        path: The file.

    Returns:
        The record, or None in files of other programs.

    Raises:
        DataError: The record is damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MAX_RECORD_BYTES - _TAIL.size))
        return record_at_end(file.read(), path.name)


def record_at_end(data: bytes, place: str) -> dict[str, Any] | None:
    """Read the record at the end of some bytes.

    Args:
        data: Bytes of a file, or its last ones.
        place: What an error message names.

    Returns:
        As read_record.

    Raises:
        DataError: The record is damaged.
    """
    if len(data) < _TAIL.size:
        return None
    length, magic = _TAIL.unpack(data[-_TAIL.size :])
    if magic != MAGIC:
        return None
    if length > min(MAX_RECORD_BYTES, len(data) - _TAIL.size):
        raise _damaged(place)
    try:
        record = json.loads(data[len(data) - _TAIL.size - length : -_TAIL.size])
    except (ValueError, RecursionError) as error:
        raise _damaged(place) from error
    if not isinstance(record, dict):
        raise _damaged(place)
    return record


def extractor_of(record: Mapping[str, Any] | None, place: str) -> str | None:
    """Get the extractor that a record names.

    Args:
        record: The record, or None.
        place: What an error message names.

    Returns:
        Line of keypoints.extractor, or None.

    Raises:
        DataError: The record is damaged.
    """
    extractor = (record or {}).get("extractor")
    if extractor is None:
        return None
    try:
        return extractor_line(extractor["name"], extractor["version"], extractor["models"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(place) from error


def _damaged(place: str) -> DataError:
    return DataError("its record is damaged", place=place, wanted="a whole file", remedy="extract it again")
