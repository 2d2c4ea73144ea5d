"""The phase before the import: videos to files of keypoints, as one MLflow run."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sign_models.errors import DataError
from sign_models.pipeline.progress import frame_progress
from sign_models.tracking.runs import Run, connect, stage_run
from sign_models.video import report
from sign_models.video.batch import Result, Video, extract_all, find_videos
from sign_models.video.camera import DEFAULT_SECONDS, record
from sign_models.video.extract import Settings, extractor
from sign_models.video.landmarks import extractor_version
from sign_models.video.models import ModelFiles, model_files

LISTED_VIDEOS = 5  # of the failed ones, in the message


@dataclass(frozen=True)
class ExtractOptions:
    """What to extract, and how; see extract_all.

    Attributes:
        face: Whether to find faces too, or MediaPipe's `.task` file to find them with.
        camera: Index of a camera of this machine, in place of videos.
        seconds: How long a camera is recorded.
        skip_bad: Videos that cannot be used do not make the run fail.
        experiment: "" for the default.
    """

    videos: Path
    out: Path
    settings: Settings
    pose_model: Path | None = None
    hand_model: Path | None = None
    face: Path | bool = False
    workers: int | None = None
    skip_bad: bool = False
    sheets: bool = True
    camera: int | None = None
    seconds: float = DEFAULT_SECONDS
    experiment: str = ""


def run_extract(options: ExtractOptions) -> None:
    """Write a file for each video, print the report and log it as an artifact.

    Args:
        options: Of the command.

    Raises:
        DataError: no videos, or, after all others are done, some that cannot be used.
        ResourceError: the optional extra or the model files cannot be had.
    """
    o = options
    extractor_version()  # what is not installed is said before anything is downloaded
    with tempfile.TemporaryDirectory(prefix="sign-models-") as scratch:
        if o.camera is None:
            _extract(o, find_videos(o.videos))
            return
        # The recording is removed: the keypoints are what stays.
        recorded = Video(f"camera-{datetime.now():%Y%m%d-%H%M%S}", Path(scratch, "camera.mp4"))
        print(f"camera {o.camera}: recording for {o.seconds:g} s", file=sys.stderr)
        record(o.camera, recorded.path, o.seconds)
        _extract(o, [recorded])


def _extract(o: ExtractOptions, videos: list[Video]) -> None:
    connect(o.experiment or None)  # before anything is downloaded, too
    models = model_files(o.pose_model, o.hand_model, o.face)
    with stage_run("extract", experiment=o.experiment or None) as run:
        run.log_code_state()
        with frame_progress("extract") as progress:
            results = extract_all(
                videos, o.out, models, o.settings, workers=o.workers, sheets=o.sheets, progress=progress
            )
        folder = report.write_report(results, o.out)
        _log_extractor(run, models)
        totals = report.totals(results)
        profile = {"clips": len(results) - totals["videos_failed"], "frames": totals["frames"]}
        run.log_dataset("keypoints", _digest(results), "extract", profile, str(o.videos))
        run.log_artifacts(folder, "report")
        run.describe(f"Videos of `{o.videos}` to keypoint files in `{o.out}`.\n\n{report.markdown(results)}")
        run.log_metrics(report.metrics(results) | {"frames_per_second": progress.frames_per_second}, 0)
        print(report.markdown(results))
        rate = f"{progress.frames} frames read at {progress.frames_per_second:.1f} frames/s"
        print(f"{o.out}: {profile['clips']} files, {rate}")
        _refuse_failed([result for result in results if result.state == "failed"], o)


def _log_extractor(run: Run, models: ModelFiles) -> None:
    """As tags of the active run: name, version and the models' SHA-256."""
    told = extractor(models)
    flat = {"extractor": f"{told['name']} {told['version']}"}
    flat |= {f"extractor.{name}_model_sha256": checksum for name, checksum in told["models"].items()}
    run.set_tags(flat)


def _refuse_failed(failed: list[Result], options: ExtractOptions) -> None:
    if not failed or options.skip_bad:
        return
    shown = " | ".join(result.error for result in failed[:LISTED_VIDEOS])
    more = f" | and {len(failed) - LISTED_VIDEOS} more" if len(failed) > LISTED_VIDEOS else ""
    raise DataError(
        f"{len(failed)} of the videos cannot be used: {shown}{more}",
        place=str(options.videos),
        remedy="mend or remove them, or add --on-bad-video skip; the others are done",
    )


def _digest(results: list[Result]) -> str:
    """SHA-256 over the records of the files: equal videos, extractors and settings give equal digests."""
    parts = (
        f"{r.id}\0{r.record['video']['sha256']}\0{r.record['extractor']}\0{r.record['settings']}\n"
        for r in sorted(results, key=lambda r: r.id)
        if r.state != "failed"
    )
    return hashlib.sha256("".join(parts).encode()).hexdigest()
