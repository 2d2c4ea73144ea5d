"""Every mistake a user can make, as one small tree.

SignError
|-- ParamsError      a parameter is misspelt, of the wrong type or out of range
|-- DataError        an input file or one of its samples cannot be used
|-- UpstreamError    a model, run or alias asked for is not in the registry, or is of another stage
`-- ResourceError    the machine ran out of something: memory, disk, the tracking server

Entry points print a SignError as one message without a traceback and exit with code 2. Anything else
that escapes is a bug and keeps its traceback.
"""

import re

# Control characters but line feed, carriage return and tab; marks that turn the direction of writing.
_STEERING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Write every character that would steer a terminal as an escape of its number.

    Args:
        text: The text.

    Returns:
        The text without such characters.
    """
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


class SignError(Exception):
    """A mistake of the user, as `place: found; wanted WANTED; REMEDY`.

    Attributes:
        found: What was there.
        place: File, sample or parameter, e.g. "video_sequences.pkl: sample 'clip_0042'".
        wanted: What is accepted.
        remedy: The next thing to type or change.
    """

    def __init__(self, found: str, *, place: str = "", wanted: str = "", remedy: str = "") -> None:
        """Compose the message. Control characters in it are escaped.

        Args:
            found: What was there.
            place: Where.
            wanted: What is accepted.
            remedy: What to do.
        """
        self.found, self.place, self.wanted, self.remedy = found, place, wanted, remedy
        message = f"{place}: {found}" if place else found
        if wanted:
            message += f"; wanted {wanted}"
        if remedy:
            message += f"; {remedy}"
        super().__init__(printable(message))


class ParamsError(SignError):
    """A parameter is misspelt, of the wrong type or out of range."""

    pass


class DataError(SignError):
    """An input file or one of its samples cannot be used."""

    pass


class UpstreamError(SignError):
    """A model, run or alias that was asked for is not in the registry, or is of another stage."""

    pass


class ResourceError(SignError):
    """The machine ran out of something: memory, disk, the tracking server."""

    pass
