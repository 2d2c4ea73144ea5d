"""Program of `hdf5` that reads whole HDF5 files in another process, since h5py hangs or crashes on some damaged ones.

A line of standard input is JSON: path, largest size of an array in bytes, and largest depth of groups. The answer is a
line of standard output: "read", or what is wrong.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def touch(group: Any, most: int, depth: int) -> None:
    """Read names, attributes and data of a group and of the groups in it.

    Args:
        group: Group of h5py.
        most: Largest size of an array in bytes. Larger ones are not read.
        depth: Largest depth of groups.
    """
    import h5py

    dict(group.attrs.items())
    for name in group:
        if depth and isinstance(group.get(name, getlink=True), h5py.HardLink):
            found = group[name]
            if hasattr(found, "keys"):
                touch(found, most, depth - 1)
                continue
            dict(found.attrs.items())
            if not found.is_virtual and not found.external and found.size * found.dtype.itemsize <= most:
                found[()]


def main() -> None:
    """Answer requests until the standard input ends."""
    import h5py

    for line in sys.stdin:
        path, most, depth = json.loads(line)
        try:
            with h5py.File(path, "r") as file:
                touch(file, most, depth)
            answer = "read"
        except Exception as error:  # any error is reported to the process that asked
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
        print(answer, flush=True)


if __name__ == "__main__":
    main()
