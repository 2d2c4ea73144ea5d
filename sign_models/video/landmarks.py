"""MediaPipe's pose and hand landmarkers over the frames of one video. Imports mediapipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from types import TracebackType
from typing import Any

import numpy as np

from sign_models.errors import DataError, ResourceError
from sign_models.video.following import Detected
from sign_models.video.models import ModelFiles

NAME = "mediapipe-tasks"


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
        base, vision = _mediapipe()
        settings: dict[str, Any] = {"running_mode": vision.RunningMode.VIDEO}
        with _native_log_silenced():
            self._pose = _created(
                self.models.pose,
                lambda path: vision.PoseLandmarker.create_from_options(
                    vision.PoseLandmarkerOptions(base(model_asset_path=path), num_poses=self.people, **settings)
                ),
            )
            self._hand = _created(
                self.models.hand,
                lambda path: vision.HandLandmarker.create_from_options(
                    vision.HandLandmarkerOptions(base(model_asset_path=path), num_hands=2 * self.people, **settings)
                ),
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._threads.shutdown()
        with _native_log_silenced():
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
        time_ms = max(round(time_s * 1000), self._last_ms + 1)
        first, self._last_ms = self._last_ms < 0, time_ms
        with _native_log_silenced(first):
            body = self._threads.submit(self._pose.detect_for_video, image, time_ms)
            hand = self._hand.detect_for_video(image, time_ms)
            found = body.result()
        # Depth is told in picture widths.
        scale = np.array([pixels.shape[1], pixels.shape[0], pixels.shape[1]], np.float32)
        return Detected(
            [
                np.column_stack([_points(body) * scale, np.array([p.visibility for p in body], np.float32)])
                for body in found.pose_landmarks
            ],
            [_points(points) * scale for points in hand.hand_landmarks],
            [kinds[0].category_name.lower() for kinds in hand.handedness],
        )


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

    base, vision = _mediapipe()
    most = 1
    with _native_log_silenced():
        landmarker = _created(
            models.pose,
            lambda path: vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(base(model_asset_path=path), num_poses=at_most)
            ),
        )
    with _native_log_silenced(), landmarker:
        for pixels in pictures:
            found = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels))
            most = max(most, len(found.pose_landmarks))
    return most


def extractor_version() -> str:
    """Version of the installed mediapipe.

    Returns:
        The version.

    Raises:
        ResourceError: It is not installed.
    """
    _mediapipe()
    return version("mediapipe")


def _mediapipe() -> tuple[Any, Any]:
    try:
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        remedy = "pip install 'sign-models[video]', or make video"
        raise ResourceError(f"{error.name} is not installed", place="video", remedy=remedy) from error
    except OSError as error:  # a shared library of the system, such as libGL, libEGL or libGLESv2
        remedy = "install that library of the system (Debian: libgles2 libegl1 libgl1)"
        raise ResourceError(str(error)[:160], place="mediapipe", remedy=remedy) from error
    return BaseOptions, vision


def _created(path: Any, make: Any) -> Any:
    try:
        return make(str(path))
    except (ValueError, RuntimeError, OSError) as error:
        found = f"MediaPipe cannot load it ({str(error).splitlines()[0][:120]})"
        remedy = "remove it, so that it is made again, or give another"
        raise DataError(found, place=str(path), wanted="a .task bundle of its kind", remedy=remedy) from error


def _points(landmarks: Any) -> np.ndarray:
    """(N, 3) float32, fractions of the picture."""
    return np.array([(p.x, p.y, p.z) for p in landmarks], np.float32)


@contextmanager
def _native_log_silenced(yes: bool = True) -> Iterator[None]:
    """Silence MediaPipe's C++, which writes forty lines a model at any log level. Errors come as exceptions."""
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
