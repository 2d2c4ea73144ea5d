"""Examples of tables of landmarks."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sign_models.keypoints.layouts import LAYOUTS
from tests.keypoints.clips import FRAMES, SIZE, scored


def vectors(layout: str) -> np.ndarray:
    """(T, 258 or 1662) as the MediaPipe tutorial flattens a frame."""
    values = scored(layout)
    fractions = values[..., :2] / np.array(SIZE, np.float32)
    body = np.concatenate([fractions[:, :33], np.zeros((FRAMES, 33, 1)), values[:, :33, 2:]], -1)
    rest = np.concatenate([fractions[:, 33:], np.zeros((FRAMES, values.shape[1] - 33, 1))], -1)
    return np.concatenate([body.reshape(FRAMES, -1), rest.reshape(FRAMES, -1)], 1)


def landmark_rows() -> pa.Table:
    """A row a landmark, as Kaggle's asl-signs has them; what a file does not hold is NaN."""
    values = scored("mediapipe_543")[..., :2] / np.array(SIZE, np.float32)
    types = ["pose"] * 33 + ["face"] * 468 + ["left_hand"] * 21 + ["right_hand"] * 21
    index = [*range(33), *range(468), *range(21), *range(21)]
    x, y = values[..., 0].copy(), values[..., 1]
    x[0, 40] = np.nan
    return pa.table(
        {
            "frame": pa.array(np.repeat(np.arange(20, 20 + FRAMES), 543), pa.int16()),
            "type": types * FRAMES,
            "landmark_index": pa.array(index * FRAMES, pa.int16()),
            "x": x.ravel().astype(np.float64),
            "y": y.ravel().astype(np.float64),
            "z": np.zeros(FRAMES * 543),
        }
    )


def parquet_long(folder: Path) -> Path:
    below = folder / "train_landmark_files" / "7"
    below.mkdir(parents=True)
    pa.parquet.write_table(landmark_rows(), below / "clip.parquet")
    text = "path,participant_id,sequence_id,sign\ntrain_landmark_files/7/clip.parquet,7,1,hello\n"
    (folder / "train.csv").write_text(text)
    return folder


def parquet_wide(folder: Path) -> Path:
    values = scored("mediapipe_543")[..., :2] / np.array(SIZE, np.float32)
    columns: dict[str, object] = {"sequence_id": [7] * FRAMES, "frame": list(range(FRAMES))}
    parts = {"pose": (0, 33), "face": (33, 468), "left_hand": (501, 21), "right_hand": (522, 21)}
    for axis, name in enumerate("xy"):
        for part, (start, count) in parts.items():
            columns |= {f"{name}_{part}_{i}": values[:, start + i, axis] for i in range(count)}
    path = folder / "clip.parquet"
    pa.parquet.write_table(pa.table(columns), path)
    return path


def csv_long(folder: Path) -> Path:
    path = folder / "clip.csv"
    pa.csv.write_csv(landmark_rows(), path)
    return path


def csv_counted(folder: Path) -> Path:
    values = scored("mediapipe_75")
    columns: dict[str, object] = {"class": ["hello"] * FRAMES}
    for k in range(values.shape[1]):
        columns |= {f"{axis}{k + 1}": values[:, k, i] for i, axis in enumerate("xyv")}
    path = folder / "clip.csv"
    pa.csv.write_csv(pa.table(columns), path)
    return path


def csv_named(folder: Path) -> Path:
    values = scored("canonical")
    columns = {
        f"{name}_{axis}": values[:, k, i] for k, name in enumerate(LAYOUTS["canonical"]) for i, axis in enumerate("xyc")
    }
    path = folder / "clip.csv"
    pa.csv.write_csv(pa.table(columns), path)
    return path


def parquet_lists(folder: Path) -> Path:
    """A row a clip, its landmarks in lists of three levels."""
    columns = {"id": ["clip"], "keypoints": [scored("mediapipe_75").tolist()], "label": ["hello"]}
    pa.parquet.write_table(pa.table(columns), folder / "all.parquet")
    return folder / "all.parquet"


def csv_lists(folder: Path) -> Path:
    """A row a frame, its landmarks in JSON."""
    rows = [f'{t},"{json.dumps(values.tolist())}"' for t, values in enumerate(scored("mediapipe_75"))]
    (folder / "clip.csv").write_text("\n".join(["frame,landmarks", *rows]))
    return folder / "clip.csv"


def tables_of_parts(folder: Path) -> Path:
    """A table a part, whose columns do not name it."""
    values = scored("mediapipe_75")
    for part, places in {"pose": (0, 33), "left_hand": (33, 54), "right_hand": (54, 75)}.items():
        names = ["frame", *(f"{axis}{i}" for i in range(places[1] - places[0]) for axis in "xyc")]
        rows = [f"{t}," + ",".join(map(str, frame.ravel())) for t, frame in enumerate(values[:, slice(*places)])]
        (folder / f"clip_{part}.csv").write_text("\n".join([",".join(names), *rows]))
    return folder
