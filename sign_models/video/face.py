"""MediaPipe's face landmarker on the head of the signer. Imports mediapipe."""

from __future__ import annotations

from types import TracebackType

import numpy as np

from sign_models.keypoints.landmarks import MEDIAPIPE_POSE, MESH_468
from sign_models.video.following import shoulder_width
from sign_models.video.landmarks import created, mediapipe_tasks, native_log_silenced, points_of
from sign_models.video.models import ModelFiles

HEAD = slice(0, MEDIAPIPE_POSE.index("body.mouth_right") + 1)  # nose, eyes, ears and mouth of a body
HEAD_SHOULDER_WIDTHS = 1.5  # side of the square that is searched; the detector sees faces of a tenth of it and more


class FaceFinder:
    """Finds the signer's face, and nobody else's: it sees a square about the head of the body. A context manager.

    Each frame is searched on its own.
    """

    def __init__(self, models: ModelFiles) -> None:
        """Prepare; the context loads the model.

        Args:
            models: MediaPipe's. Without one for faces, no face is found.
        """
        self.models = models

    def __enter__(self) -> FaceFinder:
        self._face = None
        if self.models.face is not None:
            base, vision = mediapipe_tasks()
            with native_log_silenced():
                self._face = created(
                    self.models.face,
                    lambda path: vision.FaceLandmarker.create_from_options(
                        vision.FaceLandmarkerOptions(base(model_asset_path=path))
                    ),
                )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._face is not None:
            with native_log_silenced():
                self._face.close()

    def find(self, pixels: np.ndarray, body: np.ndarray) -> np.ndarray:
        """Find the face of one frame.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            body: (33, 4) in pixels: x, y, depth, confidence; zero where there is no body.

        Returns:
            (468, 4): x, y, depth from the face's middle in pixels, confidence 1. Zero where no face is found.
        """
        import mediapipe as mp

        values = np.zeros((len(MESH_468), 4), np.float32)
        if self._face is None or not body[:, 3].any():
            return values
        side = max(round(HEAD_SHOULDER_WIDTHS * shoulder_width(body)), 1)
        corner = np.round(body[HEAD, :2].mean(0) - side / 2).astype(int)
        left, top = np.maximum(corner, 0)
        right, bottom = np.minimum(corner + side, (pixels.shape[1], pixels.shape[0]))
        if right - left < 2 or bottom - top < 2:  # the head is outside of the picture
            return values
        square = np.ascontiguousarray(pixels[top:bottom, left:right])
        with native_log_silenced():
            found = self._face.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=square)).face_landmarks
        if found:
            scale = np.array([right - left, bottom - top, right - left], np.float32)
            values[:, :3] = points_of(found[0])[: len(MESH_468)] * scale + (left, top, 0)
            values[:, 3] = 1.0
        return values
