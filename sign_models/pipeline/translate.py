"""Videos or files of keypoints to texts with times, by a registered translator. No run of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sign_models import interruption
from sign_models.errors import DataError
from sign_models.keypoints import formats
from sign_models.keypoints.extractor import check_extractor
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.serving.answers import confidence_of
from sign_models.stages.declaration import model_names
from sign_models.tracking.registered.registry import resolve, trained_on, trained_parts
from sign_models.tracking.runs import connect
from sign_models.video import captions, report
from sign_models.video.batch import extract_all, find_videos
from sign_models.video.captions import Segment
from sign_models.video.decode import SUFFIXES
from sign_models.video.models import model_files
from sign_models.video.overlay import check_overlay, write_overlay

CHAMPION = f"models:/{model_names()['translator']}@champion"
FORMS = ("srt", "vtt", "eaf", "json")
UNSURE = ("mark", "omit")


@dataclass(frozen=True)
class TranslateOptions:
    """What to translate, and what to write.

    Attributes:
        model: As the registry resolves it.
        forms: Of FORMS; their files go to out, or beside the working directory.
        strict_extractor: Refuse clips of another extractor than training's.
        overlay: A file, .mp4 or .gif: the video again with skeleton and captions. Of several videos it becomes a
            folder of that name, with a file each.
        unsure: What captions have where a text is rejected: "mark" gives `[unsure]`, "omit" nothing.
        reject_below: Confidence below which a text is rejected. None: as the model was made.
    """

    videos: Path
    model: str
    out: Path
    forms: tuple[str, ...] = ()
    n_best: int = 1
    strict_extractor: bool = False
    overlay: Path | None = None
    experiment: str = ""
    unsure: str = UNSURE[0]
    reject_below: float | None = None


@dataclass(frozen=True)
class _Clip:
    sequence: KeypointSequence
    video: Path | None  # None: keypoints only
    look_at: tuple[str, ...] = ()  # what its extraction reports


def run_translate(options: TranslateOptions) -> None:
    """Print a line for each segment, and write the files that are asked for.

    Args:
        options: Of the command.

    Raises:
        UpstreamError: no such translator. DataError: what is given holds no keypoints, or a video cannot be used.
    """
    if options.overlay is not None:
        check_overlay(options.overlay)
    connect(options.experiment or None)
    upstream = resolve(options.model, "translator")
    from sign_models.serving import load

    trained = trained_on(upstream.tags)
    predictor = load(upstream.path())
    warned: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="sign-models-") as scratch:
        face = "face" in trained_parts(upstream.tags)
        for clip in clips(options.videos, Path(scratch), face=face):
            interruption.check()
            for told in clip.look_at:
                print(f"{clip.sequence.id}: warning: {told}", file=sys.stderr)
            warning = check_extractor(clip.sequence, trained, strict=options.strict_extractor)
            if warning:
                warned[warning] += 1
                if warned[warning] == 1:
                    print(f"{clip.sequence.id}: warning: {warning}", file=sys.stderr)
            [answer] = predictor.predict(
                [clip.sequence], n_best=options.n_best, windows=True, reject_below=options.reject_below
            )
            found = segments(answer, clip.sequence)
            shown = captions.marked(found) if options.unsure == "mark" else found
            for segment in shown:
                print(f"{clip.sequence.id}\t{segment.start:.2f}\t{segment.end:.2f}\t{segment.text}")
            if not found:
                print(f"{clip.sequence.id}: no signing found", file=sys.stderr)
            _draw(options, clip, shown)
            _write(options, clip, found, shown, {"model": upstream.uri, "score": answer["score"]})
    for warning, clips_warned in warned.items():
        if clips_warned > 1:
            print(f"{clips_warned} clips in all: warning: {warning}", file=sys.stderr)


def segments(answer: Mapping[str, Any], sequence: KeypointSequence) -> list[Segment]:
    """The windows of an answer. Other texts of a clip stand with its only window: those of several are of the whole.

    Args:
        answer: Of a predictor, for one clip.
        sequence: The clip.

    Returns:
        A segment a window.

    Raises:
        DataError: the frame rate is not known, so that there are no times.
    """
    if sequence.fps is None:
        raise DataError(
            "tells no frame rate, so that segments have no times",
            place=sequence.source or sequence.id,
            wanted="frames per second",
            remedy="write it into the file, or in Python: sign_models.read(path, fps=25)",
        )
    windows = answer["windows"]
    others = tuple(h["text"] for h in answer.get("n_best", ())[1:]) if len(windows) == 1 else ()
    return [
        Segment(w["start"], w["end"], w["text"], confidence_of(w), _others(w, others), bool(w.get("unsure")))
        for w in windows
    ]


def _others(window: Mapping[str, Any], others: tuple[str, ...]) -> tuple[str, ...]:
    """Of a text that was rejected, what it would be comes first."""
    return (window["guess"], *others) if window.get("guess") else others


def clips(given: Path, scratch: Path, *, face: bool = False) -> Iterator[_Clip]:
    """Read keypoint files as they are, videos by way of extraction in the extractor's default settings.

    Args:
        given: A file or folder.
        scratch: Folder for what is extracted.
        face: Whether faces are found in videos, as in the model's training clips.

    Yields:
        The clips.
    """
    if (given.is_file() and given.suffix.lower() not in SUFFIXES) or (given.is_dir() and not _holds_videos(given)):
        for sequence in formats.read(given, labelled=False):
            yield _Clip(sequence, None)
        return
    videos = find_videos(given)
    results = extract_all(videos, scratch, model_files(face=face), sheets=False)
    for video, result in zip(videos, results, strict=True):
        if result.state == "failed":
            raise DataError(result.error, remedy="leave it out")
        (sequence,) = formats.read(scratch / f"{video.id}.pose")
        yield _Clip(sequence, video.path, tuple(report.warnings(result)))


def _holds_videos(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def _draw(options: TranslateOptions, clip: _Clip, found: list[Segment]) -> None:
    """The overlay of a video, where one is asked for."""
    if options.overlay is None:
        return
    if clip.video is None:
        wanted, remedy = "a video to draw over", "give the video, or leave out overlay"
        raise DataError("keypoints only", place=clip.sequence.source or clip.sequence.id, wanted=wanted, remedy=remedy)
    file = options.overlay
    if not options.videos.is_file():
        file = file.with_suffix("") / f"{clip.sequence.id}{file.suffix}"
    write_overlay(file, clip.video, clip.sequence, found)


def _write(
    options: TranslateOptions, clip: _Clip, found: list[Segment], shown: list[Segment], of_answer: Mapping[str, Any]
) -> None:
    """The files that are asked for. found: what JSON holds, beside of_answer. shown: what captions do."""
    source = clip.video.name if clip.video else clip.sequence.id
    for form in options.forms:
        if form == "json":
            tree = json.loads(captions.to_json(found, source)) | of_answer
            text = json.dumps(tree, ensure_ascii=False, indent=1) + "\n"
        elif form == "eaf":
            text = captions.to_eaf(shown, clip.video)
        else:
            text = captions.to_srt(shown) if form == "srt" else captions.to_vtt(shown)
        file = options.out / f"{clip.sequence.id}.{form}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
