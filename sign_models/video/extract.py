"""One video to one `.pose` file: 33 body, 21 + 21 hand and, if asked, 468 face landmarks with depth and confidence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.keypoints.sequence import KeypointSequence
from sign_models.video import decode
from sign_models.video.face import FaceFinder
from sign_models.video.following import BODY, HANDS, Detected, Follower, Person, signer_values
from sign_models.video.landmarks import (
    NAME,
    NARROW_ASPECT,
    WIDENED_ASPECT,
    Landmarker,
    count_people,
    extractor_version,
)
from sign_models.video.models import ModelFiles
from sign_models.video.pose_file import LAYOUT, LAYOUT_WITH_FACE, write_pose
from sign_models.video.quality import MAX_SIDE_PIXELS, look
from sign_models.video.sheet import SheetFrames

MAX_PEOPLE = 4
PROBED_FRAMES = 16
PROBE_INTERVAL_S = 2.0
MIN_LUMA = 40.0  # mean of a frame's pixels, of 255
MAX_JITTER = 0.5  # of the mean interval; more is a variable frame rate


@dataclass(frozen=True)
class Settings:
    """What changes the keypoints of a video.

    Attributes:
        person: Who is followed, see Follower.
        max_fps: Frames beyond this rate are left out. None: none are.
    """

    person: Person = "nearest"
    max_fps: float | None = None


DEFAULTS = Settings()


@dataclass
class Counts:
    """How many frames of a file have what the name says.

    Attributes:
        frames: All frames.
        body: With a body.
        left_hand: With a left hand.
        right_hand: With a right hand.
        several_people: With more than one body.
        too_dark: Below MIN_LUMA.
        too_small: With shoulders below quality.MIN_SHOULDER_PIXELS.
        face: With a face, where faces are looked for.
        repeated: Repeated to make a variable frame rate constant.
        dropped: Dropped for the same reason.
        no_shoulders: With a body, but a shoulder outside of the picture.
    """

    frames: int = 0
    body: int = 0
    left_hand: int = 0
    right_hand: int = 0
    several_people: int = 0
    too_dark: int = 0
    too_small: int = 0
    face: int = 0
    repeated: int = 0
    dropped: int = 0
    no_shoulders: int = 0


@dataclass
class Extraction:
    """What was extracted from a video.

    Attributes:
        sequence: Keypoints in pixels.
        depth: (T, 75), with a face (T, 543), in pixels.
        counts: Of its frames.
        people: That were looked for.
        sheet: Frames for the contact sheet.
    """

    sequence: KeypointSequence
    depth: np.ndarray
    counts: Counts
    people: int
    sheet: SheetFrames


@dataclass
class _Collected:
    times: list[float] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)  # (K, 4) each
    counts: Counts = field(default_factory=Counts)


def extract(
    video: Path, models: ModelFiles, settings: Settings = DEFAULTS, progress: Callable[[int], None] = lambda n: None
) -> Extraction:
    """Extract the keypoints of one video.

    Args:
        video: The file.
        models: MediaPipe's.
        settings: Of the extraction.
        progress: Called with how many more frames are done.

    Returns:
        The keypoints, and what was counted.

    Raises:
        DataError: The video or a model file cannot be used.
        ResourceError: The optional extra is not installed.
    """
    people = _people(video, models)
    follower, sheet, collected = Follower(settings.person), SheetFrames(), _Collected()
    size, counts = (0, 0), collected.counts
    with Landmarker(models, people) as landmarker, FaceFinder(models) as faces:
        for frame in decode.frames(video, max_side=MAX_SIDE_PIXELS, max_fps=settings.max_fps):
            detected = landmarker.detect(frame.pixels, frame.time_s)
            size = size if any(size) else frame.size
            values = signer_values(detected, follower, frame.time_s)
            _count(counts, detected, frame.pixels, values)
            every = values
            if models.face is not None:
                face = faces.find(frame.pixels, values[BODY])
                counts.face += bool(face[:, 3].any())
                every = np.concatenate([values[BODY], face, values[HANDS:]])
            sheet.add(frame.pixels, values[:, [0, 1, 3]], frame.time_s)
            # A video may change its size on the way; all is told in pixels of the first frame.
            scale = np.array(size) / (frame.pixels.shape[1], frame.pixels.shape[0])
            collected.times.append(frame.time_s)
            collected.values.append(every * np.array([*scale, scale[0], 1.0], np.float32))
            progress(1)
    times, every = np.array(collected.times), np.stack(collected.values)
    fps, index = constant_rate(times)
    counts.repeated, counts.dropped = len(index) - len(np.unique(index)), len(times) - len(np.unique(index))
    every = every[index]
    sequence = KeypointSequence(
        video.stem,
        every[..., :2],
        every[..., 3],
        LAYOUT if models.face is None else LAYOUT_WITH_FACE,
        size=(float(size[0]), float(size[1])),
        fps=fps,
        source=video.name,
    )
    return Extraction(sequence, every[..., 2], counts, people, sheet)


def extract_to_file(
    video: Path, out: Path, models: ModelFiles, settings: Settings, progress: Callable[[int], None] = lambda n: None
) -> tuple[dict[str, Any], SheetFrames]:
    """Write the `.pose` file of one video.

    Args:
        video: The file.
        out: The file to write.
        models: MediaPipe's.
        settings: Of the extraction.
        progress: Called with how many more frames are done.

    Returns:
        The record in the file; frames for the contact sheet.

    Raises:
        DataError: The video or a model file cannot be used.
        ResourceError: The optional extra is not installed.
    """
    made = extract(video, models, settings, progress)
    record = record_of(video, models, settings) | {"counts": asdict(made.counts), "people": made.people}
    write_pose(out, made.sequence, made.depth, record)
    return record, made.sheet


def record_of(video: Path, models: ModelFiles, settings: Settings) -> dict[str, Any]:
    """All that determines the keypoints of a video: equal records, equal files.

    Args:
        video: The file.
        models: MediaPipe's.
        settings: Of the extraction.

    Returns:
        Extractor, settings, and name and SHA-256 of the video; JSON.
    """
    return {
        "extractor": extractor(models),
        "settings": asdict(settings),
        "video": {"name": video.name, "sha256": _sha256(video)},
    }


def extractor(models: ModelFiles) -> dict[str, Any]:
    """Describe the extractor.

    Args:
        models: MediaPipe's.

    Returns:
        Name, version, the SHA-256 of each model file, and how narrow pictures are widened.

    Raises:
        ResourceError: The optional extra is not installed.
    """
    described = {"name": NAME, "version": extractor_version(), "models": models.checksums}
    return described | {"narrow_aspect": NARROW_ASPECT, "widened_aspect": WIDENED_ASPECT}


def constant_rate(times: np.ndarray) -> tuple[float, np.ndarray]:
    """Find a constant frame rate for frames at given times.

    Steady times keep every frame. Others get the rate of their median interval.

    Args:
        times: (T,) seconds, growing.

    Returns:
        Frames a second; for each frame at that rate the index of the nearest one that was shown.
    """
    if len(times) == 1:
        return decode.FALLBACK_FPS, np.zeros(1, np.intp)
    intervals = np.diff(times)
    mean = float(intervals.mean())
    if np.abs(intervals - mean).max() <= MAX_JITTER * mean:
        return 1 / mean, np.arange(len(times))
    fps = min(1 / float(np.median(intervals)), decode.MAX_FPS)
    grid = np.arange(round((times[-1] - times[0]) * fps) + 1) / fps + times[0]
    after = np.clip(np.searchsorted(times, grid), 1, len(times) - 1)
    return fps, np.where(grid - times[after - 1] <= times[after] - grid, after - 1, after)


def _people(video: Path, models: ModelFiles) -> int:
    """Find how many people to look for, by some frames from all over the video. Each more makes every frame slower."""
    kept: list[np.ndarray] = []
    interval, last = PROBE_INTERVAL_S, -np.inf
    for frame in decode.frames(video, max_side=MAX_SIDE_PIXELS, keyframes=True):
        if frame.time_s - last >= interval:
            kept.append(frame.pixels)
            last = frame.time_s
        if len(kept) > PROBED_FRAMES:
            kept, interval = kept[::2], 2 * interval
    return count_people(models, iter(kept), MAX_PEOPLE)


def _count(counts: Counts, detected: Detected, pixels: np.ndarray, values: np.ndarray) -> None:
    counts.frames += 1
    for name, yes in look(values, (float(pixels.shape[1]), float(pixels.shape[0]))).items():
        setattr(counts, name, getattr(counts, name) + yes)
    counts.several_people += len(detected.bodies) > 1
    counts.too_dark += float(pixels[::8, ::8].mean()) < MIN_LUMA


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
