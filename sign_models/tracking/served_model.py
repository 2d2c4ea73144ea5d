"""Every registered model as MLflow serves it: clips in, one answer a clip out. This very file is kept beside it.

It depends on nothing but this package's copy beside it: no repository, no registry.
"""

from __future__ import annotations

import base64
import binascii
import io
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import BaseModel, ConfigDict, SkipValidation

from sign_models.errors import DataError, SignError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.clip import clip as checked_clip
from sign_models.keypoints.formats.source import Options
from sign_models.keypoints.sequence import KeypointSequence, Unit

MAX_CLIPS = 64  # a request
MAX_FRAMES = 10_000  # a clip: over five minutes
MAX_BYTES = 64 * 2**20  # a clip, unpacked
MAX_BEAMS = 16
FORMS = ("npz", "pose", "keypoints")


class Clip(BaseModel):
    """One clip, in exactly one of three forms.

    npz        base64 of an npz with an array `keypoints` (T, K, C), and `confidence` (T, K) where C has none
    pose       base64 of a .pose file
    keypoints  T frames of K landmarks of C numbers, as JSON lists
    C is x, y | x, y, confidence | x, y, z | x, y, z, confidence. Without a confidence, a landmark at 0, 0 is unseen.
    layout     a name of keypoints.layouts; told by K where it is not given
    unit, size KeypointSequence says what they are; told by the range of the numbers where they are not given
    beams, n_best  of a translation: how many texts are followed, and how many are answered
    """

    model_config = ConfigDict(extra="forbid")
    npz: str | None = None
    pose: str | None = None
    # sequence_of checks it: pydantic takes 300 ms for 1000 frames, numpy 30
    keypoints: Annotated[list[list[list[float]]] | None, SkipValidation] = None
    layout: str | None = None
    fps: float | None = None
    unit: str | None = None
    size: list[float] | None = None
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

    # Mapping, since MLflow takes `dict` for a schema and then warns that it checks none of its values
    def predict(self, model_input: list[Clip]) -> list[Mapping[str, Any]]:
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
    if clip.pose is not None:
        return _pose(_bytes(clip.pose, place), place)
    unit: Any = clip.unit
    if unit not in (None, *get_args(Unit)):
        raise DataError(f"unit {unit!r}", place=place, wanted=f"one of {', '.join(get_args(Unit))}")
    if clip.size is not None and not (len(clip.size) == 2 and min(clip.size) > 0):
        raise DataError(f"size {clip.size}", place=place, wanted="[width, height], above 0")
    keypoints: Any = clip.keypoints
    confidence = None
    if clip.npz is not None:
        keypoints, confidence = _npz(_bytes(clip.npz, place), place)
    _limit(len(np.atleast_1d(keypoints) if isinstance(keypoints, np.ndarray) else keypoints), place)
    told = Options(clip.layout, clip.fps, unit, None if clip.size is None else (clip.size[0], clip.size[1]))
    return checked_clip(place, keypoints, told, source=place, confidence=confidence)


def clip_of(sequence: KeypointSequence) -> dict[str, Any]:
    """What a client sends for a sequence: the fields of a Clip."""
    file = io.BytesIO()
    np.savez_compressed(file, keypoints=sequence.points, confidence=sequence.confidence)
    told = {"layout": sequence.layout, "unit": sequence.unit, "fps": sequence.fps, "size": sequence.size}
    return {"npz": base64.b64encode(file.getvalue()).decode(), **{k: v for k, v in told.items() if v is not None}}


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


def _npz(content: bytes, place: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays `keypoints` and, where there is one, `confidence`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
        if unpacked > MAX_BYTES:
            raise DataError(f"{unpacked} bytes when unpacked", place=place, wanted=f"at most {MAX_BYTES}")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return arrays["keypoints"], arrays["confidence"] if "confidence" in arrays else None
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, RuntimeError) as error:
        found = f"an npz that cannot be read ({str(error)[:200]})"
        raise DataError(found, place=place, wanted="one with an array named keypoints") from error


def _pose(content: bytes, place: str) -> KeypointSequence:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "clip.pose")
        path.write_bytes(content)
        [sequence] = read(path)
    _limit(len(sequence), place)
    return sequence


def _limit(frames: int, place: str) -> None:
    if frames > MAX_FRAMES:
        raise DataError(f"{frames} frames", place=place, wanted=f"at most {MAX_FRAMES}")


set_model(ServedModel())
