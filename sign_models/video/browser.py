"""MediaPipe Tasks for the browser: npm's package, fetched once, checked against browser.lock.json.

The page runs it with the same `.task` files as an extraction does, so that one extractor serves training and use.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from sign_models.errors import DataError, ResourceError
from sign_models.keypoints.extractor import extractor_line
from sign_models.video.landmarks import NAME
from sign_models.video.models import DOWNLOAD_TIMEOUT_S, ModelFiles, cache_folder

LOCK: dict[str, Any] = json.loads(resources.files("sign_models.video").joinpath("browser.lock.json").read_text())
PREFIX = "package/"  # of the members of an npm package


def browser_files(models: ModelFiles, folder: Path | None = None) -> dict[str, Path]:
    """Find all files that the page needs beside itself. The first use fetches the package.

    Args:
        models: The same as an extraction's.
        folder: Where to keep the package's files. None: in cache_folder().

    Returns:
        File by path of its URL.

    Raises:
        ResourceError: The package cannot be fetched.
        DataError: It is not what the lock file says.
    """
    folder = package_files(LOCK, folder)
    files = {f"mediapipe/{Path(name).name}": folder / name for name in LOCK["files"]}
    return files | {"models/pose.task": models.pose, "models/hand.task": models.hand}


def browser_extractor(models: ModelFiles) -> str:
    """Extractor of clips that the page makes.

    Args:
        models: That the page runs.

    Returns:
        Name, version and models, as keypoints.extractor writes them.
    """
    return extractor_line(NAME, f"web-{LOCK['version']}", models.checksums)


def package_files(lock: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Find the files of an npm package. The first use fetches it.

    Args:
        lock: Package, version, integrity and files, as browser.lock.json has them.
        folder: Where to keep the files. None: in cache_folder().

    Returns:
        The folder.

    Raises:
        ResourceError: The package cannot be fetched.
        DataError: It is not what the lock says.
    """
    folder = folder or cache_folder().parent / f"{Path(lock['package']).name}-{lock['version']}"
    if any(not _is_locked(folder / name, sha256) for name, sha256 in lock["files"].items()):
        unpack(fetch_package(lock), folder, lock)
    return folder


def fetch_package(lock: Mapping[str, Any] = LOCK) -> bytes:
    """Fetch a package by npm, and thus from whatever registry npm is set to.

    Args:
        lock: Names the package and its version.

    Returns:
        The archive.

    Raises:
        ResourceError: npm is not installed, or cannot fetch it.
    """
    package, remedy = f"{lock['package']}@{lock['version']}", "install Node.js with npm, and check npm's registry"
    npm = shutil.which("npm")
    if npm is None:
        raise ResourceError("npm is not installed", place=package, remedy=remedy)
    with tempfile.TemporaryDirectory(prefix="sign-models-") as scratch:
        command = [npm, "pack", "--silent", "--ignore-scripts", package]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ResourceError(f"not fetched in {DOWNLOAD_TIMEOUT_S} s", place=package, remedy=remedy) from error
        archives = list(Path(scratch).glob("*.tgz"))
        if done.returncode or not archives:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
            raise ResourceError(f"npm cannot fetch it ({last})", place=package, remedy=remedy)
        return archives[0].read_bytes()


def unpack(archive: bytes, folder: Path, lock: Mapping[str, Any] = LOCK) -> None:
    """Write the files that the lock names.

    Args:
        archive: Of the package.
        folder: Where to.
        lock: Integrity of the archive, and SHA-256 of each file.

    Raises:
        DataError: The archive or one of its files is another one. No file is written.
    """
    place = f"{lock['package']}@{lock['version']}"
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != lock["integrity"]:
        raise DataError(f"integrity {found}", place=place, wanted=lock["integrity"], remedy="check npm's registry")
    content: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as package:
        for name, sha256 in lock["files"].items():
            member = package.extractfile(PREFIX + name)
            data = member.read() if member else b""
            if hashlib.sha256(data).hexdigest() != sha256:
                raise DataError("is another file", place=f"{place}: {name}", wanted=f"SHA-256 {sha256}")
            content[name] = data
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(data)
        partial.replace(path)


def _is_locked(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


if __name__ == "__main__":  # `make demo`
    from sign_models.video.models import model_files

    made = browser_files(model_files())
    print(f"{len(made)} files of {LOCK['package']} {LOCK['version']} ({LOCK['licence']}) and its models")
