"""MediaPipe's pose and hand landmarkers over the frames of one video. Imports mediapipe."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sign_models.errors import DataError, ResourceError
from sign_models.video.following import Detected
from sign_models.video.models import ModelFiles

NAME = "mediapipe-tasks"
NARROW_ASPECT = 16 / 9  # width to height: bodies are searched in narrower pictures only after widening
WIDENED_ASPECT = 2.4  # measured: docs/video.md


class Landmarker:
    """Both landmarkers side by side, for one video. A context manager."""

    def __init__(self, models: ModelFiles, people: int = 1) -> None:
        """Prepare; the context loads the models.

        Args:
            models: MediaPipe's.
            people: To look for.
        """
        self.models, self.people = models, people
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="pose")
        self._last_ms = -1

    def __enter__(self) -> Landmarker:
        base, vision = mediapipe_tasks()
        settings: dict[str, Any] = {"running_mode": vision.RunningMode.VIDEO}
        with native_log_silenced():
            self._pose = created(
                self.models.pose,
                lambda path: vision.PoseLandmarker.create_from_options(
                    vision.PoseLandmarkerOptions(base(model_asset_path=path), num_poses=self.people, **settings)
                ),
            )
            self._hand = created(
                self.models.hand,
                lambda path: vision.HandLandmarker.create_from_options(
                    vision.HandLandmarkerOptions(base(model_asset_path=path), num_hands=2 * self.people, **settings)
                ),
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._threads.shutdown()
        with native_log_silenced():
            for landmarker in (self._pose, self._hand):
                landmarker.close()  # left to __del__, it fails at the interpreter's exit

    def detect(self, pixels: np.ndarray, time_s: float) -> Detected:
        """Find bodies and hands.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            time_s: Of the frame in seconds, growing from call to call.

        Returns:
            What was found, in pixels.
        """
        import mediapipe as mp

        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)
        wide, margin = widened(pixels)
        wide_image = mp.Image(image_format=mp.ImageFormat.SRGB, data=wide)
        time_ms = max(round(time_s * 1000), self._last_ms + 1)
        first, self._last_ms = self._last_ms < 0, time_ms
        with native_log_silenced(first):
            body = self._threads.submit(self._pose.detect_for_video, wide_image, time_ms)
            hand = self._hand.detect_for_video(image, time_ms)
            found = body.result()
        # Depth is told in picture widths.
        scale, wide_scale = (np.array([p.shape[1], p.shape[0], p.shape[1]], np.float32) for p in (pixels, wide))
        offset = np.array([margin, 0, 0], np.float32)
        return Detected(
            [
                np.column_stack(
                    [points_of(body) * wide_scale - offset, np.array([p.visibility for p in body], np.float32)]
                )
                for body in found.pose_landmarks
            ],
            [points_of(points) * scale for points in hand.hand_landmarks],
            [kinds[0].category_name.lower() for kinds in hand.handedness],
        )


def widened(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """Widen a narrow picture by its outermost columns, repeated on both sides.

    The detector finds a person who has room around: one who fills a narrow picture is lost. The page does the same
    (serving/static/extractor.js). Hands are searched in the picture as it is: smaller ones are lost.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (H, W + 2 margin, 3), of WIDENED_ASPECT where it was narrow; the margin in pixels.
    """
    height, width = pixels.shape[:2]
    if width >= NARROW_ASPECT * height:
        return pixels, 0
    margin = math.ceil((WIDENED_ASPECT * height - width) / 2)
    return np.pad(pixels, ((0, 0), (margin, margin), (0, 0)), "edge"), margin


def count_people(models: ModelFiles, pictures: Iterator[np.ndarray], at_most: int) -> int:
    """Count the people in pictures, each on its own.

    Args:
        models: MediaPipe's.
        pictures: (H, W, 3) uint8 RGB each.
        at_most: People to look for.

    Returns:
        The most that one picture shows, 1 to `at_most`.

    Raises:
        DataError: A model file cannot be used.
        ResourceError: The optional extra is not installed.
    """
    import mediapipe as mp

    base, vision = mediapipe_tasks()
    most = 1
    with native_log_silenced():
        landmarker = created(
            models.pose,
            lambda path: vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(base(model_asset_path=path), num_poses=at_most)
            ),
        )
    with native_log_silenced(), landmarker:
        for pixels in pictures:
            found = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=widened(pixels)[0]))
            most = max(most, len(found.pose_landmarks))
    return most


def extractor_version() -> str:
    """Version of the installed mediapipe.

    Returns:
        The version.

    Raises:
        ResourceError: It is not installed.
    """
    mediapipe_tasks()
    return version("mediapipe")


def mediapipe_tasks() -> tuple[Any, Any]:
    """Import MediaPipe Tasks.

    Returns:
        BaseOptions, and the module of vision tasks.

    Raises:
        ResourceError: It is not installed, or a library of the system is missing.
    """
    try:
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        remedy = "pip install 'sign-models[video]', or make video"
        raise ResourceError(f"{error.name} is not installed", place="video", remedy=remedy) from error
    except OSError as error:  # a shared library of the system, such as libGL, libEGL or libGLESv2
        remedy = "install that library of the system (Debian: libgles2 libegl1 libgl1)"
        raise ResourceError(str(error)[:160], place="mediapipe", remedy=remedy) from error
    return BaseOptions, vision


def created(path: Path, make: Callable[[str], Any]) -> Any:
    """Load a landmarker.

    Args:
        path: Its bundle.
        make: Makes the landmarker of a path.

    Returns:
        The landmarker.

    Raises:
        DataError: MediaPipe cannot load the bundle.
    """
    try:
        return make(str(path))
    except (ValueError, RuntimeError, OSError) as error:
        found = f"MediaPipe cannot load it ({str(error).splitlines()[0][:120]})"
        remedy = "remove it, so that it is made again, or give another"
        raise DataError(found, place=str(path), wanted="a .task bundle of its kind", remedy=remedy) from error


def points_of(landmarks: Any) -> np.ndarray:
    """Read landmarks as MediaPipe answers them.

    Args:
        landmarks: Of one body, hand or face.

    Returns:
        (N, 3) float32, fractions of the picture.
    """
    return np.array([(p.x, p.y, p.z) for p in landmarks], np.float32)


@contextmanager
def native_log_silenced(yes: bool = True) -> Iterator[None]:
    """Silence MediaPipe's C++, which writes forty lines a model at any log level. Errors come as exceptions.

    Args:
        yes: Whether to.

    Yields:
        Nothing.
    """
    if not yes:
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
