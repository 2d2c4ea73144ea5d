"""Extract many videos in several processes. What exists is kept; one that cannot be used does not stop the others."""

from __future__ import annotations

import glob
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from sign_models.errors import DataError, ResourceError, SignError
from sign_models.keypoints.formats.estimators.pose_record import read_record
from sign_models.video import decode
from sign_models.video.extract import DEFAULTS, Counts, Settings, extract_to_file, record_of
from sign_models.video.landmarks import extractor_version
from sign_models.video.models import ModelFiles
from sign_models.video.sheet import write_jpeg

CORES_A_PROCESS = 2  # body and hands are found in two threads
REPORT = "report"  # folder below the one written to
POLL_S = 0.2


@dataclass(frozen=True)
class Video:
    """A video to extract.

    Attributes:
        id: Its path below the folder that was asked for, without the ending. It names the file that is written.
        path: The file.
    """

    id: str
    path: Path


@dataclass(frozen=True)
class Result:
    """What became of a video.

    Attributes:
        id: Of the video.
        state: "extracted"; "kept", where its file existed, of this very video, extractor and settings; "replaced",
            where that file was of another; or "failed".
        record: As in the file. Empty where it failed.
        error: Of one that failed.
    """

    id: str
    state: Literal["extracted", "kept", "replaced", "failed"]
    record: dict[str, Any]
    error: str = ""


def find_videos(asked: str | Path) -> list[Video]:
    """Find videos.

    Args:
        asked: A file, a folder with the folders in it, or a glob pattern.

    Returns:
        The videos, by name.

    Raises:
        DataError: Nothing is there, or two videos would write one file.
    """
    path = Path(asked)
    if path.is_file():
        found = [Video(path.stem, path)]
    elif path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in decode.SUFFIXES and p.is_file())
        found = [Video(p.relative_to(path).with_suffix("").as_posix(), p) for p in files if not _hidden(p, path)]
    else:
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207  absolute ones too
        files = [p for p in files if p.is_file() and p.suffix.lower() in decode.SUFFIXES]
        base = Path(os.path.commonpath([p.parent for p in files])) if files else path
        found = [Video(p.relative_to(base).with_suffix("").as_posix(), p) for p in files]
    if not found:
        exists = path.exists()
        beside = [] if exists or not path.parent.is_dir() else [p.name for p in path.parent.iterdir()]
        near = get_close_matches(path.name, beside, 1)
        remedy = f"did you mean {near[0]!r}?" if near else "check the path"
        kinds = ", ".join(suffix[1:] for suffix in decode.SUFFIXES)
        raise DataError(
            "a folder without a video" if exists else "does not exist, nor does it match a file",
            place=str(path),
            wanted=f"a video, a folder or a glob pattern of videos ({kinds})",
            remedy=remedy,
        )
    ids: dict[str, Path] = {}
    for video in found:
        if video.id in ids:
            wanted = "names that differ in more than their ending"
            raise DataError(f"beside {ids[video.id].name}", place=str(video.path), wanted=wanted, remedy="rename one")
        ids[video.id] = video.path
    return found


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def extract_all(
    videos: Sequence[Video],
    out: Path,
    models: ModelFiles,
    settings: Settings = DEFAULTS,
    *,
    workers: int | None = None,
    sheets: bool = True,
    progress: Callable[[int], None] = lambda frames: None,
) -> list[Result]:
    """Write OUT/ID.pose of each video, and its contact sheet OUT/report/ID.jpg. Goes on where it was cut off.

    Args:
        videos: To extract.
        out: Folder to write to.
        models: MediaPipe's.
        settings: Of the extraction.
        workers: Processes. None: one for two cores.
        sheets: Whether to write contact sheets, which show the people.
        progress: Called several times a second with how many more frames are done.

    Returns:
        In the order of the videos. One that cannot be used is a failed one.

    Raises:
        ResourceError: The optional extra is not installed, or a process was killed.
    """
    extractor_version()  # says what is not installed, before any process is started
    count = max(1, min(workers or max(_cores() // CORES_A_PROCESS, 1), len(videos)))
    context = multiprocessing.get_context("spawn")  # MediaPipe's threads do not survive a fork
    frames = context.Value("q", 0)
    told = 0
    with ProcessPoolExecutor(count, context, initializer=_share, initargs=(frames,)) as pool:
        jobs: list[Future[Result]] = [pool.submit(_one, v, out, models, settings, sheets) for v in videos]
        try:
            left = set(jobs)
            while left:
                _, left = wait(left, POLL_S, FIRST_COMPLETED)
                progress(frames.value - told)
                told = frames.value
            return [job.result() for job in jobs]
        except BrokenProcessPool as error:
            remedy = "run it again, it goes on; with --workers 1 it needs the least memory"
            raise ResourceError("a process was ended, by the system or for want of memory", remedy=remedy) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_frames: Any = None  # of this worker process: the frames that all of them have done


def _share(frames: Any) -> None:
    global _frames
    _frames = frames


def _progress(frames: int) -> None:
    with _frames.get_lock():
        _frames.value += frames


def _one(video: Video, out: Path, models: ModelFiles, settings: Settings, sheets: bool) -> Result:
    """Extract one video, unless its file is whole and was made in the same way. What goes wrong is in the result."""
    file = out / f"{video.id}.pose"
    try:
        there = _record_there(file)
        wanted = record_of(video.path, models, settings)
        if there is not None and _tells_all(there) and all(there.get(key) == value for key, value in wanted.items()):
            return Result(video.id, "kept", there)
        existed = file.exists()
        record, frames = extract_to_file(video.path, file, models, settings, _progress)
        if sheets:
            write_jpeg(out / REPORT / f"{video.id}.jpg", frames.sheet())
        return Result(video.id, "replaced" if existed else "extracted", record)
    except DataError as error:
        return Result(video.id, "failed", {}, str(error))
    except OSError as error:
        return Result(video.id, "failed", {}, f"{video.path.name}: {error.strerror or error}")


def _record_there(file: Path) -> dict[str, Any] | None:
    """The record of a file. None where it is absent, not whole, or not of an extraction: it is written anew."""
    try:
        return read_record(file)
    except (SignError, OSError):
        return None


def _tells_all(record: dict[str, Any]) -> bool:
    """Whether a file's record has every count that a report tells: one of an earlier version may not."""
    return isinstance(counts := record.get("counts"), dict) and {f.name for f in fields(Counts)} <= counts.keys()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
