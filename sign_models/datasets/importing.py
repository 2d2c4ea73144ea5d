"""Import of keypoint files to a store: clips are read, written in their order, checked, split and reported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout

from sign_models.data.splits import SPLITS, divide
from sign_models.data.texts import TextRow, read_texts, signer_of
from sign_models.datasets import checks, report
from sign_models.datasets.readers import Position, Sample
from sign_models.datasets.report_numbers import UNREAD_PREFIX
from sign_models.datasets.samples import FILE_GROUPS, Files, read_samples
from sign_models.datasets.store import check_store
from sign_models.datasets.store_writer import LOCK, StoreWriter
from sign_models.errors import DataError, ResourceError, SignError
from sign_models.keypoints import formats, landmarks, layouts, normalise
from sign_models.keypoints.formats.files.source import DEFAULT_OPTIONS, ReadOptions
from sign_models.keypoints.formats.labels import Labels
from sign_models.keypoints.formats.plausible import Doubts
from sign_models.keypoints.normalise import Handedness, Mirroring

OnBad = Literal["stop", "reject"]
OnLeak = Literal["stop", "report"]


@dataclass(frozen=True)
class Splitting:
    """How clips are split. A group goes to one split as a whole.

    Attributes:
        ratio: Shares of the clips for train, dev and test.
        seed: Seed of the hash that orders the groups.
    """

    ratio: tuple[float, float, float]
    seed: int = 0


@dataclass(frozen=True)
class ImportRules:
    """What becomes of the clips that are read.

    Attributes:
        texts: A text_data.json whose texts and splits the clips get.
        group: What clips share a group by. "signer" or "video": as the files say. "id": no groups. A regular
            expression: what it finds in the id. "": as the files say, else by id.
        splitting: Splits to make. None: as files and texts say.
        on_bad_sample: "stop" at a sample that cannot be used, or "reject" it.
        on_leak: "stop" where splits have something in common, or "report" it.
        mirroring: "auto" mirrors the clips of signers whose left hand leads, "never" none.
    """

    texts: Path | None = None
    group: str = ""
    splitting: Splitting | None = None
    on_bad_sample: OnBad = "stop"
    on_leak: OnLeak = "stop"
    mirroring: Mirroring = "auto"


DEFAULT_RULES = ImportRules()


def import_corpus(
    source: Path,
    out: Path,
    rules: ImportRules = DEFAULT_RULES,
    *,
    reading: ReadOptions = DEFAULT_OPTIONS,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda frames: None,
) -> report.Report:
    """Import keypoint files to a store. An import that was interrupted goes on when it is started again.

    Args:
        source: File or folder of keypoints.
        out: Folder of the store. It is new, empty, or holds this import unfinished.
        rules: What becomes of the clips.
        reading: What the files do not say, such as their layout.
        workers: Processes that read. None: as many as help.
        progress: Called with the frames of each clip.

    Returns:
        What was found, which is also in the store.

    Raises:
        DataError: A sample or a leak stops the import, or no clip is left.
        ResourceError: Another process is writing the store.
    """
    rows = {row.id: row for row in read_texts(rules.texts)} if rules.texts else {}
    files = Files.scan(source)
    if out.resolve().is_relative_to(source.resolve()):
        raise DataError("lies in the source", place=str(out), wanted="a folder of its own", remedy="name another")
    out.mkdir(parents=True, exist_ok=True)
    made = _provenance(source, files, reading, rules)
    try:
        with FileLock(out / LOCK, timeout=0), StoreWriter(out, made) as writer:
            labels = Labels(reading)
            samples = read_samples(source, reading, rules.group, writer.position, files.workers(workers), labels)
            try:
                hands = write_samples(writer, samples, rows, rules, progress)
            except SignError:
                writer.flush()  # what was read so far need not be read again
                raise
            writer.mirror(hands)
            found = finish_store(writer, rules, rows, labels)
            (out / LOCK).unlink()
            return found
    except Timeout as error:
        raise ResourceError("another process is writing it", place=str(out), remedy="wait for it, or end it") from error


def _provenance(source: Path, files: Files, reading: ReadOptions, rules: ImportRules) -> dict[str, Any]:
    """All that decides what is read: an unfinished import goes on only where it is the same."""
    return {
        "source": str(source),
        "files": files.sha256,
        "reading": asdict(reading),
        "layout": _sha256_of(Path(reading.layout)) if reading.layout and Path(reading.layout).is_file() else None,
        "group": rules.group,
        "mirroring": rules.mirroring,
        "texts": _sha256_of(rules.texts) if rules.texts else None,
        "labels": Files.scan(Path(reading.labels)).sha256 if reading.labels else None,
        "code": [_sha256_of(Path(str(module.__file__))) for module in (landmarks, layouts, normalise)],
    }


def _sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_samples(
    writer: StoreWriter,
    samples: Iterable[tuple[Position, Sample | DataError]],
    rows: dict[str, TextRow],
    rules: ImportRules = DEFAULT_RULES,
    progress: Callable[[int], None] = lambda frames: None,
) -> Handedness:
    """Write samples to shards, with their texts, mirrored as far as the samples before them tell.

    Args:
        writer: Writer of the store. It may hold shards of an import that was interrupted.
        samples: Each sample, or what is wrong with it, with the position at which reading goes on.
        rows: Texts, splits and signers by id.
        rules: What becomes of the clips.
        progress: Called with the frames of each clip.

    Returns:
        Handedness of all signers, by which StoreWriter.mirror corrects the shards.

    Raises:
        DataError: A sample cannot be used, an id appears twice, or a clip is in two splits or by two signers.
    """
    hands = Handedness(rules.mirroring)
    for shard in writer.shards():  # of an import that was cut off
        lengths = (shard.offsets[1:] - shard.offsets[:-1]).tolist()
        for group, left_leads, length in zip(shard.known["groups"], shard.known["left_leads"], lengths, strict=True):
            hands.add(group, left_leads, length)
    for position, sample in samples:
        if isinstance(sample, formats.Unread):
            writer.reject(UNREAD_PREFIX + sample.place, position)
            continue
        if isinstance(sample, DataError):
            if rules.on_bad_sample == "stop":
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
            signer = signer_of(clip.id, clip.group, row.signer, sample.place)
            clip = replace(clip, text=row.text, split=row.split or clip.split, group=signer)
        hands.add(clip.group, clip.left_leads, len(clip.values))
        if hands.is_mirrored(clip.group, clip.left_leads):
            clip = clip.flipped()
            sample = sample._replace(measures=checks.measure([clip.values])[0])
        writer.add(sample._replace(clip=clip), position)
        progress(len(clip.values))
    return hands


def finish_store(
    writer: StoreWriter,
    rules: ImportRules = DEFAULT_RULES,
    rows: Collection[str] = (),
    labels: Labels | None = None,
) -> report.Report:
    """Check and split the clips that were written, and write report and index.

    Args:
        writer: Writer of the store with all clips.
        rules: What becomes of the clips.
        rows: Ids of the texts that were given.
        labels: What label files said.

    Returns:
        What was found.

    Raises:
        DataError: No clip is left, no text fits a clip, a leak stops the import, or a byte was written wrongly.
    """
    writer.flush()
    missing_clips = _texts_without_clip(writer, rows, labels)
    _check_layouts(writer)
    table = checks.Table.from_shards(writer.shards(), writer.ids)
    if rules.group in FILE_GROUPS and not any(table.groups):
        raise DataError(
            f"no file tells a {rules.group}",
            place=writer.made["source"],
            wanted="groups to split by",
            remedy="give a regular expression that finds it in the ids, or 'id'",
        )
    if rules.splitting:
        keys = [g or id for g, id in zip(table.groups, table.ids, strict=True)]
        table.splits = split_by_ratio(keys, rules.splitting)
    leaks = checks.find_leaks(table)
    if leaks and rules.on_leak == "stop":
        raise DataError(
            "; ".join(report.leak_lines(table, leaks)),
            place=writer.made["source"],
            wanted="splits that share nothing",
            remedy="split anew with --split-ratio, correct the files, or keep it all with --on-leak report",
        )
    made = report.Report.from_table(table, writer.shards, leaks, writer.rejected, missing_clips)
    made.changes().log(writer.made["source"])
    made.write(writer.path / "report", table, writer.frames())
    writer.finish(table.splits if rules.splitting else None)
    check_store(writer.path)
    return made


def _texts_without_clip(writer: StoreWriter, rows: Collection[str], labels: Labels | None) -> list[str]:
    """Ids of texts and labels that no clip has; DataError where there is no clip, or none with a text."""
    if not writer.ids:
        bad = [reason for reason in writer.rejected if not reason.startswith(UNREAD_PREFIX)]
        why = f"all {len(bad)} samples are bad, the first: {bad[0]}" if bad else ""
        raise DataError("no clip in it", place=writer.made["source"], wanted="at least one", remedy=why)
    missing_clips = [id for id in rows if id not in writer.ids]
    if missing_clips and len(missing_clips) == len(rows):
        raise DataError(
            f"none of its {len(missing_clips)} ids is a clip's, e.g. {missing_clips[0]!r}",
            place="texts",
            wanted=f"ids such as {next(iter(writer.ids))!r}",
        )
    return missing_clips + (labels.unused(writer.ids) if labels else [])


def _check_layouts(writer: StoreWriter) -> None:
    """DataError where the clips do not look like their layout."""
    doubts = Doubts()
    for shard in writer.shards():
        fitting = shard.known.get("fitting", [None] * len(shard))  # missing where an older version began the import
        for layout, frames, fits in zip(shard.known["layouts"], np.diff(shard.offsets), fitting, strict=True):
            doubts.add(layout, int(frames), fits)
    doubts.check(Path(writer.made["source"]).name)


def split_by_ratio(keys: list[str], splitting: Splitting) -> list[str | None]:
    """Split clips by their keys. Equal keys share a split.

    Args:
        keys: Key of each clip, such as its signer.
        splitting: Shares and seed.

    Returns:
        The split of each clip.

    Raises:
        DataError: There are fewer keys than splits.
    """
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
