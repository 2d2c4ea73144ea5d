"""Reading in this process, for tests that change its limits or read thousands of files."""

from collections.abc import Iterator
from pathlib import Path

from sign_models.errors import DataError
from sign_models.keypoints.formats import read_here, resolve_layout, source_at
from sign_models.keypoints.formats.files.source import ReadOptions
from sign_models.keypoints.sequence import KeypointSequence


def read(path: Path) -> Iterator[KeypointSequence]:
    """What `formats.read` yields; the first error is raised."""
    for found in read_here(source_at(path), resolve_layout(ReadOptions())):
        if isinstance(found, DataError):
            raise found
        yield found
