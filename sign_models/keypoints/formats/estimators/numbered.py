"""Folders of JSON files, one for each image: NAME_000000000012.json. The number is the time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from sign_models.keypoints.formats.files.source import NUMBERED, Source


class FrameFiles(NamedTuple):
    """The files of a clip.

    Attributes:
        id: Id of the clip.
        place: What an error message names.
        files: Number and path of each frame, by number.
    """

    id: str
    place: str
    files: list[tuple[int, Path]]


def clips(source: Source) -> Iterator[FrameFiles]:
    """Group the files of a folder into clips.

    Args:
        source: Folder of frames, or a file with one frame.

    Yields:
        The files of each clip.
    """
    if not source.is_folder:
        yield FrameFiles(source.id, source.name, [(0, source.path)])
        return
    named = ((NUMBERED.fullmatch(path.name), path) for path in source.files if path.suffix == ".json")
    frames = sorted((found["clip"], int(found["number"]), path) for found, path in named if found)
    groups = [(name, [(number, path) for _, number, path in group]) for name, group in groupby(frames, lambda f: f[0])]
    if len(groups) == 1:  # a folder with one clip gives it its name. How2Sign names files after their folder
        yield FrameFiles(source.id or groups[0][0] or source.name, source.name, groups[0][1])
        return
    for name, numbered in groups:
        yield FrameFiles("/".join(filter(None, (source.id, name))), f"{source.name}/{name}", numbered)
