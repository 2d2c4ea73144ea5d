"""MediaPipe Holistic as numpy vectors, a file a frame or a clip: 258, 1662, 1692, 225, 1629 or 1659 numbers a frame.

33 pose points (x, y, z, visibility), then with 1662 numbers 468 face points (x, y, z), with 1692 478, then 21 left and
21 right hand points (x, y, z); what was not found is zero. With 225, 1629 and 1659 numbers pose points have no
visibility. The layout of the widespread tutorial that files its recordings as SIGN/TAKE/FRAME.npy. The folders may as
well be SIGNER/TAKE, so that texts are taken from them only where asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, make_sequence
from sign_models.keypoints.formats.containers import read_npy
from sign_models.keypoints.formats.frame_times import MAX_SPAN_RATIO
from sign_models.keypoints.formats.source import ReadOptions, Source
from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE, MESH_468, MESH_478
from sign_models.keypoints.sequence import KeypointSequence

POSE, FACE, IRISES, HANDS = len(MEDIAPIPE_POSE), len(MESH_468), len(MESH_478), 2 * len(HAND)
# Numbers of a frame -> layout, number of face points, numbers of a pose point (without a visibility: 3).
WIDTHS = {
    4 * POSE + 3 * HANDS: ("mediapipe_75", 0, 4),
    4 * POSE + 3 * (FACE + HANDS): ("mediapipe_543", FACE, 4),
    3 * (POSE + HANDS): ("mediapipe_75", 0, 3),
    3 * (POSE + FACE + HANDS): ("mediapipe_543", FACE, 3),
    4 * POSE + 3 * (IRISES + HANDS): ("mediapipe_553", IRISES, 4),
    3 * (POSE + IRISES + HANDS): ("mediapipe_553", IRISES, 3),
}
_NUMBERED = re.compile(r"\d+\.npy")


def detect(source: Source) -> bool:
    """Recognise the format.

    Args:
        source: File or folder.

    Returns:
        Whether a file is a frame or a clip of a known width, or a folder has numbered frames.

    Raises:
        DataError: The file is broken.
    """
    if source.kind == "npy":
        array = source.tree
        return array.ndim in (1, 2) and array.shape[-1] in WIDTHS
    if not source.is_folder:
        return False
    frame = next((path for path in source.files if _NUMBERED.fullmatch(path.name)), None)
    return frame is not None and read_npy(frame).ndim == 1


def read(source: Source, options: ReadOptions) -> Iterator[ClipReader]:
    """Read a file, or the frames of a folder, as a clip.

    Args:
        source: File or folder that detect recognises.
        options: What the user says about it.

    Yields:
        A function for each clip, which reads it or raises DataError.
    """
    yield partial(_read, source, options)


def _read(source: Source, options: ReadOptions) -> KeypointSequence:
    frames = _frames(source) if source.is_folder else as_numbers(source.tree, source.name)
    if frames.ndim == 1:
        raise DataError(
            f"is one frame of {len(frames)} numbers",
            place=source.id + source.path.suffix,
            wanted="a clip: (frames, numbers), or a folder of its own with 0.npy, 1.npy, ...",
            remedy="rename the files of its frames to their numbers, or put them in one array",
        )
    layout, faces, width = WIDTHS[frames.shape[1]]
    lost = np.isnan(frames)
    nan = sum(  # of the landmarks, each of several numbers
        int(np.count_nonzero(part.reshape(len(frames), -1, axes).any(-1)))
        for part, axes in ((lost[:, : width * POSE], width), (lost[:, width * POSE :], 3))
    )
    frames = np.nan_to_num(frames, nan=0.0)
    body = frames[:, : width * POSE].reshape(len(frames), POSE, width)
    rest = frames[:, width * POSE :].reshape(len(frames), faces + HANDS, 3)
    points = np.concatenate([body[..., :2], rest[..., :2]], axis=1)
    # Only the pose has a score; a face or a hand that was not found is all zeros.
    found = (rest != 0).any(-1)
    confidence = np.concatenate([body[..., 3] if width == 4 else (body != 0).any(-1), found], axis=1)
    return make_sequence(
        source.id or source.name,
        points,
        options,
        source=source.name,
        confidence=confidence,
        layout=layout,
        unit="normalized",
        nan=nan,
    )


def _frames(source: Source) -> np.ndarray:
    """(T, numbers) out of 0.npy, 1.npy, ... in the order of their numbers."""
    numbered = sorted((int(path.stem), path) for path in source.files if _NUMBERED.fullmatch(path.name))
    frames = [as_numbers(read_npy(path), path.name) for _, path in numbered]
    for (_, path), frame in zip(numbered, frames, strict=True):
        if frame.ndim != 1 or len(frame) not in WIDTHS or len(frame) != len(frames[0]):
            found = f"an array of shape {frame.shape}"
            wanted = f"{' or '.join(map(str, WIDTHS))} numbers, the same in every frame of a clip"
            raise DataError(found, place=f"{source.name}/{path.name}", wanted=wanted)
    first, last = numbered[0][0], numbered[-1][0]
    if len({number for number, _ in numbered}) < len(numbered) or last - first + 1 > MAX_SPAN_RATIO * len(numbered):
        found = f"{len(numbered)} files for the frames {first} to {last}"
        wanted = f"one for every {MAX_SPAN_RATIO} frames at least, each number once"
        raise DataError(found, place=source.name, wanted=wanted, remedy="rename the files")
    whole = np.zeros((last - first + 1, len(frames[0])), np.float64)
    whole[[number - first for number, _ in numbered]] = frames  # a frame without a file is all zeros: unseen
    return whole
