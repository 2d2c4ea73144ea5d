"""From files of keypoints to a store: read, written in their order, checked, split, reported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from sign_models.data.splits import divide
from sign_models.data.texts import TextRow, read_texts
from sign_models.datasets import checks, report
from sign_models.datasets.samples import BY_FILE, Files, Place, Reading, Sample, read_samples
from sign_models.datasets.store import check_store
from sign_models.datasets.store_writer import LOCK, StoreWriter
from sign_models.errors import DataError, ResourceError, SignError
from sign_models.keypoints import formats, landmarks, layouts, normalise
from sign_models.keypoints.formats.labels import Labels
from sign_models.keypoints.formats.plausible import Doubts
from sign_models.keypoints.normalise import Handedness, Mirroring

SPLITS = ("train", "dev", "test")
AS_TOLD = Reading()
OnBad = Literal["stop", "reject"]
OnLeak = Literal["stop", "report"]


@dataclass(frozen=True)
class Splitting:
    """ratio: shares of the clips for train, dev and test. A group goes to one of them, by a hash with the seed."""

    ratio: tuple[float, float, float]
    seed: int = 0


def import_corpus(
    source: Path,
    out: Path,
    *,
    reading: Reading = AS_TOLD,
    texts: Path | None = None,
    group: str = "",
    splitting: Splitting | None = None,
    on_bad_sample: OnBad = "stop",
    on_leak: OnLeak = "stop",
    workers: int | None = None,
    mirroring: Mirroring = "auto",
    progress: Callable[[int], None] = lambda frames: None,
) -> report.Report:
    """Write the clips of `source` to the store `out`, whole or not at all; cut off and started again, it goes on.

    reading: what the files do not tell. texts: a text_data.json. group: what clips share a group by: "signer" or
    "video", as the files tell it; "id": nothing; a regular expression that finds it in the id; "": as told, else the
    id. mirroring: "auto": the clips of those whose left hand leads are mirrored, by group where there is one; "never".
    progress: told the frames of each clip. workers: reading processes; None: as many as help.
    Raises DataError on a bad sample or a leak that stops, and where no clip is left; ResourceError where another
    process writes `out`.
    """
    rows = {row.id: row for row in read_texts(texts)} if texts else {}
    files = Files.of(source)
    if out.resolve().is_relative_to(source.resolve()):
        raise DataError("lies in the source", place=str(out), wanted="a folder of its own", remedy="name another")
    out.mkdir(parents=True, exist_ok=True)
    made = {
        "source": str(source),
        "files": files.sha256,
        "reading": asdict(reading),
        "layout": _content(Path(reading.layout)) if reading.layout and Path(reading.layout).is_file() else None,
        "group": group,
        "mirroring": mirroring,
        "texts": _content(texts) if texts else None,
        "labels": Files.of(Path(reading.labels)).sha256 if reading.labels else None,
        "code": [_content(Path(str(module.__file__))) for module in (landmarks, layouts, normalise)],
    }
    try:
        with FileLock(out / LOCK, timeout=0), StoreWriter(out, made) as writer:
            labels = Labels(reading)
            samples = read_samples(source, reading, group, writer.position, files.workers(workers), labels)
            try:
                hands = write(writer, samples, rows, on_bad_sample, progress, mirroring)
            except SignError:
                writer.flush()  # what was read so far need not be read again
                raise
            writer.mirror(hands)
            found = finish(writer, group, splitting, on_leak, rows, labels)
            (out / LOCK).unlink()
            return found
    except Timeout as error:
        raise ResourceError("another process is writing it", place=str(out), remedy="wait for it, or end it") from error


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(
    writer: StoreWriter,
    samples: Iterable[tuple[Place, Sample | DataError]],
    rows: dict[str, TextRow],
    on_bad_sample: OnBad,
    progress: Callable[[int], None] = lambda frames: None,
    mirroring: Mirroring = "auto",
) -> Handedness:
    """Write the clips, mirrored as far as what came before them tells; returned is what all of them tell."""
    hands = Handedness(mirroring)
    for shard in writer.shards():  # of an import that was cut off
        lengths = (shard.offsets[1:] - shard.offsets[:-1]).tolist()
        for clip_of in zip(shard.known["groups"], shard.known["left_leads"], lengths, strict=True):
            hands.add(*clip_of)
    for position, sample in samples:
        if isinstance(sample, formats.Unread):
            writer.reject(report.UNREAD + sample.place, position)
            continue
        if isinstance(sample, DataError):
            if on_bad_sample == "stop":
                raise sample
            writer.reject(str(sample), position)
            continue
        clip = sample.clip
        if row := rows.get(clip.id):
            if row.split and clip.split and row.split != clip.split:
                raise DataError(
                    f"{clip.id!r} is in two splits: {clip.split} here and {row.split} in the texts",
                    place=sample.place,
                    wanted="one split a clip",
                    remedy="make the two agree",
                )
            clip = replace(clip, text=row.text, split=row.split or clip.split)
        hands.add(clip.group, clip.left_leads, len(clip.values))
        if hands.is_mirrored(clip.group, clip.left_leads):
            clip = clip.flipped()
            sample = sample._replace(measures=checks.measure([clip.values])[0])
        writer.add(sample._replace(clip=clip), position)
        progress(len(clip.values))
    return hands


def finish(
    writer: StoreWriter,
    group: str,
    splitting: Splitting | None,
    on_leak: OnLeak,
    rows: Collection[str] = (),
    labels: Labels | None = None,
) -> report.Report:
    """Check what was written, split it, write report and index, and read every byte once more."""
    writer.flush()
    if not writer.ids:
        bad = [reason for reason in writer.rejected if not reason.startswith(report.UNREAD)]
        why = f"all {len(bad)} samples are bad, the first: {bad[0]}" if bad else ""
        raise DataError("no clip in it", place=writer.made["source"], wanted="at least one", remedy=why)
    textless = [id for id in rows if id not in writer.ids]
    if textless and len(textless) == len(rows):
        raise DataError(
            f"none of its {len(textless)} ids is a clip's, e.g. {textless[0]!r}",
            place="texts",
            wanted=f"ids such as {next(iter(writer.ids))!r}",
        )
    textless += labels.unused(writer.ids) if labels else []
    doubts = Doubts()
    for shard in writer.shards():
        fitting = shard.known.get("fitting", [None] * len(shard))  # missing where an older version began the import
        for told in zip(shard.known["layouts"], fitting, strict=True):
            doubts.add(*told)
    doubts.check(Path(writer.made["source"]).name)
    table = checks.Table.of(writer.shards(), writer.ids)
    if group in BY_FILE and not any(table.groups):
        raise DataError(
            f"no file tells a {group}",
            place=writer.made["source"],
            wanted="groups to split by",
            remedy="give a regular expression that finds it in the ids, or 'id'",
        )
    if splitting:
        table.splits = split_by_ratio([g or id for g, id in zip(table.groups, table.ids, strict=True)], splitting)
    leaks = checks.leaks(table)
    if leaks and on_leak == "stop":
        raise DataError(
            "; ".join(report.leak_lines(table, leaks)),
            place=writer.made["source"],
            wanted="splits that share nothing",
            remedy="split anew with --split-ratio, correct the files, or keep it all with --on-leak report",
        )
    made = report.Report.of(table, writer.shards, leaks, writer.rejected, textless)
    made.changes().log(writer.made["source"])
    made.write(writer.path / "report", table, writer.frames())
    writer.finish(table.splits if splitting else None)
    check_store(writer.path)
    return made


def split_by_ratio(keys: list[str], splitting: Splitting) -> list[str | None]:
    """The split of each clip by its key: equal keys share one. DataError where there are fewer keys than splits."""
    try:
        parts = divide(keys, splitting.ratio, str(splitting.seed))
    except ValueError as error:
        raise DataError(
            f"{len(set(keys))} groups cannot fill {sum(share > 0 for share in splitting.ratio)} splits",
            place="split_ratio",
            wanted="a group a split",
            remedy="group by something finer, e.g. --group id",
        ) from error
    return [SPLITS[part] for part in parts]
