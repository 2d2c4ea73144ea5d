"""From a clip in its file's own unit to the models' frame of reference.

One centre and one scale a clip: the middle of the shoulders and the width between them, so that pixels, fractions of
the picture and coordinates that are already centred give the same numbers. Where the shoulders are never seen, or the
signer stands sideways, other distances of the body serve, by fixed ratios. A signer whose left hand leads is mirrored:
signs mean the same by either hand, and a model that has seen right-handers only would not know them. `Handedness`
decides by signer where signers are known: a right-hander who points with the left hand stays as he is.

Where a file tells depth, it is a fourth number of each landmark, in shoulder widths behind the middle of the shoulders.
Detectors measure the depth of each hand from its own wrist and that of the body from its hips: so hands and face are
placed where the body has their wrist and nose.

Inside, a landmark is one complex number x + iy: numpy is ten times slower at axes of length 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.layouts import MIRROR, PARTS, PLACE, depth_to_canonical, joined_canonical
from sign_models.keypoints.sequence import KeypointSequence

ASPECT = 4 / 3  # width : height of a picture whose file does not tell its size; what webcams and the older corpora have
SURE = 0.3  # a detector's score below this is a guess (the threshold of Uni-Sign and MSKA); 0 and 1 pass unchanged
NARROW = 0.35  # shoulders narrower than this share of what the rest of the body says belong to a side view
FAR = 50.0  # shoulder widths; a landmark farther out than this is a detector's failure and counts as unseen
LEADS = 0.25  # shoulder widths that the left hand is above the right one on average, where it leads
RAISED, RESTING = -0.5, 1.5  # shoulder widths below the shoulders, between which a hand's height counts

Mirroring = Literal["auto", "never"]
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
_SHOULDERS_AT = [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]]
# Parts whose depth is measured from a landmark of their own, and where the body has it.
_JOINED = {
    "left_hand": (PLACE["left_hand.wrist"], PLACE["body.left_wrist"]),
    "right_hand": (PLACE["right_hand.wrist"], PLACE["body.right_wrist"]),
    "face": (PLACE["face.nose_tip"], PLACE["body.nose"]),
}
_UPRIGHT = [1, 2, 6, 7]  # torso, height of the head, hands: what turning sideways does not shorten


def normalise(sequence: KeypointSequence, *, aspect: float = ASPECT, mirroring: Mirroring = "auto") -> np.ndarray:
    """(T, len(CANONICAL), 3) float32: x, y in shoulder widths from the middle of the shoulders, y down; confidence.
    Of a sequence with depth (T, len(CANONICAL), 4): depth comes last. Left and right change places where the left hand
    leads, unless `mirroring` is "never".

    aspect: width : height of the picture, for fractions of a picture of unknown size. Coordinates are 0 where
    confidence is 0. DataError where no landmark of ours is seen in any frame, or all that are seen lie in one place.
    """
    out, errors, leads = normalise_joined([sequence], aspect=aspect)
    for error in errors.values():
        raise error
    return mirror(out) if mirroring == "auto" and leads[0] > LEADS else out


def normalise_joined(
    sequences: Sequence[KeypointSequence], *, aspect: float = ASPECT
) -> tuple[np.ndarray, dict[int, DataError], np.ndarray]:
    """Several clips one after another, (F, len(CANONICAL), 3), each to the bit as `normalise` gives it unmirrored.
    Where any has depth (F, len(CANONICAL), 4), with 0 for the depth of the others.

    Also what is wrong with a clip, by its place; its frames are then of no use. And (N,) float64: how far the left hand
    is above the right one on average, in shoulder widths; beyond LEADS it leads.
    """
    runs = [list(run) for _, run in groupby(sequences, lambda s: s.layout)]
    mapped = [joined_canonical([s.points for s in r], [s.confidence for s in r], r[0].layout) for r in runs]
    points, confidence = map(np.concatenate, zip(*mapped, strict=True)) if len(runs) > 1 else mapped[0]
    lengths = np.array([len(s) for s in sequences])
    starts = np.cumsum(lengths) - lengths
    plane = points.view(np.complex64)[..., 0]
    seen = confidence > 0
    shapes = np.array([_width_to_height(s, aspect) for s in sequences], np.float32)
    if (shapes != 1).any():
        plane.real *= np.repeat(shapes, lengths)[:, None]
    scale, centre, errors = _frames_of_reference(plane, confidence, seen, starts, sequences)
    plane -= np.repeat(centre, lengths)[:, None]
    points /= np.repeat(scale, lengths)[:, None, None]  # the same memory; dividing complex numbers is slower
    if not (points.min(initial=0) >= -FAR and points.max(initial=0) <= FAR):  # one look nearly always suffices
        seen &= (np.abs(plane.real) <= FAR) & (np.abs(plane.imag) <= FAR)
        confidence *= seen
    if not seen.all():
        np.putmask(plane, ~seen, 0)
    deep = [i for i, sequence in enumerate(sequences) if sequence.depth is not None]
    out = np.empty((*confidence.shape, 4 if deep else 3), np.float32)
    out[..., 0], out[..., 1] = plane.real, plane.imag
    out[..., 2] = np.minimum(confidence, 1, out=confidence)
    if deep:
        out[..., 3] = 0
    for i in deep:
        place = slice(starts[i], starts[i] + lengths[i])
        out[place, :, 3] = _depth(sequences[i], seen[place], shapes[i] / scale[i])
    return out, errors, _left_leads(out, starts, lengths)


def mirror(frames: np.ndarray) -> np.ndarray:
    """Frames (T, len(CANONICAL), C) with left and right in each other's places. Twice gives the same bits again."""
    out = frames.take(MIRROR, 1)
    np.negative(out[..., 0], out=out[..., 0], where=out[..., 0] != 0)  # zeros keep their sign
    return out


class Handedness:
    """Which clips are mirrored: those of a signer whose left hand leads in all of them together.

    A clip whose signer is not known is decided by itself.
    """

    def __init__(self, mirroring: Mirroring = "auto") -> None:
        self.mirroring = mirroring
        self._of: dict[str, tuple[float, int]] = {}  # signer -> summed lead of the left hand, frames

    def add(self, signer: str | None, lead: float, frames: int) -> None:
        """A clip whose left hand is `lead` shoulder widths above the right one on average over its frames."""
        if signer is not None:
            total, count = self._of.get(signer, (0.0, 0))
            self._of[signer] = total + lead * frames, count + frames

    def is_mirrored(self, signer: str | None, lead: float) -> bool:
        """Of a clip that was added, by all that were added so far."""
        if signer is not None:
            total, count = self._of[signer]
            lead = total / max(1, count)
        return self.mirroring == "auto" and lead > LEADS


def _depth(sequence: KeypointSequence, seen: np.ndarray, unit: np.floating) -> np.ndarray:
    """(T, C) depth of a clip in shoulder widths behind the middle of the shoulders, 0 where nothing is seen (T, C).

    unit: what a distance along x is multiplied by, to be in shoulder widths. A hand whose wrist is not seen, and a face
    whose nose is not, have no depth; where a body part's joint is not seen by the body, they are as deep as the
    shoulders.
    """
    assert sequence.depth is not None
    with np.errstate(invalid="ignore", over="ignore"):
        depth = depth_to_canonical(sequence.depth, sequence.layout) * np.float32(unit)
        seen = seen & np.isfinite(depth)
        depth[~seen] = 0
        both = _SHOULDERS_AT
        held = seen[:, both].all(1)
        middle = depth[:, both].mean(1)
        usual = np.median(middle[held]) if held.any() else np.float32(0)
        depth -= np.where(held, middle, usual)[:, None]
    for part, (own, of_body) in _JOINED.items():
        places = PARTS[part]
        at = np.where(seen[:, of_body], depth[:, of_body], 0) - depth[:, own]
        depth[:, places] = np.where(seen[:, own, None], depth[:, places] + at[:, None], 0)
    return np.clip(depth, -FAR, FAR) * seen


def _left_leads(out: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """How far the left hand is above the right one on average, of clips (N,) of normalised frames (F, K, 3): the one
    that leads is above where one hand signs, and rests less where both do. A wrist that is not seen rests."""
    height = {}
    for side in ("left", "right"):
        hand, body = out[:, PLACE[f"{side}_hand.wrist"]], out[:, PLACE[f"body.{side}_wrist"]]
        seen = np.where(hand[:, 2] > 0, hand[:, 1], np.where(body[:, 2] > 0, body[:, 1], RESTING))
        height[side] = np.clip(seen, RAISED, RESTING)
    ends = np.append(0, np.cumsum(height["right"] - height["left"], dtype=np.float64))
    return np.asarray((ends[starts + lengths] - ends[starts]) / np.maximum(lengths, 1))


def _width_to_height(sequence: KeypointSequence, aspect: float) -> float:
    """What x is multiplied by, to be in the unit of y."""
    if sequence.unit != "normalized":
        return 1.0
    width, height = sequence.size or (aspect, 1.0)
    return width / height


def _frames_of_reference(
    plane: np.ndarray,
    confidence: np.ndarray,
    seen: np.ndarray,
    starts: np.ndarray,
    sequences: Sequence[KeypointSequence],
) -> tuple[np.ndarray, np.ndarray, dict[int, DataError]]:
    """The length of a shoulder width (N,) and the middle of the shoulders (N,), in each clip's unit."""
    errors: dict[int, DataError] = {}
    ends = np.append(starts[1:], len(plane))
    scale, centre = np.full(len(starts), np.nan, np.float32), np.full(len(starts), np.nan, np.complex64)
    if len(some := np.flatnonzero(ends > starts)):
        scale[some], centre[some] = _references(plane, confidence > SURE, starts[some])
    for i in np.flatnonzero(np.isnan(scale) | np.isnan(centre)).tolist():
        part = slice(starts[i], ends[i])
        try:
            scale[i], centre[i] = _by_what_is_seen(plane[part], seen[part], sequences[i])
        except DataError as error:
            errors[i], scale[i], centre[i] = error, 1, 0
    return scale, centre, errors


def _by_what_is_seen(
    plane: np.ndarray, seen: np.ndarray, sequence: KeypointSequence
) -> tuple[np.float32, np.complex64]:
    """Shoulder width and middle where nothing is sure enough for them."""
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


def _references(plane: np.ndarray, trusted: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shoulder width (N,) and middle (N,) of each clip by what is trusted, NaN where that does not tell them."""
    # (4, lengths, F), rows in one piece: numpy is slow along short axes
    a, b, c, d = np.ascontiguousarray(plane.take(_ENDS, 1).T).reshape(4, len(_RATIO), -1)
    distance = np.abs(a + b - c - d) / 2
    usable = np.ascontiguousarray(trusted.take(_ENDS, 1).T).reshape(4, len(_RATIO), -1).all(0) & (distance > 0)
    widths = _medians(distance, usable, starts) / _RATIO[:, None]  # (lengths, N) estimates of the shoulder width
    # Projection only ever shortens, so the largest estimate is the nearest to the truth.
    upright = np.fmax.reduce(widths[_UPRIGHT], 0, initial=np.float32(0))
    scale = np.where(widths[0] > NARROW * upright, widths[0], np.fmax.reduce(widths, 0))
    centre = np.full(len(starts), np.nan, np.complex64)
    for (a, b), offset in zip(_ANCHOR.T, _OFFSET, strict=True):
        points = ((plane[:, a] + plane[:, b]) / 2).view(np.float32).reshape(-1, 2).T
        x, y = _medians(points, np.broadcast_to(trusted[:, a] & trusted[:, b], points.shape), starts)
        centre = np.where(np.isnan(centre), x + np.complex64(1j) * y - offset * scale, centre)
        if not np.isnan(centre).any():
            break
    return scale, centre


def _medians(values: np.ndarray, usable: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(M, F) -> (M, N) medians over the usable entries of each clip, NaN where none is."""
    lengths = np.diff(starts, append=values.shape[1])
    ordered = np.full((len(values), len(starts), lengths.max()), np.inf, np.float32)
    clip = np.repeat(np.arange(len(starts)), lengths)
    ordered[:, clip, np.arange(values.shape[1]) - starts[clip]] = np.where(usable, values, np.float32(np.inf))
    ordered.sort(2)
    count = np.add.reduceat(usable, starts, 1, np.intp)[..., None]
    lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, ordered.shape[2] - 1)
    middle = (np.take_along_axis(ordered, lower, 2) + np.take_along_axis(ordered, upper, 2))[..., 0] / 2
    return np.where(count[..., 0] > 0, middle, np.float32(np.nan))


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
