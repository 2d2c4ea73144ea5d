"""Splitting of long recordings into clips, by the times in label files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clock import seconds_of
from sign_models.keypoints.sequence import KeypointSequence

Unit = Literal["seconds", "ms", "frames"]
UNITS: tuple[Unit, ...] = ("seconds", "ms", "frames")
MAX_BEYOND_S = 0.5  # by which a segment may exceed its recording, since times are rounded and films are trimmed
MAX_LENGTH_ERROR = 0.05  # difference of a clip from its segment's length, if it was split already
MAX_LENGTH_ERROR_FRAMES = 2
_MEDIA = re.compile(
    r"\.(mp4|m4v|mpe?g|mts|m2ts|3gp|ogv|avi|jpe?g|png|mkv|mov|wmv|flv|webm|pkl|pickle|pose|json|npy|npz|parquet|csv|h5|hdf5|mat|txt|eaf|vtt|srt)(\.gz)?$",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")


def name_forms(name: str) -> list[str]:
    """List the names by which a recording is found.

    Args:
        name: Path or name of a film or keypoint file.

    Returns:
        The whole path and the bare name in Unicode's composed form, without the suffixes of films and keypoint files.
    """
    # Files of macOS spell letters with accents in two characters, label files mostly in one.
    bare = re.sub(r"^(\./)+", "", unicodedata.normalize("NFC", name.strip()).replace("\\", "/"))
    if "://" in bare:
        bare = bare.partition("?")[0]
    while bare != (shorter := _MEDIA.sub("", bare)) and shorter:
        bare = shorter
    return list(dict.fromkeys([bare, PurePosixPath(bare).name or bare]))


def parse_time(cell: str) -> float:
    """Parse a time.

    Args:
        cell: A number, a clock time such as "1:02:03.5", or a duration such as "40 ms".

    Returns:
        The number, or seconds of a clock time or duration.

    Raises:
        ValueError: The cell is neither.
    """
    if clock := _CLOCK.fullmatch(cell.strip()):
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    if (told := seconds_of([cell])) is not None:
        return told[0]
    return float(cell.replace(",", "."))


@dataclass(frozen=True)
class Segment:
    """A part of a recording and its metadata.

    Attributes:
        id: Id of the clip.
        recordings: Names that its recording may have.
        start: Start, in `unit`.
        end: End, in `unit`. None: the end of the recording.
        unit: Unit of the times. None: unknown.
        text: Text of the clip, or None.
        split: Split of the clip, or None.
        group: Signer of the clip, or None.
        place: What an error message names.
    """

    id: str
    recordings: tuple[str, ...]
    start: float
    end: float | None
    unit: Unit | None
    text: str | None
    split: str | None
    group: str | None
    place: str


class Segments:
    """The segments of all recordings."""

    def __init__(self, segments: Iterable[Segment] = (), whole: Iterable[str] = (), unit: Unit | None = None) -> None:
        """Group segments by recording.

        Args:
            segments: All segments.
            whole: Ids of clips that are split already.
            unit: Unit of times without one.
        """
        by_name: dict[str, dict[str, list[Segment]]] = {}  # by form of the name and whole name of the recording
        for segment in segments:
            names = dict.fromkeys(
                (form, name_forms(name)[0]) for name in segment.recordings for form in name_forms(name)
            )
            for form, recording in names:
                by_name.setdefault(form, {}).setdefault(recording, []).append(segment)
        # A bare name that two recordings have in common is not used. Their whole paths are.
        self._by_name = {
            form: found[0] if len(found := [*of.values()]) == 1 else of[form]
            for form, of in by_name.items()
            if len(of) == 1 or form in of
        }
        self._whole = {form for id in whole for form in name_forms(id)}
        self._unit = unit

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def split(self, recording: KeypointSequence) -> Iterator[KeypointSequence | DataError]:
        """Split a recording into clips.

        Args:
            recording: A clip of a keypoint file.

        Yields:
            Its segments, or what is wrong with one. The recording itself if it has no segments.
        """
        names = name_forms(recording.id)
        found = next((self._by_name[form] for form in names if form in self._by_name), [])
        if not found or any(form in self._whole for form in names):
            yield recording
            return
        if len(found) == 1 and _is_cut_already(recording, found[0], self._unit):
            one = found[0]
            named = replace(recording, id=one.id, text=one.text, split=one.split, group=one.group or recording.group)
            yield recording if set(name_forms(one.id)) & set(names) else named
            return
        for segment in sorted(found, key=lambda s: s.start):
            try:
                yield _extract(recording, segment, self._unit)
                recording = replace(recording, nan=0)  # counted once
            except DataError as error:
                yield error


def _is_cut_already(recording: KeypointSequence, segment: Segment, unit: Unit | None) -> bool:
    """Whether a clip is the segment: it is as long, in any unit that the times may have."""
    if segment.end is None:
        return segment.start == 0
    known = segment.unit or unit
    for one in (known,) if known else UNITS:
        scale = {"seconds": recording.fps, "ms": (recording.fps or 0) / 1000, "frames": 1.0}[one]
        length = (segment.end - segment.start) * (scale or 0)
        error = abs(len(recording) - length)
        if length and error <= max(MAX_LENGTH_ERROR * length, MAX_LENGTH_ERROR_FRAMES):
            return True
    return False


def _extract(recording: KeypointSequence, segment: Segment, unit: Unit | None) -> KeypointSequence:
    unit, place = segment.unit or unit, f"{segment.place}: {segment.id!r}"
    if unit is None:
        raise DataError(
            f"times {segment.start:g} to {'the end' if segment.end is None else f'{segment.end:g}'} without a unit",
            place=place,
            wanted="seconds, ms or frames",
            remedy="give --times seconds, ms or frames; or rename the columns, e.g. to start_ms and end_ms",
        )
    if unit != "frames" and not recording.fps:
        raise DataError(
            f"times in {unit}, and nothing tells the frame rate of {recording.id!r}",
            place=place,
            wanted="frames a second",
            remedy="give --fps",
        )
    scale = {"seconds": recording.fps or 1, "ms": (recording.fps or 1) / 1000, "frames": 1}[unit]
    frames, rate = len(recording), recording.fps or 25
    start, end = round(segment.start * scale), frames if segment.end is None else round(segment.end * scale)
    end = max(end, start + 1)
    if start < 0 or start >= frames or end > frames + max(MAX_BEYOND_S * rate, 1):
        raise DataError(
            f"frames {start} to {end} of a recording of {frames}",
            place=place,
            wanted=f"times within {recording.id!r}" + (f", {frames / rate:.3f} s" if recording.fps else ""),
            remedy="correct the times, their unit (--times) or the frame rate (--fps)",
        )
    end = min(end, frames)
    parts: dict[str, Any] = {
        field.name: value[start:end]
        for field in fields(recording)
        if isinstance(value := getattr(recording, field.name), np.ndarray)
    }
    if not (parts["confidence"] > 0).any():
        found = f"no landmark is seen in the frames {start} to {end} of {recording.id!r}"
        raise DataError(found, place=place, wanted="confidence above 0 somewhere", remedy="leave the row out")
    return replace(
        recording,
        id=segment.id,
        text=segment.text,
        split=segment.split or recording.split,
        group=segment.group or recording.group,
        source=f"{recording.source}: frames {start} to {end}",
        cut=(recording.id, frames, start, end),
        **parts,
    )
