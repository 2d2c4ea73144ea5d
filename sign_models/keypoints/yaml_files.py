"""YAML from untrusted sources: without aliases, which can expand without end, and with numbers of 64 bits."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sign_models.keypoints.folders import check_regular

MAX_BYTES = 2**20
MAX_INTEGER = 2**63


class _Loader(yaml.SafeLoader):
    """Reads YAML without aliases, which may unfold to more than memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"alias {str(self.peek_event().anchor)[:40]!r}: write the values out")
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: Any) -> int:
        number = int(super().construct_yaml_int(node))
        if abs(number) >= MAX_INTEGER:
            raise yaml.YAMLError(f"a number of more than 64 bits in line {node.start_mark.line + 1}")
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Args:
        path: Path of the file.

    Returns:
        Its content.

    Raises:
        OSError: The file cannot be read.
        DataError: The path is no regular file.
        ValueError: The file is not YAML, too large, nested too deeply, or has aliases or numbers of more than 64 bits.
    """
    check_regular(path)
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it holds more than {MAX_BYTES:,} bytes")
    return copy.deepcopy(_parsed(data))


@lru_cache(32)
def _parsed(data: bytes) -> Any:
    """Content of YAML, which takes many times as long as a copy of it: commands read the same files again."""
    try:
        return yaml.load(data.decode("utf-8-sig"), _Loader)  # a SafeLoader
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from error
