"""The same count in another order is refused, and the message names the orders that fit."""

import re
from pathlib import Path

import numpy as np
import pytest

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
def test_another_order_of_75_is_told_with_the_one_that_fits(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    order, wanted = ORDERS[name]
    np.save(tmp_path / "a.npy", pixels("mediapipe_75", 6)[:, order])
    with caplog.at_level("WARNING", "sign_models"):
        list(read(tmp_path))
    assert re.search(f"a.npy.*: 75 landmarks, taken for layout .mediapipe_75., but .*{wanted}", caplog.text)
    caplog.clear()
    (sequence,) = read(tmp_path, layout="mediapipe_75")  # who names the layout is believed
    assert sequence.layout == "mediapipe_75" and not caplog.text


def test_glofe_order_of_137_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", pixels("glofe_137", 6))
    with caplog.at_level("WARNING", "sign_models"):
        list(read(tmp_path))
    assert re.search("taken for layout 'openpose_137'.*layout 'glofe_137'", caplog.text)


@pytest.mark.parametrize("name", ["mediapipe_75", "mediapipe_543", "coco_wholebody_133", "openpose_137", "halpe_136"])
@pytest.mark.parametrize("seed", range(3))
def test_the_right_order_is_read(tmp_path: Path, name: str, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", pixels(name, 6, seed))
    (sequence,) = read(tmp_path)
    assert len(LAYOUTS[sequence.layout]) == len(LAYOUTS[name]) and not caplog.records
