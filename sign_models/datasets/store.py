"""A corpus on disk: shards of half-precision frames, and an index that is written last (docs/store.md).

    STORE/index.json                         list of shards; without it the store is unfinished
    STORE/frames-00000-<sha256>.safetensors  shards, named by number and the start of the checksum of their header
    STORE/report/                            report of the import

F frames, N clips, K landmarks of keypoints.layouts.CANONICAL, C channels: 3, or 4 where a clip of the shard has depth.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from sign_models.data.corpus import Corpus, Digest, DigestRow, with_mirroring
from sign_models.datasets.stored_frames import CHANNEL_BYTES, StoredFrames, damaged, frames_offset
from sign_models.errors import DataError
from sign_models.keypoints.layouts import CANONICAL
from sign_models.keypoints.normalise import Mirroring

VERSION = 2
INDEX, UNFINISHED = "index.json", "unfinished.json"
# Metadata of each clip of a shard. Shards of earlier versions have no columns after sha256.
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
    "padded",
)


@dataclass(frozen=True)
class Shard:
    """A shard without its frames.

    Attributes:
        path: Its file.
        channels: C.
        offsets: (N + 1,) int64. Clip i has frames offsets[i] to offsets[i + 1].
        measures: (N, M) float32, checks.MEASURES of each clip.
        known: Metadata of the clips: for each of COLUMNS a value a clip.
        rejected: Place and reason of each sample rejected since the shard before.
        position: Where reading of the source goes on after the shard, as samples.Position.
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
        """Read the header and the small tensors of a shard.

        Args:
            path: Its file.

        Returns:
            The shard.

        Raises:
            DataError: The file is no complete shard.
        """
        try:
            with safe_open(path, "np") as file:
                metadata = json.loads(file.metadata()["about"])
                shape, offsets = file.get_slice("frames").get_shape(), file.get_tensor("offsets")
                metadata["known"].setdefault("extractors", [None] * (len(offsets) - 1))  # of an earlier version
                shard = cls(path, shape[-1], offsets, file.get_tensor("measures"), **metadata)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise damaged(path, f"is no whole shard ({str(error)[:100]})") from error
        shapes = [[offsets[-1], len(CANONICAL), channels] for channels in (3, 4)]
        if shape not in shapes or {len(v) for v in shard.known.values()} != {len(offsets) - 1}:
            raise damaged(path, "contradicts itself")
        return shard

    def __len__(self) -> int:
        return len(self.offsets) - 1


def is_store(path: Path) -> bool:
    """Recognise a store.

    Args:
        path: Any path.

    Returns:
        Whether it is the folder of a store, finished or not.
    """
    return (path / INDEX).is_file() or (path / UNFINISHED).is_file()


def open_store(path: Path | str, *, full: bool = False) -> Corpus:
    """Open a finished store as a corpus whose frames stay on disk.

    Size and header of every shard are always checked, and that ids, texts, splits and lengths are those of the import.

    Args:
        path: Folder of the store.
        full: Whether to check every byte against its checksum too.

    Returns:
        The corpus.

    Raises:
        DataError: The folder is no finished store, or its files have changed.
    """
    path = Path(path)
    index = _index(path)
    known: dict[str, list[Any]] = {name: [] for name in ("ids", "fps", "splits", "groups", "texts")}
    files, channels, starts, lengths = list[Path](), list[int](), [0], list[np.ndarray]()
    extractors = Counter[str | None]()
    interned: dict[Any, Any] = {}  # one object for equal frame rates, splits and groups: there are few of each
    for shard in _checked(path, index, full):
        files.append(shard.path)
        channels.append(shard.channels)
        starts.append(starts[-1] + int(shard.offsets[-1]))
        lengths.append(np.diff(shard.offsets))
        extractors.update(shard.known["extractors"])
        for name, values in known.items():
            of_shard = shard.known[name]
            values += (
                of_shard if name in ("ids", "texts") else (interned.setdefault(value, value) for value in of_shard)
            )
    mirroring = _mirroring(index)
    return Corpus(
        **known,
        mirroring=mirroring,
        frames=StoredFrames(files, np.array(starts), channels),
        offsets=np.concatenate([[0], *lengths]).cumsum(),
        digest=with_mirroring(index["digest"], mirroring),
        sources=str(path),
        extractors=dict(extractors),
    )


def check_store(path: Path) -> None:
    """Check every byte of a finished store, in the memory of one shard.

    Args:
        path: Folder of the store.

    Raises:
        DataError: The folder is no finished store, or its files have changed.
    """
    for _ in _checked(path, _index(path), full=True):
        pass


def _checked(path: Path, index: dict[str, Any], full: bool) -> Iterator[Shard]:
    """Shards with the splits of the index. Metadata of the clips is checked after the last one."""
    digest, done = Digest(), 0
    for file, checksum in _files(path, index):
        shard = Shard.read(file)
        if full and verify_shard(shard) != checksum:
            raise damaged(file, "was changed: its checksum differs")
        if index["splits"]:
            shard.known["splits"] = index["splits"][done : done + len(shard)]
        add_metadata(digest, np.diff(shard.offsets), shard.known)
        done += len(shard)
        yield shard
    if str(digest) != index["digest"]:
        raise damaged(path / INDEX, "ids, texts, splits or lengths are not those of the import")


def store_digest(path: Path) -> str:
    """Read the digest of a store from its index.

    Args:
        path: Folder of the store.

    Returns:
        The digest of the corpus that open_store would give.

    Raises:
        DataError: The folder is no finished store.
    """
    index = _index(path)
    return with_mirroring(str(index["digest"]), _mirroring(index))


def _mirroring(index: dict[str, Any]) -> Mirroring:
    """As the import was asked. Stores of an earlier version do not tell."""
    return cast(Mirroring, index.get("made", {}).get("mirroring", "auto"))


def add_metadata(digest: Digest, lengths: np.ndarray, known: dict[str, list[Any]]) -> None:
    """Add clips to a digest as Corpus.from_sequences adds the same clips in memory.

    Args:
        digest: Digest of the clips so far.
        lengths: (N,) frames of each clip.
        known: Metadata as in Shard.known.
    """
    columns = (known[name] for name in ("fps", "splits", "groups", "texts", "sha256", "extractors"))
    for clip in zip(known["ids"], lengths.tolist(), *columns, strict=True):
        digest.add(DigestRow(*clip))


def _index(path: Path) -> dict[str, Any]:
    """The index of a store. DataError where it is none, unfinished, damaged or of another version."""
    if not (path / INDEX).is_file():
        found, remedy = "no store", "give the folder that -e import wrote"
        if (path / UNFINISHED).is_file():
            found, remedy = "an import that did not finish", "start the same import again: it goes on where it was"
        raise DataError(found, place=str(path), wanted=f"a folder with {INDEX}", remedy=remedy)
    try:
        sealed = json.loads((path / INDEX).read_bytes())
        index = sealed["index"]
        sound = sealed["sha256"] == index_checksum(index)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path / INDEX, f"is no index ({str(error)[:100]})") from error
    if not sound:
        raise damaged(path / INDEX, "was changed")
    if (index["version"], index["landmarks"]) != (VERSION, list(CANONICAL)):
        raise damaged(path / INDEX, f"was written for other landmarks or as version {index['version']}")
    return dict(index)


def index_checksum(index: dict[str, Any]) -> str:
    """Checksum of an index, which its file holds too.

    Args:
        index: The index without the checksum.

    Returns:
        A sha256.
    """
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _files(path: Path, index: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for entry in index["shards"]:
        file = path / entry["name"]
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            found = "is missing" if size is None else f"holds {size:,} bytes instead of {entry['bytes']:,}"
            raise damaged(file, found)
        yield file, entry["sha256"]


def verify_shard(shard: Shard) -> str:
    """Check the frames of each clip against its own sha256, which is in the header.

    Every byte of the file is in exactly one checksum, so that an import hashes what it writes once.

    Args:
        shard: The shard.

    Returns:
        The sha256 of the header.

    Raises:
        DataError: The file was changed.
    """
    header = frames_offset(shard.path)
    with shard.path.open("rb") as file:
        checksum = hashlib.sha256(file.read(header)).hexdigest()
        sums = zip(shard.known["ids"], np.diff(shard.offsets).tolist(), shard.known["sha256"], strict=True)
        for id, length, sha256 in sums:
            if sha256_of_clip(file.read(length * CHANNEL_BYTES * shard.channels), shard.channels) != sha256:
                raise damaged(shard.path, f"was changed: the checksum of clip {id!r} differs")
        if file.read(1):
            raise damaged(shard.path, "holds more than its clips")
    return checksum


def sha256_of_clip(frames: bytes, channels: int) -> str:
    """Checksum of a clip, as data.corpus.Clip has it.

    Args:
        frames: Bytes of the clip's frames in a shard.
        channels: C of the shard. A clip whose depth is 0 everywhere has none of its own.

    Returns:
        A sha256.
    """
    if channels == 4 and not (values := np.frombuffer(frames, np.float16).reshape(-1, 4))[:, 3].any():
        frames = np.ascontiguousarray(values[:, :3]).tobytes()
    return hashlib.sha256(frames).hexdigest()
