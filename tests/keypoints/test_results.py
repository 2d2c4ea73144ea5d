"""MediaPipe's results in JSON in every spelling, frames with numbers or timestamps, and tables of Holistic."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.tables.table_columns import cell_of
from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE
from tests.keypoints.signer import pixels

FRAMES = 6
WHOLE = pixels("mediapipe_75", FRAMES) / (640, 480)
FACED = pixels("mediapipe_543", FRAMES) / (640, 480)
PARTS = {"pose": slice(0, 33), "left_hand": slice(33, 54), "right_hand": slice(54, 75)}
Frame = dict[str, Any]


def points(values: np.ndarray, **more: float) -> list[dict[str, float]]:
    return [{"x": float(x), "y": float(y), "z": -0.1, **more} for x, y in values]


def python_holistic(t: int) -> Frame:
    """mp.tasks.vision.HolisticLandmarkerResult, as dataclasses.asdict writes it."""
    return {
        "face_landmarks": [], "pose_landmarks": points(WHOLE[t, PARTS["pose"]], visibility=0.9, presence=0.8),
        "pose_world_landmarks": points(np.ones((33, 2)), visibility=0.9),
        "left_hand_landmarks": points(WHOLE[t, PARTS["left_hand"]], visibility=0.0, presence=0.0),
        "right_hand_landmarks": points(WHOLE[t, PARTS["right_hand"]], visibility=0.0, presence=0.0),
    }  # fmt: skip


def web_holistic(t: int) -> Frame:
    """HolisticLandmarkerResult of tasks-vision: a list a person."""
    return {
        "poseLandmarks": [points(WHOLE[t, PARTS["pose"]], visibility=0.9)],
        "poseWorldLandmarks": [points(np.ones((33, 2)))],
        "leftHandLandmarks": [points(WHOLE[t, PARTS["left_hand"]], visibility=0)],
        "rightHandLandmarks": [points(WHOLE[t, PARTS["right_hand"]], visibility=0)],
    }


def old_holistic(t: int) -> Frame:
    """MessageToDict of mp.solutions.holistic."""
    named = {"pose_landmarks": "pose", "left_hand_landmarks": "left_hand", "right_hand_landmarks": "right_hand"}
    return {name: {"landmark": points(WHOLE[t, PARTS[part]], visibility=0.9)} for name, part in named.items()}


def two_tasks(t: int) -> Frame:
    """A PoseLandmarkerResult and a HandLandmarkerResult, whose sides are those of a mirrored picture."""
    hands = [points(WHOLE[t, PARTS[f"{side}_hand"]]) for side in ("right", "left")]
    sides = [[{"index": 0, "score": 0.9, "categoryName": side, "displayName": side}] for side in ("Left", "Right")]
    return {
        "pose": {
            "landmarks": [points(WHOLE[t, PARTS["pose"]], visibility=0.9)],
            "worldLandmarks": [points(np.ones((33, 2)))],
        },
        "hands": {"landmarks": hands, "worldLandmarks": [points(np.ones((21, 2)))] * 2, "handednesses": sides},
    }


def lists(t: int) -> Frame:
    return {name: WHOLE[t, part].tolist() for name, part in PARTS.items()}


SPELLINGS: dict[str, Callable[[int], Frame]] = {
    f.__name__: f for f in (python_holistic, web_holistic, old_holistic, two_tasks, lists)
}


def one(path: Path, frames: int = FRAMES, **options: object):
    (sequence,) = read(path, **options)
    assert (sequence.layout, sequence.unit, len(sequence)) == ("mediapipe_75", "normalized", frames)
    return sequence


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("bare", [True, False])
def test_results_in_one_file(tmp_path: Path, spelling: str, bare: bool) -> None:
    frames = [SPELLINGS[spelling](t) for t in range(FRAMES)]
    tree = frames if bare else {"fps": 30, "word": "tea", "width": 640, "height": 480, "frames": frames}
    (tmp_path / "clip.json").write_text(json.dumps(tree))
    sequence = one(tmp_path)
    np.testing.assert_allclose(sequence.points, WHOLE, rtol=1e-5)
    scored = 1 if spelling == "lists" else 0.9
    np.testing.assert_allclose(sequence.confidence[:, :33], scored, rtol=1e-6)
    assert sequence.confidence[:, 33:].all()
    if not bare:
        assert (sequence.fps, sequence.text, sequence.size) == (30, "tea", (640, 480))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_results_a_file_a_frame(tmp_path: Path, spelling: str) -> None:
    for t, number in enumerate((1, 2, 3, 6, 7, 8)):
        (tmp_path / f"frame_{number:04d}.json").write_text(json.dumps(SPELLINGS[spelling](t)))
    sequence = one(tmp_path, 8)
    assert np.flatnonzero(~sequence.confidence.any(1)).tolist() == [3, 4]
    np.testing.assert_allclose(sequence.points[[0, 1, 2, 5, 6, 7]], WHOLE, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "stamps", "fps"),
    [
        ("frame", (4, 5, 6, 9, 10, 11), None), ("frameNumber", (4, 5, 6, 9, 10, 11), None), ("frame_id", (0, 1, 2, 5, 6, 7), None),
        ("timestamp", (0, 40, 80, 200, 240, 280), 25), ("timestamp_ms", (7, 40, 74, 173, 207, 240), 30),
        ("time", (0.0, 0.04, 0.08, 0.2, 0.24, 0.28), 25), ("timestamp", (0, 40000, 80000, 200000, 240000, 280000), 25),
    ],
)  # fmt: skip
def test_numbers_and_stamps_of_frames_are_time(tmp_path: Path, name: str, stamps: tuple, fps: float | None) -> None:
    frames = [{name: stamp, **web_holistic(t)} for t, stamp in enumerate(stamps)]
    (tmp_path / "clip.json").write_text(json.dumps({"results": frames}))
    sequence = one(tmp_path, 8)
    assert np.flatnonzero(~sequence.confidence.any(1)).tolist() == [3, 4]
    assert sequence.fps == (None if fps is None else pytest.approx(fps, rel=0.02))


@pytest.mark.parametrize("form", ["keypoints", "landmarks", "by number"])
def test_frames_of_any_layout_with_numbers(tmp_path: Path, form: str) -> None:
    values = pixels("coco_17", FRAMES)
    numbers = (0, 1, 2, 5, 6, 7)
    tree: Any = [{"frame_index": n, form: v.tolist()} for n, v in zip(numbers, values, strict=True)]
    if form == "by number":
        tree = {"frames": {str(n): v.tolist() for n, v in zip(numbers, values, strict=True)}}
    (tmp_path / "clip.json").write_text(json.dumps(tree))
    (sequence,) = read(tmp_path)
    assert (sequence.layout, sequence.unit) == ("coco_17", "pixel")
    assert np.flatnonzero(~sequence.confidence.any(1)).tolist() == [3, 4]
    np.testing.assert_allclose(sequence.points[5], values[3], rtol=1e-6)


def test_what_was_not_found_is_unseen(tmp_path: Path) -> None:
    frames = [web_holistic(t) for t in range(FRAMES)]
    frames[1]["leftHandLandmarks"] = []
    frames[2]["poseLandmarks"] = None
    del frames[3]["rightHandLandmarks"]
    frames[4] = {}
    (tmp_path / "clip.json").write_text(json.dumps(frames))
    confidence = one(tmp_path).confidence
    unseen = {(t, name) for t in range(FRAMES) for name, part in PARTS.items() if not confidence[t, part].any()}
    assert unseen == {(1, "left_hand"), (2, "pose"), (3, "right_hand"), *((4, name) for name in PARTS)}


def test_a_face_is_kept(tmp_path: Path) -> None:
    frames = [web_holistic(t) | {"faceLandmarks": [points(FACED[t, 33:501])]} for t in range(FRAMES)]
    (tmp_path / "clip.json").write_text(json.dumps(frames))
    (sequence,) = read(tmp_path)
    assert sequence.layout == "mediapipe_543"
    np.testing.assert_allclose(sequence.points[:, 33:501], FACED[:, 33:501], rtol=1e-5)


def test_hands_alone_have_the_sides_that_the_file_gives(tmp_path: Path) -> None:
    def frame(t: int, sides: list[object]) -> Frame:
        hands = [points(WHOLE[t, PARTS[f"{side}_hand"]]) for side in ("left", "right")]
        return {"landmarks": hands, "handedness": sides}

    for sides in (["Left", "Right"], [[{"category_name": "Left"}], [{"category_name": "Right"}]]):
        (tmp_path / "clip.json").write_text(json.dumps([frame(t, sides) for t in range(FRAMES)]))
        (sequence,) = read(tmp_path)
        assert sequence.layout == "hands_42"
        np.testing.assert_allclose(sequence.points, WHOLE[:, 33:], rtol=1e-5)
    (tmp_path / "clip.json").write_text(
        json.dumps([frame(t, []) | {"hands": []} for t in range(FRAMES)]).replace("landmarks", "hand_landmarks")
    )
    with pytest.raises(DataError, match="frame 0: 2 hands called nothing; wanted Left or Right"):
        list(read(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poseLandmarks": points(np.ones((25, 2)))}, "25 or 33 landmarks of pose; wanted one of"),
        ({"frame": 3}, "frames with a number or a timestamp beside others without"),
        ({"poseLandmarks": [{"x": 1, "y": 2}, 7]}, "frame 1: poseLandmarks: .*no regular array"),
        (7, "frame 1: is a int"),
    ],
)
def test_bad_results_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    frames: list[Any] = [python_holistic(t) for t in range(FRAMES)]
    frames[1] = {**frames[1], **change} if isinstance(change, dict) else change
    if "poseLandmarks" in str(change):
        frames[1].pop("pose_landmarks")
    (tmp_path / "clip.json").write_text(json.dumps(frames))
    with pytest.raises(DataError, match=rf"clip\.json: {message}"):
        list(read(tmp_path))


@pytest.mark.parametrize("tree", [
    {"0": WHOLE.tolist(), "1": WHOLE.tolist()},
    [{"id": "0", "keypoints": WHOLE.tolist()}, {"id": "1", "keypoints": WHOLE.tolist()}],
])  # fmt: skip
def test_clips_by_number_or_in_a_list_are_no_frames(tmp_path: Path, tree: Any) -> None:
    (tmp_path / "all.json").write_text(json.dumps(tree))
    assert [(s.id, len(s)) for s in read(tmp_path)] == [("0", FRAMES), ("1", FRAMES)]


# Tables of Holistic ---------------------------------------------------------------------------------------------------

WRITTEN = {
    "pose_0_x": lambda part, i, axis: f"{part}_{i}_{axis}",
    "pose_x_0": lambda part, i, axis: f"{part}_{axis}_{i}",
    "pose_landmark_0_x": lambda part, i, axis: f"{part}_landmark_{i}_{axis}",
    "x_pose_0": lambda part, i, axis: f"{axis}_{part}_{i}",
    "poseLandmarks_0_x": lambda part, i, axis: (
        {"pose": "pose", "left_hand": "leftHand", "right_hand": "rightHand"}[part] + f"Landmarks_{i}_{axis}"
    ),
    "lh_0_x": lambda part, i, axis: {"pose": "pose", "left_hand": "lh", "right_hand": "rh"}[part] + f"_{i}_{axis}",
    "pose_NOSE_x": lambda part, i, axis: f"{part}_{_name(part, i).upper()}_{axis}",
    "nose_x": lambda part, i, axis: f"{_name(part, i)}_{axis}" if part == "pose" else f"{part}_{_name(part, i)}_{axis}",
}


def _name(part: str, i: int) -> str:
    return MEDIAPIPE_POSE[i].removeprefix("body.") if part == "pose" else HAND[i]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_row_a_frame_in_every_order_of_part_landmark_and_axis(tmp_path: Path, name: str) -> None:
    columns: dict[str, list] = {"video_id": ["a"] * FRAMES, "frame": [0, 1, 2, 5, 6, 7]}
    for part, places in PARTS.items():
        for i, k in enumerate(range(places.start, places.stop)):
            for a, axis in enumerate("xy"):
                columns[WRITTEN[name](part, i, axis)] = [f"{v:.6f}" for v in WHOLE[:, k, a]]
            if part == "pose":
                columns[WRITTEN[name](part, i, "visibility")] = [0.9] * FRAMES
    hidden = WRITTEN[name]("left_hand", 0, "x"), WRITTEN[name]("left_hand", 0, "y")
    for column in hidden:
        columns[column][1] = ""
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "clip.csv").write_text("\n".join(rows) + "\n")
    sequence = one(tmp_path, 8)
    assert sequence.id == "a" and np.flatnonzero(~sequence.confidence.any(1)).tolist() == [3, 4]
    np.testing.assert_allclose(sequence.points[5:], WHOLE[3:], atol=1e-5)
    np.testing.assert_allclose(sequence.confidence[0, :33], 0.9, rtol=1e-6)
    assert not sequence.confidence[1, 33] and sequence.confidence[1, 34]


@pytest.mark.parametrize(
    ("header", "kinds"),
    [
        ("frame,type,landmark_id,x,y,z,visibility", ("pose", "left_hand", "right_hand")),
        ("frame_idx,part,landmark,X,Y,Z,visibility", ("Pose", "leftHand", "rightHand")),
        ("Frame,landmark_type,index,x,y,z,visibility", ("pose", "hand_left", "hand_right")),
        ("frame,type,id,x,y,z,visibility", ("pose_landmarks", "left_hand_landmarks", "right_hand_landmarks")),
    ],
)
def test_a_row_a_landmark_in_other_words(tmp_path: Path, header: str, kinds: tuple[str, ...]) -> None:
    rows = [
        f"{t},{kind},{i},{x:.6f},{y:.6f},-0.1,0.9"
        for t in range(FRAMES)
        for kind, places in zip(kinds, PARTS.values(), strict=True)
        for i, (x, y) in enumerate(WHOLE[t, places])
    ]
    (tmp_path / "clip.csv").write_text("\n".join([header, *rows]) + "\n")
    np.testing.assert_allclose(one(tmp_path).points, WHOLE, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["text_x", "frame_1_x", "class", "score_1", "left_x", "time_x", "x", "pose_x", "x_1_2"]
)
def test_other_columns_are_no_landmarks(name: str) -> None:
    assert cell_of(name) is None


def test_a_table_of_scores_alone_is_refused_and_one_odd_column_does_not_decide(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("frame,pose_0_c,pose_1_c,pose_2_c,pose_3_c\n0,1,1,1,1\n")
    with pytest.raises(DataError, match=r"scores\.csv: no landmark with x and y"):
        list(read(tmp_path / "scores.csv"))
    values = pixels("coco_17", 2)
    columns = [f"{axis}{k}" for k in range(17) for axis in "xy"]
    rows = [",".join(map(str, [*v.ravel(), 1])) for v in values]
    (tmp_path / "a.csv").write_text("\n".join([",".join([*columns, "nose_c"]), *rows]) + "\n")
    (sequence,) = read(tmp_path / "a.csv")
    assert sequence.layout == "coco_17"
