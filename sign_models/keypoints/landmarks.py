"""Landmarks of pose estimators by name, in their order. `layouts` combines them.

Names are "part.landmark". Left and right are the signer's own. A place whose landmark is not used is named "_".

Sources: MediaPipe Holistic (33 pose, 468 or 478 face mesh, 21 + 21 hand points), COCO-WholeBody (Jin et al., ECCV
2020), OpenPose's BODY_25, COCO, BODY_135, 70 face and 21 hand points, Halpe-136 of AlphaPose, Sapiens' 308
(GOLIATH_KPTS in lite/demo/classes_and_palettes.py of facebookresearch/sapiens), the reduced component sets of
pose-format. The mesh points that stand for the 68-point face were chosen by measurement on one clip that both
estimators saw: the median distance is 0.02 shoulder widths or less, but for the jaw's 0.03.
"""

from __future__ import annotations

from collections.abc import Iterable

IGNORED = "_"

FINGERS = ("thumb", "index_finger", "middle_finger", "ring_finger", "pinky")


def split(names: str) -> tuple[str, ...]:
    """Split a text into names.

    Args:
        names: Names separated by spaces.

    Returns:
        The names.
    """
    return tuple(names.split())


def prefixed(part: str, names: Iterable[str]) -> tuple[str, ...]:
    """Put the part in front of names, such as "body.nose".

    Args:
        part: "body", "left_hand", "right_hand", "face" or "world".
        names: Landmarks of the part. "_" is kept.

    Returns:
        The full names.
    """
    return tuple(IGNORED if name == IGNORED else f"{part}.{name}" for name in names)


HAND = ("wrist", "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip") + tuple(
    f"{finger}_{joint}" for finger in FINGERS[1:] for joint in ("mcp", "pip", "dip", "tip")
)
LEFT_HAND, RIGHT_HAND = prefixed("left_hand", HAND), prefixed("right_hand", HAND)

MEDIAPIPE_POSE = prefixed(
    "body",
    split(
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
        "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
        "left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee "
        "left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index"
    ),
)
MEDIAPIPE_WORLD = tuple(name.replace("body.", "world.") for name in MEDIAPIPE_POSE)

COCO_BODY = prefixed(
    "body",
    split(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
        "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
    ),
)
COCO_FEET = prefixed("body", split("left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel"))
OPENPOSE_BODY_25 = prefixed(
    "body",
    split(
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip "
        "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe "
        "left_small_toe left_heel right_big_toe right_small_toe right_heel"
    ),
)
OPENPOSE_BODY_18 = prefixed(
    "body",
    split(
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
        "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
    ),
)
OPENPOSE_BODY_8 = OPENPOSE_BODY_25[:8]
SKELS_BODY = OPENPOSE_BODY_8[:2] + OPENPOSE_BODY_8[5:8] + OPENPOSE_BODY_8[2:5]
# BODY_135 keeps the wrists in the body only; its hands start at the thumb.
OPENPOSE_135_BODY = COCO_BODY + ("body.neck", "body.head_top") + COCO_FEET
# COCO's with the neck at its end.
COCO_BODY_18 = COCO_BODY + ("body.neck",)
HUMAN36M_BODY = (
    *prefixed("body", split("mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle")),
    IGNORED,
    *prefixed("body", split("neck nose head_top left_shoulder left_elbow left_wrist")),
    *prefixed("body", split("right_shoulder right_elbow right_wrist")),
)
# Kinect's second version, as NTU RGB+D and CSL have it. Its head is taken for the nose.
KINECT_BODY_25 = (
    "body.mid_hip", IGNORED, "body.neck", "body.nose",
    *prefixed("body", split("left_shoulder left_elbow left_wrist")), IGNORED,
    *prefixed("body", split("right_shoulder right_elbow right_wrist")), IGNORED,
    *prefixed("body", split("left_hip left_knee left_ankle left_foot_index")),
    *prefixed("body", split("right_hip right_knee right_ankle right_foot_index")), IGNORED,
    *prefixed("body", split("left_index left_thumb right_index right_thumb")),
)  # fmt: skip
HALPE_BODY = (
    COCO_BODY
    + prefixed("body", split("head_top neck mid_hip left_big_toe right_big_toe left_small_toe right_small_toe"))
    + prefixed("body", split("left_heel right_heel"))
)

FACE_68 = prefixed(
    "face",
    tuple(f"right_jaw_{i}" for i in range(8))
    + ("chin",)
    + tuple(f"left_jaw_{i}" for i in reversed(range(8)))
    + tuple(f"right_brow_{i}" for i in range(5))
    + tuple(f"left_brow_{i}" for i in reversed(range(5)))
    + split("nose_bridge_0 nose_bridge_1 nose_bridge_2 nose_tip")
    + split("right_nostril_0 right_nostril_1 nose_base left_nostril_1 left_nostril_0")
    + split("right_eye_outer right_eye_upper_0 right_eye_upper_1 right_eye_inner right_eye_lower_1 right_eye_lower_0")
    + split("left_eye_inner left_eye_upper_1 left_eye_upper_0 left_eye_outer left_eye_lower_0 left_eye_lower_1")
    + split("mouth_right mouth_upper_right_0 mouth_upper_right mouth_upper mouth_upper_left mouth_upper_left_0")
    + split("mouth_left mouth_lower_left_0 mouth_lower_left mouth_lower mouth_lower_right mouth_lower_right_0")
    + split("mouth_inner_right mouth_inner_upper_right mouth_inner_upper mouth_inner_upper_left mouth_inner_left")
    + split("mouth_inner_lower_left mouth_inner_lower mouth_inner_lower_right"),
)
FACE_70 = FACE_68 + ("face.right_pupil", "face.left_pupil")

# Face mesh points that CANONICAL asks for; each is the mesh point nearest to its landmark of the 68, where the reduced
# mesh (128 contour points) has that one too.
MESH_NAMES: dict[int, str] = {
    127: "right_jaw_0", 93: "right_jaw_2", 172: "right_jaw_4", 149: "right_jaw_6", 152: "chin",
    356: "left_jaw_0", 323: "left_jaw_2", 397: "left_jaw_4", 378: "left_jaw_6",
    70: "right_brow_0", 52: "right_brow_2", 55: "right_brow_4",
    300: "left_brow_0", 282: "left_brow_2", 285: "left_brow_4",
    4: "nose_tip",
    33: "right_eye_outer", 159: "right_eye_upper", 133: "right_eye_inner", 145: "right_eye_lower",
    263: "left_eye_outer", 386: "left_eye_upper", 362: "left_eye_inner", 374: "left_eye_lower",
    61: "mouth_right", 37: "mouth_upper_right", 0: "mouth_upper", 267: "mouth_upper_left", 291: "mouth_left",
    17: "mouth_lower", 13: "mouth_inner_upper", 14: "mouth_inner_lower",
}  # fmt: skip
# The mesh points of MediaPipe's FACEMESH_CONTOURS, which pose-format's reduced holistic files keep.
MESH_CONTOURS = tuple(
    int(point)
    for point in split(
        "0 7 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 87 88 91 93 95 103 105 107 "
        "109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 158 159 160 161 162 163 172 173 176 178 181 "
        "185 191 234 246 249 251 263 267 269 270 276 282 283 284 285 288 291 293 295 296 297 300 308 310 311 312 314 "
        "317 318 321 323 324 332 334 336 338 356 361 362 365 373 374 375 377 378 379 380 381 382 384 385 386 387 388 "
        "389 390 397 398 400 402 405 409 415 454 466"
    )
)


def mesh(points: Iterable[int]) -> tuple[str, ...]:
    """Name points of MediaPipe's face mesh.

    Args:
        points: Indices in the mesh.

    Returns:
        Names of the landmarks that CANONICAL has, and names such as "face.mesh_7" for all others.
    """
    return prefixed("face", (MESH_NAMES.get(i, f"mesh_{i}") for i in points))


MESH_468, MESH_478 = mesh(range(468)), mesh(range(478))

# The 19 points of the lips that Isharah keeps: `lips` in utils/datasetv2.py of gufranSabri/Pose86K-CSLR-Isharah.
ISHARAH_LIPS = mesh((0, 17, 37, 39, 40, 61, 84, 91, 146, 181, 185, 267, 269, 270, 291, 314, 321, 375, 405))


def _sapiens() -> tuple[str, ...]:
    """The 308 points of Sapiens; of the face, those that the 68-point face has too."""
    body = tuple(name for name in COCO_BODY if not name.endswith("wrist")) + COCO_FEET
    # Every finger from its tip to its base, then the wrist.
    order = [0, *(4 * finger + joint for finger in range(5) for joint in (4, 3, 2, 1))]
    hands = [tuple(hand[i] for i in (*order[1:], order[0])) for hand in (RIGHT_HAND, LEFT_HAND)]
    face = {77: "chin", 178: "nose_tip", 188: "mouth_right", 189: "mouth_left", 190: "mouth_upper", 191: "mouth_lower"}
    face |= {206: "mouth_inner_upper", 207: "mouth_inner_lower"}
    for side, upper, lower in (("left", 96, 144), ("right", 120, 161)):  # ends and middles of the lash lines
        face |= {upper: f"{side}_eye_inner", upper + 1: f"{side}_eye_outer", upper + 2: f"{side}_eye_upper"}
        face[lower + 2] = f"{side}_eye_lower"
    places = prefixed("face", (face.get(i, IGNORED) for i in range(70, 308)))
    return (*body, *hands[0], *hands[1], *(IGNORED,) * 6, "body.neck", *places)


SAPIENS_308 = _sapiens()
