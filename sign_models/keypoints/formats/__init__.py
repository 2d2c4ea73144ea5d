"""Readers of keypoint files, chosen by content as well as by name.

A reader is a line in readers.READERS and a module with `detect(source) -> bool` and
`read(source, options) -> Iterator[ClipReader]`. A ClipReader is a function that reads one sequence or raises DataError,
so that a bad clip does not stop the others.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sign_models.errors import DataError
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.labels import Labels
from sign_models.keypoints.formats.labels.label_rows import NEVER_LABELS
from sign_models.keypoints.formats.labels.segments import Segments
from sign_models.keypoints.formats.plausible import Doubts
from sign_models.keypoints.formats.readers import (
    READERS,
    WALK,
    Reader,
    Unread,
    clips,
    find_reader,
    is_companion,
    is_read,
    part_key,
    parts,
    size_of,
    source_at,
    unknown_error,
)
from sign_models.keypoints.isolation import ChildDied, as_data_error, at_work, isolated
from sign_models.keypoints.layout_files import load_layout
from sign_models.keypoints.layouts import names_of
from sign_models.keypoints.sequence import KeypointSequence, Unit

log = logging.getLogger(__name__)

__all__ = [
    "READERS",
    "FatalFiles",
    "Reader",
    "Unread",
    "clips",
    "detect",
    "is_read",
    "labels_of",
    "part_key",
    "parts",
    "read",
    "read_here",
    "resolve_layout",
    "size_of",
    "source_at",
    "unknown_error",
]

OnBad = Callable[[DataError], None] | None
FatalFiles = dict[Any, DataError]  # errors of files that ended a process, by their key in `at_work`
MAX_SHOWN, MAX_SHOWN_CHARACTERS = 5, 60  # names in a line of the log
LABELS = "labels"  # first part of a key of `at_work` for label files


def read(
    path: Path | str,
    *,
    layout: str | None = None,
    fps: float | None = None,
    unit: Unit | None = None,
    size: tuple[float, float] | None = None,
    on_bad: OnBad = None,
    labelled: bool = True,
    **more: Any,
) -> Iterator[KeypointSequence]:
    """Read the clips of a file, or of a folder and its subfolders, in a stable order.

    Args:
        path: File or folder.
        layout: Layout of files that do not name one: a name, or the path of a YAML file.
        fps: Frames per second of files that do not state them.
        unit: Unit of files that do not state it.
        size: Size of the images in pixels, for files that do not state it.
        on_bad: Called with the error of a bad clip, which is left out. None: the error is raised.
        labelled: Whether label files are read, and recordings split into clips by their times.
        **more: Other fields of ReadOptions.

    Yields:
        One clip at a time.

    Raises:
        DataError: A clip is bad, an id is repeated, there is no clip, or most clips do not look like their layout.
    """
    source, options = source_at(path), resolve_layout(ReadOptions(layout, fps, unit, size, **more))
    ids: dict[str, str] = {}
    doubts = Doubts()
    for found in _read_isolated(source, options, labelled):
        if isinstance(found, DataError):
            if on_bad is None:
                raise found
            on_bad(found)
            continue
        if found.id in ids:
            raise DataError(
                f"id {found.id!r} again, after {ids[found.id]}",
                place=found.source,
                wanted="each id once",
                remedy="rename or remove one of the two",
            )
        ids[found.id] = found.source
        doubts.add(found.layout, len(found), found.fitting)
        yield found
    doubts.check(source.name)


def _read_isolated(source: Source, options: ReadOptions, labelled: bool) -> Iterator[KeypointSequence | DataError]:
    """What read_here yields, read in a child process. A file that ends the process is an error of its own."""
    dead: FatalFiles = {}
    done = 0
    while True:
        try:
            for found in islice(isolated(read_here, source, options, labelled, dead), done, None):
                done += 1
                yield found
            return
        except ChildDied as died:
            error = died.error()
            if died.at is None or died.at.key in dead or died.at.key[0] == WALK:
                raise error from died
            dead[died.at.key] = error


def read_here(
    source: Source, options: ReadOptions, labelled: bool = True, dead: FatalFiles | None = None
) -> Iterator[KeypointSequence | DataError]:
    """Read the clips of a source in this process.

    Args:
        source: File or folder.
        options: Result of resolve_layout.
        labelled: As in read.
        dead: Files that are not read, with the errors that are yielded in their place.

    Yields:
        Each clip, or what is wrong with it. Files that nobody reads and texts without a clip are logged at the end.

    Raises:
        DataError: There is no clip.
    """
    dead, bad = dead or {}, list[DataError]()
    labels = labels_of(source, bad.append, Labels(options), dead) if labelled else Labels()
    yield from bad
    found, ids, unread = bool(bad), list[str](), list[str]()
    for part in parts(source):
        if not isinstance(part, DataError):
            part = dead.get(part_key(part), part)
        if isinstance(part, DataError):
            found = True
            yield part
            continue
        size = size_of(part)
        at_work(part_key(part), part.id or part.name, size)
        read_before = len(ids)
        for made in _sequences(part, options, labels.segments, size):
            found = True
            ids.append("" if isinstance(made, DataError) else made.id)
            yield made if isinstance(made, DataError) else replace(made, **vars(labels.of(made)))
        if len(ids) == read_before and part.place not in labels.files and not is_companion(part):
            unread.append(part.name)
    if not found:
        raise unknown_error(source)
    _tell_lost(source, unread if labelled else [], labels.unused(ids))


def _tell_lost(source: Source, unread: list[str], unused: list[str]) -> None:
    """Log files that nobody reads, and texts without a clip."""
    for what, names in (("files that nobody reads", unread), ("texts without a clip", unused)):
        if names:
            some = ", ".join(name[:MAX_SHOWN_CHARACTERS] for name in names[:MAX_SHOWN])
            log.warning("%s: %d %s: %s", source.name, len(names), what, some + (" ..." * (len(names) > MAX_SHOWN)))


def _sequences(
    part: Source, options: ReadOptions, segments: Segments, size: int
) -> Iterator[KeypointSequence | DataError]:
    try:
        for make in clips(part, options):
            try:
                yield from segments.split(make())
            except (DataError, MemoryError) as error:
                yield as_data_error(error, part.name, size)
    except (DataError, MemoryError) as error:
        yield as_data_error(error, part.name, size)


def resolve_layout(options: ReadOptions) -> ReadOptions:
    """Replace a layout's YAML file by the name of the layout.

    Args:
        options: Options of a user.

    Returns:
        The same options with a known layout or none.

    Raises:
        DataError: The layout is unknown, or its file cannot be used.
    """
    if options.layout is None:
        return options
    layout = load_layout(options.layout) if options.layout.endswith((".yaml", ".yml")) else options.layout
    names_of(layout)
    return replace(options, layout=layout)


def detect(path: Path | str) -> str:
    """Name the reader of a file, or of the first file in a folder that has one.

    Args:
        path: File or folder.

    Returns:
        Name of a reader.

    Raises:
        DataError: No reader knows any file.
    """
    try:
        return str(next(isolated(_detected, source_at(path))))
    except ChildDied as died:
        raise died.error() from died


def _detected(source: Source) -> Iterator[str]:
    for part in parts(source):
        if isinstance(part, DataError):
            raise part
        at_work(part_key(part), part.id or part.name, size_of(part))
        if reader := find_reader(part):
            yield reader.name
    raise unknown_error(source)


def labels_of(
    source: Source, on_bad: OnBad = None, labels: Labels | None = None, dead: FatalFiles | None = None
) -> Labels:
    """Read the label files of a source, and those that the options name.

    Args:
        source: File or folder of keypoints.
        on_bad: Called with what is wrong with a file or row, which is left out. None: the error is raised.
        labels: Labels to which those of the files are added. None: new ones.
        dead: Files that are not read, with their errors.

    Returns:
        The labels.

    Raises:
        DataError: A label file cannot be used, or the file that the options name has no labels.
    """
    labels = Labels() if labels is None else labels
    paths: set[str] = set()
    for file in chain(_noting_ids(_files(source), paths), _other_label_files(labels)):
        key, size = (LABELS, file.place), os.stat(file.place).st_size
        problems: list[DataError] = []
        with _collecting(on_bad):
            if dead and key in dead:
                raise dead[key]
            if not file.name.lower().endswith(NEVER_LABELS):
                at_work(key, file.id or file.name, size)
            try:
                problems = labels.add(file)
            except MemoryError as error:
                raise as_data_error(error, file.name, size) from error
            except DataError as error:
                raise as_data_error(error, file.name, size) from error.__cause__
        for problem in problems:
            with _collecting(on_bad):
                raise problem
    for problem in labels.close(paths):
        with _collecting(on_bad):
            raise problem
    return labels


def _noting_ids(files: Iterable[Source], paths: set[str]) -> Iterator[Source]:
    """Yield the files and add their ids to `paths`."""
    for file in files:
        paths.add(file.id)
        yield file


def _other_label_files(labels: Labels) -> Iterator[Source]:
    """Yield the label files that the options name. DataError for a file without labels."""
    if labels.options.labels is None:
        return
    given = source_at(labels.options.labels)
    yield from _files(given) if given.is_folder else (given,)
    if not given.is_folder and given.place not in labels.files | labels.pairs.keys():
        wanted = "a table with an id and a text in its header, a list of such rows, an .eaf file, or subtitles"
        raise DataError("tells no labels", place=given.name, wanted=wanted, remedy="see docs/formats/labels.md")


def _files(source: Source) -> Iterator[Source]:
    """The files below a folder."""
    for below in source.children if source.is_folder else ():
        if below.is_folder:
            yield from _files(below)
        else:
            yield below


@contextmanager
def _collecting(on_bad: OnBad) -> Iterator[None]:
    """Pass a DataError to `on_bad` if there is one."""
    try:
        yield
    except DataError as error:
        if on_bad is None:
            raise
        on_bad(error)
