"""What is particular to a format: people, gaps, orders of landmarks, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.estimators.people import follow_signer
from sign_models.keypoints.layouts import LAYOUTS
from tests.keypoints.clips import dump, scored
from tests.keypoints.file_examples import openpose_frame, skels
from tests.keypoints.signer import pixels
from tests.keypoints.table_examples import vectors


def people(*paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squares that stand at these (T, 2) places, one a person."""
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32)
    points = np.stack([path[:, None] + square for path in paths], 1)
    return points.astype(np.float32), np.ones(points.shape[:3], np.float32)


def test_the_person_nearest_to_the_last_frame_is_followed() -> None:
    still, walker = np.zeros((6, 2)), np.stack([np.linspace(100, 90, 6), np.zeros(6)], 1)
    points, confidence = people(still, walker)
    points[0, 1, 2:] += 5  # the walker is the larger one at first
    swapped = points.copy()
    swapped[3:5] = swapped[3:5, ::-1]
    chosen, _ = follow_signer(swapped, confidence)
    np.testing.assert_array_equal(chosen, points[:, 1])


def test_after_nobody_the_person_comes_back() -> None:
    points, confidence = people(np.zeros((5, 2)), np.full((5, 2), 50.0))
    points[0, 1, 2:] += 5
    confidence[2] = 0
    chosen, sure = follow_signer(points, confidence)
    np.testing.assert_array_equal(chosen[[0, 1, 3, 4]], points[[0, 1, 3, 4], 1])
    assert not sure[2].any()


def test_when_the_signer_leaves_the_largest_takes_over() -> None:
    points, confidence = people(np.zeros((4, 2)), np.full((4, 2), 500.0))
    points[0, 0, 2:] += 5
    confidence[2:, 0] = 0
    chosen, sure = follow_signer(points, confidence)
    assert sure.all()
    np.testing.assert_array_equal(chosen[2:], points[2:, 1])


def openpose_files(folder: Path, frames: dict[int, list[dict]], name: str = "clip") -> Path:
    folder.mkdir(exist_ok=True)
    for number, persons in frames.items():
        path = folder / f"{name}_{number:012d}_keypoints.json"
        path.write_text(json.dumps({"version": 1.3, "people": persons}))
    return folder


def test_openpose_fills_frames_without_a_file_or_a_person(tmp_path: Path) -> None:
    values = scored("openpose_137")
    frames = {5: [openpose_frame(values[0])], 6: [], 8: [openpose_frame(values[1])]}
    (sequence,) = read(openpose_files(tmp_path / "clip", frames))
    assert sequence.confidence.any(1).tolist() == [True, False, False, True]
    np.testing.assert_allclose(sequence.points[3], values[1, :, :2])


def test_openpose_body_of_18_and_parts_left_out(tmp_path: Path) -> None:
    body = scored("openpose_18")[0].ravel().tolist()
    for person in ({"pose_keypoints": body}, {"pose_keypoints_2d": body, "face_keypoints_2d": []}):
        (sequence,) = read(openpose_files(tmp_path / "clip", {0: [person]}))
        assert sequence.layout == "openpose_130" and sequence.confidence[0].sum() > 0
        assert not sequence.confidence[0, 18:].any()


def test_openpose_clips_may_share_a_folder(tmp_path: Path) -> None:
    frame = openpose_frame(scored("openpose_137")[0])
    for name in ("b", "a"):
        openpose_files(tmp_path / "clips", {0: [frame], 1: [frame]}, name)
    assert [(s.id, len(s)) for s in read(tmp_path)] == [("clips/a", 2), ("clips/b", 2)]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({0: [], 1: []}, "nobody in any frame"),
        ({0: [{"pose_keypoints_2d": [1.0] * 74}]}, "its pose is no list"),
        ({0: [{"pose_keypoints_2d": [1.0] * 72}]}, "bodies of 24 points; wanted 25 or 18"),
        ({0: [{"pose_keypoints_2d": [1.0] * 75, "face_keypoints_2d": [1.0] * 207}]}, "69 points of face; wanted 70"),
        ({0: [{"pose_keypoints_2d": ["x"] * 75}]}, "its pose is no list of numbers"),
        ({0: [7]}, "a person that is a int"),
        ({0: [{}]}, "0 points of pose"),
        ({0: [], 10**12: []}, "2 frames between 0 and 1000000000000"),
        ({0: [{"pose_keypoints_2d": [1.0] * 75}], 1: [{"pose_keypoints_2d": [1.0] * 54}]}, "bodies of 18, 25"),
    ],
)
def test_bad_openpose_frames_are_refused(tmp_path: Path, frames: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read(openpose_files(tmp_path / "clip", frames)))


def mmpose_frames(values: np.ndarray) -> list[dict]:
    return [
        {"frame_id": t, "instances": [{"keypoints": v[:, :2].tolist(), "keypoint_scores": v[:, 2].tolist()}]}
        for t, v in enumerate(values)
    ]


def test_mmpose_shapes_and_orders(tmp_path: Path) -> None:
    frames = mmpose_frames(scored("coco_wholebody_133"))
    shapes = [frames, frames[::-1], {"instance_info": frames}, [frame["instances"] for frame in frames]]
    found = []
    for i, shape in enumerate(shapes):
        (tmp_path / f"{i}.json").write_text(json.dumps(shape))
        (sequence,) = read(tmp_path / f"{i}.json")
        found.append(sequence.points)
    for points in found[1:]:
        np.testing.assert_array_equal(points, found[0])


def test_mmpose_frames_without_people_are_unseen(tmp_path: Path) -> None:
    frames = mmpose_frames(scored("coco_17"))
    frames[2]["instances"] = []
    (tmp_path / "a.json").write_text(json.dumps(frames))
    (sequence,) = read(tmp_path / "a.json")
    assert sequence.layout == "coco_17" and not sequence.confidence[2].any() and sequence.confidence[3].any()


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({"keypoints": [[1, 2]] * 74, "keypoint_scores": [1] * 74}, "people of 74, 133 landmarks"),
        ({"keypoints": [[1, 2]] * 133, "keypoint_scores": [1] * 4}, r"scores of shape \(4,\)"),
        ({"keypoints": [[1]] * 133, "keypoint_scores": [1] * 133}, r"keypoints of shape \(133, 1\)"),
        ({"keypoints": 7}, r"frame 1: keypoints of shape \(\) without scores"),
        ([], "an instance without keypoints"),
    ],
)
def test_bad_mmpose_instances_are_refused(tmp_path: Path, instance: object, message: str) -> None:
    frames = mmpose_frames(scored("coco_wholebody_133"))
    frames[1]["instances"] = [instance]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    with pytest.raises(DataError, match=message):
        list(read(tmp_path / "a.json"))


def test_mediapipe_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for t in range(12):
        np.save(tmp_path / f"{t}.npy", np.full(258, (t + 1) / 100))
    (sequence,) = read(tmp_path)
    np.testing.assert_allclose(sequence.points[:, 0, 0], np.arange(1, 13) / 100, rtol=1e-6)


def test_mediapipe_hands_that_were_not_found_are_unseen(tmp_path: Path) -> None:
    frames = vectors("mediapipe_75")
    frames[2, -63:] = 0
    np.save(tmp_path / "a.npy", frames)
    (sequence,) = read(tmp_path / "a.npy")
    right = LAYOUTS["mediapipe_75"].index("right_hand.wrist")
    assert not sequence.confidence[2, right:].any() and sequence.confidence[1, right:].all()
    assert sequence.unit == "normalized"


def test_mediapipe_frames_of_unequal_length_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.ones(258))
    np.save(tmp_path / "1.npy", np.ones(1662))
    with pytest.raises(DataError, match="1.npy: an array of shape .1662,.; wanted 258 or 1662"):
        list(read(tmp_path))


def test_skels_lines_without_names_are_numbered(tmp_path: Path) -> None:
    path = skels(tmp_path)
    for suffix in (".files", ".text"):
        path.with_suffix(suffix).unlink()
    path.write_text(path.read_text() * 2)
    assert [(s.id, s.text, s.split) for s in read(path)] == [("dev/1", None, "dev"), ("dev/2", None, "dev")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.rpartition(" ")[0] + "\n", "905 numbers; wanted 151 a frame"),
        (lambda line: line.replace(" ", " x", 1), "no line of numbers"),
        (lambda line: "\n", "0 numbers"),
    ],
)
def test_bad_skels_lines_are_refused(change, message: str, tmp_path: Path) -> None:
    path = skels(tmp_path)
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=f"dev.skels: line 1.*{message}"):
        list(read(path))


def test_skels_with_more_names_than_lines_are_refused(tmp_path: Path) -> None:
    path = skels(tmp_path)
    path.with_suffix(".files").write_text("dev/clip\ndev/other\n")
    with pytest.raises(DataError, match="1 lines; wanted as many as its .files"):
        list(read(path))


def unisign_clip(values: np.ndarray, **more: object) -> dict:
    return {"keypoints": [v[None, :, :2] for v in values], "scores": [v[None, :, 2] for v in values], **more}


def test_unisign_reads_from_start_to_end(tmp_path: Path) -> None:
    values = scored("coco_wholebody_133")
    (sequence,) = read(dump(tmp_path / "a.pkl", unisign_clip(values, start=2, end=5)))
    np.testing.assert_array_equal(sequence.points, values[2:5, :, :2])


def test_unisign_people_may_come_and_go(tmp_path: Path) -> None:
    values = scored("coco_wholebody_133")
    clip = unisign_clip(values)
    small = np.concatenate([values[1][None, :, :2] / 4 + 900, clip["keypoints"][1]])
    clip["keypoints"][1], clip["scores"][1] = small, np.ones((2, 133), np.float32)
    clip["keypoints"][3], clip["scores"][3] = np.zeros((0, 133, 2)), np.zeros((0, 133))
    (sequence,) = read(dump(tmp_path / "a.pkl", clip))
    np.testing.assert_array_equal(sequence.points[[0, 1, 2, 4]], values[[0, 1, 2, 4], :, :2])
    assert not sequence.confidence[3].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 3, "end": 3}, "start 3 and end 3 of 6 frames"),
        ({"end": 7}, "start 0 and end 7 of 6"),
        ({"start": "a"}, "start a"),
        ({"scores": [np.ones((1, 132))] * 6}, r"scores of shape \(6, 1, 132\)"),
        ({"keypoints": []}, r"keypoints of shape \(0,\)"),
        ({"keypoints": [np.ones((1, 133, 2)), np.ones((1, 17, 2))] * 3}, "frames of 2 shapes"),
    ],
)
def test_bad_unisign_clips_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        list(read(dump(tmp_path / "a.pkl", unisign_clip(scored("coco_wholebody_133")) | change)))


def test_glofe_tells_the_two_orders_of_137_apart(tmp_path: Path) -> None:
    for layout in ("openpose_137", "glofe_137"):
        (sequence,) = read(dump(tmp_path / f"{layout}.pkl", scored(layout)))
        assert sequence.layout == layout


@pytest.mark.parametrize("name", ["frame_{}", "clip-{}", "img{}"])
def test_a_vector_of_one_frame_is_no_clip(tmp_path: Path, name: str) -> None:
    for number in range(3):
        np.save(tmp_path / f"{name.format(number)}.npy", np.full(258, 0.5))
    with pytest.raises(DataError, match=f"{name.format(0)}.npy: is one frame of 258 numbers.*their numbers"):
        list(read(tmp_path))


def test_clips_of_one_frame_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        np.save(tmp_path / f"frame_{number}.npy", pixels("mediapipe_75", 1))
    assert len(list(read(tmp_path))) == 3
    assert "3 of 3 clips have one frame: put frames that are one clip in one array or folder" in caplog.text
