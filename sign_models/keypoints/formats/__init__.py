"""The field's keypoint files, one reader a file, told by content as well as by name.

A reader is a line in READERS and a module with `detect(source) -> bool` and `read(source, options) -> Iterator[Clip]`;
a Clip is a function that reads one sequence or raises DataError, so that one bad clip does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sign_models.errors import DataError
from sign_models.keypoints.formats import pose, seed
from sign_models.keypoints.formats.clip import Clip
from sign_models.keypoints.formats.source import Options, Source
from sign_models.keypoints.layouts import load_layout, names_of
from sign_models.keypoints.sequence import KeypointSequence, Unit


@dataclass(frozen=True)
class Reader:
    """name: what `detect` answers. holds: what a user would call it."""

    name: str
    holds: str
    detect: Callable[[Source], bool]
    read: Callable[[Source, Options], Iterator[Clip]]


# The first that detects a source reads it: the most particular first.
READERS: tuple[Reader, ...] = (
    Reader("pose", ".pose files of pose-format", pose.detect, pose.read),
    Reader("seed", "arrays by id: pickle, npz, npy, JSON", seed.detect, seed.read),
)


def read(
    path: Path | str,
    *,
    layout: str | None = None,
    fps: float | None = None,
    unit: Unit | None = None,
    size: tuple[float, float] | None = None,
    on_bad: Callable[[DataError], None] | None = None,
) -> Iterator[KeypointSequence]:
    """Every clip of a file, or of a folder and the folders in it, one at a time, in a stable order.

    layout (a name, or the path of a YAML file), fps, unit, size: for files that do not tell them. A bad clip raises
    DataError, or is handed to `on_bad` and left out. A repeated id and a source without any clip always raise.
    """
    source = _source(path)
    if layout is not None:
        layout = load_layout(layout) if layout.endswith((".yaml", ".yml")) else layout
        names_of(layout)
    ids: dict[str, str] = {}
    for make in _clips(source, Options(layout, fps, unit, size), on_bad):
        try:
            sequence = make()
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(error)
            continue
        if sequence.id in ids:
            raise DataError(
                f"id {sequence.id!r} again, after {ids[sequence.id]}",
                place=sequence.source,
                wanted="each id once",
                remedy="rename or remove one of the two",
            )
        ids[sequence.id] = sequence.source
        yield sequence


def detect(path: Path | str) -> str:
    """The name of the reader of a file, or of the first file in a folder that any reader knows. DataError if none."""
    source = _source(path)
    if reader := _reader(source):
        return reader.name
    for file in _files(source):
        if reader := _reader(file):
            return reader.name
    raise _unknown(source)


def _source(path: Path | str) -> Source:
    path = Path(path)
    if not path.exists():
        near = get_close_matches(path.name, [p.name for p in path.parent.iterdir()], 1) if path.parent.is_dir() else []
        raise DataError(
            "does not exist",
            place=str(path),
            wanted="a file or folder of keypoints",
            remedy=f"did you mean {near[0]!r}?" if near else "check the path",
        )
    if path.is_file() and not path.stat().st_size:
        raise DataError("is empty", place=path.name, wanted="a file of keypoints", remedy="copy or export it again")
    return Source(path, path.stem)


def _reader(source: Source) -> Reader | None:
    return next((reader for reader in READERS if reader.detect(source)), None)


def _files(folder: Source) -> Iterator[Source]:
    """The files below a folder; ids are paths without the ending."""
    for path in sorted(folder.path.rglob("*")) if folder.path.is_dir() else ():
        if path.is_file() and not path.name.startswith("."):
            yield Source(path, path.relative_to(folder.path).with_suffix("").as_posix())


def _clips(source: Source, options: Options, on_bad: Callable[[DataError], None] | None) -> Iterator[Clip]:
    reader = _reader(source)
    if reader:
        yield from reader.read(source, options)
        return
    found = False
    for file in _files(source):
        try:
            if reader := _reader(file):
                found = True
                yield from reader.read(file, options)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(error)
    if not found:
        raise _unknown(source)


def _unknown(source: Source) -> DataError:
    known = "; ".join(reader.holds for reader in READERS)
    found = "a folder without a file of keypoints" if source.kind == "folder" else f"a file of kind {source.kind!r}"
    return DataError(found, place=source.path.name, wanted=known, remedy="see docs/formats for each layout")
