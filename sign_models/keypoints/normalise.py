"""Normalisation of clips: from the unit of a file to the models' frame of reference.

A clip gets one centre and one scale: the middle of the shoulders and the width between them. So pixels, shares of the
image and centred coordinates give the same numbers. Where the shoulders are never seen, or the signer stands sideways,
other distances of the body are used, by fixed ratios. Clips of a signer whose left hand leads are mirrored: signs mean
the same with either hand, but a model may have seen right-handers only. `Handedness` decides by signer where signers
are known, so that a right-hander who points with the left hand is not mirrored.

Depth is a fourth number of each landmark, in shoulder widths behind the middle of the shoulders. Detectors measure the
depth of a hand from its own wrist and that of the body from its hips. So hands and face are shifted to where the body
has their wrist and nose.

A landmark is one complex number x + iy here: numpy is ten times slower at axes of length 2. T frames of a clip, F of
several, K landmarks of CANONICAL, N clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.layouts import MIRROR, PARTS, PLACE, batch_to_canonical, depth_to_canonical
from sign_models.keypoints.sequence import KeypointSequence

ASPECT = 4 / 3  # width : height of an image of unknown size, as of webcams and older corpora
MIN_CONFIDENCE = 0.3  # lower scores are guesses (the threshold of Uni-Sign and MSKA)
MIN_FRONTAL_RATIO = 0.35  # of shoulder width to what the rest of the body predicts; below, it is a side view
MAX_DISTANCE_SHOULDER_WIDTHS = 50.0  # a landmark farther out is a failure of the detector and counts as unseen
MIN_LEFT_LEAD_SHOULDER_WIDTHS = 0.25  # mean height of the left hand above the right one from which it leads
RAISED_Y, RESTING_Y = -0.5, 1.5  # range of a hand's height that counts, in shoulder widths below the shoulders

Mirroring = Literal["auto", "never"]
Points = tuple[str, str]  # two landmarks, for the point midway between them


def _both(left: str, right: str | None = None) -> Points:
    return (left, right or left)


_SHOULDERS = _both("body.left_shoulder", "body.right_shoulder")
_HIPS = _both("body.left_hip", "body.right_hip")
_EYES = _both("body.left_eye", "body.right_eye")
_EARS = _both("body.left_ear", "body.right_ear")
_WRISTS = _both("left_hand.wrist", "right_hand.wrist")

# Distances and their median in shoulder widths, over frontal clips of MMPose and MediaPipe. The first is the reference,
# the others are used where it is not seen.
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
# Points and their median offset from the middle of the shoulders, in shoulder widths, y down. The first seen is used.
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
_SHOULDERS_AT = [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]]
# Parts whose depth is measured from a landmark of their own, and the same landmark of the body.
_DEPTH_ANCHORS = {
    "left_hand": (PLACE["left_hand.wrist"], PLACE["body.left_wrist"]),
    "right_hand": (PLACE["right_hand.wrist"], PLACE["body.right_wrist"]),
    "face": (PLACE["face.nose_tip"], PLACE["body.nose"]),
}
_UPRIGHT = [1, 2, 6, 7]  # torso, height of the head, hands: lengths that a side view does not shorten


def normalise(sequence: KeypointSequence, *, aspect: float = ASPECT, mirroring: Mirroring = "auto") -> np.ndarray:
    """Normalise a clip.

    Args:
        sequence: As its file gives it.
        aspect: Width : height of the image, for normalized coordinates of unknown image size.
        mirroring: "auto" mirrors the clip if the left hand leads, "never" does not.

    Returns:
        (T, K, 3) float32: x and y in shoulder widths from the middle of the shoulders, y down, and confidence. With
        depth (T, K, 4). Coordinates are 0 where confidence is 0.

    Raises:
        DataError: No canonical landmark is seen in any frame, or all that are seen lie in one place.
    """
    out, errors, leads = normalise_batch([sequence], aspect=aspect)
    for error in errors.values():
        raise error
    return mirror(out) if mirroring == "auto" and leads[0] > MIN_LEFT_LEAD_SHOULDER_WIDTHS else out


def normalise_batch(
    sequences: Sequence[KeypointSequence], *, aspect: float = ASPECT
) -> tuple[np.ndarray, dict[int, DataError], np.ndarray]:
    """Normalise several clips at once, each to the bit as `normalise` does without mirroring.

    Args:
        sequences: N clips as their files give them.
        aspect: As in normalise.

    Returns:
        (F, K, 3) float32 of the concatenated frames, or (F, K, 4) where any clip has depth, with depth 0 for the
        others. Errors by the index of the clip, whose frames are then of no use. (N,) float64 mean height of the left
        hand above the right one, in shoulder widths.
    """
    runs = [list(run) for _, run in groupby(sequences, lambda s: s.layout)]
    mapped = [batch_to_canonical([s.points for s in r], [s.confidence for s in r], r[0].layout) for r in runs]
    points, confidence = map(np.concatenate, zip(*mapped, strict=True)) if len(runs) > 1 else mapped[0]
    lengths = np.array([len(s) for s in sequences])
    starts = np.cumsum(lengths) - lengths
    plane = points.view(np.complex64)[..., 0]
    seen = confidence > 0
    sizes = [(s.size or (aspect, 1.0)) if s.unit == "normalized" else (1.0, 1.0) for s in sequences]
    shapes = np.array([width / height for width, height in sizes], np.float32)  # from the unit of x to that of y
    if (shapes != 1).any():
        plane.real *= np.repeat(shapes, lengths)[:, None]
    scale, centre, errors = _frames_of_reference(plane, confidence, seen, starts, sequences)
    plane -= np.repeat(centre, lengths)[:, None]
    points /= np.repeat(scale, lengths)[:, None, None]  # the same memory; dividing complex numbers is slower
    if not (
        points.min(initial=0) >= -MAX_DISTANCE_SHOULDER_WIDTHS and points.max(initial=0) <= MAX_DISTANCE_SHOULDER_WIDTHS
    ):
        seen &= (np.abs(plane.real) <= MAX_DISTANCE_SHOULDER_WIDTHS) & (
            np.abs(plane.imag) <= MAX_DISTANCE_SHOULDER_WIDTHS
        )
        confidence *= seen
    if not seen.all():
        np.putmask(plane, ~seen, 0)
    with_depth = [i for i, sequence in enumerate(sequences) if sequence.depth is not None]
    out = np.empty((*confidence.shape, 4 if with_depth else 3), np.float32)
    out[..., 0], out[..., 1] = plane.real, plane.imag
    out[..., 2] = np.minimum(confidence, 1, out=confidence)
    if with_depth:
        out[..., 3] = 0
    for i in with_depth:
        place = slice(starts[i], starts[i] + lengths[i])
        out[place, :, 3] = _depth(sequences[i], seen[place], shapes[i] / scale[i])
    return out, errors, _left_leads(out, starts, lengths)


def mirror(frames: np.ndarray) -> np.ndarray:
    """Swap left and right. Doing it twice gives the same bits again.

    Args:
        frames: (T, K, 3 or 4) normalised frames.

    Returns:
        The mirrored frames.
    """
    out = frames.take(MIRROR, 1)
    np.negative(out[..., 0], out=out[..., 0], where=out[..., 0] != 0)  # zeros keep their sign
    return out


class Handedness:
    """Decides which clips are mirrored: those of a signer whose left hand leads on average.

    A clip is decided by itself where its signer is unknown, and where neither hand of the signer leads: who signs with
    either hand is read best where the one that signs is always on the same side.
    """

    def __init__(self, mirroring: Mirroring = "auto") -> None:
        """Start without clips.

        Args:
            mirroring: "auto", or "never" to mirror none.
        """
        self.mirroring = mirroring
        self._by_signer: dict[str, tuple[float, int]] = {}  # sum of the left hand's lead over frames, frames

    def add(self, signer: str | None, lead: float, frames: int) -> None:
        """Add a clip.

        Args:
            signer: The clip's signer, None where unknown.
            lead: Mean height of the left hand above the right one, in shoulder widths.
            frames: Frames of the clip.
        """
        if signer is not None:
            total, count = self._by_signer.get(signer, (0.0, 0))
            self._by_signer[signer] = total + lead * frames, count + frames

    def is_mirrored(self, signer: str | None, lead: float) -> bool:
        """Decide for a clip that was added, by all clips added so far.

        Args:
            signer: As in add.
            lead: As in add.

        Returns:
            Whether the clip is mirrored.
        """
        if signer is not None:
            total, count = self._by_signer[signer]
            mean = total / max(1, count)
            lead = mean if abs(mean) > MIN_LEFT_LEAD_SHOULDER_WIDTHS else lead
        return self.mirroring == "auto" and lead > MIN_LEFT_LEAD_SHOULDER_WIDTHS


def _depth(sequence: KeypointSequence, seen: np.ndarray, unit: np.floating) -> np.ndarray:
    """Depth of a clip in shoulder widths behind the middle of the shoulders.

    A hand has no depth where its wrist is not seen, a face where its nose is not seen. Where the body's own wrist or
    nose is not seen, the part is as deep as the shoulders.

    Args:
        sequence: A clip with depth.
        seen: (T, K) bool.
        unit: Factor from distances along x to shoulder widths.

    Returns:
        (T, K) float32, 0 where nothing is seen.
    """
    assert sequence.depth is not None
    with np.errstate(invalid="ignore", over="ignore"):
        depth = depth_to_canonical(sequence.depth, sequence.layout) * np.float32(unit)
        seen = seen & np.isfinite(depth)
        depth[~seen] = 0
        both = _SHOULDERS_AT
        shoulders_seen = seen[:, both].all(1)
        middle = depth[:, both].mean(1)
        usual = np.median(middle[shoulders_seen]) if shoulders_seen.any() else np.float32(0)
        depth -= np.where(shoulders_seen, middle, usual)[:, None]
    for part, (own, of_body) in _DEPTH_ANCHORS.items():
        places = PARTS[part]
        shift = np.where(seen[:, of_body], depth[:, of_body], 0) - depth[:, own]
        depth[:, places] = np.where(seen[:, own, None], depth[:, places] + shift[:, None], 0)
    return np.clip(depth, -MAX_DISTANCE_SHOULDER_WIDTHS, MAX_DISTANCE_SHOULDER_WIDTHS) * seen


def _left_leads(out: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mean height of the left hand above the right one, (N,) float64 in shoulder widths.

    The leading hand is higher where one hand signs, and rests less where both do. An unseen wrist counts as resting.

    Args:
        out: (F, K, 3 or 4) normalised frames of N clips.
        starts: (N,) first frame of each clip.
        lengths: (N,) frames of each clip.
    """
    height = {}
    for side in ("left", "right"):
        hand, body = out[:, PLACE[f"{side}_hand.wrist"]], out[:, PLACE[f"body.{side}_wrist"]]
        seen = np.where(hand[:, 2] > 0, hand[:, 1], np.where(body[:, 2] > 0, body[:, 1], RESTING_Y))
        height[side] = np.clip(seen, RAISED_Y, RESTING_Y)
    ends = np.append(0, np.cumsum(height["right"] - height["left"], dtype=np.float64))
    return np.asarray((ends[starts + lengths] - ends[starts]) / np.maximum(lengths, 1))


def _frames_of_reference(
    plane: np.ndarray,
    confidence: np.ndarray,
    seen: np.ndarray,
    starts: np.ndarray,
    sequences: Sequence[KeypointSequence],
) -> tuple[np.ndarray, np.ndarray, dict[int, DataError]]:
    """Shoulder width (N,) and middle of the shoulders (N,) in each clip's unit, and errors by clip."""
    errors: dict[int, DataError] = {}
    ends = np.append(starts[1:], len(plane))
    scale, centre = np.full(len(starts), np.nan, np.float32), np.full(len(starts), np.nan, np.complex64)
    if len(some := np.flatnonzero(ends > starts)):
        scale[some], centre[some] = _references(plane, confidence > MIN_CONFIDENCE, starts[some])
    for i in np.flatnonzero(np.isnan(scale) | np.isnan(centre)).tolist():
        part = slice(starts[i], ends[i])
        try:
            scale[i], centre[i] = _reference_of_visible(plane[part], seen[part], sequences[i])
        except DataError as error:
            errors[i], scale[i], centre[i] = error, 1, 0
    return scale, centre, errors


def _reference_of_visible(
    plane: np.ndarray, seen: np.ndarray, sequence: KeypointSequence
) -> tuple[np.float32, np.complex64]:
    """Shoulder width and middle of a clip without landmarks of MIN_CONFIDENCE for them."""
    place = sequence.source or sequence.id
    if not seen.any():
        raise DataError(
            f"no landmark is seen in any of its {len(sequence)} frames",
            place=place,
            wanted="at least one landmark that the models use, with confidence above 0",
            remedy="leave the clip out, or have `-e import -P on_bad_sample=reject` do so",
        )
    [scale], [centre] = _references(plane, seen, np.zeros(1, np.intp))
    if not (np.isnan(scale) or np.isnan(centre)):
        return scale, centre
    # Without any known distance, as of a few fingertips, the extent of what is seen is used.
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


def _references(plane: np.ndarray, trusted: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shoulder width (N,) and middle (N,) of each clip from trusted landmarks, NaN where there are too few."""
    # (4, lengths, F) with contiguous rows: numpy is slow along short axes
    a, b, c, d = np.ascontiguousarray(plane.take(_ENDS, 1).T).reshape(4, len(_RATIO), -1)
    distance = np.abs(a + b - c - d) / 2
    usable = np.ascontiguousarray(trusted.take(_ENDS, 1).T).reshape(4, len(_RATIO), -1).all(0) & (distance > 0)
    widths = _medians(distance, usable, starts) / _RATIO[:, None]  # (lengths, N) estimates of the shoulder width
    # Projection only shortens, so the largest estimate is the best.
    upright = np.fmax.reduce(widths[_UPRIGHT], 0, initial=np.float32(0))
    scale = np.where(widths[0] > MIN_FRONTAL_RATIO * upright, widths[0], np.fmax.reduce(widths, 0))
    centre = np.full(len(starts), np.nan, np.complex64)
    for (a, b), offset in zip(_ANCHOR.T, _OFFSET, strict=True):
        points = ((plane[:, a] + plane[:, b]) / 2).view(np.float32).reshape(-1, 2).T
        x, y = _medians(points, np.broadcast_to(trusted[:, a] & trusted[:, b], points.shape), starts)
        centre = np.where(np.isnan(centre), x + np.complex64(1j) * y - offset * scale, centre)
        if not np.isnan(centre).any():
            break
    return scale, centre


def _medians(values: np.ndarray, usable: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Medians (M, N) of values (M, F) over the usable entries of each clip, NaN without any."""
    lengths = np.diff(starts, append=values.shape[1])
    ordered = np.full((len(values), len(starts), lengths.max()), np.inf, np.float32)
    clip = np.repeat(np.arange(len(starts)), lengths)
    ordered[:, clip, np.arange(values.shape[1]) - starts[clip]] = np.where(usable, values, np.float32(np.inf))
    ordered.sort(2)
    count = np.add.reduceat(usable, starts, 1, np.intp)[..., None]
    lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, ordered.shape[2] - 1)
    middle = (np.take_along_axis(ordered, lower, 2) + np.take_along_axis(ordered, upper, 2))[..., 0] / 2
    return np.where(count[..., 0] > 0, middle, np.float32(np.nan))


def to_float16(values: np.ndarray) -> np.ndarray:
    """Convert to float16 at three times the speed of astype.

    Rounding is that of astype but for the last bit below 2**-14.

    Args:
        values: Float32 numbers within the range of float16, such as normalised clips.

    Returns:
        The same shape, float16.
    """
    bits = (values * _TO_HALF).view(np.uint32)
    round = bits >> 13
    round &= 1  # ties round to even
    round += 0xFFF
    bits += round
    np.right_shift(bits, 13, out=round)
    out = round.astype(np.uint16)  # without the sign, which is bit 18 now
    bits >>= 16
    bits &= 0x8000
    out |= bits.astype(np.uint16)
    return out.view(np.float16)
