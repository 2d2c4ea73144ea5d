import copy
import pickle

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints import layouts
from sign_models.keypoints.layout_files import load_layout
from sign_models.keypoints.layouts import (
    BONES,
    BY_COUNT,
    CANONICAL,
    LAYOUTS,
    MIRROR,
    PARTS,
    PLACE,
    layout_of,
    name_of,
    to_canonical,
)

COUNTS = {
    "mediapipe_75": 75, "mediapipe_178": 178, "mediapipe_543": 543, "mediapipe_553": 553, "mediapipe_576": 576,
    "mediapipe_586": 586, "coco_wholebody_133": 133, "halpe_136": 136, "openpose_130": 130, "openpose_135": 135,
    "openpose_137": 137, "hands_42": 42, "right_hand_21": 21,
}  # fmt: skip


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_a_count_names_its_layout(name: str, count: int) -> None:
    assert len(LAYOUTS[name]) == count
    assert layout_of(count) == name


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_are_unique_and_mapping_keeps_what_the_layout_holds(name: str) -> None:
    names = [n for n in LAYOUTS[name] if n != layouts.IGNORED]
    assert len(set(names)) == len(names)
    marks = np.arange(2 * len(LAYOUTS[name]), dtype=np.float32).reshape(1, -1, 2) + 1
    points, sure = to_canonical(marks, np.ones((1, len(LAYOUTS[name])), np.float32), name)
    assert points.shape == (1, len(CANONICAL), 2) and sure.shape == (1, len(CANONICAL))
    for i, landmark in enumerate(CANONICAL):
        if landmark in names:
            assert (points[0, i] == marks[0, LAYOUTS[name].index(landmark)]).all()
            assert sure[0, i] == 1
        elif sure[0, i] == 0:
            assert (points[0, i] == 0).all()


def test_a_substitute_is_the_mean_of_two_and_as_sure_as_the_less_sure() -> None:
    names = LAYOUTS["coco_wholebody_133"]
    points, confidence = np.zeros((1, 133, 2), np.float32), np.ones((1, 133), np.float32)
    for lid, x, sure in (("face.left_eye_upper_0", 2, 0.5), ("face.left_eye_upper_1", 4, 0.75)):
        points[0, names.index(lid)], confidence[0, names.index(lid)] = x, sure
    mapped, sure = to_canonical(points, confidence, "coco_wholebody_133")
    assert mapped[0, PLACE["face.left_eye_upper"]].tolist() == [3, 3]
    assert sure[0, PLACE["face.left_eye_upper"]] == 0.5


def test_a_landmark_of_another_part_serves_where_its_own_is_missing() -> None:
    held = {name: _held(name) for name in LAYOUTS}
    assert {"body.left_wrist", "body.right_wrist"} <= held["hands_42"]
    assert {"face.mouth_left", "face.nose_tip", "face.right_eye_outer"} <= held["mediapipe_75"]
    assert {"body.left_eye", "body.right_ear"} <= held["mediapipe_178"]
    assert {"left_hand.wrist", "right_hand.wrist"} <= held["openpose_135"]
    # But a wrist of a body without hands is no hand.
    assert not {n for n in held["coco_17"] if "hand" in n}


def _held(layout: str) -> set[str]:
    count = len(LAYOUTS[layout])
    _, sure = to_canonical(np.ones((1, count, 2), np.float32), np.ones((1, count), np.float32), layout)
    return {name for name, s in zip(CANONICAL, sure[0], strict=True) if s}


def test_full_body_layouts_hold_every_canonical_landmark() -> None:
    for name in ("coco_wholebody_133", "halpe_136", "openpose_135", "openpose_137", "mediapipe_543", "mediapipe_586"):
        assert _held(name) == set(CANONICAL), name


def test_parts_divide_the_canonical_landmarks_in_order() -> None:
    assert list(PARTS) == ["body", "left_hand", "right_hand", "face"]
    stops = [0] + [part.stop for part in PARTS.values()]
    assert [part.start for part in PARTS.values()] == stops[:-1] and stops[-1] == len(CANONICAL)
    for part, places in PARTS.items():
        assert all(name.startswith(part + ".") for name in CANONICAL[places])


def test_mirroring_twice_changes_nothing_and_swaps_sides() -> None:
    assert (MIRROR[MIRROR] == np.arange(len(CANONICAL))).all()
    assert CANONICAL[MIRROR[PLACE["left_hand.thumb_tip"]]] == "right_hand.thumb_tip"
    assert MIRROR[PLACE["body.nose"]] == PLACE["body.nose"]
    moved = [i for i in range(len(CANONICAL)) if MIRROR[i] != i]
    assert all(("left" in CANONICAL[i]) != ("right" in CANONICAL[i]) for i in moved)


def test_bones_are_mirror_images_of_each_other() -> None:
    bones = {frozenset(bone) for bone in BONES}
    assert {frozenset(int(MIRROR[i]) for i in bone) for bone in bones} == bones
    assert all(0 <= i < len(CANONICAL) for bone in BONES for i in bone)


def test_an_unknown_count_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match="99 landmarks.*133 .coco_wholebody_133") as raised:
        layout_of(99, place="clips.pkl")
    assert str(raised.value).startswith("clips.pkl: ")
    assert all(str(count) in raised.value.wanted for count in BY_COUNT)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'mediapipe_586'"):
        layouts.names_of("mediapipe_587")


def test_a_custom_layout_maps_by_name(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- body.nose\n- null\n- body.left_wrist\n- null\n")
    name = load_layout(path)
    points = np.arange(8, dtype=np.float32).reshape(1, 4, 2) + 1
    mapped, sure = to_canonical(points, np.ones((1, 4), np.float32), name)
    assert mapped[0, PLACE["body.left_wrist"]].tolist() == [5, 6]
    assert sure[0].sum() == 3  # the nose, also as the face's nose tip, and the wrist
    assert load_layout(path) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- body.left_wirst\n", "'body.left_wirst'.*'body.left_wrist'"),
        ("- body.nose\n- body.nose\n", "more than once"),
        ("- null\n", "no landmark that the models use"),
        ("body: nose\n", "not a list"),
        ("- [1, 2\n", "cannot be read"),
    ],
)
def test_a_wrong_custom_layout_is_refused(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_layout(path)


def test_known_names_are_a_known_layout() -> None:
    assert name_of(LAYOUTS["openpose_137"]) == "openpose_137"


def test_a_described_layout_carries_its_names_and_leaves_nothing_behind() -> None:
    before = dict(LAYOUTS)
    described = name_of(["body.nose", "an unknown landmark", "body.left_wrist"])
    assert layouts.names_of(described) == ("body.nose", layouts.IGNORED, "body.left_wrist")
    for same in (copy.deepcopy(described), pickle.loads(pickle.dumps(described)), name_of(layouts.names_of(described))):
        assert same == described and layouts.names_of(same) == layouts.names_of(described)
    assert name_of(["body.left_wrist", "_", "body.nose"]) != described
    with pytest.raises(DataError, match="unknown layout 'custom:3:"):
        layouts.names_of(str(described))
    assert before == LAYOUTS
