"""A registered model as MLflow serves it: clips in, one answer a clip out. MLflow keeps this file beside it.

It depends on nothing but the copy of this package beside it: no repository, no registry.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import BaseModel, ConfigDict, PrivateAttr, SkipValidation, ValidationError

from sign_models.errors import DataError, SignError
from sign_models.keypoints.extractor import FORM, check_extractor
from sign_models.keypoints.formats.clip import make_sequence as checked_clip
from sign_models.keypoints.formats.estimators import pose
from sign_models.keypoints.formats.files.containers import Npz
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.layouts import LAYOUTS, to_canonical
from sign_models.keypoints.resample import frame_step, resampled_length
from sign_models.keypoints.sequence import KeypointSequence

MAX_CLIPS = 64  # a request
MAX_FRAMES = 100_000  # a clip: over an hour
MAX_LISTED = 10_000  # of them as JSON lists, which take a hundred times the memory
MAX_REQUEST_FRAMES = 131_072
MAX_REQUEST_BYTES = 256 * 2**20  # of its npz and pose files, unpacked
MAX_BEAMS = 16
MAX_MESSAGE = 500  # characters of what a client sent
FORMS = ("npz", "pose", "keypoints")
FLAGS = ("windows", "strict_extractor")  # params that are true or false
SHARES = ("reject_below",)  # params from 0 to 1


class Clip(BaseModel):
    """One clip, in exactly one of three forms.

    C is x, y | x, y, confidence | x, y, z | x, y, z, confidence. Without a confidence, a landmark at 0, 0 is unseen.

    Attributes:
        npz: base64 of an npz with an array `keypoints` (T, K, C), and `confidence` (T, K) where C has none.
        pose: base64 of a .pose file.
        keypoints: T frames of K landmarks of C numbers, as JSON lists.
        layout: A name of keypoints.layouts. None: inferred from K.
        fps: Frames a second. None: not known.
        extractor: Which program found the landmarks, as keypoints.extractor writes it; a pose file of ours names it.
        unit: As in KeypointSequence. None: inferred from the range of the numbers.
        size: (width, height) of the pictures in pixels. None: not known.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    npz: str | None = None
    pose: str | None = None
    # sequence_of checks it: pydantic takes 300 ms for 1000 frames, numpy 30
    keypoints: Annotated[list[list[list[float]]] | None, SkipValidation] = None
    layout: str | None = None
    fps: float | None = None
    extractor: str | None = None
    unit: str | None = None
    size: list[float] | None = None
    _refused: str = PrivateAttr("")

    def __init__(self, **fields: Any) -> None:
        """Keep the fields. Wrong ones are refused in check() only.

        MLflow would put the whole input before the message of an exception, three times over.

        Args:
            **fields: Of the clip.
        """
        try:
            super().__init__(**fields)
        except ValidationError as error:  # MLflow would set the whole input before the message, three times over
            super().__init__()
            told = error.errors(include_url=False, include_context=False, include_input=False)
            self._refused = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in told)

    def check(self, place: str) -> None:
        """Check the fields.

        Args:
            place: Name of the clip, for the message.

        Raises:
            DataError: A field is unknown or of another type.
        """
        if self._refused:
            raise DataError(self._refused[:MAX_MESSAGE], place=place, wanted=f"fields {', '.join(Clip.model_fields)}")


class Refused(MlflowException):
    """HTTP 400 with our message alone: MLflow's server would put all of the input before it."""

    def __init__(self, message: str) -> None:
        """Keep the message.

        Args:
            message: What the client reads.
        """
        super().__init__(message, INVALID_PARAMETER_VALUE)
        self.said = message

    def serialize_as_json(self) -> str:
        """Write the answer.

        Returns:
            JSON with the message.
        """
        self.message = self.said
        return str(super().serialize_as_json())


class ServedModel(PythonModel):
    """The model that MLflow loads."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model. Called by MLflow.

        Args:
            context: Names the model's folder.
        """
        from sign_models.serving import load
        from sign_models.serving.memory import share_freed_memory
        from sign_models.serving.request_limits import guard_server

        guard_server(Refused)
        share_freed_memory()
        self.model = load(Path(context.artifacts["model"]))
        self.trained: list[str | None] = (context.model_config or {}).get("extractors", [])

    # Mapping, since MLflow takes `dict` for a schema and then warns that it checks none of its values
    def predict(self, model_input: list[Clip], params: dict[str, Any] | None = None) -> list[Mapping[str, Any]]:
        """Answer clips.

        Args:
            model_input: The clips.
            params: Of search_params(). Those that were not asked for have the values of the signature.

        Returns:
            One answer a clip, in order, as of Predictor.predict().

        Raises:
            Refused: A clip breaks a limit or cannot be read.
        """
        try:
            options: dict[str, Any] = _checked(params or {})
            strict = options.pop("strict_extractor", False)
            sequences = sequences_of(model_input)
            check_resampled(sequences, self.model.fps)
            warnings = [check_extractor(sequence, self.trained, strict=strict) for sequence in sequences]
            answers = self.model.predict(sequences, **options)
            return [a | {"warning": w} if w else a for a, w in zip(answers, warnings, strict=True)]
        except SignError as error:
            raise Refused(str(error)) from error


def search_params(config: Mapping[str, Any]) -> dict[str, float | bool]:
    """Params of a request to a model. Only a translator has any.

    beams: hypotheses that the search follows, at least n_best. n_best: most texts that are answered. windows: whether
    the answer names the windows in which a clip was translated. strict_extractor: whether a clip of another extractor
    than training's is refused, where it would else get a `warning`. reject_below: confidence below which no text is
    given; translators of before it do not have it.

    Args:
        config: Content of the model's config.json.

    Returns:
        Default by name.
    """
    if "generation" not in config:
        return {}
    found = {"beams": config["generation"]["beams"], "n_best": 1, "windows": False, "strict_extractor": False}
    return found | {name: float(config["generation"][name]) for name in SHARES if name in config["generation"]}


def sequences_of(clips: list[Clip]) -> list[KeypointSequence]:
    """Read the clips of a request.

    Args:
        clips: The clips.

    Returns:
        The clips as the rest of the package has them.

    Raises:
        DataError: They break the limits of a request, or one of them is no clip.
    """
    if len(clips) > MAX_CLIPS:
        remedy = "send several requests; in Spark, set spark.sql.execution.arrow.maxRecordsPerBatch"
        raise DataError(f"{len(clips)} clips", place="request", wanted=f"at most {MAX_CLIPS}", remedy=remedy)
    left = Allowance(MAX_REQUEST_BYTES, MAX_REQUEST_FRAMES)
    return [sequence_of(clip, f"clip {i}", left) for i, clip in enumerate(clips)]


def check_resampled(sequences: list[KeypointSequence], fps: float | None) -> None:
    """Check the clips of a request as they are at the model's frame rate.

    Args:
        sequences: The clips.
        fps: Frames a second that the model reads, None for the clips' own.

    Raises:
        DataError: They have more frames then than a request may hold.
    """
    frames = sum(resampled_length(len(clip), frame_step(clip.fps, fps)) for clip in sequences)
    if frames > MAX_REQUEST_FRAMES:
        found = f"{frames} frames at the model's {fps:g} a second"
        raise DataError(found, place="request", wanted=f"at most {MAX_REQUEST_FRAMES}", remedy="send shorter clips")


@dataclass
class Allowance:
    """What a request may still hold.

    Attributes:
        bytes: Of files, unpacked.
        frames: Of all clips.
    """

    bytes: int
    frames: int

    def take_bytes(self, count: int, place: str) -> None:
        """Take bytes.

        Args:
            count: How many.
            place: Name of the clip, for the message.

        Raises:
            DataError: There are not as many left.
        """
        self.bytes -= count
        if self.bytes < 0:
            raise DataError(f"{count} bytes", place=place, wanted=f"at most {MAX_REQUEST_BYTES} a request, unpacked")

    def take_frames(self, count: int, place: str) -> None:
        """Take the frames of a clip.

        Args:
            count: How many.
            place: Name of the clip, for the message.

        Raises:
            DataError: There are not as many left, or a clip may not have as many.
        """
        if count > MAX_FRAMES:
            raise DataError(f"{count} frames", place=place, wanted=f"at most {MAX_FRAMES}")
        self.frames -= count
        if self.frames < 0:
            raise DataError(f"{count} frames more", place=place, wanted=f"at most {MAX_REQUEST_FRAMES} a request")


def sequence_of(clip: Clip, place: str, left: Allowance) -> KeypointSequence:
    """Read a clip.

    Args:
        clip: The clip.
        place: Its name, for the message.
        left: What the request may still hold.

    Returns:
        The clip as the rest of the package has it.

    Raises:
        DataError: It is no clip, or exceeds what is left.
    """
    clip.check(place)
    given = [form for form in FORMS if getattr(clip, form) is not None]
    if len(given) != 1:
        raise DataError(f"{' and '.join(given) or 'no'} keypoints", place=place, wanted=f"one of {', '.join(FORMS)}")
    keypoints: Any = clip.keypoints
    confidence = None
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, place)
        if clip.pose is not None:
            path.write_bytes(_decoded(clip.pose, place))
            return _pose(path, place, left)
        if clip.npz is not None:
            path.write_bytes(_decoded(clip.npz, place))
            keypoints, confidence = _npz(path, place, left)
    if isinstance(keypoints, list) and len(keypoints) > MAX_LISTED:
        raise DataError(
            f"{len(keypoints)} frames as lists", place=place, wanted=f"at most {MAX_LISTED}", remedy="send them as npz"
        )
    left.take_frames(len(keypoints) if isinstance(keypoints, list) else (*np.shape(keypoints), 0)[0], place)
    if clip.extractor is not None and not FORM.fullmatch(clip.extractor):
        wanted = "name, version and models, as keypoints.extractor writes it"
        raise DataError(f"extractor {clip.extractor[:80]!r}", place=place, wanted=wanted)
    told: Any = {"unit": clip.unit, "size": clip.size, "fps": clip.fps}
    sequence = checked_clip(place, keypoints, ReadOptions(clip.layout), source=place, confidence=confidence, **told)
    return replace(sequence, extractor=clip.extractor)


def clip_of(sequence: KeypointSequence) -> dict[str, Any]:
    """Write what a client sends for a clip.

    A layout that a file describes has no name that a server knows: its landmarks are sent as the canonical ones, which
    are all that a model reads.

    Args:
        sequence: The clip.

    Returns:
        The fields of a Clip, as JSON has them.
    """
    points, confidence, layout = sequence.points, sequence.confidence, str(sequence.layout)
    if layout not in LAYOUTS:
        points, confidence = to_canonical(points, confidence, sequence.layout)
        layout = "canonical"
    file = io.BytesIO()
    np.savez_compressed(file, keypoints=points, confidence=confidence)
    size = None if sequence.size is None else [float(side) for side in sequence.size]
    told = {name: getattr(sequence, name) for name in ("unit", "fps", "extractor")} | {"layout": layout, "size": size}
    return {"npz": base64.b64encode(file.getvalue()).decode(), **{k: v for k, v in told.items() if v is not None}}


def _checked(params: Mapping[str, Any]) -> dict[str, float | bool]:
    """Params in the types that the signature has."""
    kinds: dict[str, Any] = dict.fromkeys(FLAGS, bool) | dict.fromkeys(SHARES, float)
    checked = {name: kinds.get(name, int)(value) for name, value in params.items()}
    for name, value in checked.items():
        least, most = (0, 1) if name in SHARES else (1, MAX_BEAMS)
        if name not in FLAGS and not least <= value <= most:
            raise DataError(f"{name} {value}", place="params", wanted=f"{least} to {most}")
    return checked


def _decoded(text: str, place: str) -> bytes:
    """The bytes of base64, which may be broken into lines."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise DataError(f"no base64 ({error})", place=place, wanted="the file's bytes in base64") from error


def _npz(path: Path, place: str, left: Allowance) -> tuple[Any, Any]:
    """The arrays `keypoints` and, where there is one, `confidence`."""
    arrays = Npz(path, objects=False)
    left.take_bytes(sum(member.file_size for member in arrays.members.values()), place)
    if "keypoints" not in arrays:
        raise DataError(f"an npz of {', '.join(arrays)}"[:MAX_MESSAGE], place=place, wanted="an array named keypoints")
    return arrays["keypoints"], arrays.get("confidence")


def _pose(path: Path, place: str, left: Allowance) -> KeypointSequence:
    left.take_bytes(path.stat().st_size, place)
    [read] = pose.read(Source(str(path), path.name, place), ReadOptions())
    sequence = read()
    left.take_frames(len(sequence), place)
    return sequence


set_model(ServedModel())
