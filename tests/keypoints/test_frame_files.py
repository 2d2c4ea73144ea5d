"""A file a picture, and lists of people: numbers are time, people are followed, other files are not lost."""

import json
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.layouts import LAYOUTS
from tests.keypoints.clips import FRAMES, dump, scored
from tests.keypoints.file_examples import people

TIMES = (3, 4, 7, 8, 9, 10)
UNSEEN = [False, False, True, True, False, False, False, False]


def results(layout: str, name: str = "{}.jpg") -> list[dict]:
    return [
        {"image_id": name.format(t), "category_id": 1, "keypoints": v.ravel().tolist(), "score": 1.0}
        for t, v in zip(TIMES, scored(layout), strict=True)
    ]


def write_alphapose(folder: Path) -> None:
    (folder / "alphapose-results.json").write_text(json.dumps(results("coco_17")))


def write_mmpose(folder: Path) -> None:
    for t, persons in zip(TIMES, people("coco_17"), strict=True):
        (folder / f"shot_{t:04d}.json").write_text(json.dumps(persons))


def write_sapiens(folder: Path) -> None:
    for t, persons in zip(TIMES, people("coco_17"), strict=True):
        (folder / f"{t}.json").write_text(json.dumps({"instance_info": persons}))


WRITERS = [write_alphapose, write_mmpose, write_sapiens]


@pytest.mark.parametrize("write", WRITERS)
def test_a_number_that_is_missing_is_an_unseen_frame(tmp_path: Path, write) -> None:
    write(tmp_path)
    (sequence,) = read(tmp_path)
    assert (~sequence.confidence.any(1)).tolist() == UNSEEN
    np.testing.assert_allclose(sequence.points[4], scored("coco_17")[2, :, :2], rtol=1e-6)
    np.testing.assert_allclose(sequence.confidence[4], scored("coco_17")[2, :, 2], rtol=1e-6)


@pytest.mark.parametrize("layout", ["halpe_26", "halpe_136", "coco_17", "coco_wholebody_133"])
def test_alphapose_in_each_of_its_layouts(tmp_path: Path, layout: str) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "alphapose-results.json").write_text(json.dumps(results(layout)))
    (sequence,) = read(tmp_path)
    assert (sequence.id, sequence.layout, len(sequence)) == ("clip", layout, 8)


def test_alphapose_follows_the_person_and_parts_videos(tmp_path: Path) -> None:
    small = results("coco_17", "a_{}.jpg")
    for one in small:
        one["keypoints"] = [number / 9 if i % 3 < 2 else number for i, number in enumerate(one["keypoints"])]
    (tmp_path / "two.json").write_text(
        json.dumps(small + results("coco_17", "a_{}.jpg") + results("coco_17", "b/{}.jpg"))
    )
    a, b = read(tmp_path)
    assert (a.id, b.id) == ("two/a", "two/b")
    np.testing.assert_array_equal(a.points, b.points)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [1.0, 2.0]}, "frame 3: keypoints of shape"),
        ({"keypoints": "x"}, "frame 3: keypoints of type"),
        ({"image_id": "face.jpg"}, "a picture named 'face.jpg'; wanted a number in its name"),
        ({"image_id": "9999.jpg"}, "6 frames between 4 and 9999"),
        ({"keypoints": [1.0, 2.0, 0.5]}, "people of 1, 17 landmarks"),
    ],
)
def test_bad_alphapose_results_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    found = results("coco_17")
    found[0] |= change
    (tmp_path / "a.json").write_text(json.dumps(found))
    with pytest.raises(DataError, match=message):
        list(read(tmp_path))


def test_pictures_in_which_nobody_is_are_unseen(tmp_path: Path) -> None:
    write_mmpose(tmp_path)
    for t in (0, 1, 2, 5):
        (tmp_path / f"shot_{t:04d}.json").write_text("[]")
    (sequence,) = read(tmp_path)
    assert (~sequence.confidence.any(1)).tolist() == [True] * 3 + UNSEEN


def test_videos_may_share_a_folder_of_pictures(tmp_path: Path) -> None:
    for name in ("b", "a"):
        for t, persons in enumerate(people("coco_17")):
            (tmp_path / f"{name}_{t}.json").write_text(json.dumps(persons))
    assert [(s.id, len(s)) for s in read(tmp_path)] == [("a", FRAMES), ("b", FRAMES)]


def test_a_broken_picture_is_refused_by_name_and_none_becomes_a_clip(tmp_path: Path) -> None:
    write_mmpose(tmp_path)
    (tmp_path / "shot_0003.json").write_text("[{")
    bad: list[DataError] = []
    with pytest.raises(DataError, match=r"shot_0003\.json"):
        list(read(tmp_path))
    assert list(read(tmp_path, on_bad=bad.append)) == [] and len(bad) == 1


def test_a_list_of_clips_with_scores_is_no_picture(tmp_path: Path) -> None:
    values = scored("coco_17")
    clip = {"keypoints": values[..., :2].tolist(), "keypoint_scores": values[..., 2].tolist()}
    (tmp_path / "all.json").write_text(json.dumps([clip | {"id": "a"}, clip | {"id": "b"}]))
    assert [(s.id, len(s)) for s in read(tmp_path)] == [("a", FRAMES), ("b", FRAMES)]


@pytest.mark.parametrize("write", [write_mmpose, write_sapiens])
def test_what_lies_beside_the_pictures_is_read_too(tmp_path: Path, write) -> None:
    write(tmp_path)
    (tmp_path / "below").mkdir()
    write(tmp_path / "below")
    dump(tmp_path / "other.pkl", scored("coco_17"))
    assert sorted(len(s) for s in read(tmp_path)) == [FRAMES, 8, 8]


def test_sapiens_points_by_name(tmp_path: Path) -> None:
    """Places as facebookresearch/sapiens lists them: hands from the tips to the wrist, the right one first."""
    names = LAYOUTS["sapiens_308"]
    known = {0: "body.nose", 9: "body.left_hip", 20: "body.right_heel", 21: "right_hand.thumb_tip", 69: "body.neck"}
    known |= {24: "right_hand.thumb_cmc", 25: "right_hand.index_finger_tip", 41: "right_hand.wrist"}
    known |= {42: "left_hand.thumb_tip", 61: "left_hand.pinky_mcp", 62: "left_hand.wrist", 178: "face.nose_tip"}
    known |= {
        97: "face.left_eye_outer",
        120: "face.right_eye_inner",
        188: "face.mouth_right",
        206: "face.mouth_inner_upper",
    }
    assert {place: names[place] for place in known} == known


def test_isharah_points_by_name() -> None:
    names = LAYOUTS["isharah_86"]
    known = {
        0: "right_hand.wrist",
        21: "left_hand.wrist",
        42: "face.mouth_upper",
        47: "face.mouth_right",
        61: "body.nose",
    }
    known |= {56: "face.mouth_left", 72: "body.left_shoulder", 85: "body.right_hip"}
    assert {place: names[place] for place in known} == known


PERSONS = {
    "scores apart": lambda v: {"keypoints": v[:, :2].tolist(), "keypoint_scores": v[:, 2].tolist()},
    "triples": lambda v: {"keypoints": v.tolist()},
    "one list": lambda v: {"keypoints": v.ravel().tolist()},
}
VIDEOS = {
    "frames": lambda persons: [{"frame_id": t, "instances": one} for t, one in enumerate(persons)],
    "returned": lambda persons: [{"predictions": [one], "visualization": []} for one in persons],
    "predictions": lambda persons: {"predictions": persons, "visualization": []},
}


@pytest.mark.parametrize("video", VIDEOS)
@pytest.mark.parametrize("person", PERSONS)
def test_forms_of_people_and_of_videos_of_mmpose(tmp_path: Path, person: str, video: str) -> None:
    values = scored("coco_wholebody_133")
    if video == "predictions" and person != "scores apart":
        pytest.skip("lists of people without scores beside them are other files")
    tree = VIDEOS[video]([[PERSONS[person](v)] if t != 2 else [] for t, v in enumerate(values)])
    (tmp_path / "clip.json").write_text(json.dumps(tree))
    [found] = read(tmp_path)
    seen = np.arange(FRAMES) != 2
    assert found.id == "clip" and not found.confidence[2].any()
    np.testing.assert_allclose(found.points[seen], values[seen, :, :2])
    np.testing.assert_allclose(found.confidence[seen], values[seen, :, 2], rtol=1e-6)


def test_people_whose_third_number_is_no_score_are_refused(tmp_path: Path) -> None:
    frames = [{"frame_id": 0, "instances": [{"keypoints": (scored("coco_17")[0] * 9).tolist()}]}]
    (tmp_path / "clip.json").write_text(json.dumps(frames))
    with pytest.raises(DataError, match=r"keypoints of shape \(17, 3\) without scores.*x, y, score"):
        list(read(tmp_path))


def test_records_of_one_frame_without_ids_are_no_clips(tmp_path: Path) -> None:
    dump(tmp_path / "all.pkl", [{"keypoints": v[None], "bbox": [0, 0, 1, 1]} for v in scored("coco_wholebody_133")])
    with pytest.raises(DataError, match=r"a list of arrays of shape \(1, 133, 3\).*join the frames"):
        list(read(tmp_path))
    dump(tmp_path / "all.pkl", [{"id": str(i), "keypoints": v[None]} for i, v in enumerate(scored("coco_17"))])
    assert [len(one) for one in read(tmp_path)] == [1] * FRAMES
