"""Writes a store shard by shard, in the memory of two shards. After an interruption it goes on behind the last one."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from sign_models.data.corpus import Digest
from sign_models.datasets.checks import measure
from sign_models.datasets.readers import START, Position, Sample
from sign_models.datasets.store import (
    COLUMNS,
    INDEX,
    UNFINISHED,
    VERSION,
    Shard,
    add_metadata,
    index_checksum,
    sha256_of_clip,
    verify_shard,
)
from sign_models.datasets.stored_frames import FRAME_BYTES, StoredFrames, frames_offset
from sign_models.errors import DataError
from sign_models.keypoints.layouts import CANONICAL
from sign_models.keypoints.normalise import Handedness, mirror
from sign_models.keypoints.sequence import with_channels

LOCK = ".lock"  # file lock of the process that writes
SHARD_NAME = re.compile(r"frames-(\d{5,})-([0-9a-f]{16})\.safetensors")
SHARD_BYTES = 2**24  # of frames. A longer clip has a shard of its own
SHARD_CLIPS = 2**16  # safetensors reads headers of at most 100 MB


class StoreWriter:
    """Writes the shards and the index of a store.

    A thread writes a shard while the next one is filled. Leaving the context ends the thread.

    Attributes:
        path: Folder of the store.
        made: All that decides what the shards hold, such as the hash of the source.
        position: Where reading of the source goes on after the samples so far.
        ids: Ids of the clips so far, in their order.
        rejected: Place and reason of each rejected sample.
    """

    def __init__(self, path: Path, made: dict[str, Any]) -> None:
        """Begin a store, or take over the shards of an unfinished one with the same `made`.

        Args:
            path: Folder that is new, empty, or an unfinished store.
            made: All that decides what the shards hold.

        Raises:
            DataError: The folder is a finished store or holds anything else.
        """
        self.path, self.made, self.position = path, made, START
        self.ids: dict[str, None] = {}
        self.rejected: list[str] = []
        self._shards: list[dict[str, Any]] = []
        self._channels: list[int] = []  # of each shard
        path.mkdir(parents=True, exist_ok=True)
        marker, content = path / UNFINISHED, json.dumps(made, sort_keys=True).encode()
        if (path / INDEX).exists():
            raise _occupied(path, "holds a finished store", "remove it, or name another folder")
        if not marker.exists() and any(file.name != LOCK for file in path.iterdir()):
            raise _occupied(path, "is not empty", "name another folder")
        if marker.exists() and marker.read_bytes() == content:
            self._resume()
        finished = {shard["name"] for shard in self._shards}
        for file in path.iterdir():
            if file.name.startswith("frames-") and file.name not in finished:
                file.unlink()
        _write_atomically(marker, content)
        shape = SHARD_BYTES // FRAME_BYTES, len(CANONICAL), 3
        self._frames, self._spare = np.empty(shape, np.float16), np.empty(shape, np.float16)
        self._thread, self._writing = ThreadPoolExecutor(1), list[Future[dict[str, Any]]]()
        self._begin_shard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def _resume(self) -> None:
        """Take over finished shards, up to the first that does not match its name."""
        for number, path in enumerate(sorted(self.path.glob("frames-*.safetensors"))):
            name = SHARD_NAME.fullmatch(path.name)
            try:
                checksum = verify_shard(shard := Shard.read(path))
            except DataError:
                break
            if not name or int(name[1]) != number or not checksum.startswith(name[2]):
                break
            self._shards.append(_entry(path, checksum, len(shard), int(shard.offsets[-1])))
            self._channels.append(shard.channels)
            self.ids.update(dict.fromkeys(shard.known["ids"]))
            self.rejected += shard.rejected
            self.position = Position(*shard.position)

    def _begin_shard(self) -> None:
        self._known: list[tuple[Any, ...]] = []
        self._ends, self._measures, self._has_depth = [0], list[np.ndarray](), False
        self._rejected_before = len(self.rejected)

    def add(self, sample: Sample, position: Position) -> None:
        """Add a sample.

        Args:
            sample: The next sample of the source.
            position: Where reading goes on after it.

        Raises:
            DataError: Its id appears a second time.
        """
        clip = sample.clip
        if clip.id in self.ids:
            remedy = "rename or remove one of the two"
            raise DataError(f"id {clip.id!r} appears twice", place=sample.place, wanted="one clip an id", remedy=remedy)
        length = len(clip.values)
        if self._ends[-1] + length > len(self._frames) or len(self._ends) > SHARD_CLIPS:
            self._end_shard()
        self.ids[clip.id] = None
        self.position = position
        known = (clip.id, clip.fps, clip.split, clip.group, clip.text, sample.layout, clip.sha256)
        changed = (clip.mirrored, clip.nan, clip.extractor, clip.cut, clip.fitting, clip.left_leads, clip.padded)
        self._known.append((*known, *changed))
        self._measures.append(sample.measures)
        if length > len(self._frames):
            self._ends.append(length)
            self._write_shard(clip.values)
        else:
            if clip.values.shape[-1] > self._frames.shape[-1]:  # the first clip with depth
                self._frames = with_channels(self._frames, clip.values.shape[-1])
            place = slice(self._ends[-1], self._ends[-1] + length)
            self._frames[place] = with_channels(clip.values, self._frames.shape[-1])
            self._has_depth |= clip.values.shape[-1] > 3
            self._ends.append(self._ends[-1] + length)

    def reject(self, reason: str, position: Position) -> None:
        """Leave out a sample.

        Args:
            reason: Place and reason.
            position: Where reading goes on after it.
        """
        self.position = position
        self.rejected.append(reason)

    def flush(self) -> None:
        """Write all clips so far to disk, the last ones as a smaller shard."""
        self._end_shard()
        self._wait()

    def _end_shard(self) -> None:
        if len(self._ends) > 1:
            self._write_shard(with_channels(self._frames[: self._ends[-1]], 4 if self._has_depth else 3))

    def _write_shard(self, frames: np.ndarray) -> None:
        """Hand a shard to the thread. The one before is then on disk, and its buffer is used again."""
        self._wait()
        tensors = {"frames": frames, "offsets": np.array(self._ends), "measures": np.stack(self._measures)}
        known = dict(zip(COLUMNS, zip(*self._known, strict=True), strict=True))
        metadata = {"known": known, "rejected": self.rejected[self._rejected_before :], "position": self.position}
        self._channels.append(frames.shape[-1])
        making = self.path / f"frames-{len(self._shards):05}.making"
        self._writing.append(self._thread.submit(_write_shard, tensors, json.dumps(metadata), making))
        self._frames, self._spare = self._spare, self._frames
        self._begin_shard()

    def _wait(self) -> None:
        while self._writing:
            self._shards.append(self._writing.pop().result())

    def shards(self) -> Iterator[Shard]:
        """Read the finished shards without their frames.

        Yields:
            One shard at a time.
        """
        for entry in self._shards:
            yield Shard.read(self.path / entry["name"])

    def mirror(self, hands: Handedness) -> None:
        """Correct the mirroring of clips in finished shards.

        Args:
            hands: Handedness of all signers, which is only known after the last clip.
        """
        self.flush()
        for i, entry in enumerate(self._shards):
            shard = Shard.read(path := self.path / entry["name"])
            known = shard.known
            clips = zip(known["groups"], known["left_leads"], known["mirrored"], strict=True)
            changed = [k for k, (group, lead, now) in enumerate(clips) if hands.is_mirrored(group, lead) != now]
            if not changed:
                continue
            with safe_open(path, "np") as file:
                frames, measures = file.get_tensor("frames"), file.get_tensor("measures")
            for k in changed:
                part = frames[shard.offsets[k] : shard.offsets[k + 1]]
                part[:] = mirror(part)
                known["sha256"][k] = sha256_of_clip(part.tobytes(), shard.channels)
                known["mirrored"][k] = not known["mirrored"][k]
                measures[k] = measure([part])[0]
            metadata = {"known": known, "rejected": shard.rejected, "position": shard.position}
            tensors = {"frames": frames, "offsets": shard.offsets, "measures": measures}
            self._shards[i] = _write_shard(tensors, json.dumps(metadata), self.path / f"frames-{i:05}.making")
            path.unlink()

    def frames(self) -> StoredFrames:
        """Open the finished shards.

        Returns:
            Their frames as one array.
        """
        starts = np.cumsum([0, *(shard["frames"] for shard in self._shards)])
        return StoredFrames([self.path / shard["name"] for shard in self._shards], starts, self._channels)

    def finish(self, splits: list[str | None] | None) -> str:
        """Write the index, which finishes the store.

        Args:
            splits: Split of each clip. None: as the clips have them.

        Returns:
            Digest of the corpus.
        """
        self.flush()
        digest, done = Digest(), 0
        for shard in self.shards():
            of_shard = shard.known["splits"] if splits is None else splits[done : done + len(shard)]
            add_metadata(digest, np.diff(shard.offsets), shard.known | {"splits": of_shard})
            done += len(shard)
        index = {
            "version": VERSION,
            "landmarks": list(CANONICAL),
            "digest": str(digest),
            "shards": self._shards,
            "splits": splits,
            "made": self.made,
        }
        _write_atomically(self.path / INDEX, json.dumps({"sha256": index_checksum(index), "index": index}).encode())
        (self.path / UNFINISHED).unlink()
        return str(digest)


def _write_shard(tensors: dict[str, np.ndarray], metadata: str, making: Path) -> dict[str, Any]:
    """Write a shard under its final name. Returns its entry in the index."""
    save_file(tensors, making, {"about": metadata})
    with making.open("rb") as file:
        os.fsync(file.fileno())
        checksum = hashlib.sha256(file.read(frames_offset(making))).hexdigest()
    path = making.with_name(f"{making.stem}-{checksum[:16]}.safetensors")
    making.replace(path)
    return _entry(path, checksum, len(tensors["measures"]), len(tensors["frames"]))


def _entry(path: Path, checksum: str, clips: int, frames: int) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": checksum, "clips": clips, "frames": frames}


def _write_atomically(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, also if the power fails."""
    making = path.with_name(f"{path.name}.making")
    with making.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    making.replace(path)


def _occupied(path: Path, found: str, remedy: str) -> DataError:
    return DataError(found, place=str(path), wanted="a new folder for the store", remedy=remedy)
