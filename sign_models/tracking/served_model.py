"""Every registered model as MLflow serves it: clips in, one answer a clip out. This very file is kept beside it.

It depends on nothing but this package's copy beside it: no repository, no registry.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import BaseModel, ConfigDict

from sign_models.errors import DataError, SignError
from sign_models.keypoints.layouts import layout_of, names_of
from sign_models.keypoints.sequence import KeypointSequence

MAX_CLIPS = 64  # a request
MAX_FRAMES = 10_000  # a clip: over five minutes
MAX_BYTES = 64 * 2**20  # a clip, unpacked
MAX_BEAMS = 16
FORMS = ("npz", "pose", "keypoints")
warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)  # what is in `keypoints` is checked here


class Clip(BaseModel):
    """One clip, in exactly one of three forms.

    npz        base64 of an npz with one array `keypoints` (T, K, C)
    pose       base64 of a .pose file
    keypoints  T frames of K landmarks of C numbers, as JSON lists
    C is x, y or x, y, confidence; without one, every landmark counts as seen, but for those at exactly 0, 0.
    layout     a name of keypoints.layouts; told by K where it is not given
    beams, n_best  of a translation: how many texts are followed, and how many are answered
    """

    model_config = ConfigDict(extra="forbid")
    npz: str | None = None
    pose: str | None = None
    keypoints: list[Any] | None = None  # typed to the depth, 1000 frames take 300 ms instead of 30
    layout: str | None = None
    fps: float | None = None
    beams: int | None = None
    n_best: int | None = None


class Refused(MlflowException):
    """HTTP 400 with our message alone: MLflow's server would set all of the input before it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, INVALID_PARAMETER_VALUE)
        self.said = message

    def serialize_as_json(self) -> str:
        self.message = self.said
        return str(super().serialize_as_json())


class ServedModel(PythonModel):
    def load_context(self, context: PythonModelContext) -> None:
        from sign_models.models import load

        self.model = load(Path(context.artifacts["model"]))

    def predict(self, model_input: list[Clip]) -> list[dict[str, Any]]:
        """One answer a clip, in order. Raises Refused where a clip breaks a limit or cannot be read."""
        try:
            if len(model_input) > MAX_CLIPS:
                raise DataError(f"{len(model_input)} clips", place="request", wanted=f"at most {MAX_CLIPS}")
            sequences = [sequence_of(clip, f"clip {i}") for i, clip in enumerate(model_input)]
            options = [_options(clip, f"clip {i}") for i, clip in enumerate(model_input)]
            answers: dict[int, dict[str, Any]] = {}
            for wanted in dict.fromkeys(options):
                places = [i for i, option in enumerate(options) if option == wanted]
                answered = self.model.predict([sequences[i] for i in places], **dict(wanted))
                answers.update(zip(places, answered, strict=True))
        except SignError as error:
            raise Refused(str(error)) from error
        return [answers[i] for i in range(len(model_input))]


def sequence_of(clip: Clip, place: str) -> KeypointSequence:
    """The clip as the rest of the package knows it. DataError, at `place`, where it breaks a limit or is no clip."""
    given = [form for form in FORMS if getattr(clip, form) is not None]
    if len(given) != 1:
        raise DataError(f"{' and '.join(given) or 'no'} keypoints", place=place, wanted=f"one of {', '.join(FORMS)}")
    if clip.fps is not None and not 1 <= clip.fps <= 1000:
        raise DataError(f"fps {clip.fps}", place=place, wanted="frames per second from 1 to 1000")
    if clip.pose is not None:
        return _pose(_bytes(clip.pose, place), place)
    values = _npz(_bytes(clip.npz, place), place) if clip.npz is not None else _numbers(clip.keypoints, place)
    return _sequence(values, clip, place)


def clip_of(sequence: KeypointSequence) -> dict[str, Any]:
    """What a client sends for a sequence: the fields of a Clip."""
    file = io.BytesIO()
    np.savez_compressed(file, keypoints=np.concatenate([sequence.points, sequence.confidence[..., None]], axis=-1))
    clip: dict[str, Any] = {"npz": base64.b64encode(file.getvalue()).decode(), "layout": sequence.layout}
    return clip if sequence.fps is None else {**clip, "fps": sequence.fps}


def _options(clip: Clip, place: str) -> tuple[tuple[str, int], ...]:
    beams, n_best = clip.beams, clip.n_best
    for name, value in (("beams", beams), ("n_best", n_best)):
        if value is not None and not 1 <= value <= MAX_BEAMS:
            raise DataError(f"{name} {value}", place=place, wanted=f"1 to {MAX_BEAMS}")
    if n_best is not None and beams is not None and n_best > beams:
        raise DataError(f"n_best {n_best} of {beams} beams", place=place, wanted="at most as many as beams")
    return tuple((name, value) for name, value in (("beams", beams), ("n_best", n_best)) if value is not None)


def _bytes(text: str | None, place: str) -> bytes:
    try:
        content = base64.b64decode(text or "", validate=True)
    except binascii.Error as error:
        raise DataError(f"no base64 ({error})", place=place, wanted="the file's bytes in base64") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{len(content)} bytes", place=place, wanted=f"at most {MAX_BYTES}")
    return content


def _npz(content: bytes, place: str) -> np.ndarray:
    wanted = "an npz with one array named keypoints"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
        if unpacked > MAX_BYTES:
            raise DataError(f"{unpacked} bytes when unpacked", place=place, wanted=f"at most {MAX_BYTES}")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return np.asarray(arrays["keypoints"])
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"cannot be read ({str(error)[:200]})", place=place, wanted=wanted) from error


def _numbers(frames: list[Any] | None, place: str) -> np.ndarray:
    try:
        return np.asarray(frames, np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"frames that differ in shape, or hold more than numbers ({str(error)[:200]})",
            place=place,
            wanted="T frames of K landmarks of C numbers",
        ) from error


def _pose(content: bytes, place: str) -> KeypointSequence:
    import tempfile

    from sign_models.keypoints.formats import read

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "clip.pose")
        path.write_bytes(content)
        [sequence] = read(path)
    _limit(len(sequence), place)
    return sequence


def _sequence(values: np.ndarray, clip: Clip, place: str) -> KeypointSequence:
    if values.dtype.kind not in "fiu" or values.ndim != 3 or values.shape[2] not in (2, 3) or not values.size:
        raise DataError(
            f"{values.dtype} of shape {values.shape}",
            place=place,
            wanted="numbers (T, K, C) with C 2 or 3 and T over 0",
        )
    _limit(len(values), place)
    layout = clip.layout or layout_of(values.shape[1], place=place)
    if len(names_of(layout)) != values.shape[1]:
        raise DataError(
            f"{values.shape[1]} landmarks, layout {layout!r} has {len(names_of(layout))}",
            place=place,
            remedy="send the layout that the keypoints are in, or none",
        )
    points = np.ascontiguousarray(values[..., :2], np.float32)
    confidence = values[..., 2] if values.shape[2] == 3 else points.any(-1)
    confidence = np.ascontiguousarray(confidence, np.float32)
    if not (np.isfinite(points).all() and np.isfinite(confidence).all()):
        raise DataError("NaN or infinite numbers", place=place, wanted="finite numbers; unseen means confidence 0")
    if confidence.min() < 0 or confidence.max() > 1:
        raise DataError(f"confidence from {confidence.min()} to {confidence.max()}", place=place, wanted="0 to 1")
    return KeypointSequence(place, points, confidence, layout, fps=clip.fps, source=place)


def _limit(frames: int, place: str) -> None:
    if not 0 < frames <= MAX_FRAMES:
        raise DataError(f"{frames} frames", place=place, wanted=f"1 to {MAX_FRAMES}")


set_model(ServedModel())
