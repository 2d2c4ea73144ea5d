"""What an extraction found, as numbers and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from sign_models.video.batch import REPORT, Result
from sign_models.video.extract import Counts
from sign_models.video.quality import faults

SHOWN_VIDEOS = 500
FAULTS = {  # as video.quality finds them
    "body": "a body in {:.0%} of the frames only: is the person whole in the picture?",
    "hands": "hands in {:.0%} of the frames at most",
    "face": "a face in {:.0%} of the frames only",
    "several_people": "several people in {:.0%} of the frames: see person=left|right|largest",
    "no_shoulders": "a shoulder is outside of the picture in {:.0%} of the frames: the body is a guess there, which "
    "all coordinates are measured by; step back, or turn the camera",
    "too_dark": "too dark in {:.0%} of the frames",
    "too_small": "the person is too small in {:.0%} of the frames: film closer",
}


def totals(results: Sequence[Result]) -> dict[str, int]:
    """Sum the counts of all videos that did not fail.

    Args:
        results: Of the videos.

    Returns:
        Sums by name of the count; numbers of videos by "videos_" and state.
    """
    counts = [result.record["counts"] for result in results if result.state != "failed"]
    sums = {field.name: sum(count[field.name] for count in counts) for field in fields(Counts)}
    states = ("extracted", "kept", "replaced", "failed")
    return sums | {f"videos_{state}": sum(result.state == state for result in results) for state in states}


def metrics(results: Sequence[Result]) -> dict[str, float]:
    """Metrics of an extraction.

    Args:
        results: Of the videos.

    Returns:
        Counts, and shares of frames in [0, 1], by name.
    """
    sums = totals(results)
    frames = max(sums["frames"], 1)
    shares = ("body", "left_hand", "right_hand", "several_people", "too_dark", "too_small", "face", "no_shoulders")
    return {k: float(v) for k, v in sums.items() if k not in shares} | {f"{k}_share": sums[k] / frames for k in shares}


def warnings(result: Result) -> list[str]:
    """Find what a user should look at in one video.

    Args:
        result: Of the video.

    Returns:
        A line for each. Empty where it is fine.
    """
    if result.state == "failed":
        return [result.error]
    counts = result.record["counts"]
    frames = max(counts["frames"], 1)
    share = {name: counts[name] / frames for name in counts}
    face = "face" in result.record["extractor"]["models"]
    found = [FAULTS[name].format(told) for name, told in faults(share, face=face).items()]
    asked = result.record["settings"]["person"]
    if asked in ("left", "right") and counts["body"] and not counts["several_people"]:
        found.append(f"person={asked} was asked for, and no frame shows a second person: the only one is followed")
    if counts["repeated"] or counts["dropped"]:
        found.append(
            f"variable frame rate, made constant: {counts['repeated']} frames repeated, {counts['dropped']} dropped"
        )
    return found


def markdown(results: Sequence[Result]) -> str:
    """Write a report.

    Args:
        results: Of the videos.

    Returns:
        A row for each of the first SHOWN_VIDEOS videos, then what to look at.
    """
    sums = totals(results)
    lines = [
        f"{len(results)} videos: {sums['videos_extracted']} extracted, {sums['videos_kept']} kept from before, "
        f"{sums['videos_replaced']} replaced (of another video, extractor or setting), {sums['videos_failed']} failed.",
        "",
        "| video | state | frames | body | left hand | right hand | several people | too dark | too small "
        "| no shoulders |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for result in results[:SHOWN_VIDEOS]:
        if result.state == "failed":
            lines.append(f"| {result.id} | failed | | | | | | | | |")
            continue
        counts = result.record["counts"]
        names = ("body", "left_hand", "right_hand", "several_people", "too_dark", "too_small", "no_shoulders")
        shares = " | ".join(f"{counts[name] / max(counts['frames'], 1):.0%}" for name in names)
        lines.append(f"| {result.id} | {result.state} | {counts['frames']} | {shares} |")
    if len(results) > SHOWN_VIDEOS:
        lines.append(f"\n{len(results) - SHOWN_VIDEOS} more videos are in the sums only.")
    noted = [f"- {result.id}: {text}" for result in results for text in warnings(result)]
    if noted:
        lines += ["", "To look at:", "", *noted[:SHOWN_VIDEOS]]
        if len(noted) > SHOWN_VIDEOS:
            lines.append(f"- and {len(noted) - SHOWN_VIDEOS} more")
    return "\n".join(lines) + "\n"


def write_report(results: Sequence[Result], out: Path) -> Path:
    """Write OUT/report/report.md.

    Args:
        results: Of the videos.
        out: Folder of the extraction.

    Returns:
        Folder of the report.
    """
    folder = out / REPORT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(markdown(results), encoding="utf-8")
    return folder
