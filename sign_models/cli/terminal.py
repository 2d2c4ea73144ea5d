"""What reaches a terminal: no character of a text, an id or a file's name may steer it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sign_models.errors import printable

_UP = "\x1b[A"  # what progress bars need


class _Printable:
    """A text stream that writes control characters and marks of writing direction as escapes."""

    def __init__(self, stream: Any) -> None:
        """Write to a stream.

        Args:
            stream: The stream.
        """
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text.

        Args:
            text: The text.

        Returns:
            Characters of the text.
        """
        self._stream.write(_UP.join(map(printable, text.split(_UP))))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write lines.

        Args:
            lines: Texts.
        """
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def printable_streams() -> Iterator[None]:
    """Have standard output and standard error write nothing that steers a terminal.

    Yields:
        Nothing.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Printable(sys.stdout), _Printable(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
