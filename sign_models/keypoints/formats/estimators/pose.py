"""`.pose` files of pose-format (sign-language-processing/pose), versions 0.0 to 0.2, with any components."""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, make_sequence
from sign_models.keypoints.formats.estimators.people import follow_signer
from sign_models.keypoints.formats.estimators.pose_record import extractor_of, record_at_end
from sign_models.keypoints.formats.files.source import POSE_VERSIONS, ReadOptions, Source
from sign_models.keypoints.landmarks import FACE_70, HAND, IGNORED, mesh
from sign_models.keypoints.layouts import LAYOUTS, name_of
from sign_models.keypoints.sequence import KeypointSequence

MAX_BYTES = 2**30
MAX_POINTS = 4096  # of one frame
MAX_VALUES = 2**28  # coordinates and confidences of a file
MAX_EMPTY = 2**22  # of them in frames that the file leaves empty
_MAX_NAMES = 64  # components

_OPENPOSE_HAND = dict(
    zip(
        "BASE T_STT T_BCMC T_MCP T_IP I_CMC I_MCP I_PIP I_DIP M_CMC M_MCP M_PIP M_DIP R_CMC R_MCP R_PIP R_DIP "
        "P_CMC P_MCP P_PIP P_DIP".split(),
        HAND,
        strict=True,
    )
)


def _body(name: str) -> str:
    return "body." + {"pelvis": "mid_hip"}.get(name.lower(), name.lower())


def _openpose_body(name: str) -> str:
    """Name a landmark of OpenPose: "LBigToe" is "body.left_big_toe"."""
    words = re.findall(r"[A-Z][a-z]*", name)
    return "body." + "_".join({"R": "right", "L": "left"}.get(word, word.lower()) for word in words)


def _face(name: str) -> str:
    number = re.search(r"\d+$", name)
    return FACE_70[int(number[0])] if number and int(number[0]) < len(FACE_70) else IGNORED


def _mesh(name: str) -> str:
    return mesh([int(name)])[0] if name.isdecimal() else IGNORED


def _hand(side: str, name: str) -> str:
    number = re.search(r"hand_(\d+)$", name)
    place = HAND[int(number[1])] if number and int(number[1]) < len(HAND) else name.lower()
    return f"{side}_hand.{_OPENPOSE_HAND.get(name, place)}"


# For each component, without the "_133" and "_136" of AlphaPose, a function from its names of landmarks to ours.
_COMPONENTS: dict[str, Callable[[str], str]] = {
    "POSE_LANDMARKS": _body,
    "POSE_WORLD_LANDMARKS": lambda name: f"world.{name.lower()}",
    "FACE_LANDMARKS": _mesh,
    "LEFT_HAND_LANDMARKS": partial(_hand, "left"),
    "RIGHT_HAND_LANDMARKS": partial(_hand, "right"),
    "pose_keypoints_2d": _openpose_body,
    "face_keypoints_2d": _face,
    "hand_left_keypoints_2d": partial(_hand, "left"),
    "hand_right_keypoints_2d": partial(_hand, "right"),
    "BODY": _body,
    "FACE": _face,
    "LEFT_HAND": partial(_hand, "left"),
    "RIGHT_HAND": partial(_hand, "right"),
}


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a file is a `.pose` file, by its ending or its header.

    Raises:
        DataError: The file is broken.
    """
    return source.kind == "pose"


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read a file as a clip.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    yield partial(_read, source, options)


def _read(source: Source, options: ReadOptions) -> KeypointSequence:
    from pose_format import Pose

    place = source.name
    size = source.path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"holds {size:,} bytes", place=place, wanted=f"at most {MAX_BYTES:,}", remedy="split the clip")
    data = source.path.read_bytes()
    try:
        check_header(data, place)
        pose = Pose.read(data)
    except (struct.error, ValueError, TypeError, IndexError, OverflowError, MemoryError, NotImplementedError) as error:
        raise DataError(
            f"is no readable .pose file ({str(error)[:120]})",
            place=place,
            wanted="a whole file",
            remedy="copy it again",
        ) from error
    names = [name for component in pose.header.components for name in _names(component.name, component.points)]
    if set(names) == {IGNORED}:
        found = ", ".join(component.name for component in pose.header.components)
        raise DataError(f"components {found}", place=place, wanted="one of " + ", ".join(_COMPONENTS))
    has_depth = all(component.format.startswith("XYZ") for component in pose.header.components)
    points = np.ma.getdata(pose.body.data)[..., : 3 if has_depth else 2].astype(np.float32)
    confidence = np.asarray(pose.body.confidence, np.float32)
    lost = np.asarray(np.isnan(points[..., :2]).any(axis=-1))  # unseen, whatever their confidence
    nan = int(np.count_nonzero(lost & (confidence != 0)))
    if lost.any():
        points[lost], confidence = 0, np.where(lost, np.float32(0), confidence)
    points, confidence = follow_signer(points, confidence)
    dimensions = pose.header.dimensions
    sequence = make_sequence(
        source.id,
        points,
        options,
        source=place,
        confidence=confidence,
        layout=name_of(names),
        size=(dimensions.width, dimensions.height) if dimensions.width and dimensions.height else None,
        fps=float(pose.body.fps),
        nan=nan,
    )
    return replace(sequence, extractor=extractor_of(record_at_end(data, place), place))


def _names(component: str, points: list[str]) -> list[str]:
    if component == "BODY_135" and len(points) == len(LAYOUTS["openpose_135"]):
        return list(LAYOUTS["openpose_135"])
    known = _COMPONENTS.get(re.sub(r"_13[36]$", "", component))
    return [known(point) if known else IGNORED for point in points]


def check_header(data: bytes, place: str) -> None:
    """Check the counts of a header against the size of the file. pose-format itself believes every count.

    Specification: docs/specs of pose-format.

    Args:
        data: The file.
        place: What an error message names.

    Raises:
        DataError: The counts are too large, or the header is of another form.
        struct.error: The file ends too early.
    """
    reader = io.BytesIO(data)

    def unpack(form: str) -> tuple[int | float, ...]:
        return struct.unpack(form, reader.read(struct.calcsize(form)))

    def string() -> str:
        (length,) = struct.unpack("<H", reader.read(2))
        text = reader.read(length)
        if len(text) < length:
            raise _hostile("it ends inside a name", place)
        return text.decode("utf-8")

    version, _width, _height, _depth, components = unpack("<f4H")
    if not any(math.isclose(version, v, abs_tol=1e-4) for v in POSE_VERSIONS):
        raise _hostile(f"version {version:g}", place)
    if not 0 < components <= _MAX_NAMES:
        raise _hostile(f"{components} components", place)
    counts, widths = [], []
    for _ in range(int(components)):
        string()
        form = string()
        points, limbs, colors = struct.unpack("<3H", reader.read(6))
        for _ in range(points):
            string()
        reader.seek(limbs * 4 + colors * 6, io.SEEK_CUR)
        counts.append(points)
        widths.append(len(form))
        if not re.fullmatch("XYZ?[A-Z]?C", form):  # a fourth channel, such as the depth of a camera, is not used
            raise _hostile(f"point format {form[:16]!r}", place)
    landmarks, width = sum(counts), max(widths)
    if not 0 < landmarks <= MAX_POINTS:
        raise _hostile(f"{landmarks} landmarks a frame", place)
    if version < 0.05:
        frames, people = _frames_of_0_0(reader, data, counts, widths, place), 1
    elif version < 0.15:
        left = len(data) - reader.tell()
        _fps, _frames, people = struct.unpack("<3H", reader.read(6))
        frames = (left - 6) // (people * landmarks * width * 4) if people else 0
    else:
        left = len(data) - reader.tell()
        _fps, frames, people = struct.unpack("<fIH", reader.read(10))
        if frames * people * landmarks * width * 4 > left - 10:
            raise _hostile(f"{frames} frames of {people} people, more than its {len(data)} bytes hold", place)
    if not frames or not people:
        raise DataError("has no frames", place=place, wanted="at least one", remedy="leave the clip out")
    if frames * people * landmarks * width > MAX_VALUES:
        raise _hostile(f"{frames} frames of {landmarks} landmarks", place)


def _frames_of_0_0(reader: io.BytesIO, data: bytes, counts: list[int], widths: list[int], place: str) -> int:
    """Frames of a file of version 0.0, in which each frame has its own count of people. The first one is kept."""
    _fps, frames = struct.unpack("<2H", reader.read(4))
    person = 2 + 4 * sum(n * w for n, w in zip(counts, widths, strict=True))
    for _ in range(frames):
        (found,) = struct.unpack("<H", reader.read(2))
        reader.seek(found * person, io.SEEK_CUR)
    # A frame without people takes two bytes in the file, and a whole frame in memory.
    landmarks, width = sum(counts), max(widths)
    if reader.tell() > len(data) or frames * landmarks * width > max(len(data), MAX_EMPTY):
        raise _hostile(f"{frames} frames of {landmarks} landmarks in {len(data)} bytes", place)
    return int(frames)


def _hostile(found: str, place: str) -> DataError:
    wanted = f"a .pose file of version 0.0 to 0.2 with at most {MAX_VALUES:,} values"
    return DataError(f"is no readable .pose file: {found}", place=place, wanted=wanted, remedy="export it again")
