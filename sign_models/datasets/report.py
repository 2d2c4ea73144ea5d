"""What an import found, as numbers (JSON), as text (Markdown) and in pictures."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import regex

from sign_models.data.corpus import Changes, Frames
from sign_models.data.scripts import UNSPACED
from sign_models.datasets import checks
from sign_models.datasets.store import Shard
from sign_models.keypoints.extractor import short_name
from sign_models.keypoints.layouts import PARTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, LISTED = 5, 1000  # cases named in the text, and in the JSON
# A word: letters, marks and digits between others, one character of a script without spaces, or one emoji.
_WORD = regex.compile(
    rf"[{UNSPACED}]\p{{M}}*|[\p{{L}}\p{{M}}\p{{N}}]+(?:['’-][\p{{L}}\p{{M}}\p{{N}}]+)*"
    r"|\p{Emoji_Presentation}"
)
UNREAD = "nobody reads "  # begins the reason of a file that no reader knows
QUANTILES = {"shortest": 0.0, "median": 0.5, "p95": 0.95, "longest": 1.0}
NO_SPLIT = "no split"


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


@dataclass(frozen=True)
class Report:
    """numbers: everything found, as report.json holds it."""

    numbers: dict[str, Any]

    @classmethod
    def of(
        cls,
        table: checks.Table,
        shards: Callable[[], Iterator[Shard]],
        leaks: checks.Leaks,
        rejected: list[str],
        textless: list[str],
    ) -> Report:
        """shards: reads them anew. textless: ids of texts whose clip is not there."""
        seconds = table.lengths / table.fps
        outliers, twins = checks.outliers(table), checks.duplicates(table)
        rates = Counter("unknown" if np.isnan(rate) else f"{rate:g}" for rate in table.fps)
        layouts = Counter(layout for shard in shards() for layout in shard.known["layouts"])
        extractors = Counter(short_name(extractor) for shard in shards() for extractor in shard.known["extractors"])
        unread = [reason.removeprefix(UNREAD) for reason in rejected if reason.startswith(UNREAD)]
        rejected = [reason for reason in rejected if not reason.startswith(UNREAD)]
        clips = (id_text for shard in shards() for id_text in shard.known["texts"])
        lacking = [id for id, text in zip(table.ids, clips, strict=True) if text is None]
        unseen = table.measures[:, : len(PARTS)]
        mirrored = [id for id, told in zip(table.ids, _column(shards, "mirrored"), strict=True) if told]
        recordings = _recordings(_column(shards, "cut"))
        nan = {id: count for id, count in zip(table.ids, _column(shards, "nan"), strict=True) if count}
        return cls({
            "clips": len(table),
            "frames": int(table.lengths.sum()),
            "hours": round(float(np.nansum(seconds)) / 3600, 4),
            "frame rates": dict(rates.most_common()),
            "layouts": dict(layouts.most_common()),
            "extractors": dict(extractors.most_common()),
            "frames a clip": _spread(table.lengths),
            "unseen": {
                part: {"landmarks": round(float(np.average(column, weights=table.lengths)), 4),
                       "clips without it": int((column == 1).sum())}
                for part, column in zip(PARTS, unseen.T, strict=True)
            },
            "mirrored": {"clips": len(mirrored), "decided by group": sum(group is not None for group in table.groups),
                         "ids": mirrored[:LISTED]},
            "NaN taken as unseen": {"landmarks": sum(nan.values()), "clips": len(nan),
                                    "most first": dict(Counter(nan).most_common(LISTED))},
            "cut out of recordings": {
                "clips": sum(len(spans) for _, spans in recordings.values()), "recordings": len(recordings),
                "frames": sum(frames for frames, _ in recordings.values()),
                "frames in no clip": sum(_outside(*recording) for recording in recordings.values()),
                "names": list(recordings)[:LISTED]},
            "splits": _splits(table, shards, seconds),
            "leaks": {
                "id": [_across(table, rows) for rows in leaks.ids[:LISTED]],
                "content": [_across(table, rows) for rows in leaks.content[:LISTED]],
                "group": [table.groups[rows[0]] for rows in leaks.groups[:LISTED]],
                "text": {"texts": len(leaks.texts), "clips": sum(map(len, leaks.texts)),
                         "clips with one": [_across(table, rows) for rows in leaks.texts[:LISTED]]},
            },
            "duplicates": {"clips": sum(len(rows) - 1 for rows in twins),
                           "equal": [_ids(table, rows) for rows in twins[:LISTED]]},
            "outliers": {"clips": len({o.id for o in outliers}),
                         "farthest first": [vars(o) for o in outliers[:LISTED]]},
            "rejected": {"samples": len(rejected), "reasons": rejected[:LISTED]},
            "texts without a clip": {"texts": len(textless), "ids": textless[:LISTED]},
            "clips without a text": {"clips": len(lacking), "ids": lacking[:LISTED]},
            "files that nobody reads": {"files": len(unread), "names": unread[:LISTED]},
        })  # fmt: skip

    def metrics(self) -> dict[str, float]:
        n = self.numbers
        return {
            "clips": n["clips"],
            "frames": n["frames"],
            "hours": n["hours"],
            "rejected": n["rejected"]["samples"],
            "mirrored": n["mirrored"]["clips"],
            "nan_landmarks": n["NaN taken as unseen"]["landmarks"],
        }

    def changes(self) -> Changes:
        mirrored, nan = self.numbers["mirrored"], self.numbers["NaN taken as unseen"]
        return Changes(self.numbers["clips"], mirrored["clips"], nan["landmarks"], nan["clips"])

    def markdown(self) -> str:
        """The same for people: a line a finding, the first cases of each by id."""
        n = self.numbers
        length = n["frames a clip"]
        lines = [
            "# What was imported", "",
            f"{n['clips']:,} clips, {n['frames']:,} frames, {n['hours']:.2f} hours where the frame rate is known.", "",
            f"- frames a clip: mean {length['mean']:.0f}, median {length['median']:.0f}, "
            f"95 % up to {length['p95']:.0f}, {length['shortest']:.0f} to {length['longest']:.0f}",
            f"- frame rates: {_counts(n['frame rates'])}",
            f"- layouts: {_counts(n['layouts'])}",
            f"- extractors: {_counts(n['extractors'])}", *self._changes(), "",
            "| part | unseen landmarks | clips without it |", "|---|---|---|",
            *(f"| {part} | {u['landmarks']:.1%} | {u['clips without it']:,} |" for part, u in n["unseen"].items()), "",
            "| split | clips | hours | groups | texts | words a text | vocabulary | words never in train |",
            "|---|---|---|---|---|---|---|---|",
            *(_split_line(name, split) for name, split in n["splits"].items()), "",
            *self.findings(),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _changes(self) -> list[str]:
        """What the import has changed in the clips, a line each."""
        mirrored, nan = self.numbers["mirrored"], self.numbers["NaN taken as unseen"]
        lines, cut = [], self.numbers["cut out of recordings"]
        if cut["clips"]:
            outside, named = cut["frames in no clip"] / cut["frames"], _some(cut["names"], cut["recordings"])
            told = f"{cut['clips']:,} clips are cut out of {cut['recordings']:,} recordings"
            lines.append(f"- {told}, {outside:.1%} of whose frames are in no clip: {named}")
        if mirrored["clips"]:
            named = _some(mirrored["ids"], mirrored["clips"])
            lines.append(f"- {mirrored['clips']:,} clips are mirrored, in which the left hand leads: {named}")
        if nan["clips"]:
            most = _some([f"{id} ({count:,})" for id, count in nan["most first"].items()], nan["clips"])
            lines.append(f"- {nan['landmarks']:,} landmarks of {nan['clips']:,} clips are NaN, taken as unseen: {most}")
        return lines

    def findings(self) -> list[str]:
        """Leaks, duplicates, outliers, rejected samples: a line each, none where there is none."""
        n = self.numbers
        shared, twins, odd = n["leaks"]["text"], n["duplicates"], n["outliers"]
        lines = [f"- LEAK: {line}" for line in _leak_lines(n["leaks"])]
        if shared["texts"]:
            lines.append(
                f"- warning: {shared['texts']:,} texts are in two splits ({shared['clips']:,} clips): "
                + _some([" = ".join(ids[:2]) for ids in shared["clips with one"]], shared["texts"])
            )
        if twins["clips"]:
            equal = _some([" = ".join(ids[:3]) for ids in twins["equal"]], len(twins["equal"]))
            lines.append(f"- {twins['clips']:,} clips repeat another: {equal}")
        if odd["clips"]:
            farthest = odd["farthest first"]
            told = [f"{o['id']} ({o['measure']} {o['value']:.3g}, usual {o['usual']:.3g})" for o in farthest]
            lines.append(f"- {odd['clips']:,} clips are unlike the others: {_some(told, len(told))}")
        if len(n["extractors"]) > 1:
            lines.append(f"- warning: the clips come from several extractors: {_counts(n['extractors'])}")
        if n["rejected"]["samples"]:
            lines.append(f"- {n['rejected']['samples']:,} samples were rejected:")
            lines += [f"  - {reason}" for reason in n["rejected"]["reasons"][:SHOWN]]
        if n["texts without a clip"]["texts"]:
            lost = n["texts without a clip"]
            lines.append(f"- {lost['texts']:,} texts have no clip: {_some(lost['ids'], lost['texts'])}")
        if 0 < (lacking := n["clips without a text"]["clips"]) < n["clips"]:
            lines.append(f"- {lacking:,} clips have no text: {_some(n['clips without a text']['ids'], lacking)}")
        if unread := n["files that nobody reads"]["files"]:
            lines.append(
                f"- {unread:,} files that nobody reads: {_some(n['files that nobody reads']['names'], unread)}"
            )
        return lines or ["No leak, no duplicate, no outlier, nothing rejected."]

    def write(self, folder: Path, table: checks.Table, frames: Frames) -> None:
        """report.json, report.md and the pictures."""
        folder.mkdir(exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.numbers, indent=1, ensure_ascii=False), "utf-8")
        drawn = figures(table, frames)
        shown = "".join(f"\n![{name}]({name}.png)\n" for name in drawn)
        (folder / "report.md").write_text(self.markdown() + shown, "utf-8")
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # ids in scripts that its font lacks
            for name, figure in drawn.items():
                figure.savefig(folder / f"{name}.png", dpi=100)


def _column(shards: Callable[[], Iterator[Shard]], name: str) -> Iterator[Any]:
    """One of store.COLUMNS, of all clips; None for those of a shard of an older version, which has it not."""
    return (value for shard in shards() for value in shard.known.get(name, [None] * len(shard)))


def _recordings(cuts: Iterable[Sequence[Any] | None]) -> dict[str, tuple[int, list[tuple[int, int]]]]:
    """Recording -> its frames, and first frame and end of each clip that was cut out of it."""
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


def leak_lines(table: checks.Table, leaks: checks.Leaks) -> list[str]:
    """What must not be shared by two splits and is, a line a kind."""
    return _leak_lines({
        "id": [_across(table, rows) for rows in leaks.ids],
        "content": [_across(table, rows) for rows in leaks.content],
        "group": [table.groups[rows[0]] for rows in leaks.groups],
    })  # fmt: skip


def _leak_lines(leaks: dict[str, Any]) -> list[str]:
    lines = []
    for kind, what in (("id", "ids are"), ("content", "clips are with equal frames")):
        if found := leaks[kind]:
            named = _some([" = ".join(ids[:3]) for ids in found], len(found))
            lines.append(f"{len(found)} {what} in two splits: {named}")
    if found := leaks["group"]:
        lines.append(f"{len(found)} groups are in two splits: {_some([str(name) for name in found], len(found))}")
    return lines


def _ids(table: checks.Table, rows: np.ndarray) -> list[str]:
    return [f"{table.ids[i]} ({table.splits[i]})" if table.splits[i] else table.ids[i] for i in rows]


def _across(table: checks.Table, rows: np.ndarray) -> list[str]:
    """The same, the first clip of each split before all others: those that a message shows."""
    first = {table.splits[i]: i for i in rows[::-1]}
    return _ids(table, np.array(sorted(rows, key=lambda i: (first[table.splits[i]] != i, i))))


def _some(names: Iterable[str], count: int) -> str:
    shown = list(names)[:SHOWN]
    return ", ".join(shown) + (f" and {count - len(shown):,} more" if count > len(shown) else "")


def _counts(counts: dict[str, int]) -> str:
    return _some([f"{name} ({count:,})" for name, count in counts.items()], len(counts))


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    quantiles = {name: round(float(np.quantile(values, q)), 1) for name, q in QUANTILES.items()}
    return {"mean": round(float(values.mean()), 1), **quantiles}


def _splits(
    table: checks.Table, shards: Callable[[], Iterator[Shard]], seconds: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Clips, hours, groups and texts of each split; words that its texts have and those of train have not."""
    vocabulary: dict[str | None, Counter[str]] = {name: Counter() for name in sorted(set(table.splits), key=_order)}
    sizes: dict[str | None, list[int]] = {name: [] for name in vocabulary}
    splits = iter(table.splits)
    for shard in shards():
        for text in shard.known["texts"]:
            split = next(splits)
            if text is not None:
                found = words(text)
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
            "hours": round(float(np.nansum(seconds[rows])) / 3600, 4),
            "groups": len({group for group, mine in zip(table.groups, rows, strict=True) if mine and group}),
            "texts": len(sizes[split]),
            "words a text": _spread(np.array(sizes[split])),
            "vocabulary": len(counts),
            "unseen words": len(unseen),
            "unseen share": round(sum(unseen.values()) / max(1, counts.total()), 4),
        }
    return result


def _order(split: str | None) -> int:
    return ("train", "dev", "test").index(split) if split in ("train", "dev", "test") else 3


def _split_line(name: str, split: dict[str, Any]) -> str:
    mean = split["words a text"].get("mean", 0)
    return (
        f"| {name} | {split['clips']:,} | {split['hours']:.2f} | {split['groups']:,} | {split['texts']:,} | {mean:.1f} "
        f"| {split['vocabulary']:,} | {split['unseen words']:,} ({split['unseen share']:.1%} of its words) |"
    )


# Pictures -------------------------------------------------------------------------------------------------------------

DRAWN = 6  # clips


def figures(table: checks.Table, frames: Frames) -> dict[str, Figure]:
    """overview: lengths, unseen landmarks, motion, splits. clips: the middle frames of some clips."""
    from matplotlib.figure import Figure

    from sign_models.keypoints.pictures import draw

    overview = Figure(figsize=(10, 6), layout="constrained")
    (lengths, unseen), (motion, splits) = overview.subplots(2, 2)
    lengths.hist(table.lengths, bins=60)
    lengths.set(title="frames a clip", xlabel="frames", ylabel="clips")
    unseen.boxplot(table.measures[:, : len(PARTS)], tick_labels=list(PARTS), sym="")
    unseen.set(title="unseen landmarks", ylabel="share, a clip", ylim=(-0.02, 1.02))
    moved = table.measures[:, checks.MEASURES.index("motion")].astype(np.float64)  # so that bins fit between any two
    motion.hist(moved, bins=60)
    motion.set(title="motion of the wrists", xlabel="shoulder widths a frame", ylabel="clips")
    counts = Counter(name or NO_SPLIT for name in table.splits)
    splits.bar(list(counts), list(counts.values()))
    splits.set(title="splits", ylabel="clips")

    chosen = np.unique(np.linspace(0, len(table) - 1, DRAWN).astype(int))
    offsets = np.concatenate([[0], np.cumsum(table.lengths)])
    clips = Figure(figsize=(2.2 * len(chosen), 2.6), layout="constrained")
    for axis, i in zip(clips.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        middle = int(offsets[i] + table.lengths[i] // 2)
        draw(axis, frames[middle : middle + 1][0].astype(np.float32))
        axis.invert_yaxis()
        axis.set(aspect="equal", xticks=[], yticks=[])
        axis.set_title(table.ids[i][-24:], fontsize=7, parse_math=False)
    return {"overview": overview, "clips": clips}
