"""The readers of all formats, and the parts of a source that they read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from sign_models.errors import DataError
from sign_models.keypoints.folders import check_regular
from sign_models.keypoints.formats import batches, part_folders
from sign_models.keypoints.formats import parts as part_files
from sign_models.keypoints.formats.clip import ClipReader
from sign_models.keypoints.formats.corpora import glofe, mska, openhands, pyskl, seed, skels, slrt, unisign
from sign_models.keypoints.formats.estimators import alphapose, mediapipe, mmpose, openpose, pose, results
from sign_models.keypoints.formats.files.source import NUMBERED, ReadOptions, Source, stem_of
from sign_models.keypoints.formats.tables import list_tables, table
from sign_models.keypoints.isolation import at_work

MAX_NAMED_FILES = 4  # of a folder that holds no keypoints
WALK = "folder"  # first part of a key of `at_work` for a folder that is listed
COMPANION_SUFFIXES = (".files", ".text")  # of files that `skels` reads together with its own


@dataclass(frozen=True)
class Reader:
    """A file format.

    Attributes:
        name: Name that formats.detect returns.
        description: What a user would call it.
        detect: Whether the module reads a file or folder. Cheap where the kind of file is another. Raises DataError
            for a broken file.
        read: Functions that each read a clip. Called once a source.
    """

    name: str
    description: str
    detect: Callable[[Source], bool]
    read: Callable[[Source, ReadOptions], Iterator[ClipReader]]


# The first reader that detects a source reads it. The most specific come first.
READERS: tuple[Reader, ...] = (
    Reader(
        "parts", "pose, left_hand, right_hand, face as arrays or files of one clip", part_files.detect, part_files.read
    ),
    Reader("pose", ".pose files of pose-format", pose.detect, pose.read),
    Reader("openpose", "folders of OpenPose's JSON frames", openpose.detect, openpose.read),
    Reader("mmpose", "MMPose's, RTMPose's or Sapiens' JSON predictions", mmpose.detect, mmpose.read),
    Reader("results", "MediaPipe's results in JSON, or frames with numbers", results.detect, results.read),
    Reader("alphapose", "AlphaPose's or COCO's JSON results", alphapose.detect, alphapose.read),
    Reader("mediapipe", "MediaPipe vectors of 225 to 1692 numbers, .npy", mediapipe.detect, mediapipe.read),
    Reader("lists", "tables whose cells are lists of numbers", list_tables.detect, list_tables.read),
    Reader("table", "Parquet or CSV tables of landmarks", table.detect, table.read),
    Reader("skels", ".skels lines", skels.detect, skels.read),
    Reader("unisign", "Uni-Sign's pose pickles", unisign.detect, unisign.read),
    Reader("pyskl", "annotations of pyskl and MMAction2", pyskl.detect, pyskl.read),
    Reader("mska", "MSKA's split pickles", mska.detect, mska.read),
    Reader("slrt", "SLRT's keypoint pickles", slrt.detect, slrt.read),
    Reader("batches", "arrays of several clips, padded, with ids or labels beside them", batches.detect, batches.read),
    Reader("openhands", "OpenHands' pose pickles", openhands.detect, openhands.read),
    Reader("glofe", "GloFE's pose pickles", glofe.detect, glofe.read),
    Reader("seed", "arrays by id: pickle, npz, npy, JSON, HDF5", seed.detect, seed.read),
)


def source_at(path: Path | str) -> Source:
    """Open a path as a source.

    Args:
        path: File or folder.

    Returns:
        The source, not read yet.

    Raises:
        DataError: The path does not exist, or is an empty file or a device.
    """
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
    return Source(str(path), path.name, "" if path.is_dir() else stem_of(path.name), path.is_dir())


def find_reader(source: Source) -> Reader | None:
    """Find the reader of a file or folder.

    Args:
        source: The file or folder.

    Returns:
        The first of READERS that detects it, or None.

    Raises:
        DataError: The file is broken.
    """
    if batches.is_companion(source):
        return None
    return next((reader for reader in READERS if reader.detect(source)), None)


def part_key(part: Source) -> tuple[str, str]:
    """Key of a part among the parts of a source.

    Args:
        part: File or folder of one.

    Returns:
        Its path and id.
    """
    return part.place, part.id


def size_of(part: Source) -> int:
    """Size of the files that a part is read from.

    Args:
        part: File, or folder of files.

    Returns:
        Size in bytes.
    """
    files = [file.place for _, file in part.members] or (part.files if part.is_folder else [part.place])
    return sum(os.stat(file).st_size for file in files)


def parts(source: Source) -> Iterator[Source | DataError]:
    """List the parts of a source: files, and folders with the frames of a clip.

    No clips are read, so that processes can divide the parts of a source.

    Args:
        source: File or folder.

    Yields:
        The parts in the order of their names, or what is wrong with one.
    """
    if source.is_folder:
        at_work((WALK, source.place), source.id or source.name, 0)
        yield from source.unreadable
        try:
            whole = find_reader(source)
        except DataError as error:
            yield error
            whole = None
        if not whole:
            clips_in_parts, others = part_folders.group_parts(list(source.children))
            yield from clips_in_parts
            for below in others:
                yield from parts(below)
            return
        yield source
        for below in source.children:  # other files than frames
            if below.is_folder or not NUMBERED.fullmatch(below.path.name):
                yield from parts(below)
        return
    yield source


def clips(part: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Find the clips of a part.

    Args:
        part: A part of a source.
        options: Result of resolve_layout.

    Yields:
        A function for each clip, which reads it. Nothing if no reader knows the part.

    Raises:
        DataError: The part is a MATLAB file or a pointer of Git LFS, or is broken.
    """
    if part.kind == "lfs":
        found, wanted = "is a pointer of Git LFS, not the file", "the file itself"
        raise DataError(found, place=part.name, wanted=wanted, remedy="run `git lfs pull` in its repository")
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
        if reader := find_reader(file):
            yield from reader.read(file, options)
        elif file is not part:
            raise unknown_error(file)


class Unread(DataError):
    """A file that no reader knows.

    Attributes:
        file: Its path.
    """

    file: str = ""

    @classmethod
    def from_source(cls, source: Source) -> Unread:
        """Make the error of a file.

        Args:
            source: The file.

        Returns:
            The error.
        """
        error = cls(
            f"nobody reads it: a file of kind {source.kind!r}",
            place=source.id + source.path.suffix,
            wanted="keypoints, or labels whose header names an id and a text",
            remedy="see docs/formats",
        )
        error.file = source.place
        return error


def is_read(part: Source) -> bool:
    """Tell parts that are read from unknown files.

    Args:
        part: A part of a source.

    Returns:
        Whether a reader knows it, or reads it together with another file.
    """
    return find_reader(part) is not None or is_companion(part)


def is_companion(part: Source) -> bool:
    """Tell files that a reader reads together with another one.

    Args:
        part: A part of a source.

    Returns:
        Whether it is such a file.
    """
    if part.path.suffix.lower() in COMPANION_SUFFIXES:
        return any(part.sibling(suffix) for suffix in (".skels", ".txt", ""))
    return batches.is_companion(part)


def unknown_error(source: Source) -> DataError:
    """Make the error of a source without keypoints.

    Args:
        source: File or folder.

    Returns:
        The error, which lists the formats.
    """
    known = "; ".join(reader.description for reader in READERS)
    found = f"a file of kind {source.kind!r}"
    if source.is_folder:
        names = list(islice((part.name for part in parts(source) if isinstance(part, Source)), MAX_NAMED_FILES))
        held = f", but {', '.join(name[:40] for name in names)}" if names else ""
        found = f"a folder without a file of keypoints{held}"
    return DataError(found, place=source.name, wanted=known, remedy="see docs/formats for each layout")
