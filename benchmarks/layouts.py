"""One corpus in four of the field's layouts: imported, and represented by one temporal model; how far they differ.

usage: python -m benchmarks.layouts FOLDER [--clips N]

FOLDER holds video_sequences.pkl, {id: (T, 75, 3)} of MediaPipe's landmarks in shoulder widths, as ../shared/data/cafe
makes it, and text_data.json. The preset `quick` trains skeleton and temporal on the pickle as it is. Runs go to a
tracking store of their own, which is removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pose_format import Pose
from pose_format.numpy import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions
from pyarrow import parquet

from benchmarks.real_files import command
from sign_models.data.representations import FILE, read_representations
from sign_models.keypoints.formats import read
from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE

WIDTH, HEIGHT = 640, 480
UNIT = 0.15 * np.array((HEIGHT / WIDTH, 1), np.float32)  # a shoulder width in fractions of the picture
MIDDLE = np.float32(0.5)
POSE = len(MEDIAPIPE_POSE)
TYPES = np.array(["pose"] * POSE + ["left_hand"] * len(HAND) + ["right_hand"] * len(HAND))
INDEX = np.array([*range(POSE), *range(len(HAND)), *range(len(HAND))], np.int16)
SCHEMA = pa.schema(
    {"sequence_id": pa.string(), "frame": pa.int16(), "type": pa.string(), "landmark_index": pa.int16()}
    | dict.fromkeys(("x", "y", "visibility"), pa.float32())
)

Clips = dict[str, np.ndarray]  # (T, 75, 3) x and y in fractions of the picture, confidence


def in_pixels(clip: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = clip[..., :2] * np.array((WIDTH, HEIGHT), np.float32)
    return pixels


def write_pickle(clips: Clips, folder: Path) -> None:
    """Arrays by id in shoulder widths."""
    bodies = {id: np.dstack([(clip[..., :2] - MIDDLE) / UNIT, clip[..., 2]]) for id, clip in clips.items()}
    (folder / "video_sequences.pkl").write_bytes(pickle.dumps(bodies))


def write_vectors(clips: Clips, folder: Path) -> None:
    """MediaPipe Holistic's 258 numbers a frame, a file a clip."""
    for id, clip in clips.items():
        x, y, sure = np.moveaxis(clip, -1, 0)
        numbers = np.stack([x, y, np.zeros_like(x), sure], -1) * (sure > 0)[..., None]
        parts = numbers[:, :POSE].reshape(len(clip), -1), numbers[:, POSE:, :3].reshape(len(clip), -1)
        np.save(folder / f"{id}.npy", np.concatenate(parts, 1))


def write_table(clips: Clips, folder: Path) -> None:
    """A row a landmark, all clips in one Parquet file."""
    with parquet.ParquetWriter(folder / "landmarks.parquet", SCHEMA) as writer:
        for id, clip in clips.items():
            x, y, sure = np.where(clip[..., 2] > 0, np.moveaxis(clip, -1, 0), np.nan).reshape(3, -1)
            count, rows = len(clip), clip.shape[0] * clip.shape[1]
            frames = np.repeat(np.arange(count, dtype=np.int16), len(TYPES))
            columns = [[id] * rows, frames, np.tile(TYPES, count), np.tile(INDEX, count), x, y, np.nan_to_num(sure)]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))


def write_pose(clips: Clips, folder: Path) -> None:
    """.pose in pixels, a file a clip."""
    names = [name.removeprefix("body.").upper() for name in MEDIAPIPE_POSE]
    hand = [name.upper() for name in HAND]
    parts = {"POSE_LANDMARKS": names, "LEFT_HAND_LANDMARKS": hand, "RIGHT_HAND_LANDMARKS": hand}
    components = [PoseHeaderComponent(part, points, [], [(255, 0, 0)], "XYZC") for part, points in parts.items()]
    for id, clip in clips.items():
        data = np.dstack([in_pixels(clip), np.zeros(clip.shape[:2])])[:, None].astype(np.float32)
        unseen = np.broadcast_to((clip[..., 2] <= 0)[:, None, :, None], data.shape)
        body = NumPyPoseBody(25.0, np.ma.masked_array(data, unseen), clip[:, None, :, 2])
        with (folder / f"{id}.pose").open("wb") as file:
            Pose(PoseHeader(0.2, PoseHeaderDimensions(WIDTH, HEIGHT, 0), components), body).write(file)


LAYOUTS: dict[str, Callable[[Clips, Path], None]] = {
    "pickle, shoulder widths": write_pickle,
    "MediaPipe vectors, fractions": write_vectors,
    "Parquet, fractions": write_table,
    ".pose, pixels": write_pose,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, help="the first N only")
    given = parser.parse_args()
    clips: dict[str, np.ndarray] = {}
    for sequence in read(given.folder / "video_sequences.pkl", layout="mediapipe_75", unit="centered"):
        if len(clips) != given.clips:
            clips[sequence.id] = np.dstack([sequence.points * UNIT + MIDDLE, sequence.confidence])
    texts = json.loads((given.folder / "text_data.json").read_text(encoding="utf-8"))
    rows = [row for row in texts if row["id"] in clips]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run = partial(command, folder=folder)
        print("| layout | import | represent | largest difference | standard deviation |\n|---|---|---|---|---|")
        usual: dict[str, np.ndarray] = {}
        for i, (name, write) in enumerate(LAYOUTS.items()):
            source, store = folder / f"source-{i}", folder / f"store-{i}"
            source.mkdir()
            write(clips, source)
            (source / "text_data.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
            importing = run("import", "--source", source, "--out", store)
            for stage in ("skeleton", "temporal") if not usual else ():
                run(stage, "--data", store, "--preset", "quick")
            representing = run("represent", "--data", store, "--preset", "quick")
            newest = max(folder.rglob(FILE), key=lambda path: path.stat().st_mtime)
            found = read_representations(newest)
            usual = usual or found
            if found.keys() != clips.keys() or any(found[id].shape != array.shape for id, array in usual.items()):
                raise SystemExit(f"{name}: other clips or lengths")
            largest = max(float(np.abs(found[id] - array).max()) for id, array in usual.items())
            spread = float(np.concatenate(list(usual.values())).std())
            print(f"| {name} | {importing:.0f} s | {representing:.0f} s | {largest:.4f} | {spread:.2f} |", flush=True)


if __name__ == "__main__":
    main()
