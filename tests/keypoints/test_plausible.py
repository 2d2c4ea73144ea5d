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
    assert len(clips) > 300 and {clip.fitting for clip in clips} <= {(), None}


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
