"""Checks of a corpus whose files can all be read: leaks between splits, duplicates, outliers.

N clips, T frames, K landmarks of keypoints.layouts.CANONICAL, C channels, M measures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sign_models.datasets.store import Shard
from sign_models.keypoints.layouts import CANONICAL, PARTS, PLACE
from sign_models.keypoints.sequence import SPLIT_ALIASES

WRISTS = [PLACE["left_hand.wrist"], PLACE["right_hand.wrist"]]
# Measures of a clip: share of unseen landmarks of each part; reach: largest coordinate, in shoulder widths; motion:
# mean movement of a seen wrist between two frames, in shoulder widths.
MEASURES = (*(f"unseen {part}" for part in PARTS), "reach", "motion")
MAX_DEVIATIONS = 8.0  # from the corpus' median, beyond which a clip is an outlier
# Smallest deviation of each measure: among equal clips any other clip would be an outlier.
MIN_DEVIATIONS = dict(zip(MEASURES, (0.1, 0.1, 0.1, 0.1, 0.25, 0.02), strict=True)) | {"frames": 0.25, "fps": 0.02}
_STARTS = [part.start for part in PARTS.values()]
_SIZES = np.array([part.stop - part.start for part in PARTS.values()])
_MAGNITUDE = np.uint16(0x7FFF)  # of a float16's bits, which are in the order of the numbers


def measure(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Measure clips.

    Args:
        clips: N clips (T, K, C) float16.

    Returns:
        (N, M) float32, in the order of MEASURES.
    """
    lengths = np.array([len(clip) for clip in clips])
    clips = [np.ascontiguousarray(clip[..., :3]) for clip in clips]  # depth is not measured
    bits = [clip.view(np.uint16) & _MAGNITUDE for clip in clips]
    low, high = np.stack([b.min(0) for b in bits]), np.stack([b.max(0) for b in bits])
    seen = np.repeat(lengths[:, None], len(CANONICAL), 1)
    for i in np.flatnonzero((low[..., 2] == 0).any(1)):
        seen[i] = np.count_nonzero(bits[i][..., 2], axis=0)
    unseen = 1 - np.add.reduceat(seen, _STARTS, 1) / (_SIZES * lengths[:, None])
    reach = high[..., :2].max((1, 2)).view(np.float16)
    wrists = np.concatenate([clip[:, WRISTS] for clip in clips]).astype(np.float32)
    plane, held = wrists[..., 0] + 1j * wrists[..., 1], wrists[..., 2] > 0
    both = held[1:] & held[:-1]
    moved = np.abs(plane[1:] - plane[:-1]) * both
    steps = [slice(end - length, end - 1) for length, end in zip(lengths, np.cumsum(lengths), strict=True)]
    motion = [moved[s].sum() / max(1, np.count_nonzero(both[s])) for s in steps]
    return np.column_stack([unseen, reach, motion]).astype(np.float32)


@dataclass
class Table:
    """What the checks need to know of each clip. Small enough for millions of clips.

    Attributes:
        ids: Id of each clip.
        lengths: (N,) frames.
        fps: (N,) frames per second, NaN where unknown.
        measures: (N, M) as in MEASURES.
        splits: As in Corpus.
        groups: As in Corpus.
        content: (N,) uint64 hash of the values.
        text: (N,) uint64 hash of the text, 0 without one.
    """

    ids: list[str]
    lengths: np.ndarray
    fps: np.ndarray
    measures: np.ndarray
    splits: list[str | None]
    groups: list[str | None]
    content: np.ndarray
    text: np.ndarray

    @classmethod
    def from_shards(cls, shards: Iterable[Shard], ids: Iterable[str]) -> Table:
        """Collect the metadata of all clips.

        Args:
            shards: Shards in their order.
            ids: Ids of all clips, in the same order.

        Returns:
            The table.
        """
        lengths, fps, measures, content, text = (list[np.ndarray]() for _ in range(5))
        splits: list[str | None] = []
        groups: list[str | None] = []
        interned: dict[str | None, str | None] = {}  # one object for equal names
        for shard in shards:
            known = shard.known
            lengths.append(np.diff(shard.offsets))
            fps.append(np.array(known["fps"], np.float64))
            measures.append(shard.measures)
            content.append(np.array([int(value[:16], 16) for value in known["sha256"]], np.uint64))
            text.append(np.array([_key(value) for value in known["texts"]], np.uint64))
            splits += (interned.setdefault(name, name) for name in known["splits"])
            groups += (interned.setdefault(name, name) for name in known["groups"])
        return cls(
            ids=list(ids),
            lengths=np.concatenate(lengths),
            fps=np.concatenate(fps),
            measures=np.concatenate(measures),
            splits=splits,
            groups=groups,
            content=np.concatenate(content),
            text=np.concatenate(text),
        )

    def __len__(self) -> int:
        return len(self.ids)


def _key(text: str | None) -> int:
    if text is None:
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1


@dataclass(frozen=True)
class Leaks:
    """What several splits have in common. Each entry is the indices of the clips with one value.

    Attributes:
        ids: Ids that are equal but for a folder named like a split.
        content: Equal values.
        groups: One signer or source video.
        texts: One text, which many corpora have in several splits on purpose.
    """

    ids: list[np.ndarray]
    content: list[np.ndarray]
    groups: list[np.ndarray]
    texts: list[np.ndarray]

    def __bool__(self) -> bool:
        """Whether there is any leak other than texts."""
        return bool(self.ids or self.content or self.groups)


def find_leaks(table: Table) -> Leaks:
    """Find clips of different splits with an id, values, a group or a text in common.

    Args:
        table: All clips. Those without a split do not leak.

    Returns:
        The leaks.
    """
    numbers = {None: 0} | {name: i for i, name in enumerate(sorted({s for s in table.splits if s}), 1)}
    split = np.fromiter((numbers[name] for name in table.splits), np.intp)
    bare = (_key("/".join(part for part in id.split("/") if part.lower() not in SPLIT_ALIASES)) for id in table.ids)
    groups = (_key(group) for group in table.groups)
    keys = (np.fromiter(bare, np.uint64), table.content, np.fromiter(groups, np.uint64), table.text)
    return Leaks(*([rows for rows in equal_keys(key, split > 0) if len(set(split[rows])) > 1] for key in keys))


def equal_keys(keys: np.ndarray, selected: np.ndarray) -> list[np.ndarray]:
    """Find clips with equal keys.

    Args:
        keys: (N,) uint64. 0 is no key.
        selected: (N,) bool, which clips are compared.

    Returns:
        For each key that two or more clips have their rising indices, in the order of the first of them.
    """
    rows = np.flatnonzero(selected & (keys != 0))
    rows = rows[np.argsort(keys[rows], kind="stable")]
    ends = np.append(np.flatnonzero(np.diff(keys[rows].astype(np.int64))) + 1, len(rows))
    begins = np.insert(ends[:-1], 0, 0)
    several = np.flatnonzero(ends - begins > 1)  # in a large corpus most keys occur once
    return sorted((rows[begins[i] : ends[i]] for i in several), key=lambda run: int(run[0]))


def find_duplicates(table: Table) -> list[np.ndarray]:
    """Find clips with equal values, whatever their splits.

    Args:
        table: All clips.

    Returns:
        As equal_keys.
    """
    return equal_keys(table.content, np.ones(len(table), bool))


@dataclass(frozen=True)
class Outlier:
    """A clip unlike the others.

    Attributes:
        id: Id of the clip.
        measure: One of MEASURES, "frames" or "fps".
        value: The clip's value.
        usual: Median of the corpus.
    """

    id: str
    measure: str
    value: float
    usual: float


def find_outliers(table: Table) -> list[Outlier]:
    """Find clips with a measure far from the median. Lengths are compared by their ratio.

    Args:
        table: All clips.

    Returns:
        The outliers, the farthest first.
    """
    columns = dict(zip(MEASURES, table.measures.T, strict=True)) | {"frames": table.lengths, "fps": table.fps}
    found: list[tuple[float, Outlier]] = []
    for name, values in columns.items():
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            continue
        scaled = np.log(values[known]) if name == "frames" else values[known].astype(np.float64)
        middle = np.median(scaled)
        # 1.4826: ratio of standard deviation to median deviation in a normal distribution
        deviation = max(1.4826 * float(np.median(np.abs(scaled - middle))), MIN_DEVIATIONS[name])
        usual = float(np.median(values[known]))
        distance = np.abs(scaled - middle) / deviation
        for i in np.flatnonzero(distance > MAX_DEVIATIONS):
            found.append((distance[i], Outlier(table.ids[known[i]], name, float(values[known[i]]), usual)))
    return [outlier for _, outlier in sorted(found, key=lambda pair: -pair[0])]
