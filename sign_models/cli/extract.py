"""Options of extract."""

from __future__ import annotations

from collections.abc import Mapping

from sign_models.cli.values import experiment, path, truth, with_videos
from sign_models.errors import ParamsError
from sign_models.pipeline.extract import ExtractOptions
from sign_models.video.camera import DEFAULT_SECONDS, MAX_SECONDS
from sign_models.video.decode import MAX_FPS
from sign_models.video.extract import Settings
from sign_models.video.following import PEOPLE_RULES


def parse(given: Mapping[str, str]) -> ExtractOptions:
    """Read the options, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
    """
    given = with_videos(given)
    videos, out = path(given, "videos"), path(given, "out")
    for name, place in (("videos", videos), ("out", out)):
        if place is None:
            raise ParamsError("not given", place=name, wanted="a path", remedy=f"add --{name} PATH, or -P {name}=PATH")
    assert videos is not None and out is not None
    person = given["person"] or "nearest"
    if person not in PEOPLE_RULES:
        raise ParamsError(f"'{person}'", place="person", wanted=" or ".join(PEOPLE_RULES))
    on_bad = given["on_bad_video"] or "stop"
    if on_bad not in ("stop", "skip"):
        raise ParamsError(f"'{on_bad}'", place="on_bad_video", wanted="stop or skip")
    # A file called 0 is a file.
    camera = int(given["videos"]) if given["videos"].isdecimal() and not videos.exists() else None
    workers = given["workers"]
    if workers and not (workers.isdecimal() and int(workers) > 0):
        raise ParamsError(f"'{workers}'", place="workers", wanted="a number of processes, from 1 on")
    return ExtractOptions(
        videos=videos,
        out=out,
        settings=Settings(person, _rate(given["max_fps"])),
        pose_model=path(given, "pose_model"),
        hand_model=path(given, "hand_model"),
        face=path(given, "face_model") or truth("face", given["face"], False),
        workers=int(workers) if workers else None,
        skip_bad=on_bad == "skip",
        sheets=truth("sheets", given["sheets"], True),
        camera=camera,
        seconds=_seconds(given["seconds"]),
        experiment=experiment(given),
    )


def _seconds(value: str) -> float:
    try:
        seconds = float(value or DEFAULT_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_SECONDS:
        raise ParamsError(f"'{value}'", place="seconds", wanted=f"above 0, at most {MAX_SECONDS:g}")
    return seconds


def _rate(value: str) -> float | None:
    if not value:
        return None
    try:
        rate = float(value)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MAX_FPS:
        raise ParamsError(f"'{value}'", place="max_fps", wanted=f"frames a second, above 0, at most {MAX_FPS:g}")
    return rate
