"""MediaPipe Holistic as numpy vectors, a file a frame or a clip: 258, 1662, 1692, 225, 1629 or 1659 numbers a frame.

33 pose points (x, y, z, visibility), then with 1662 numbers 468 face points (x, y, z), with 1692 478, then 21 left and
21 right hand points (x, y, z); what was not found is zero. With 225, 1629 and 1659 numbers pose points have no
visibility. The layout of the widespread tutorial that files its recordings as SIGN/TAKE/FRAME.npy. The folders may as
well be SIGNER/TAKE, so that texts are taken from them only where asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, permutations
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.formats import plausible
from sign_models.keypoints.formats.clip import ClipReader, as_numbers, is_score, make_sequence
from sign_models.keypoints.formats.files.containers import read_npy
from sign_models.keypoints.formats.files.source import ReadOptions, Source
from sign_models.keypoints.formats.frame_times import MAX_SPAN_RATIO
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
ORDER = ("pose", "face", "left_hand", "right_hand")
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
        return isinstance(array, np.ndarray) and array.ndim in (1, 2) and array.shape[-1] in WIDTHS
    if not source.is_folder:
        return False
    frame = next((path for path in source.files if _NUMBERED.fullmatch(path.name)), None)
    return frame is not None and getattr(read_npy(frame), "ndim", 0) == 1


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
    return sequence_of(frames, source.id or source.name, options, source.name)


def are_vectors(array: Any) -> bool:
    """Recognise the vectors of a clip.

    Args:
        array: Any value.

    Returns:
        Whether it is an array (frames, numbers) of a known width.
    """
    return isinstance(array, np.ndarray) and array.ndim == 2 and array.shape[1] in WIDTHS


def sequence_of(frames: np.ndarray, id: str, options: ReadOptions, place: str, **metadata: Any) -> KeypointSequence:
    """Make a sequence of vectors.

    Args:
        frames: (T, numbers) of a known width.
        id: Id of the clip.
        options: What the user says about it.
        place: What an error message names.
        **metadata: As for make_sequence.

    Returns:
        The sequence. `fitting` names other orders of the parts, where they fit clearly better.

    Raises:
        DataError: The values make no clip.
    """
    layout, faces, width = WIDTHS[frames.shape[1]]
    nan = 0
    if (lost := np.isnan(frames)).any():
        for part, axes in ((lost[:, : width * POSE], width), (lost[:, width * POSE :], 3)):
            nan += int(np.count_nonzero(part.reshape(len(frames), -1, axes).any(-1)))  # landmarks of several numbers
        frames = np.where(lost, 0, frames)
    # The count of numbers tells the layout, and nothing but the places of landmarks their order.
    array = _landmarks(frames, ORDER, faces, width)
    usual = width == 4 and options.layout is None and not plausible.contradiction(array[..., :2], array[..., 3], layout)
    metadata |= {"source": place, "nan": nan, "layout": layout if usual else None}
    try:
        clip = make_sequence(id, array, options, **metadata)
    except DataError as error:
        if width == 4 and not is_score(array[..., 3]) and (orders := _fitting(frames, np.zeros_like(array))):
            found, wanted = f"its numbers fit {'; or '.join(orders[:3])}", "pose, face, left_hand, right_hand"
            raise DataError(found, place=place, wanted=wanted, remedy="save them in that order") from error
        raise
    if usual:
        return replace(clip, fitting=plausible.check_fingers(clip.points, clip.confidence, layout, place))
    if width == 3 or clip.fitting is None:
        return clip
    return replace(clip, fitting=tuple(_fitting(frames, array)) or clip.fitting)


def _fitting(frames: np.ndarray, usual: np.ndarray) -> list[str]:
    """Names of other orders of the parts in vectors that fit clearly better.

    Args:
        frames: (T, numbers).
        usual: (T, K, 4) their landmarks in the usual order, which something contradicts. All 0: they cannot be read so.
    """
    layout, faces, width = WIDTHS[frames.shape[1]]
    orders = []
    for order in permutations(part for part in ORDER if faces or part != "face"):
        array = _landmarks(frames, order, faces, width)
        if is_score(array[..., 3]) and plausible.fits_better(usual, array, layout):
            orders.append(f"vectors of {', '.join(order)}")
    return orders


def _landmarks(frames: np.ndarray, order: Sequence[str], faces: int, width: int) -> np.ndarray:
    """(T, K, 4) x, y, z, confidence in the order of ORDER, of vectors whose parts are in another.

    Args:
        frames: (T, numbers).
        order: Parts in the order of the vectors.
        faces: Landmarks of the face.
        width: Numbers of a landmark of the pose, whose last of 4 is its confidence. The others have none: a hand that
            was not found is all zeros.
    """
    counts = {"pose": POSE, "face": faces, "left_hand": len(HAND), "right_hand": len(HAND)}
    places = dict(zip(ORDER, accumulate((counts[part] for part in ORDER), initial=0), strict=False))
    found = np.empty((len(frames), sum(counts.values()), 4), np.result_type(frames.dtype, np.float32))
    begin = 0
    for part in order:
        axes = width if part == "pose" else 3
        end = begin + counts[part] * axes
        values = frames[:, begin:end].reshape(len(frames), -1, axes)
        target = found[:, places[part] : places[part] + counts[part]]
        target[..., :axes] = values
        if axes == 3:
            nothing = values == 0
            target[..., 3] = ~(nothing[..., 0] & nothing[..., 1] & nothing[..., 2])
        begin = end
    return found


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
