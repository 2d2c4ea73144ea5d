"""Numbers of an import's report: sizes, changes, splits and findings, as report.json holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import regex

from sign_models.data.scripts import UNSPACED
from sign_models.data.splits import SPLITS
from sign_models.datasets import checks
from sign_models.datasets.store import Shard
from sign_models.keypoints.extractor import short_name
from sign_models.keypoints.layouts import PARTS

MAX_LISTED = 1000  # cases named in the JSON
# A word: letters, marks and digits between others, one character of a script without spaces, or one emoji.
_WORD = regex.compile(
    rf"[{UNSPACED}]\p{{M}}*|[\p{{L}}\p{{M}}\p{{N}}]+(?:['’-][\p{{L}}\p{{M}}\p{{N}}]+)*"
    r"|\p{Emoji_Presentation}"
)
UNREAD_PREFIX = "nobody reads "  # begins the reason of a file that no reader knows
QUANTILES = {"shortest": 0.0, "median": 0.5, "p95": 0.95, "longest": 1.0}
NO_SPLIT = "no split"

ReadShards = Callable[[], Iterator[Shard]]


def vocabulary_words(text: str) -> list[str]:
    """Split a text into the words that the report counts. Characters of unspaced scripts are words.

    Args:
        text: Any text.

    Returns:
        Its words in lower case.
    """
    words: list[str] = _WORD.findall(text.casefold())
    return words


def report_numbers(
    table: checks.Table, shards: ReadShards, leaks: checks.Leaks, rejected: Sequence[str], missing_clips: Sequence[str]
) -> dict[str, Any]:
    """Collect all that an import has found.

    Args:
        table: All clips.
        shards: Reads the shards from the first on.
        leaks: Leaks between splits.
        rejected: Place and reason of each rejected sample, and of each file that no reader knows.
        missing_clips: Ids of texts without a clip.

    Returns:
        The numbers and up to MAX_LISTED cases of each finding, as JSON.
    """
    unread = [reason.removeprefix(UNREAD_PREFIX) for reason in rejected if reason.startswith(UNREAD_PREFIX)]
    rejected = [reason for reason in rejected if not reason.startswith(UNREAD_PREFIX)]
    without_text = [id for id, text in zip(table.ids, _column(shards, "texts"), strict=True) if text is None]
    return {
        **_sizes(table, shards),
        **_changes(table, shards),
        "splits": _splits(table, shards),
        **_findings(table, leaks),
        "rejected": {"samples": len(rejected), "reasons": rejected[:MAX_LISTED]},
        "texts without a clip": {"texts": len(missing_clips), "ids": list(missing_clips[:MAX_LISTED])},
        "clips without a text": {"clips": len(without_text), "ids": without_text[:MAX_LISTED]},
        "files that nobody reads": {"files": len(unread), "names": unread[:MAX_LISTED]},
    }


def _sizes(table: checks.Table, shards: ReadShards) -> dict[str, Any]:
    """How much there is: clips, frames, hours, rates, layouts, and how much of each part is unseen."""
    rates = Counter("unknown" if np.isnan(rate) else f"{rate:g}" for rate in table.fps)
    unseen = table.measures[:, : len(PARTS)]
    return {
        "clips": len(table),
        "frames": int(table.lengths.sum()),
        "hours": _hours(table, slice(None)),
        "frame rates": dict(rates.most_common()),
        "layouts": dict(Counter(_column(shards, "layouts")).most_common()),
        "extractors": dict(Counter(map(short_name, _column(shards, "extractors"))).most_common()),
        "frames a clip": _spread(table.lengths),
        "unseen": {
            part: {"landmarks": round(float(np.average(column, weights=table.lengths)), 4),
                   "clips without it": int((column == 1).sum())}
            for part, column in zip(PARTS, unseen.T, strict=True)
        },
    }  # fmt: skip


def _changes(table: checks.Table, shards: ReadShards) -> dict[str, Any]:
    """What reading changed: mirrored clips, NaN taken as unseen, padding, and what was cut out of recordings."""
    mirrored = [id for id, flag in zip(table.ids, _column(shards, "mirrored"), strict=True) if flag]
    nan = {id: count for id, count in zip(table.ids, _column(shards, "nan"), strict=True) if count}
    padded = {id: count for id, count in zip(table.ids, _column(shards, "padded"), strict=True) if count}
    recordings = _recordings(_column(shards, "cut"))
    return {
        "mirrored": {"clips": len(mirrored), "decided by group": sum(group is not None for group in table.groups),
                     "ids": mirrored[:MAX_LISTED]},
        "NaN taken as unseen": {"landmarks": sum(nan.values()), "clips": len(nan),
                                "most first": dict(Counter(nan).most_common(MAX_LISTED))},
        "padding left out": {"frames": sum(padded.values()), "clips": len(padded), "ids": [*padded][:MAX_LISTED]},
        "cut out of recordings": {
            "clips": sum(len(spans) for _, spans in recordings.values()), "recordings": len(recordings),
            "frames": sum(frames for frames, _ in recordings.values()),
            "frames in no clip": sum(_outside(*recording) for recording in recordings.values()),
            "names": list(recordings)[:MAX_LISTED]},
    }  # fmt: skip


def _findings(table: checks.Table, leaks: checks.Leaks) -> dict[str, Any]:
    """What to look at: leaks between splits, equal clips and outliers."""
    outliers, equal = checks.find_outliers(table), checks.find_duplicates(table)
    return {
        "leaks": {
            "id": [by_split(table, rows) for rows in leaks.ids[:MAX_LISTED]],
            "content": [by_split(table, rows) for rows in leaks.content[:MAX_LISTED]],
            "group": [table.groups[rows[0]] for rows in leaks.groups[:MAX_LISTED]],
            "text": {"texts": len(leaks.texts), "clips": sum(map(len, leaks.texts)),
                     "clips with one": [by_split(table, rows) for rows in leaks.texts[:MAX_LISTED]]},
        },
        "duplicates": {"clips": sum(len(rows) - 1 for rows in equal),
                       "equal": [_ids(table, rows) for rows in equal[:MAX_LISTED]]},
        "outliers": {"clips": len({o.id for o in outliers}),
                     "farthest first": [vars(o) for o in outliers[:MAX_LISTED]]},
    }  # fmt: skip


def _column(shards: ReadShards, name: str) -> Iterator[Any]:
    """One of store.COLUMNS of all clips. None for clips of shards of an earlier version, which lack it."""
    return (value for shard in shards() for value in shard.known.get(name, [None] * len(shard)))


def _recordings(cuts: Iterable[Sequence[Any] | None]) -> dict[str, tuple[int, list[tuple[int, int]]]]:
    """For each recording its frames, and begin and end of each clip that was cut out of it."""
    found: dict[str, tuple[int, list[tuple[int, int]]]] = {}
    for cut in cuts:
        if cut is not None:
            name, frames, begin, end = cut
            found.setdefault(name, (frames, []))[1].append((begin, end))
    return found


def _outside(frames: int, spans: list[tuple[int, int]]) -> int:
    """Frames of a recording that are in no clip."""
    inside = np.zeros(frames, bool)
    for begin, end in spans:
        inside[begin:end] = True
    return int(frames - inside.sum())


def _ids(table: checks.Table, rows: np.ndarray) -> list[str]:
    return [f"{table.ids[i]} ({table.splits[i]})" if table.splits[i] else table.ids[i] for i in rows]


def by_split(table: checks.Table, rows: np.ndarray) -> list[str]:
    """List clips with their splits, the first clip of each split before all others.

    Args:
        table: All clips.
        rows: Indices of the clips.

    Returns:
        Ids, each with its split.
    """
    first = {table.splits[i]: i for i in rows[::-1]}
    return _ids(table, np.array(sorted(rows, key=lambda i: (first[table.splits[i]] != i, i))))


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    quantiles = {name: round(float(np.quantile(values, q)), 1) for name, q in QUANTILES.items()}
    return {"mean": round(float(values.mean()), 1), **quantiles}


def _splits(table: checks.Table, shards: ReadShards) -> dict[str, dict[str, Any]]:
    """Sizes of each split, and words of its texts that are not in those of train."""
    vocabulary: dict[str | None, Counter[str]] = {name: Counter() for name in sorted(set(table.splits), key=_order)}
    sizes: dict[str | None, list[int]] = {name: [] for name in vocabulary}
    splits = iter(table.splits)
    for shard in shards():
        for text in shard.known["texts"]:
            split = next(splits)
            if text is not None:
                found = vocabulary_words(text)
                vocabulary[split].update(found)
                sizes[split].append(len(found))
    known = vocabulary.get("train", vocabulary.get(None, Counter()))
    result = {}
    for split, counts in vocabulary.items():
        rows = np.fromiter((name == split for name in table.splits), bool)
        unseen = {word: count for word, count in counts.items() if word not in known}
        result[split or NO_SPLIT] = {
            "clips": int(rows.sum()),
            "frames": int(table.lengths[rows].sum()),
            "hours": _hours(table, rows),
            "groups": len({group for group, inside in zip(table.groups, rows, strict=True) if inside and group}),
            "texts": len(sizes[split]),
            "words a text": _spread(np.array(sizes[split])),
            "vocabulary": len(counts),
            "unseen words": len(unseen),
            "unseen share": round(sum(unseen.values()) / max(1, counts.total()), 4),
        }
    return result


def _order(split: str | None) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def _hours(table: checks.Table, rows: slice | np.ndarray) -> float:
    return round(float(np.nansum((table.lengths / table.fps)[rows])) / 3600, 4)
