"""From a clip in its file's own unit to the models' frame of reference.

One centre and one scale a clip: the middle of the shoulders and the width between them, so that pixels, fractions of
the picture and coordinates that are already centred give the same numbers. Where the shoulders are never seen, or the
signer stands sideways, other distances of the body serve, by fixed ratios.

Inside, a landmark is one complex number x + iy: numpy is ten times slower at axes of length 2.
"""

from __future__ import annotations

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.layouts import PLACE, to_canonical
from sign_models.keypoints.sequence import KeypointSequence

ASPECT = 4 / 3  # width : height of a picture whose file does not tell its size; what webcams and the older corpora have
SURE = 0.3  # a detector's score below this is a guess (the threshold of Uni-Sign and MSKA); 0 and 1 pass unchanged
NARROW = 0.35  # shoulders narrower than this share of what the rest of the body says belong to a side view
FAR = 50.0  # shoulder widths; a landmark farther out than this is a detector's failure and counts as unseen

Points = tuple[str, str]  # the point midway between two landmarks


def _both(left: str, right: str | None = None) -> Points:
    return (left, right or left)


_SHOULDERS = _both("body.left_shoulder", "body.right_shoulder")
_HIPS = _both("body.left_hip", "body.right_hip")
_EYES = _both("body.left_eye", "body.right_eye")
_EARS = _both("body.left_ear", "body.right_ear")
_WRISTS = _both("left_hand.wrist", "right_hand.wrist")

# Distances and their usual length in shoulder widths: medians over clips of MMPose and MediaPipe, seen from the front.
# The first is the reference; the others stand in for it.
_LENGTHS: tuple[tuple[Points, Points, float], ...] = (
    (_both("body.left_shoulder"), _both("body.right_shoulder"), 1.0),
    (_SHOULDERS, _HIPS, 1.4),
    (_SHOULDERS, _both("body.nose"), 0.6),
    (_both("body.left_hip"), _both("body.right_hip"), 0.65),
    (_both("body.left_ear"), _both("body.right_ear"), 0.4),
    (_both("body.left_eye"), _both("body.right_eye"), 0.2),
    (_both("left_hand.wrist"), _both("left_hand.middle_finger_mcp"), 0.3),
    (_both("right_hand.wrist"), _both("right_hand.middle_finger_mcp"), 0.3),
)
# Points and where they usually lie from the middle of the shoulders, in shoulder widths, y down; the first seen serves.
_ANCHORS: tuple[tuple[Points, tuple[float, float]], ...] = (
    (_SHOULDERS, (0.0, 0.0)),
    (_EYES, (0.0, -0.75)),
    (_EARS, (0.0, -0.65)),
    (_HIPS, (0.0, 1.4)),
    (_WRISTS, (0.0, 0.7)),
    (_both("left_hand.wrist"), (0.35, 0.7)),
    (_both("right_hand.wrist"), (-0.35, 0.7)),
)


def _places(points: list[Points]) -> np.ndarray:
    return np.array([[PLACE[name] for name in pair] for pair in points]).T


# (4 * lengths,): the two landmarks of each length's first point, then those of its second.
_ENDS = np.concatenate([*_places([a for a, _, _ in _LENGTHS]), *_places([b for _, b, _ in _LENGTHS])])
_RATIO = np.array([ratio for *_, ratio in _LENGTHS], np.float32)
_ANCHOR = _places([pair for pair, _ in _ANCHORS])  # (2, anchors)
_OFFSET = np.array([complex(*offset) for _, offset in _ANCHORS], np.complex64)
_TO_HALF = np.float32(2.0**-112)  # the exponent of a float32 becomes that of a float16, 13 bits further up
_UPRIGHT = [1, 2, 6, 7]  # torso, height of the head, hands: what turning sideways does not shorten


def normalise(sequence: KeypointSequence, *, aspect: float = ASPECT) -> np.ndarray:
    """(T, len(CANONICAL), 3) float32: x, y in shoulder widths from the middle of the shoulders, y down; confidence.

    aspect: width : height of the picture, for fractions of a picture of unknown size. Coordinates are 0 where
    confidence is 0. DataError where no landmark of ours is seen in any frame, or all that are seen lie in one place.
    """
    points, confidence = to_canonical(sequence.points, sequence.confidence, sequence.layout)
    plane = points.view(np.complex64)[..., 0]
    seen = confidence > 0
    if not seen.any():
        raise DataError(
            f"no landmark is seen in any of its {len(sequence)} frames",
            place=sequence.source or sequence.id,
            wanted="at least one landmark that the models use, with confidence above 0",
            remedy="leave the clip out, or have `-e import -P on_bad_sample=reject` do so",
        )
    if sequence.unit == "picture":
        width, height = sequence.size or (aspect, 1.0)
        plane.real *= np.float32(width / height)
    scale, centre = _frame_of_reference(plane, confidence, seen, sequence.source or sequence.id)
    plane -= centre
    points /= scale  # the same memory; dividing complex numbers is slower
    if not (points.min() >= -FAR and points.max() <= FAR):  # one look at all, which nearly always suffices
        seen &= (np.abs(plane.real) <= FAR) & (np.abs(plane.imag) <= FAR)
        confidence *= seen
    if not seen.all():
        np.putmask(plane, ~seen, 0)
    out = np.empty((*confidence.shape, 3), np.float32)
    out[..., 0], out[..., 1] = plane.real, plane.imag
    out[..., 2] = np.minimum(confidence, 1, out=confidence)
    return out


def _frame_of_reference(
    plane: np.ndarray, confidence: np.ndarray, seen: np.ndarray, place: str
) -> tuple[np.float32, np.complex64]:
    """The length of a shoulder width and the middle of the shoulders, in the clip's unit."""
    for trusted in (confidence > SURE, seen):
        scale = _shoulder_width(plane, trusted)
        centre = None if scale is None else _middle(plane, trusted, scale)
        if scale is not None and centre is not None:
            return scale, centre
    # A few fingertips at most: their spread has to do.
    visible = plane[seen].view(np.float32).reshape(-1, 2)
    low, high = visible.min(0), visible.max(0)
    width = (high - low).max()
    if not width > 0:
        raise DataError(
            "every landmark that is seen lies in the same place",
            place=place,
            wanted="a body or a hand",
            remedy="leave the clip out, or have `-e import -P on_bad_sample=reject` do so",
        )
    return width, np.complex64(complex(*(low + high) / 2))


def _shoulder_width(plane: np.ndarray, trusted: np.ndarray) -> np.float32 | None:
    a, b, c, d = plane.take(_ENDS, 1).T.reshape(4, len(_RATIO), -1)  # each (lengths, T)
    distance = np.abs(a + b - c - d) / 2
    usable = trusted.take(_ENDS, 1).T.reshape(4, len(_RATIO), -1).all(0) & (distance > 0)
    widths = _median(distance, usable) / _RATIO  # (lengths,) estimates of the shoulder width, NaN where unseen
    largest = np.fmax.reduce(widths)
    if np.isnan(largest):
        return None
    if widths[0] > NARROW * np.fmax.reduce(widths[_UPRIGHT], initial=np.float32(0)):
        return widths[0]
    return largest  # projection only ever shortens, so the largest estimate is the nearest to the truth


def _middle(plane: np.ndarray, trusted: np.ndarray, scale: np.float32) -> np.complex64 | None:
    for (a, b), offset in zip(_ANCHOR.T, _OFFSET, strict=True):
        usable = trusted[:, a] & trusted[:, b]
        if usable.any():
            points = ((plane[:, a] + plane[:, b]) / 2)[usable]
            ordered = np.sort(points.view(np.float32).reshape(-1, 2), axis=0)
            x, y = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
            return np.complex64(complex(x, y)) - offset * scale
    return None


def _median(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """(N, T) -> (N,) medians over the usable entries, NaN where none is."""
    if usable.all():
        ordered = np.sort(values, axis=1)
        return (ordered[:, (len(usable.T) - 1) // 2] + ordered[:, len(usable.T) // 2]) / 2
    ordered = np.sort(np.where(usable, values, np.inf), axis=1)
    count, row = usable.sum(1), np.arange(len(values))
    lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)
    return np.where(count > 0, (ordered[row, lower] + ordered[row, upper]) / 2, np.nan).astype(np.float32)


def half(values: np.ndarray) -> np.ndarray:
    """float32 -> float16 at three times the speed of astype, rounded as it does, the last bit below 2**-14 aside.

    For numbers that float16 can hold, such as those of `normalise`.
    """
    bits = (values * _TO_HALF).view(np.uint32)
    round = bits >> 13
    round &= 1  # halfway between two goes to the even one
    round += 0xFFF
    bits += round
    np.right_shift(bits, 13, out=round)
    out = round.astype(np.uint16)  # leaves out the sign, which is now bit 18
    bits >>= 16
    bits &= 0x8000
    out |= bits.astype(np.uint16)
    return out.view(np.float16)
