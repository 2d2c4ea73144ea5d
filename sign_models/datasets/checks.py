"""What can be wrong with a corpus although every file in it can be read: leaks, duplicates, clips unlike the others.

N clips, T frames, K landmarks of keypoints.layouts.CANONICAL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sign_models.data.texts import SPLIT_ALIASES
from sign_models.datasets.store import Shard
from sign_models.keypoints.layouts import CANONICAL, PARTS, PLACE

WRISTS = [PLACE["left_hand.wrist"], PLACE["right_hand.wrist"]]
# What is measured of a clip: share of unseen landmarks by part; reach: its largest coordinate, in shoulder widths;
# motion: how far a seen wrist moves from a frame to the next, on average, in shoulder widths.
MEASURES = (*(f"unseen {part}" for part in PARTS), "reach", "motion")
FAR = 8.0  # a clip is an outlier where a measure is this many deviations from the corpus' median
# Deviations are never counted as less than this: in a corpus of equal clips everything else would be an outlier.
LEAST = dict(zip(MEASURES, (0.1, 0.1, 0.1, 0.1, 0.25, 0.02), strict=True)) | {"frames": 0.25, "fps": 0.02}
_STARTS = [part.start for part in PARTS.values()]
_SIZES = np.array([part.stop - part.start for part in PARTS.values()])
_MAGNITUDE = np.uint16(0x7FFF)  # of a float16's bits, which are in the order of the numbers


def measure(clips: Sequence[np.ndarray]) -> np.ndarray:
    """N clips of (T, K, 3) float16 -> (N, len(MEASURES)) float32."""
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
    """What the checks need of every clip, small enough to keep for millions of them.

    lengths (N,), fps (N,) NaN where unknown, measures (N, M), splits, groups: as in Corpus. content, text (N,) uint64:
    equal where the values or texts are; text is 0 where there is none.
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
    def of(cls, shards: Iterable[Shard], ids: Iterable[str]) -> Table:
        """ids: of all clips, in order."""
        lengths, fps, measures, content, text = (list[np.ndarray]() for _ in range(5))
        splits: list[str | None] = []
        groups: list[str | None] = []
        names: dict[str | None, str | None] = {}  # one object a name
        for shard in shards:
            known = shard.known
            lengths.append(np.diff(shard.offsets))
            fps.append(np.array(known["fps"], np.float64))
            measures.append(shard.measures)
            content.append(np.array([int(value[:16], 16) for value in known["sha256"]], np.uint64))
            text.append(np.array([_key(value) for value in known["texts"]], np.uint64))
            splits += (names.setdefault(name, name) for name in known["splits"])
            groups += (names.setdefault(name, name) for name in known["groups"])
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
    """Clips that one split shares with another. Each entry is what they share: the places of its clips.

    ids: equal but for a folder named like a split. content: equal values. groups: one signer or source video. texts:
    one sentence, which many corpora share on purpose.
    """

    ids: list[np.ndarray]
    content: list[np.ndarray]
    groups: list[np.ndarray]
    texts: list[np.ndarray]

    def __bool__(self) -> bool:
        """Whether there is any but of texts."""
        return bool(self.ids or self.content or self.groups)


def leaks(table: Table) -> Leaks:
    places = {None: 0} | {name: i for i, name in enumerate(sorted({s for s in table.splits if s}), 1)}
    split = np.fromiter((places[name] for name in table.splits), np.intp)
    bare = (_key("/".join(part for part in id.split("/") if part.lower() not in SPLIT_ALIASES)) for id in table.ids)
    groups = (_key(group) for group in table.groups)
    keys = (np.fromiter(bare, np.uint64), table.content, np.fromiter(groups, np.uint64), table.text)
    return Leaks(*([rows for rows in alike(key, split > 0) if len(set(split[rows])) > 1] for key in keys))


def alike(keys: np.ndarray, process_group: np.ndarray) -> list[np.ndarray]:
    """Places of equal keys, 0 excepted, where there are two or more, in the order of the first. among (N,) bool."""
    rows = np.flatnonzero(process_group & (keys != 0))
    rows = rows[np.argsort(keys[rows], kind="stable")]
    ends = np.append(np.flatnonzero(np.diff(keys[rows].astype(np.int64))) + 1, len(rows))
    begins = np.insert(ends[:-1], 0, 0)
    several = np.flatnonzero(ends - begins > 1)  # of a large corpus, most keys are of one clip only
    return sorted((rows[begins[i] : ends[i]] for i in several), key=lambda run: int(run[0]))


def duplicates(table: Table) -> list[np.ndarray]:
    """Places of clips with equal values, whatever their splits."""
    return alike(table.content, np.ones(len(table), bool))


@dataclass(frozen=True)
class Outlier:
    """measure: of MEASURES, "frames" or "fps". value: the clip's; usual: the corpus' median."""

    id: str
    measure: str
    value: float
    usual: float


def outliers(table: Table) -> list[Outlier]:
    """Clips with a measure far from the corpus' median, the farthest first. Lengths are compared by their ratio."""
    columns = dict(zip(MEASURES, table.measures.T, strict=True)) | {"frames": table.lengths, "fps": table.fps}
    found: list[tuple[float, Outlier]] = []
    for name, values in columns.items():
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            continue
        scaled = np.log(values[known]) if name == "frames" else values[known].astype(np.float64)
        middle = np.median(scaled)
        deviation = max(1.4826 * float(np.median(np.abs(scaled - middle))), LEAST[name])  # 1.4826: as a normal one's
        usual = float(np.median(values[known]))
        distance = np.abs(scaled - middle) / deviation
        for i in np.flatnonzero(distance > FAR):
            found.append((distance[i], Outlier(table.ids[known[i]], name, float(values[known[i]]), usual)))
    return [outlier for _, outlier in sorted(found, key=lambda pair: -pair[0])]
