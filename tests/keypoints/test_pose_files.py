"""`.pose`: every version and component set, and headers that lie."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pose_format.pose_header import PoseHeaderComponent
from pose_format.utils.alphapose import get_alphapose_components
from pose_format.utils.cocowholebody133_header import cocowholebody_components
from pose_format.utils.openpose import OpenPose_Components
from pose_format.utils.openpose_135 import OpenPose_Components as OpenPose135_Components

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.layouts import names_of
from sign_models.keypoints.normalise import normalise
from tests.keypoints import here
from tests.keypoints.clips import FRAMES, scored
from tests.keypoints.pose_examples import holistic, write_pose

SETS = {
    "openpose_137": OpenPose_Components,
    "openpose_135": OpenPose135_Components,
    "coco_wholebody_133": cocowholebody_components(),
    "halpe_136": get_alphapose_components(),
    "mediapipe_543": holistic(468, world=False),
    "mediapipe_553": holistic(478, world=False),
    "mediapipe_576": holistic(468, world=True),
    "mediapipe_586": holistic(478, world=True),
    "hands_42": holistic(468, world=False)[2:],
    "right_hand_21": holistic(468, world=False)[3:],
    "left_hand_21": holistic(468, world=False)[2:3],
}


@pytest.mark.parametrize("layout", SETS)
def test_component_sets_are_known_by_their_names(layout: str, tmp_path: Path) -> None:
    values = scored(layout)
    (sequence,) = read(write_pose(tmp_path / "clip.pose", SETS[layout], values))
    assert (sequence.id, sequence.layout, sequence.fps, sequence.size) == ("clip", layout, 25, (640, 480))
    np.testing.assert_array_equal(sequence.points, values[..., :2])
    np.testing.assert_array_equal(sequence.confidence, values[..., 2])


def test_a_selection_of_points_is_mapped_by_name(tmp_path: Path) -> None:
    body = PoseHeaderComponent("POSE_LANDMARKS", ["RIGHT_SHOULDER", "NOSE", "LEFT_SHOULDER"], [], [], "XYZC")
    values = np.array([[[100, 200, 1], [150, 140, 1], [200, 200, 1]]] * 3, np.float32)
    (sequence,) = read(write_pose(tmp_path / "clip.pose", [body], values))
    assert names_of(sequence.layout) == ("body.right_shoulder", "body.nose", "body.left_shoulder")
    out = normalise(sequence)
    np.testing.assert_allclose(out[0, 0], [0, -0.6, 1], atol=1e-6)


def test_components_nobody_knows_are_left_out_or_refused(tmp_path: Path) -> None:
    body = holistic(468, world=False)[0]
    tail = PoseHeaderComponent("TAIL", ["ROOT", "TIP"], [], [], "XYZC")
    values = np.concatenate([scored("mediapipe_pose_33"), np.ones((FRAMES, 2, 3), np.float32)], 1)
    (sequence,) = read(write_pose(tmp_path / "clip.pose", [body, tail], values))
    assert np.isfinite(normalise(sequence)).all()
    with pytest.raises(DataError, match="components TAIL; wanted one of POSE_LANDMARKS"):
        list(read(write_pose(tmp_path / "tail.pose", [tail], np.ones((FRAMES, 2, 3), np.float32))))


def test_centred_coordinates_stay_as_they_are(tmp_path: Path) -> None:
    values = scored("coco_wholebody_133")
    centred = values.copy()
    centred[..., :2] = (values[..., :2] - [320, 160]) / 120
    (pixels,) = read(write_pose(tmp_path / "a.pose", cocowholebody_components(), values))
    (body,) = read(write_pose(tmp_path / "b.pose", cocowholebody_components(), centred))
    assert (pixels.unit, body.unit) == ("pixel", "centered")
    np.testing.assert_allclose(normalise(body), normalise(pixels), atol=1e-4)


def header(version: float, components: list[tuple[str, list[str]]], form: str = "XYC", counts=None) -> bytes:
    """A header of any version, spelt by hand after docs/specs of pose-format."""

    def text(string: str) -> bytes:
        return struct.pack("<H", len(string)) + string.encode()

    out = struct.pack("<f4H", version, 640, 480, 0, len(components))
    for name, points in components:
        out += text(name) + text(form) + struct.pack("<3H", *(counts or (len(points), 0, 0)))
        out += b"".join(map(text, points))
    return out


NAMES = ["LEFT_SHOULDER", "RIGHT_SHOULDER", "NOSE"]
BODY = [("POSE_LANDMARKS", NAMES)]
VALUES = np.array([[[200, 200], [100, 200], [150, 140]]] * 4, np.float32)
SCORES = np.full((4, 3), 0.5, np.float32)


def version_0() -> bytes:
    frames = [
        struct.pack("<Hh", 1, 0) + np.column_stack([v, s]).astype("<f4").tobytes()
        for v, s in zip(VALUES, SCORES, strict=True)
    ]
    return header(0.0, BODY) + struct.pack("<2H", 24, len(frames)) + b"".join(frames)


def version_1() -> bytes:
    return header(0.1, BODY) + struct.pack("<3H", 24, 4, 1) + VALUES.tobytes() + SCORES.tobytes()


def version_2() -> bytes:
    return header(0.2, BODY) + struct.pack("<fIH", 24, 4, 1) + VALUES.tobytes() + SCORES.tobytes()


@pytest.mark.parametrize("write", [version_0, version_1, version_2])
def test_every_version_is_read(write, tmp_path: Path) -> None:
    (tmp_path / "clip.pose").write_bytes(write())
    (sequence,) = read(tmp_path / "clip.pose")
    np.testing.assert_array_equal(sequence.points, VALUES)
    np.testing.assert_array_equal(sequence.confidence, SCORES)
    assert sequence.fps == 24


def test_a_frame_without_people_is_unseen(tmp_path: Path) -> None:
    data = version_0()
    body = header(0.0, BODY)
    frames = data[len(body) + 4 :]
    (tmp_path / "clip.pose").write_bytes(body + struct.pack("<2H", 24, 5) + frames + struct.pack("<H", 0))
    (sequence,) = read(tmp_path / "clip.pose")
    assert sequence.confidence.shape == (5, 3) and not sequence.confidence[4].any()


def test_of_several_people_one_is_followed(tmp_path: Path) -> None:
    near, far = VALUES, VALUES * 0.5 + 300
    people = np.stack([far, near], 1)
    people[2] = people[2, ::-1]  # the estimator swaps them for a frame
    body = struct.pack("<fIH", 24, 4, 2) + people.tobytes() + np.ones((4, 2, 3), np.float32).tobytes()
    (tmp_path / "clip.pose").write_bytes(header(0.2, BODY) + body)
    (sequence,) = read(tmp_path / "clip.pose")
    np.testing.assert_array_equal(sequence.points, near)


LIES = {
    "four billion frames": header(0.2, BODY) + struct.pack("<fIH", 24, 2**32 - 1, 1) + VALUES.tobytes(),
    "65,535 people": header(0.2, BODY) + struct.pack("<fIH", 24, 4, 65535) + VALUES.tobytes(),
    "no people": header(0.2, BODY) + struct.pack("<fIH", 24, 4, 0),
    "no people in 0.1": header(0.1, BODY) + struct.pack("<3H", 24, 4, 0),
    "no frames": header(0.2, BODY) + struct.pack("<fIH", 24, 0, 1),
    "65,535 empty frames": header(0.0, [("A", ["B"] * 4000)]) + struct.pack("<2H", 24, 65535) + bytes(2 * 65535),
    "65,535 components": struct.pack("<f4H", 0.2, 640, 480, 0, 65535),
    "65,535 points": header(0.2, BODY, counts=(65535, 0, 0)),
    "no points": header(0.2, [("POSE_LANDMARKS", [])]) + struct.pack("<fIH", 24, 4, 1),
    "65,535 limbs": header(0.2, BODY, counts=(3, 65535, 65535)) + VALUES.tobytes(),
    "another format": header(0.2, BODY, form="XYZWC") + struct.pack("<fIH", 24, 4, 1) + VALUES.tobytes(),
    "another version": header(0.3, BODY) + struct.pack("<fIH", 24, 4, 1) + VALUES.tobytes(),
    "NaN as version": header(float("nan"), BODY),
    "a name that is no text": version_2().replace(b"NOSE", b"\xff\xfe\xff\xfe"),
    "a name without end": struct.pack("<f4H", 0.2, 640, 480, 0, 1) + struct.pack("<H", 60000) + b"POSE",
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "clip.pose").write_bytes(LIES[name])
    import pose_format  # noqa: F401  its import is not the file's doing

    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="^clip.pose: "):
            list(read(tmp_path / "clip.pose"))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("write", [version_0, version_2])
def test_every_truncation_is_refused(write, tmp_path: Path) -> None:
    data = write()
    for length in range(1, len(data)):
        (tmp_path / "clip.pose").write_bytes(data[:length])
        with pytest.raises(DataError, match="^clip.pose: "):
            list(here.read(tmp_path / "clip.pose"))


def test_depth_is_kept_where_every_component_has_it(tmp_path: Path) -> None:
    values = scored("mediapipe_543")
    depth = np.random.default_rng(0).normal(size=values.shape[:2]).astype(np.float32)
    flat, deep = tmp_path / "flat.pose", tmp_path / "deep.pose"
    write_pose(flat, holistic(468, world=False), values)
    write_pose(deep, holistic(468, world=False), values, depth=depth)
    (without,), (found,) = read(flat), read(deep)
    assert without.depth is None
    np.testing.assert_array_equal(found.depth, depth)
    np.testing.assert_array_equal(found.points, without.points)
    np.testing.assert_array_equal(normalise(found)[..., :3], normalise(without))
