"""The same count in another order is refused, and the message names the orders that fit."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sign_models.datasets.importing import import_corpus
from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.plausible import NO_ORDER
from sign_models.keypoints.layouts import LAYOUTS
from tests.keypoints.signer import pixels

HANDS_FIRST = [*range(33, 54), *range(54, 75), *range(33)]
RIGHT_FIRST = [*range(33), *range(54, 75), *range(33, 54)]
ORDERS = {
    "hands first": (HANDS_FIRST, "left_hand, right_hand, body"),
    "right first": (RIGHT_FIRST, "body, right_hand, left"),
}


@pytest.mark.parametrize("name", ORDERS)
def test_another_order_of_75_is_refused_with_the_one_that_fits(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    order, wanted = ORDERS[name]
    np.save(tmp_path / "a.npy", pixels("mediapipe_75", 6)[:, order])
    with pytest.raises(DataError, match=f"1 of 1 clips, taken for layout 'mediapipe_75' .* fit .*{wanted}.*--layout"):
        list(read(tmp_path))
    assert re.search(f"a.npy.*: 75 landmarks, taken for layout .mediapipe_75., but .*{wanted}", caplog.text)
    caplog.clear()
    (sequence,) = read(tmp_path, layout="mediapipe_75")  # who names the layout is believed
    assert sequence.layout == "mediapipe_75" and not caplog.text


def test_glofe_order_of_137_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pixels("glofe_137", 6))
    with pytest.raises(DataError, match="taken for layout 'openpose_137'.*layout 'glofe_137'"):
        list(read(tmp_path))
    (sequence,) = read(tmp_path, layout="glofe_137")
    assert sequence.layout == "glofe_137"


@pytest.mark.parametrize(("others", "refused"), [(0, False), (2, False), (3, False), (4, True), (6, True)])
def test_most_clips_decide(tmp_path: Path, others: int, refused: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Of real clips, detectors put a hand at the other wrist in some: they are warned of, and read."""
    (tmp_path / "in").mkdir()
    for i in range(6):
        order = RIGHT_FIRST if i < others else slice(None)
        np.save(tmp_path / "in" / f"{i}x.npy", pixels("mediapipe_75", 6, i)[:, order])
    found = f"{others} of 6 clips, taken for layout 'mediapipe_75'"
    for read_all in (lambda: list(read(tmp_path / "in")), lambda: import_corpus(tmp_path / "in", tmp_path / "out")):
        if refused:
            with pytest.raises(DataError, match=found):
                read_all()
        else:
            read_all()
    assert len({record.getMessage() for record in caplog.records if "what fits" in record.message}) == others


def test_clips_of_a_named_layout_are_no_evidence(tmp_path: Path) -> None:
    for i in range(3):
        record = {"keypoints": pixels("mediapipe_75", 6, i)[:, RIGHT_FIRST], "layout": np.array("mediapipe_75")}
        np.savez(tmp_path / f"{i}x.npz", **record)
    assert len(list(read(tmp_path))) == 3


FACE_543 = [i for i in range(543) if 33 <= i < 501]
BODY_543, LEFT_543, RIGHT_543 = list(range(33)), list(range(501, 522)), list(range(522, 543))
REARRANGED = {
    "543 as pandas sorts it": ("mediapipe_543", [*FACE_543, *LEFT_543, *BODY_543, *RIGHT_543]),
    "543, face last": ("mediapipe_543", [*BODY_543, *LEFT_543, *RIGHT_543, *FACE_543]),
    "543, face last, right first": ("mediapipe_543", [*BODY_543, *RIGHT_543, *LEFT_543, *FACE_543]),
    "133, feet last": ("coco_wholebody_133", [*range(17), *range(23, 133), *range(17, 23)]),
    "133, face last": ("coco_wholebody_133", [*range(23), *range(91, 133), *range(23, 91)]),
    "137, face last": ("openpose_137", [*range(25), *range(95, 137), *range(25, 95)]),
    "137, face last, right first": ("openpose_137", [*range(25), *range(116, 137), *range(95, 116), *range(25, 95)]),
    "130, face last": ("openpose_130", [*range(18), *range(88, 130), *range(18, 88)]),
    "67, right first": ("openpose_25_hands_67", [*range(25), *range(46, 67), *range(25, 46)]),
    "86, left first": ("isharah_86", [*range(21, 42), *range(21), *range(42, 86)]),
    "hands, right first": ("hands_42", [*range(21, 42), *range(21)]),
    "hands, wrist last": ("mediapipe_75", [*range(33), *range(34, 54), 33, *range(55, 75), 54]),
}


@pytest.mark.parametrize("name", REARRANGED)
def test_the_parts_of_every_layout_may_be_in_another_order(tmp_path: Path, name: str) -> None:
    layout, order = REARRANGED[name]
    for seed in range(3):
        np.save(tmp_path / f"{seed}x.npy", np.nan_to_num(pixels(layout, 6, seed)[:, order], nan=200))
    with pytest.raises(DataError, match=f"3 of 3 clips, taken for layout '{layout}'.* clearly better.*--layout"):
        list(read(tmp_path))
    assert len(list(read(tmp_path, layout=layout))) == 3


OF_ANOTHER_ESTIMATOR = {
    "human36m_17": "coco_17",
    "coco_18": "openpose_18",
    "coco_18_hands_60": "openpose_18_hands_60",
    "kinect_25": "openpose_25",
    "mediapipe_pose_25": "openpose_25",
    "mediapipe_67": "openpose_25_hands_67",
    "glofe_137": "openpose_137",
}


@pytest.mark.parametrize("name", OF_ANOTHER_ESTIMATOR)
@pytest.mark.parametrize("legs", [True, False])
def test_landmarks_of_another_estimator_are_refused_with_its_name(tmp_path: Path, name: str, legs: bool) -> None:
    if name == "kinect_25" and not legs:
        pytest.skip("its arms and head alone are a body of OpenPose's too")
    values = np.nan_to_num(pixels(name, 6))
    if not legs:
        below = ("hip", "knee", "ankle", "toe", "heel", "foot_index")
        values[:, [i for i, landmark in enumerate(LAYOUTS[name]) if landmark.endswith(below)]] = 0
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=f"taken for layout '{OF_ANOTHER_ESTIMATOR[name]}'.*layout '{name}'"):
        list(read(tmp_path))
    (sequence,) = read(tmp_path, layout=name)
    np.testing.assert_allclose(sequence.points, values, rtol=1e-6)


AXES = {
    "y pointing up": lambda values: values * (1, -1) + (0, 480),
    "y before x": lambda values: values[..., ::-1],
    "left and right exchanged": lambda values: values * (-1, 1) + (640, 0),
}


@pytest.mark.parametrize("told", AXES)
@pytest.mark.parametrize("name", ["coco_17", "mediapipe_75", "openpose_137"])
def test_turned_and_exchanged_axes_are_refused(tmp_path: Path, told: str, name: str) -> None:
    np.save(tmp_path / "a.npy", AXES[told](pixels(name, 6)))
    with pytest.raises(DataError, match=f"taken for layout '{name}'.*{told}.*mended in the files"):
        list(read(tmp_path))


def vector(values: np.ndarray, order: str, with_score: bool) -> np.ndarray:
    """(T, numbers) of (T, 75, 2) fractions, its parts in an order of "plr"."""
    deep = np.insert(values, 2, -0.1, -1)
    pose = np.insert(deep[:, :33], 3, 0.9, -1) if with_score else deep[:, :33]
    parts = {"p": pose, "l": deep[:, 33:54], "r": deep[:, 54:]}
    return np.concatenate([parts[part].reshape(len(values), -1) for part in order], 1)


@pytest.mark.parametrize("order", ["prl", "lrp", "rlp", "lpr"])
@pytest.mark.parametrize("with_score", [True, False])
def test_vectors_in_another_order_are_refused(tmp_path: Path, order: str, with_score: bool) -> None:
    fractions = pixels("mediapipe_75", 6) / (640, 480)
    np.save(tmp_path / "a.npy", vector(fractions, "plr", with_score))
    (sequence,) = read(tmp_path)
    np.testing.assert_allclose(sequence.points, fractions, rtol=1e-6)
    np.save(tmp_path / "a.npy", vector(fractions, order, with_score))
    names = {"p": "pose" if with_score else "body", "l": "left_hand", "r": "right_hand"}
    with pytest.raises(DataError, match=f"fit .*{', '.join(names[part] for part in order)}"):
        list(read(tmp_path))


def test_tables_that_count_landmarks_are_checked_too(tmp_path: Path) -> None:
    for order, refused in ((RIGHT_FIRST, True), (slice(None), False)):
        values = pixels("mediapipe_75", 6)[:, order]
        head = ",".join(f"x{k},y{k}" for k in range(75))
        np.savetxt(tmp_path / "a.csv", values.reshape(6, -1), delimiter=",", header=head, comments="")
        if refused:
            with pytest.raises(DataError, match="fit the order body, right_hand, left_hand clearly better"):
                list(read(tmp_path))
        else:
            assert len(list(read(tmp_path))) == 1


@pytest.mark.parametrize("hidden", ["left_hand", "right_hand"])
def test_one_hand_tells_the_order_too(tmp_path: Path, hidden: str) -> None:
    values = pixels("mediapipe_75", 6)
    values[:, [i for i, n in enumerate(LAYOUTS["mediapipe_75"]) if n.startswith(hidden)]] = np.nan
    np.save(tmp_path / "a.npy", values[:, RIGHT_FIRST])
    with pytest.raises(DataError, match="body, right_hand, left_hand"):
        list(read(tmp_path))


@pytest.mark.parametrize("name", ["cafe", "wild", "kinect"])
def test_real_clips_are_read(tmp_path: Path, root: Path, name: str) -> None:
    """One by one: nothing but a clip's own evidence decides then."""
    make = root.parent / "shared" / "data" / name / "make_inputs.py"
    if not make.is_file():
        pytest.skip("the real clips are not here")
    subprocess.run([sys.executable, str(make), str(tmp_path)], check=True, capture_output=True)
    clips = list(read(tmp_path / "sign_language_keypoints.pkl"))
    assert len(clips) > 300 and {clip.fitting for clip in clips} <= {(), None, (NO_ORDER,)}
    odd = sum(clip.fitting == (NO_ORDER,) for clip in clips)  # in which a detector puts a hand at the other wrist
    assert odd < 0.03 * len(clips)


@pytest.mark.parametrize("name", ["mediapipe_75", "mediapipe_543", "coco_wholebody_133", "openpose_137", "halpe_136"])
@pytest.mark.parametrize("seed", range(3))
def test_the_right_order_is_read(tmp_path: Path, name: str, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", pixels(name, 6, seed))
    (sequence,) = read(tmp_path)
    assert len(LAYOUTS[sequence.layout]) == len(LAYOUTS[name]) and not caplog.records


@pytest.mark.parametrize("name", ["mediapipe_75", "mediapipe_543", "coco_wholebody_133", "openpose_137", "coco_17"])
@pytest.mark.parametrize("frames", [17, 21, 33, 42, 75, 133])
def test_landmarks_before_frames_are_refused(tmp_path: Path, name: str, frames: int) -> None:
    clip = pixels(name, frames)
    if frames == clip.shape[1]:
        pytest.skip("a square array")
    np.save(tmp_path / "a.npy", clip)
    (whole,) = read(tmp_path)
    assert whole.points.shape[:2] == clip.shape[:2]
    np.save(tmp_path / "a.npy", clip.transpose(1, 0, 2))
    with pytest.raises(DataError, match=r"a\.npy: .* wanted \(frames, landmarks, channels\); transpose"):
        list(read(tmp_path))


@pytest.mark.parametrize("most", [11.0, 100.0, 255.0])
@pytest.mark.parametrize("name", ["mediapipe_75", "coco_wholebody_133"])
def test_a_confidence_on_another_scale_is_refused(tmp_path: Path, name: str, most: float) -> None:
    clip = pixels(name, 6)[..., :2]
    score = np.random.default_rng(0).random((*clip.shape[:2], 1)) * most
    score[0, 0] = most
    np.save(tmp_path / "a.npy", np.concatenate([clip, score], -1))
    with pytest.raises(DataError, match=r"a\.npy: a third channel from .* divide a confidence by its maximum"):
        list(read(tmp_path))
    np.save(tmp_path / "a.npy", np.concatenate([clip, score / most], -1))
    (read_,) = read(tmp_path)
    np.testing.assert_allclose(read_.confidence, score[..., 0] / most, rtol=1e-6)


@pytest.mark.parametrize("depth", [(-100.0, 100.0), (1.0, 3.0), (800.0, 2500.0)])
def test_depths_are_no_confidence(tmp_path: Path, depth: tuple[float, float]) -> None:
    clip = pixels("mediapipe_75", 6)[..., :2]
    z = np.random.default_rng(0).uniform(*depth, (*clip.shape[:2], 1))
    np.save(tmp_path / "a.npy", np.concatenate([clip, z], -1))
    (sequence,) = read(tmp_path)
    assert set(np.unique(sequence.confidence)) <= {0.0, 1.0}
