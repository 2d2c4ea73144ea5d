"""The order of the joints in hands is told by the lengths of fingers, over the clips of a corpus."""

from pathlib import Path

import numpy as np
import pytest

from sign_models.datasets.importing import import_corpus
from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.finger_orders import ORDERS, UNKNOWN
from sign_models.keypoints.landmarks import HAND
from sign_models.keypoints.layouts import LAYOUTS
from tests.keypoints.signer import pixels

# Of an open hand in centimetres, finger by finger: from the wrist to the finger's first joint, then along it.
CENTIMETRES = np.array(
    [[4, 4.5, 3.3, 2.7], [9.5, 4.2, 2.5, 2], [9.2, 4.7, 2.9, 2.2], [8.6, 4.4, 2.8, 2.2], [8, 3.4, 2, 1.9]]
)
DIRECTIONS = np.radians([-50, -15, 0, 13, 28])
CLIPS = 7


def hands(frames: int, seed: int) -> np.ndarray:
    """(T, 21, 2) hands that close and turn, the fingers spread by different angles."""
    rng = np.random.default_rng(seed)
    curl = 0.25 + 0.25 * np.sin(np.arange(frames) / 4 + rng.uniform(0, 6, (5, 1)))  # share of a finger's length hidden
    turn = rng.uniform(-1, 1) + 0.3 * np.sin(np.arange(frames) / 6)
    found = np.zeros((frames, len(HAND), 2))
    for finger, (bones, direction) in enumerate(zip(CENTIMETRES, DIRECTIONS, strict=True)):
        at = np.zeros((frames, 2))
        for joint, bone in enumerate(bones):
            angle = direction + turn + rng.normal(0, 0.05)
            length = bone * (1 - curl[finger] * (joint > 0) * (0.7 + 0.15 * joint))
            at = at + length[:, None] * np.stack([np.sin(angle), -np.cos(angle)], -1)
            found[:, 1 + 4 * finger + joint] = at
    return found


def clip(seed: int, order: list[int] | None = None, layout: str = "mediapipe_75") -> np.ndarray:
    """A signer with such hands at the wrists, whose joints are in another order."""
    points, names = pixels(layout, 12, seed), LAYOUTS[layout]
    for i, side in enumerate(("left_hand", "right_hand")):
        begin = names.index(f"{side}.wrist") if f"{side}.wrist" in names else None
        if begin is not None:
            whole = points[:, begin, None] + 5 * hands(12, 2 * seed + i) * ([-1, 1] if i else [1, 1])
            points[:, begin : begin + len(HAND)] = whole if order is None else whole[:, order]
    return points


def write(folder: Path, order: list[int] | None = None, layout: str = "mediapipe_75", clips: int = CLIPS) -> None:
    folder.mkdir(exist_ok=True)
    for i in range(clips):
        np.save(folder / f"{i}x.npy", clip(i, order, layout))


@pytest.mark.parametrize("layout", ["mediapipe_75", "coco_wholebody_133", "hands_42", "right_hand_21", "openpose_137"])
def test_the_usual_order_is_not_doubted(tmp_path: Path, layout: str, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "in", None, layout)
    assert [one.fitting for one in read(tmp_path / "in")] == [()] * CLIPS
    assert "fingers" not in caplog.text


@pytest.mark.parametrize("layout", ["mediapipe_75", "hands_42", "right_hand_21"])
@pytest.mark.parametrize("name", [name for name in ORDERS if name])
def test_another_order_of_the_fingers_is_refused_and_named(tmp_path: Path, name: str, layout: str) -> None:
    write(tmp_path / "in", ORDERS[name], layout)
    if "wrist last" in name and layout == "mediapipe_75":  # the body's wrists may tell it before
        name += "|hands whose wrist comes last|hands whose fingers begin at the tip"
    with pytest.raises(DataError, match=f"[67] of 7 clips, taken for layout '{layout}'.*({name}).*--layout"):
        list(read(tmp_path / "in"))
    read_anyway = list(read(tmp_path / "in", layout=layout))  # who names the layout is believed
    assert len(read_anyway) == CLIPS


@pytest.mark.parametrize("seed", range(3))
def test_an_order_of_fingers_that_nobody_knows_is_refused(tmp_path: Path, seed: int) -> None:
    write(tmp_path / "in", [0, *(1 + np.random.default_rng(seed).permutation(20)).tolist()])
    for read_all in (lambda: list(read(tmp_path / "in")), lambda: import_corpus(tmp_path / "in", tmp_path / "out")):
        with pytest.raises(
            DataError, match=f"clips, taken for layout 'mediapipe_75' by their count, fit {UNKNOWN}.*YAML"
        ):
            read_all()


def test_an_order_of_landmarks_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(75)
    (tmp_path / "in").mkdir()
    for i in range(CLIPS):
        np.save(tmp_path / "in" / f"{i}x.npy", clip(i)[:, order])
    with pytest.raises(DataError, match="7 of 7 clips.*fit no order of landmarks that is known.*YAML file"):
        list(read(tmp_path / "in"))
    assert len(list(read(tmp_path / "in", layout="mediapipe_75"))) == CLIPS


@pytest.mark.parametrize(("odd", "refused"), [(4, False), (6, False), (7, True)])
def test_only_nearly_all_clips_make_an_unknown_order(
    tmp_path: Path, odd: int, refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    order = np.random.default_rng(0).permutation(75)
    (tmp_path / "in").mkdir()
    for i in range(CLIPS):
        np.save(tmp_path / "in" / f"{i}x.npy", clip(i)[:, order if i < odd else slice(None)])
    if refused:
        with pytest.raises(DataError, match="fit no order of landmarks that is known"):
            list(read(tmp_path / "in"))
    else:
        assert len(list(read(tmp_path / "in"))) == CLIPS
        assert caplog.text.count("no order that we know fits") == odd


@pytest.mark.parametrize("layout", ["mediapipe_75", "right_hand_21", "coco_wholebody_133"])
def test_noise_is_in_no_order_and_read(tmp_path: Path, layout: str) -> None:
    for i in range(CLIPS):
        np.save(tmp_path / f"{i}x.npy", np.random.default_rng(i).random((8, len(LAYOUTS[layout]), 2)))
    assert len(list(read(tmp_path))) == CLIPS


def test_few_clips_of_an_unknown_order_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "in", [0, *(1 + np.random.default_rng(0).permutation(20)).tolist()], clips=2)
    assert len(list(read(tmp_path / "in"))) == 2
    assert caplog.text.count(f"the lengths of the fingers fit {UNKNOWN}") == 2


def test_vectors_are_held_against_the_lengths_of_fingers(tmp_path: Path) -> None:
    for i in range(CLIPS):
        values = np.concatenate(
            [clip(i, ORDERS["hands with the little finger first"]) / 640, np.zeros((12, 75, 1))], -1
        )
        body = np.concatenate([values[:, :33], np.ones((12, 33, 1))], -1).reshape(12, -1)
        np.save(tmp_path / f"{i}x.npy", np.concatenate([body, values[:, 33:].reshape(12, -1)], 1))
    with pytest.raises(DataError, match="hands with the little finger first clearly better"):
        list(read(tmp_path))
