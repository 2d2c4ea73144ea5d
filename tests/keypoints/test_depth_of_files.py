"""Depth is kept wherever a file has it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sign_models.keypoints.formats import read
from tests.keypoints.signer import pixels

XY = pixels("mediapipe_75", 6) / (640, 480)
Z = np.random.default_rng(0).normal(0, 0.1, XY.shape[:2])
XYZ = np.concatenate([XY, Z[..., None]], -1)


def parted(xyz: np.ndarray) -> dict[str, np.ndarray]:
    return {"pose": xyz[:, :33], "left_hand": xyz[:, 33:54], "right_hand": xyz[:, 54:]}


def array(folder: Path, xyz: np.ndarray) -> None:
    np.save(folder / "clip.npy", xyz)


def vector(folder: Path, xyz: np.ndarray) -> None:
    np.save(folder / "clip.npy", xyz.reshape(6, -1))


def vector_with_visibility(folder: Path, xyz: np.ndarray) -> None:
    body = np.insert(xyz[:, :33], 3, 0.9, -1)
    np.save(folder / "clip.npy", np.concatenate([body.reshape(6, -1), xyz[:, 33:].reshape(6, -1)], 1))


def parts(folder: Path, xyz: np.ndarray) -> None:
    np.savez(folder / "clip.npz", **parted(xyz))


def files_of_parts(folder: Path, xyz: np.ndarray) -> None:
    for name, values in parted(xyz).items():
        (folder / name).mkdir()
        np.save(folder / name / "clip.npy", values)


def pickled_frames(folder: Path, xyz: np.ndarray) -> None:
    frames = [{name: values[t] for name, values in parted(xyz).items()} for t in range(6)]
    (folder / "clip.pkl").write_bytes(pickle.dumps(frames))


def frames_of_lists(folder: Path, xyz: np.ndarray) -> None:
    frames = [{name: values[t].tolist() for name, values in parted(xyz).items()} for t in range(6)]
    (folder / "clip.json").write_text(json.dumps(frames))


def tasks(folder: Path, xyz: np.ndarray) -> None:
    frames = [
        {
            f"{name}_landmarks": [{"x": x, "y": y, "z": z, "visibility": 0.9} for x, y, z in values[t].tolist()]
            for name, values in parted(xyz).items()
        }
        for t in range(6)
    ]
    (folder / "clip.json").write_text(json.dumps({"frames": frames}))


def table(folder: Path, xyz: np.ndarray) -> None:
    names = [f"{axis}_{part}_{k}" for part, v in parted(xyz).items() for k in range(v.shape[1]) for axis in "xyz"]
    np.savetxt(folder / "clip.csv", xyz.reshape(6, -1), delimiter=",", header=",".join(names), comments="")


def counted_table(folder: Path, xyz: np.ndarray) -> None:
    names = [f"{axis}{k}" for k in range(75) for axis in "xyz"]
    np.savetxt(folder / "clip.csv", xyz.reshape(6, -1), delimiter=",", header=",".join(names), comments="")


def long_table(folder: Path, xyz: np.ndarray) -> None:
    rows = ["frame,type,landmark_index,x,y,z"]
    for t in range(6):
        for part, values in parted(xyz).items():
            rows += [f"{t},{part},{k},{x},{y},{z}" for k, (x, y, z) in enumerate(values[t].tolist())]
    (folder / "clip.csv").write_text("\n".join(rows))


Writer = Callable[[Path, np.ndarray], None]


@pytest.mark.parametrize(
    "write",
    [
        array, vector, vector_with_visibility, parts, files_of_parts, pickled_frames, frames_of_lists, tasks, table,
        counted_table, long_table,
    ],
)  # fmt: skip
def test_depth_is_kept(write: Writer, tmp_path: Path) -> None:
    write(tmp_path, XYZ)
    (sequence,) = read(tmp_path)
    assert sequence.id == "clip" and sequence.layout == "mediapipe_75"
    np.testing.assert_allclose(sequence.points, XY, atol=1e-6)
    assert sequence.depth is not None
    np.testing.assert_allclose(sequence.depth, Z, atol=1e-6)


@pytest.mark.parametrize("write", [vector, tasks, table])
def test_a_depth_of_0_everywhere_is_none(write: Writer, tmp_path: Path) -> None:
    write(tmp_path, np.insert(XY, 2, 0, -1))
    (sequence,) = read(tmp_path)
    assert sequence.depth is None and (sequence.confidence > 0).all()


def test_a_third_number_is_told_by_all_frames(tmp_path: Path) -> None:
    """In a frame whose depths are all between 0 and 1 they are no scores."""
    values = np.array(XYZ)
    values[1, :, 2] = np.abs(values[1, :, 2])
    frames = [{"frame": t, "keypoints": frame.tolist()} for t, frame in enumerate(values)]
    (tmp_path / "clip.json").write_text(json.dumps(frames))
    (sequence,) = read(tmp_path)
    assert sequence.confidence.all() and (sequence.confidence == 1).all()
    np.testing.assert_allclose(sequence.depth, values[..., 2], atol=1e-6)
