"""The field's keypoint files, one reader a file, told by content as well as by name.

A reader is a line in READERS and a module with `detect(source) -> bool` and `read(source, options) -> Iterator[Clip]`;
a Clip is a function that reads one sequence or raises DataError, so that one bad clip does not stop the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sign_models.errors import DataError
from sign_models.keypoints.folders import check_regular
from sign_models.keypoints.formats import (
    alphapose,
    glofe,
    mediapipe,
    mmpose,
    mska,
    openhands,
    openpose,
    pose,
    pyskl,
    results,
    seed,
    skels,
    slrt,
    table,
    unisign,
)
from sign_models.keypoints.formats import parts as part_files
from sign_models.keypoints.formats.clip import ClipReader
from sign_models.keypoints.formats.labels import NEVER_LABELS, Labels
from sign_models.keypoints.formats.plausible import Doubts
from sign_models.keypoints.formats.segments import Segments
from sign_models.keypoints.formats.source import NUMBERED, ReadOptions, Source
from sign_models.keypoints.isolation import ChildDied, as_data_error, at_work, isolated
from sign_models.keypoints.layouts import load_layout, names_of
from sign_models.keypoints.sequence import KeypointSequence, Unit

OnBad = Callable[[DataError], None] | None
FatalFiles = dict[Any, DataError]  # by what `at_work` said of the file that ended a process
WALK, LABELS = "folder", "labels"  # begin a key of `at_work` that is of no clips
COMPANION_SUFFIXES = (".files", ".text")  # of files that `skels` reads beside its own


@dataclass(frozen=True)
class Reader:
    """name: what `detect` answers. holds: what a user would call it."""

    name: str
    description: str
    detect: Callable[[Source], bool]
    read: Callable[[Source, ReadOptions], Iterator[ClipReader]]


# The first that detects a source reads it: the most particular first.
READERS: tuple[Reader, ...] = (
    Reader(
        "parts", "pose, left_hand, right_hand, face as arrays or files of one clip", part_files.detect, part_files.read
    ),
    Reader("pose", ".pose files of pose-format", pose.detect, pose.read),
    Reader("openpose", "folders of OpenPose's JSON frames", openpose.detect, openpose.read),
    Reader("mmpose", "MMPose's, RTMPose's or Sapiens' JSON predictions", mmpose.detect, mmpose.read),
    Reader("results", "MediaPipe's results in JSON, or frames with numbers", results.detect, results.read),
    Reader("alphapose", "AlphaPose's JSON results", alphapose.detect, alphapose.read),
    Reader("mediapipe", "MediaPipe vectors of 258 or 1662 numbers, .npy", mediapipe.detect, mediapipe.read),
    Reader("table", "Parquet or CSV tables of landmarks", table.detect, table.read),
    Reader("skels", ".skels lines", skels.detect, skels.read),
    Reader("unisign", "Uni-Sign's pose pickles", unisign.detect, unisign.read),
    Reader("pyskl", "annotations of pyskl and MMAction2", pyskl.detect, pyskl.read),
    Reader("mska", "MSKA's split pickles", mska.detect, mska.read),
    Reader("slrt", "SLRT's keypoint pickles", slrt.detect, slrt.read),
    Reader("openhands", "OpenHands' pose pickles", openhands.detect, openhands.read),
    Reader("glofe", "GloFE's pose pickles", glofe.detect, glofe.read),
    Reader("seed", "arrays by id: pickle, npz, npy, JSON, HDF5", seed.detect, seed.read),
)


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
    """Every clip of a file, or of a folder and the folders in it, one at a time, in a stable order.

    layout (a name, or the path of a YAML file), fps, unit, size: for files that do not tell them; more: the other
    fields of `source.Options`. labelled: whether label files are read, and clips cut out of recordings by the times in
    them. A bad clip raises DataError, or is handed to `on_bad` and left out. A repeated id and a source without any
    clip always raise.
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
        doubts.add(found.layout, found.fitting)
        yield found
    doubts.check(source.name)


def _read_isolated(source: Source, options: ReadOptions, labelled: bool) -> Iterator[KeypointSequence | DataError]:
    """What `read_here` yields, read in another process; a file that ended the process as an error of its own."""
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
    """Every clip, and every DataError in place of a bad one, read in this process.

    options: `loaded`. dead: files that are not read but are these errors.
    """
    dead, bad = dead or {}, list[DataError]()
    labels = labels_of(source, bad.append, Labels(options), dead) if labelled else Labels()
    yield from bad
    found = bool(bad)
    for part in parts(source):
        if not isinstance(part, DataError):
            part = dead.get(part_key(part), part)
        if isinstance(part, DataError):  # a file that a reader knows and cannot use is told as such
            found = True
            yield part
            continue
        size = size_of(part)
        at_work(part_key(part), part.id or part.name, size)
        for made in _sequences(part, options, labels.segments, size):
            found = True
            if isinstance(made, DataError):
                yield made
            else:
                yield replace(made, **vars(labels.of(made)))
    if not found:
        raise unknown_error(source)


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


def part_key(part: Source) -> tuple[str, str]:
    """What tells a part from the others of a source."""
    return part.place, part.id


def size_of(part: Source) -> int:
    """Bytes of the files that a part is read from."""
    files = [file.place for _, file in part.members] or (part.files if part.is_folder else [part.place])
    return sum(os.stat(file).st_size for file in files)


def resolve_layout(options: ReadOptions) -> ReadOptions:
    """The options, with a layout that is a YAML file read. DataError on one that is unknown."""
    if options.layout is None:
        return options
    layout = load_layout(options.layout) if options.layout.endswith((".yaml", ".yml")) else options.layout
    names_of(layout)
    return replace(options, layout=layout)


def detect(path: Path | str) -> str:
    """The name of the reader of a file, or of the first file in a folder that any reader knows. DataError if none."""
    try:
        return str(next(isolated(_detected, source_at(path))))
    except ChildDied as died:
        raise died.error() from died


def _detected(source: Source) -> Iterator[str]:
    for part in parts(source):
        if isinstance(part, DataError):
            raise part
        at_work(part_key(part), part.id or part.name, size_of(part))
        if reader := _reader(part):
            yield reader.name
    raise unknown_error(source)


def source_at(path: Path | str) -> Source:
    """DataError where nothing lies there, or an empty file."""
    path = Path(path)
    if not path.exists():
        near = get_close_matches(path.name, [p.name for p in path.parent.iterdir()], 1) if path.parent.is_dir() else []
        raise DataError(
            "does not exist",
            place=str(path),
            wanted="a file or folder of keypoints",
            remedy=f"did you mean {near[0]!r}?" if near else "check the path",
        )
    check_regular(path)
    if path.is_file() and not path.stat().st_size:
        raise DataError("is empty", place=path.name, wanted="a file of keypoints", remedy="copy or export it again")
    return Source(str(path), path.name, "" if path.is_dir() else path.stem, path.is_dir())


def _reader(source: Source) -> Reader | None:
    return next((reader for reader in READERS if reader.detect(source)), None)


def labels_of(
    source: Source, on_bad: OnBad = None, labels: Labels | None = None, dead: FatalFiles | None = None
) -> Labels:
    """What the label files among the files of a source, and those that lie elsewhere, say of its clips.

    labels: what they are added to, with the options of reading. dead: files that are not read but are these errors.
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
    labels.close(paths)
    return labels


def _noting_ids(files: Iterable[Source], paths: set[str]) -> Iterator[Source]:
    """The files, their ids added to `paths`."""
    for file in files:
        paths.add(file.id)
        yield file


def _other_label_files(labels: Labels) -> Iterator[Source]:
    """The label files that the options name. DataError where a file named is none."""
    if labels.options.labels is None:
        return
    given = source_at(labels.options.labels)
    yield from _files(given) if given.is_folder else (given,)
    if not given.is_folder and given.place not in labels.files:
        wanted = "a table with an id and a text in its header, a list of such rows, an .eaf file, or subtitles"
        raise DataError("tells no labels", place=given.name, wanted=wanted, remedy="see docs/formats/labels.md")


def parts(source: Source) -> Iterator[Source | DataError]:
    """Each file, and each folder that holds a clip's frames, in the order of their names; what is bad as its error.

    No file's clips are read, so that processes can share the parts of a source.
    """
    if source.is_folder:
        at_work((WALK, source.place), source.id or source.name, 0)
        yield from source.unreadable
        try:
            whole = _reader(source)
        except DataError as error:
            yield error
            whole = None
        if not whole:
            clips_in_parts, others = part_files.group_parts(list(source.children))
            yield from clips_in_parts
            for below in others:
                yield from parts(below)
            return
        yield source
        for below in source.children:  # what lies beside the frames
            if below.is_folder or not NUMBERED.fullmatch(below.path.name):
                yield from parts(below)
        return
    yield source


def clips(part: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """What reads each clip of a part; none where no reader knows it."""
    if part.kind == "mat":
        raise DataError(
            "is a MATLAB file",
            place=part.name,
            wanted="npz, HDF5 or another format of docs/formats",
            remedy="save its arrays (frames, landmarks, channels) again, in Python: "
            "numpy.savez('clip.npz', **{k: v for k, v in scipy.io.loadmat('clip.mat').items() if k[0] != '_'}), "
            "and for version 7.3 with h5py, axes reversed; or in MATLAB: h5create and h5write",
        )
    for file in part_files.split_false_parts(part):
        if reader := _reader(file):
            yield from reader.read(file, options)
        elif file is not part:
            raise unknown_error(file)


class Unread(DataError):
    """A file that no reader knows. file: its path."""

    file: str = ""

    @classmethod
    def from_source(cls, source: Source) -> Unread:
        error = cls(
            f"nobody reads it: a file of kind {source.kind!r}",
            place=source.id + source.path.suffix,
            wanted="keypoints, or labels whose header names an id and a text",
            remedy="see docs/formats",
        )
        error.file = source.place
        return error


def is_read(part: Source) -> bool:
    """Whether a reader knows the part, or reads it beside another file."""
    return _reader(part) is not None or part.path.suffix.lower() in COMPANION_SUFFIXES


def _files(source: Source) -> Iterator[Source]:
    """The files below a folder."""
    for below in source.children if source.is_folder else ():
        if below.is_folder:
            yield from _files(below)
        else:
            yield below


@contextmanager
def _collecting(on_bad: OnBad) -> Iterator[None]:
    """Hand a DataError to `on_bad`, where there is one."""
    try:
        yield
    except DataError as error:
        if on_bad is None:
            raise
        on_bad(error)


def unknown_error(source: Source) -> DataError:
    known = "; ".join(reader.description for reader in READERS)
    found = "a folder without a file of keypoints" if source.is_folder else f"a file of kind {source.kind!r}"
    return DataError(found, place=source.name, wanted=known, remedy="see docs/formats for each layout")
