"""A corpus on disk: shards of half-precision frames, an index written last. docs/store.md is its schema.

    STORE/index.json                         what the store holds; without it nothing is a store
    STORE/frames-00000-<sha256>.safetensors  shards, named by place and the start of their head's checksum
    STORE/report/                            what the import found

F frames, N clips, K landmarks of keypoints.layouts.CANONICAL, C channels: 3, or 4 where a clip of the shard has depth.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sign_models.data.corpus import Corpus, Digest
from sign_models.errors import DataError
from sign_models.keypoints.layouts import CANONICAL
from sign_models.keypoints.sequence import with_channels

VERSION = 2
INDEX, UNFINISHED = "index.json", "unfinished.json"
OPEN = 256  # shards at a time
CHANNEL_BYTES = len(CANONICAL) * 2  # of a frame
FRAME_BYTES = 3 * CHANNEL_BYTES  # without depth
# What is known of each clip of a shard. Those after sha256 are missing from the shards of older versions.
COLUMNS = (
    "ids",
    "fps",
    "splits",
    "groups",
    "texts",
    "layouts",
    "sha256",
    "mirrored",
    "nan",
    "extractors",
    "cut",
    "fitting",
    "left_leads",
)


@dataclass(frozen=True)
class Shard:
    """A whole shard without its frames.

    channels: C. offsets (N + 1,). measures (N, M) float32: checks.MEASURES of each clip. known: column of COLUMNS ->
    one value a clip. rejected: place and reason of each sample left out since the shard before. position: where reading
    the source goes on after it, samples.Place.
    """

    path: Path
    channels: int
    offsets: np.ndarray
    measures: np.ndarray
    known: dict[str, list[Any]]
    rejected: list[str]
    position: list[int]

    @classmethod
    def read(cls, path: Path) -> Shard:
        try:
            with safe_open(path, "np") as file:
                about = json.loads(file.metadata()["about"])
                shape, offsets = file.get_slice("frames").get_shape(), file.get_tensor("offsets")
                about["known"].setdefault("extractors", [None] * (len(offsets) - 1))  # of before they were told
                shard = cls(path, shape[-1], offsets, file.get_tensor("measures"), **about)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise _broken(path, f"is no whole shard ({str(error)[:100]})") from error
        shapes = [[offsets[-1], len(CANONICAL), channels] for channels in (3, 4)]
        if shape not in shapes or {len(v) for v in shard.known.values()} != {len(offsets) - 1}:
            raise _broken(path, "contradicts itself")
        return shard

    def __len__(self) -> int:
        return len(self.offsets) - 1


def _broken(path: Path, found: str) -> DataError:
    place = f"{path.parent.name}/{path.name}"
    return DataError(found, place=place, wanted="the file that the import wrote", remedy="import it again")


class StoredFrames:
    """The frames of a store as if they were one array (F, K, C) float16, read from its files as they are asked for.

    C is 4 where any shard has depth; the others are then read with a depth of 0.

    Takes a slice, or whole numbers (..., T) of which each row lies within one clip; gives copies. Read and not mapped:
    a page that is seen for the first time through a mapping costs more than copying it (docs/experiments.md).
    """

    def __init__(self, paths: list[Path], starts: np.ndarray, channels: list[int]) -> None:
        """starts (shards + 1,): the first frame of each shard, then F. channels: of each shard."""
        self.paths, self.starts, self.channels = paths, starts, channels
        self.places = [place_of_frames(path) for path in paths]
        self._files: dict[int, FileIO] = {}  # the last to be opened at the end

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self), len(CANONICAL), max(self.channels, default=3)

    @property
    def nbytes(self) -> int:
        return len(self) * CHANNEL_BYTES * self.shape[-1]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step < 0:
                raise IndexError("frames are read forwards")
            return self._between(start, max(start, stop))[::step]
        out = np.empty((*index.shape, *self.shape[1:]), np.float16)
        places, rows = index.reshape(-1, index.shape[-1]), out.reshape(-1, *out.shape[-3:])
        low, high = places.min(1), places.max(1)
        if not 0 <= low.min(initial=0) <= high.max(initial=0) < len(self):
            raise IndexError(f"frames {low.min()} to {high.max()} of {len(self)}")
        # Nearly always a clip from its start on, then its last frame again up to the length of the batch.
        padded = (places == np.minimum(low[:, None] + np.arange(places.shape[1]), high[:, None])).all(1)
        for row, of_row, first, last, is_padded in zip(rows, places, low.tolist(), high.tolist(), padded, strict=True):
            count = last + 1 - first
            if is_padded:
                self.read_into(first, row[:count])
                row[count:] = row[count - 1]
            else:
                frames = self._between(first, last + 1)
                frames.take(of_row - first, 0, out=row, mode="clip")  # numpy copies twice in its other modes
        return out

    def _between(self, start: int, stop: int) -> np.ndarray:
        out = np.empty((stop - start, *self.shape[1:]), np.float16)
        self.read_into(start, out)
        return out

    def read_into(self, start: int, out: np.ndarray) -> None:
        """Frames `start` to `start + len(out)`, out in one piece. DataError where a file has fewer than it had."""
        done = 0
        while done < len(out):
            i = int(np.searchsorted(self.starts, start + done, "right")) - 1
            first, end = start + done - int(self.starts[i]), int(self.starts[i + 1]) - start
            part, channels = out[done:end], self.channels[i]
            if channels == out.shape[-1]:
                self._read(i, first, part)
            else:
                flat = np.empty((*part.shape[:-1], channels), part.dtype)
                self._read(i, first, flat)
                part[:] = with_channels(flat, out.shape[-1])
            done = min(end, len(out))

    def _read(self, i: int, first: int, out: np.ndarray) -> None:
        """Frames of shard i as they lie there, from its frame `first` on."""
        file, place = self._file(i), self.places[i] + first * CHANNEL_BYTES * self.channels[i]
        left = out.data.cast("B")
        while len(left):
            if not (count := os.preadv(file.fileno(), [left], place)):
                raise _broken(self.paths[i], "ends before its last frame")
            left, place = left[count:], place + count

    def _file(self, i: int) -> FileIO:
        """A shard, open; the one that was opened first is let go, and is closed once no thread reads it any more."""
        if (file := self._files.get(i)) is None:
            file = self._files[i] = FileIO(self.paths[i])
            if len(self._files) > OPEN:
                self._files.pop(list(self._files)[0], None)  # noqa: RUF015  in one step, which no other thread divides
        return file

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which opens the files itself."""
        return self.__dict__ | {"_files": {}}


def place_of_frames(path: Path) -> int:
    """The byte of the file at which its frames begin. The header: its length as 8 bytes, then JSON."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return 8 + size + int(header["frames"]["data_offsets"][0])


def is_store(path: Path) -> bool:
    """Whether a store, finished or not, lies there."""
    return (path / INDEX).is_file() or (path / UNFINISHED).is_file()


def open_store(path: Path | str, *, full: bool = False) -> Corpus:
    """A finished store as a corpus whose frames stay on disk.

    Always checked: every shard's size and header, and that ids, texts, splits and lengths are those of the import.
    full: every byte against its checksum. Raises DataError.
    """
    path = Path(path)
    index = _index(path)
    known: dict[str, list[Any]] = {name: [] for name in ("ids", "fps", "splits", "groups", "texts")}
    files, channels, starts, lengths = list[Path](), list[int](), [0], list[np.ndarray]()
    extractors = Counter[str | None]()
    once: dict[Any, Any] = {}  # one object for equal frame rates, splits and groups: there are few of each
    for shard in _checked(path, index, full):
        files.append(shard.path)
        channels.append(shard.channels)
        starts.append(starts[-1] + int(shard.offsets[-1]))
        lengths.append(np.diff(shard.offsets))
        extractors.update(shard.known["extractors"])
        for name, values in known.items():
            of_shard = shard.known[name]
            values += of_shard if name in ("ids", "texts") else (once.setdefault(value, value) for value in of_shard)
    return Corpus(
        **known,
        frames=StoredFrames(files, np.array(starts), channels),
        offsets=np.concatenate([[0], *lengths]).cumsum(),
        digest=index["digest"],
        sources=str(path),
        extractors=dict(extractors),
    )


def check_store(path: Path) -> None:
    """Read every byte of a finished store, in the memory of one shard. Raises DataError."""
    for _ in _checked(path, _index(path), full=True):
        pass


def _checked(path: Path, index: dict[str, Any], full: bool) -> Iterator[Shard]:
    """The shards, with the splits of the index; what is known of their clips is checked after the last."""
    digest, done = Digest(), 0
    for file, checksum in _files(path, index):
        shard = Shard.read(file)
        if full and verify(shard) != checksum:
            raise _broken(file, "was changed: its checksum differs")
        if index["splits"]:
            shard.known["splits"] = index["splits"][done : done + len(shard)]
        add_known(digest, np.diff(shard.offsets), shard.known)
        done += len(shard)
        yield shard
    if str(digest) != index["digest"]:
        raise _broken(path / INDEX, "ids, texts, splits or lengths are not those of the import")


def store_digest(path: Path) -> str:
    """The digest that `open_store` would give, read from the index."""
    return str(_index(path)["digest"])


def add_known(digest: Digest, lengths: np.ndarray, known: dict[str, list[Any]]) -> None:
    """Add clips by what is known of them, as `Corpus.of` adds the same clips in memory."""
    columns = (known[name] for name in ("fps", "splits", "groups", "texts", "sha256", "extractors"))
    for clip in zip(known["ids"], lengths.tolist(), *columns, strict=True):
        digest.add(*clip)


def _index(path: Path) -> dict[str, Any]:
    if not (path / INDEX).is_file():
        found, remedy = "no store", "give the folder that -e import wrote"
        if (path / UNFINISHED).is_file():
            found, remedy = "an import that did not finish", "start the same import again: it goes on where it was"
        raise DataError(found, place=str(path), wanted=f"a folder with {INDEX}", remedy=remedy)
    try:
        sealed = json.loads((path / INDEX).read_bytes())
        index = sealed["index"]
        sound = sealed["sha256"] == seal(index)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(path / INDEX, f"is no index ({str(error)[:100]})") from error
    if not sound:
        raise _broken(path / INDEX, "was changed")
    if (index["version"], index["landmarks"]) != (VERSION, list(CANONICAL)):
        raise _broken(path / INDEX, f"was written for other landmarks or as version {index['version']}")
    return dict(index)


def seal(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _files(path: Path, index: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for entry in index["shards"]:
        file = path / entry["name"]
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            found = "is missing" if size is None else f"holds {size:,} bytes instead of {entry['bytes']:,}"
            raise _broken(file, found)
        yield file, entry["sha256"]


def verify(shard: Shard) -> str:
    """Hold the frames of each clip against its own sha256, which stands in the head, and give the head's.

    Every byte of the file is in one of these sums, in one only: an import sums what it writes once.
    Raises DataError.
    """
    head = place_of_frames(shard.path)
    with shard.path.open("rb") as file:
        checksum = hashlib.sha256(file.read(head)).hexdigest()
        sums = zip(shard.known["ids"], np.diff(shard.offsets).tolist(), shard.known["sha256"], strict=True)
        for id, length, sha256 in sums:
            if sha256_of_clip(file.read(length * CHANNEL_BYTES * shard.channels), shard.channels) != sha256:
                raise _broken(shard.path, f"was changed: the checksum of clip {id!r} differs")
        if file.read(1):
            raise _broken(shard.path, "holds more than its clips")
    return checksum


def sha256_of_clip(frames: bytes, channels: int) -> str:
    """The checksum of a clip's own values, which have no depth where all of it is 0: data.corpus.Clip."""
    if channels == 4 and not (values := np.frombuffer(frames, np.float16).reshape(-1, 4))[:, 3].any():
        frames = np.ascontiguousarray(values[:, :3]).tobytes()
    return hashlib.sha256(frames).hexdigest()
