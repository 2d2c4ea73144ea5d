import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sign_models.data.corpus import Corpus
from sign_models.datasets.importing import import_corpus
from sign_models.datasets.store import open_store
from sign_models.errors import DataError
from sign_models.keypoints import formats
from sign_models.keypoints.layouts import CANONICAL, LAYOUTS, PARTS, PLACE, mirrored
from sign_models.keypoints.normalise import MAX_DISTANCE_SHOULDER_WIDTHS, mirror, normalise, normalise_batch, to_float16
from sign_models.keypoints.sequence import KeypointSequence
from tests.keypoints.signer import pixels, signer

FULL = ("mediapipe_543", "coco_wholebody_133", "openpose_137")
SHOULDERS = [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]]


def sequence(points: np.ndarray, layout: str, **fields) -> KeypointSequence:
    confidence = fields.pop("confidence", np.ones(points.shape[:2], np.float32))
    return KeypointSequence("clip", points.astype(np.float32), confidence, layout, **fields)


def only(layout: str, words: tuple[str, ...], frames: int = 12) -> np.ndarray:
    """Confidence 1 for the landmarks whose name contains one of the words."""
    return np.tile(np.float32([any(w in name for w in words) for name in LAYOUTS[layout]]), (frames, 1))


@settings(deadline=None, max_examples=60)
@given(
    layout=st.sampled_from(["mediapipe_75", *FULL, "hands_42", "openpose_135"]),
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(64, 4000), st.integers(64, 4000)),
    scale=st.floats(0.05, 8),
    shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    hidden=st.floats(0, 0.6),
)
def test_pixels_fractions_and_centred_coordinates_give_the_same(layout, seed, size, scale, shift, hidden) -> None:
    points = pixels(layout, seed=seed, size=size)
    confidence = (np.random.default_rng(seed).random(points.shape[:2]) >= hidden).astype(np.float32)
    confidence[0] = 1
    reference = normalise(sequence(points, layout, confidence=confidence))
    picture = sequence(points / size, layout, confidence=confidence, unit="normalized", size=size)
    body = sequence(points / size[1] * scale + shift, layout, confidence=confidence, unit="centered")
    larger = sequence(points * 3 + 100, layout, confidence=confidence)
    for other in (picture, body, larger):
        np.testing.assert_allclose(normalise(other), reference, atol=2e-3)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_clips_normalised_together_are_to_the_bit_those_normalised_alone(data) -> None:
    """Whatever layouts, units, lengths and gaps meet; a clip that is refused spoils no other."""
    clips = []
    for i in range(data.draw(st.integers(1, 6))):
        layout = data.draw(st.sampled_from(["mediapipe_75", "hands_42", "right_hand_21", *FULL]))
        points = pixels(layout, seed=i)[: data.draw(st.integers(0, 9))]
        seen = np.random.default_rng(i).random(points.shape[:2]) >= data.draw(st.sampled_from([0, 0.5, 0.99, 1.1]))
        sure = np.float32(data.draw(st.sampled_from([1, 0.2])))
        unit = data.draw(st.sampled_from(["pixel", "normalized"]))
        far = data.draw(st.sampled_from([1, 1000])) * (np.arange(points.shape[1]) == 5)
        clips.append(sequence(points * (1 + far[:, None]), layout, confidence=seen * sure, unit=unit, source=str(i)))
    joined, errors, _ = normalise_batch(clips)
    ends = np.cumsum([len(clip) for clip in clips])
    for i, clip in enumerate(clips):
        try:
            alone = normalise(clip, mirroring="never")
        except DataError as error:
            assert str(errors[i]) == str(error)
        else:
            assert i not in errors and joined[ends[i] - len(clip) : ends[i]].tobytes() == alone.tobytes()


@pytest.mark.parametrize("aspect", [1.0, 16 / 9])
def test_a_picture_of_unknown_size_has_the_aspect_that_is_said(aspect: float) -> None:
    size = (360 * aspect, 360)
    points = pixels("mediapipe_75", size=size)
    told = normalise(sequence(points / size, "mediapipe_75", unit="normalized"), aspect=aspect)
    np.testing.assert_allclose(told, normalise(sequence(points, "mediapipe_75")), atol=1e-4)


def test_the_same_movement_is_the_same_in_every_full_layout() -> None:
    first, *others = (normalise(sequence(pixels(layout), layout)) for layout in FULL)
    named = slice(0, PARTS["face"].start)
    for other in others:
        np.testing.assert_allclose(other[:, named], first[:, named], atol=1e-3)
        assert (other[..., 2] == first[..., 2]).all()


def test_shoulders_lie_one_apart_about_the_origin() -> None:
    out = normalise(sequence(pixels("coco_wholebody_133"), "coco_wholebody_133"))
    middle = np.median(out[:, SHOULDERS, :2].mean(1), axis=0)
    np.testing.assert_allclose(middle, 0, atol=1e-5)
    assert np.median(np.linalg.norm(out[:, SHOULDERS[0], :2] - out[:, SHOULDERS[1], :2], axis=-1)) == pytest.approx(1)
    assert out[:, PLACE["body.nose"], 1].max() < 0 < out[:, PLACE["body.left_hip"], 1].min()  # y goes down


def raised(layout: str, side: str, by: float) -> np.ndarray:
    """The signer in a picture, one hand higher than the other by so many shoulder widths."""
    points = pixels(layout)
    arm = [("hand" in name or "wrist" in name) and side in name for name in LAYOUTS[layout]]
    points[:, arm, 1] -= by * 480 / 4
    return points


def in_the_mirror(points: np.ndarray, layout: str) -> np.ndarray:
    names = list(LAYOUTS[layout])
    swapped = points[:, [names.index(mirrored(name)) if mirrored(name) in names else i for i, name in enumerate(names)]]
    return np.array([640, 0]) + swapped * np.array([-1, 1])


@pytest.mark.parametrize("layout", ["mediapipe_75", "coco_wholebody_133", "hands_42"])
def test_a_left_handed_signer_is_a_right_handed_one_in_the_mirror(layout) -> None:
    right = normalise(sequence(raised(layout, "right", 0.6), layout))
    left = normalise(sequence(in_the_mirror(raised(layout, "right", 0.6), layout), layout))
    np.testing.assert_allclose(left, right, atol=1e-5)
    assert right[:, PLACE["right_hand.wrist"], 1].mean() < right[:, PLACE["left_hand.wrist"], 1].mean()
    again = normalise(sequence(left[..., :2], "canonical", confidence=left[..., 2], unit="centered"))
    np.testing.assert_allclose(again, left, atol=1e-5)


def test_it_is_said_how_many_clips_are_mirrored(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    clips = {side: raised("mediapipe_75", side, 0.6) for side in ("left", "right")}
    (tmp_path / "some.pkl").write_bytes(
        pickle.dumps({side: points.astype(np.float32) for side, points in clips.items()})
    )
    with caplog.at_level("INFO", "sign_models"):
        memory = Corpus.from_sequences(formats.read(tmp_path / "some.pkl"), "some.pkl")
        import_corpus(tmp_path / "some.pkl", tmp_path / "store")
    assert caplog.text.count("some.pkl: 1 of 2 clips are mirrored") == 2
    assert open_store(tmp_path / "store").digest == memory.digest


@settings(deadline=None)
@given(arrays.arrays(np.float16, (3, len(CANONICAL), 3), elements=st.floats(-60, 60, width=16) | st.just(-0.0)))
def test_mirroring_twice_gives_the_same_bits(frames: np.ndarray) -> None:
    assert mirror(mirror(frames)).tobytes() == frames.tobytes()
    assert (mirror(frames)[:, PLACE["left_hand.wrist"], 1] == frames[:, PLACE["right_hand.wrist"], 1]).all()


@pytest.mark.parametrize(("by", "changes_places"), [(0.1, False), (0.6, True)])
def test_hands_of_about_one_height_stay_where_they_are(by: float, changes_places: bool) -> None:
    points = raised("mediapipe_75", "left", by)
    out = normalise(sequence(points, "mediapipe_75"))
    lower, higher = ("left", "right") if changes_places else ("right", "left")
    assert out[:, PLACE[f"{higher}_hand.wrist"], 1].mean() < out[:, PLACE[f"{lower}_hand.wrist"], 1].mean()


def test_a_hand_that_is_not_seen_does_not_lead() -> None:
    left, right = (only("mediapipe_75", ("shoulder", f"{side}_hand")) for side in ("left", "right"))
    points = pixels("mediapipe_75")
    out = normalise(sequence(in_the_mirror(points, "mediapipe_75"), "mediapipe_75", confidence=left))
    assert (out[:, PARTS["left_hand"], 2] == 0).all() and (out[:, PARTS["right_hand"], 2] == 1).all()
    np.testing.assert_allclose(out, normalise(sequence(points, "mediapipe_75", confidence=right)), atol=1e-5)


def test_normalising_twice_changes_nothing() -> None:
    once = normalise(sequence(pixels("mediapipe_75"), "mediapipe_75"))
    twice = normalise(sequence(once[..., :2], "canonical", confidence=once[..., 2], unit="centered"))
    np.testing.assert_allclose(twice, once, atol=1e-5)


def test_unseen_coordinates_do_not_matter_and_come_out_as_zero() -> None:
    points = pixels("coco_wholebody_133")
    confidence = (np.random.default_rng(1).random(points.shape[:2]) > 0.3).astype(np.float32)
    rubbish = np.where(confidence[..., None] > 0, points, np.nan)
    out = normalise(sequence(rubbish, "coco_wholebody_133", confidence=confidence))
    assert np.isfinite(out).all()
    assert (out[out[..., 2] == 0] == 0).all()
    np.testing.assert_array_equal(out, normalise(sequence(points, "coco_wholebody_133", confidence=confidence)))


def test_a_guess_moves_neither_centre_nor_scale() -> None:
    points = pixels("coco_wholebody_133")
    sure = normalise(sequence(points, "coco_wholebody_133"))
    confidence = np.ones(points.shape[:2], np.float32)
    points[0, 5] += 5000  # one shoulder, far off, in a frame that the detector does not believe itself
    confidence[0, 5] = 0.1
    guessed = normalise(sequence(points, "coco_wholebody_133", confidence=confidence))
    np.testing.assert_allclose(guessed[1:], sure[1:], atol=0.05)


@pytest.mark.parametrize(
    ("words", "tolerance"),
    [
        (("shoulder", "wrist", "hand"), 0.01),
        (("eye", "ear", "nose", "hand"), 0.35),
        (("hip", "hand"), 0.25),
        (("left_hand", "right_hand"), 0.4),
    ],
)
def test_without_shoulders_the_rest_of_the_body_serves(words, tolerance) -> None:
    points = pixels("coco_wholebody_133")
    whole = normalise(sequence(points, "coco_wholebody_133"))
    confidence = only("coco_wholebody_133", words)
    part = normalise(sequence(points, "coco_wholebody_133", confidence=confidence))
    seen = part[..., 2] > 0
    assert seen.any()
    assert np.abs(part[seen] - whole[seen]).max() < tolerance


def test_a_side_view_does_not_blow_the_signer_up() -> None:
    points = pixels("mediapipe_75")
    front = normalise(sequence(points, "mediapipe_75"))
    points[..., 0] = 320 + (points[..., 0] - 320) * 0.05  # turned about the vertical axis
    side = normalise(sequence(points, "mediapipe_75"))
    assert np.abs(side[..., 1]).max() < 1.5 * np.abs(front[..., 1]).max()


def test_one_hand_alone_has_the_size_of_a_hand() -> None:
    out = normalise(sequence(pixels("right_hand_21"), "right_hand_21"))
    hand = out[:, PARTS["right_hand"], :2]
    assert 0.1 < np.ptp(hand, axis=1).max() < 1.5
    assert np.abs(hand).max() < 2


def test_fingertips_alone_are_still_finite() -> None:
    confidence = only("hands_42", ("thumb_tip", "pinky_tip"))
    out = normalise(sequence(pixels("hands_42"), "hands_42", confidence=confidence))
    assert np.isfinite(out).all() and np.abs(out).max() < 2


def test_a_landmark_out_in_space_counts_as_unseen() -> None:
    points = pixels("mediapipe_75")
    points[3, 0] = 1e9
    out = normalise(sequence(points, "mediapipe_75"))
    assert out[3, PLACE["body.nose"]].tolist() == [0, 0, 0]
    assert np.abs(out).max() <= MAX_DISTANCE_SHOULDER_WIDTHS


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_clip_in_which_nothing_can_be_told_apart_is_refused(value: float) -> None:
    points = np.full((4, 75, 2), value)
    with pytest.raises(DataError, match="a.pkl: .*same place"):
        normalise(sequence(points, "mediapipe_75", source="a.pkl"))


def test_a_clip_in_which_nothing_is_seen_is_refused() -> None:
    clip = sequence(pixels("mediapipe_75"), "mediapipe_75", source="a.pkl: sample '3'")
    with pytest.raises(DataError, match="a.pkl: sample '3': no landmark is seen"):
        normalise(replace(clip, confidence=np.zeros_like(clip.confidence)))


def test_shape_and_type_are_the_contract() -> None:
    out = normalise(sequence(signer("coco_wholebody_133", 5), "coco_wholebody_133", unit="centered"))
    assert out.shape == (5, len(CANONICAL), 3) and out.dtype == np.float32
    clip = sequence(pixels("mediapipe_75"), "mediapipe_75", confidence=np.full((12, 75), 1.07, np.float32))
    assert normalise(clip)[..., 2].max() == 1


def test_the_input_is_left_as_it_was() -> None:
    clip = sequence(signer("canonical"), "canonical", unit="normalized")
    before = clip.points.copy()
    normalise(clip)
    np.testing.assert_array_equal(clip.points, before)


def test_half_rounds_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    drawn = (rng.choice([-1, 1], 10**5) * 2 ** rng.uniform(-14, 15.9, 10**5)).astype(np.float32)
    exact = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)  # every number of 0 and above
    between = (exact[:-1] + exact[1:]) / 2
    for values in (drawn, exact, -exact, between, np.nextafter(between, 0), np.nextafter(between, np.float32(np.inf))):
        normal = np.abs(values) >= 2.0**-14
        np.testing.assert_array_equal(to_float16(values)[normal], values[normal].astype(np.float16))
        np.testing.assert_allclose(to_float16(values), values.astype(np.float16), rtol=0, atol=2.0**-24)
    np.testing.assert_array_equal(to_float16(exact), exact)
