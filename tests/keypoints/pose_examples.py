"""Examples of `.pose` files."""

from io import BytesIO
from pathlib import Path

import numpy as np
from pose_format import Pose
from pose_format.numpy import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions
from pose_format.utils.cocowholebody133_header import cocowholebody_components
from pose_format.utils.openpose import OpenPose_Components

from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE
from tests.keypoints.clips import SIZE, scored


def write_pose(
    path: Path,
    components: list[PoseHeaderComponent],
    values: np.ndarray,
    size: tuple[int, int] = SIZE,
    depth: np.ndarray | None = None,
) -> Path:
    width = max(len(component.format) for component in components) - 1
    data = np.zeros((len(values), 1, values.shape[1], width), np.float32)
    data[:, 0, :, :2] = values[..., :2]
    if depth is not None:
        data[:, 0, :, 2] = depth
    header = PoseHeader(0.2, PoseHeaderDimensions(*size, 0), components)
    buffer = BytesIO()
    Pose(header, NumPyPoseBody(25.0, np.ma.masked_array(data), values[:, None, :, 2])).write(buffer)
    path.write_bytes(buffer.getvalue())
    return path


def holistic(faces: int, world: bool) -> list[PoseHeaderComponent]:
    body, hand = ([name.split(".")[-1].upper() for name in names] for names in (MEDIAPIPE_POSE, HAND))
    parts = {"POSE": body, "FACE": [str(i) for i in range(faces)], "LEFT_HAND": hand, "RIGHT_HAND": hand}
    if world:
        parts["POSE_WORLD"] = body
    return [PoseHeaderComponent(f"{name}_LANDMARKS", points, [], [], "XYZC") for name, points in parts.items()]


def pose_openpose(folder: Path) -> Path:
    return write_pose(folder / "clip.pose", OpenPose_Components, scored("openpose_137"))


def pose_coco(folder: Path) -> Path:
    return write_pose(folder / "clip.pose", cocowholebody_components(), scored("coco_wholebody_133"))


def pose_holistic(folder: Path) -> Path:
    return write_pose(folder / "clip.pose", holistic(468, world=True), scored("mediapipe_576"))


def pose_hand(folder: Path) -> Path:
    return write_pose(folder / "clip.pose", holistic(468, world=False)[3:], scored("right_hand_21"))
