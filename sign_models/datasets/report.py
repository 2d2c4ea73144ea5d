"""Report of an import, as numbers (JSON), as text (Markdown) and as figures."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sign_models.data.corpus import Changes
from sign_models.data.frames import Frames
from sign_models.datasets import checks
from sign_models.datasets.report_numbers import NO_SPLIT, by_split, report_numbers
from sign_models.datasets.store import Shard
from sign_models.keypoints.layouts import PARTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SHOWN = 5  # cases named in the text
PICTURED_CLIPS = 6


@dataclass(frozen=True)
class Report:
    """What an import has found.

    Attributes:
        numbers: As report.json holds them (report_numbers).
    """

    numbers: dict[str, Any]

    @classmethod
    def from_table(
        cls,
        table: checks.Table,
        shards: Callable[[], Iterator[Shard]],
        leaks: checks.Leaks,
        rejected: list[str],
        missing_clips: list[str],
    ) -> Report:
        """Collect all that an import has found.

        Args:
            table: All clips.
            shards: Reads the shards from the first on.
            leaks: Leaks between splits.
            rejected: Place and reason of each rejected sample.
            missing_clips: Ids of texts without a clip.

        Returns:
            The report.
        """
        return cls(report_numbers(table, shards, leaks, rejected, missing_clips))

    def metrics(self) -> dict[str, float]:
        """Metrics of the import's run.

        Returns:
            Counts, and hours where the frame rate is known.
        """
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
        """What reading has changed in the clips.

        Returns:
            The counts, which are logged.
        """
        mirrored, nan = self.numbers["mirrored"], self.numbers["NaN taken as unseen"]
        padded = self.numbers["padding left out"]["frames"]
        return Changes(self.numbers["clips"], mirrored["clips"], nan["landmarks"], nan["clips"], padded)

    def markdown(self) -> str:
        """Write the report for people, with the first cases of each finding.

        Returns:
            The page in Markdown.
        """
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
        """Lines on what the import has changed in the clips."""
        mirrored, nan = self.numbers["mirrored"], self.numbers["NaN taken as unseen"]
        lines, cut = [], self.numbers["cut out of recordings"]
        if cut["clips"]:
            outside, named = cut["frames in no clip"] / cut["frames"], _some(cut["names"], cut["recordings"])
            counts = f"{cut['clips']:,} clips are cut out of {cut['recordings']:,} recordings"
            lines.append(f"- {counts}, {outside:.1%} of whose frames are in no clip: {named}")
        if mirrored["clips"]:
            named = _some(mirrored["ids"], mirrored["clips"])
            lines.append(f"- {mirrored['clips']:,} clips are mirrored, in which the left hand leads: {named}")
        if nan["clips"]:
            most = _some([f"{id} ({count:,})" for id, count in nan["most first"].items()], nan["clips"])
            lines.append(f"- {nan['landmarks']:,} landmarks of {nan['clips']:,} clips are NaN, taken as unseen: {most}")
        if (padded := self.numbers["padding left out"])["clips"]:
            named = _some(padded["ids"], padded["clips"])
            lines.append(
                f"- {padded['frames']:,} frames at the ends of {padded['clips']:,} clips are padding, left out: {named}"
            )
        return lines

    def findings(self) -> list[str]:
        """Describe leaks, duplicates, outliers and rejected samples.

        Returns:
            Lines of a list in Markdown.
        """
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
            listed = [f"{o['id']} ({o['measure']} {o['value']:.3g}, usual {o['usual']:.3g})" for o in farthest]
            lines.append(f"- {odd['clips']:,} clips are unlike the others: {_some(listed, len(listed))}")
        if len(n["extractors"]) > 1:
            lines.append(f"- warning: the clips come from several extractors: {_counts(n['extractors'])}")
        if n["rejected"]["samples"]:
            lines.append(f"- {n['rejected']['samples']:,} samples were rejected:")
            lines += [f"  - {reason}" for reason in n["rejected"]["reasons"][:MAX_SHOWN]]
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
        """Write report.json, report.md and the figures.

        Args:
            folder: Where to write. It is made.
            table: All clips.
            frames: Their frames, of which some are drawn.
        """
        folder.mkdir(exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.numbers, indent=1, ensure_ascii=False), "utf-8")
        pictures = figures(table, frames)
        links = "".join(f"\n![{name}]({name}.png)\n" for name in pictures)
        (folder / "report.md").write_text(self.markdown() + links, "utf-8")
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # ids in scripts that its font lacks
            for name, figure in pictures.items():
                figure.savefig(folder / f"{name}.png", dpi=100)


def leak_lines(table: checks.Table, leaks: checks.Leaks) -> list[str]:
    """Describe leaks, for an error message.

    Args:
        table: All clips.
        leaks: Leaks between splits. Texts in several splits are not described.

    Returns:
        A line for each kind of leak.
    """
    return _leak_lines({
        "id": [by_split(table, rows) for rows in leaks.ids],
        "content": [by_split(table, rows) for rows in leaks.content],
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


def _some(names: Iterable[str], count: int) -> str:
    shown = list(names)[:MAX_SHOWN]
    return ", ".join(shown) + (f" and {count - len(shown):,} more" if count > len(shown) else "")


def _counts(counts: dict[str, int]) -> str:
    return _some([f"{name} ({count:,})" for name, count in counts.items()], len(counts))


def _split_line(name: str, split: dict[str, Any]) -> str:
    mean = split["words a text"].get("mean", 0)
    return (
        f"| {name} | {split['clips']:,} | {split['hours']:.2f} | {split['groups']:,} | {split['texts']:,} | {mean:.1f} "
        f"| {split['vocabulary']:,} | {split['unseen words']:,} ({split['unseen share']:.1%} of its words) |"
    )


def figures(table: checks.Table, frames: Frames) -> dict[str, Figure]:
    """Draw the figures of a report.

    Args:
        table: All clips.
        frames: (F, K, C) their frames.

    Returns:
        "overview": distributions of lengths, unseen landmarks, motion and splits. "clips": middle frames of some clips.
    """
    from matplotlib.figure import Figure

    from sign_models.keypoints.pictures import draw_skeleton

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

    chosen = np.unique(np.linspace(0, len(table) - 1, PICTURED_CLIPS).astype(int))
    offsets = np.concatenate([[0], np.cumsum(table.lengths)])
    clips = Figure(figsize=(2.2 * len(chosen), 2.6), layout="constrained")
    for axis, i in zip(clips.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        middle = int(offsets[i] + table.lengths[i] // 2)
        draw_skeleton(axis, frames[middle : middle + 1][0].astype(np.float32))
        axis.invert_yaxis()
        axis.set(aspect="equal", xticks=[], yticks=[])
        axis.set_title(table.ids[i][-24:], fontsize=7, parse_math=False)
    return {"overview": overview, "clips": clips}
