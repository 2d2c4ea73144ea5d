"""One corpus in five of the field's layouts: in place or as a store, a pipeline reads and represents the same."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sign_models.data.corpus import Corpus
from sign_models.datasets.importing import import_corpus
from sign_models.datasets.inputs import Inputs
from sign_models.datasets.store import INDEX, UNFINISHED
from sign_models.errors import DataError
from tests import tiny

WIDTH, HEIGHT = 640, 480
POSE, HAND = 33, 21


def write_pickle(folder: Path) -> None:
    """Pixels, all clips in one file."""
    (folder / "video_sequences.pkl").write_bytes(pickle.dumps(tiny.videos()))


def write_vectors(folder: Path) -> None:
    """MediaPipe Holistic's 258 numbers a frame, fractions of the picture, a file a clip."""
    for name, clip in tiny.videos().items():
        x, y, sure = clip[..., 0] / WIDTH, clip[..., 1] / HEIGHT, clip[..., 2]
        values = np.stack([x, y, 0 * x, sure], -1) * (sure > 0)[..., None]
        parts = values[:, :POSE].reshape(len(clip), -1), values[:, POSE:, :3].reshape(len(clip), -1)
        np.save(folder / f"{name}.npy", np.concatenate(parts, 1))


def write_table(folder: Path) -> None:
    """A row a landmark, fractions of the picture, as in Kaggle's asl-signs, all clips in one file."""
    kinds = ["pose"] * POSE + ["left_hand"] * HAND + ["right_hand"] * HAND
    index = [*range(POSE), *range(HAND), *range(HAND)]
    tables = []
    for name, clip in tiny.videos().items():
        xy = np.where(clip[..., 2:] > 0, clip[..., :2] / (WIDTH, HEIGHT), np.nan).reshape(-1, 2)
        tables.append(pa.table({
            "sequence_id": [name] * len(xy), "frame": np.repeat(np.arange(len(clip)), len(kinds)),
            "type": kinds * len(clip), "landmark_index": index * len(clip),
            "x": xy[:, 0], "y": xy[:, 1],
        }))  # fmt: skip
    parquet.write_table(pa.concat_tables(tables), folder / "landmarks.parquet")


def write_results(folder: Path) -> None:
    """MediaPipe's results as JSON, fractions of the picture, a file a clip."""
    names = {"poseLandmarks": slice(0, POSE), "leftHandLandmarks": slice(POSE, POSE + HAND)}
    names["rightHandLandmarks"] = slice(POSE + HAND, None)
    for name, clip in tiny.videos().items():
        frames = [
            {
                key: [
                    {"x": float(x) / WIDTH * (c > 0), "y": float(y) / HEIGHT * (c > 0), "z": 0, "visibility": float(c)}
                    for x, y, c in frame[part]
                ]
                for key, part in names.items()
            }
            for frame in clip
        ]
        (folder / f"{name}.json").write_text(json.dumps({"frames": frames}))


def write_recording(folder: Path) -> None:
    """Pixels, one recording of all clips and the times of each in a table."""
    clips = tiny.videos()
    np.savez(folder / "recording.npz", keypoints=np.concatenate(list(clips.values())))
    rows, begin = ["id,video,text,start_frame,end_frame"], 0
    for name, clip in clips.items():
        rows.append(f"{name},recording,,{begin},{begin + len(clip)}")
        begin += len(clip)
    (folder / "times.csv").write_text("\n".join(rows) + "\n")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "pickle": write_pickle,
    "vectors": write_vectors,
    "table": write_table,
    "results": write_results,
    "recording": write_recording,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, write in LAYOUTS.items():
        made[name] = tmp_path_factory.mktemp(name) / "data"
        made[name].mkdir()
        write(made[name])
        (made[name] / "text_data.json").write_text(json.dumps(tiny.texts()))
    return made


@pytest.fixture(scope="module")
def stores(folders: dict[str, Path]) -> dict[str, Path]:
    for folder in folders.values():
        import_corpus(folder, folder.parent / "store")
    return {name: folder.parent / "store" for name, folder in folders.items()}


def inputs(data: Path) -> Inputs:
    return Inputs.from_paths(data, None, None, None)


def represented(corpus: Corpus) -> dict[str, np.ndarray]:
    from sign_models.stages.represent import represent
    from tests.models import clips

    return dict(represent(clips.temporal(), corpus, 256))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_store_is_what_its_source_is_in_place(name: str, folders: dict[str, Path], stores: dict[str, Path]) -> None:
    there, stored = inputs(folders[name]), inputs(stores[name])
    assert stored.videos.ids == there.videos.ids and stored.videos.splits == there.videos.splits
    assert stored.texts == there.texts == {row["id"]: row["text"] for row in tiny.texts()}
    assert np.array_equal(stored.videos.frames[:], there.videos.frames[:])
    assert stored.keypoints is stored.videos  # all clips serve the skeleton stage, where there are no others


@pytest.mark.parametrize("name", ["vectors", "table", "results", "recording"])
def test_layouts_give_equal_representations(name: str, stores: dict[str, Path]) -> None:
    usual, other = (represented(inputs(stores[layout]).videos) for layout in ("pickle", name))
    assert other.keys() == usual.keys() == tiny.videos().keys()
    spread = np.concatenate(list(usual.values())).std()
    assert spread > 0.1
    for id, array in usual.items():
        assert other[id].shape == array.shape
        assert np.abs(other[id] - array).max() < 0.01 * spread, id  # frames are stored in half precision


def test_the_digest_of_a_store_is_that_of_its_content(stores: dict[str, Path], tmp_path: Path) -> None:
    digests = {name: inputs(store).digest("videos") for name, store in stores.items()}
    moved = stores["table"].rename(tmp_path / "moved")
    try:
        assert inputs(moved).digest("videos") == digests["table"]
    finally:
        moved.rename(stores["table"])
    assert digests["vectors"] != digests["pickle"]


def test_a_command_reads_a_file_once_for_its_digest(tmp_path: Path) -> None:
    """All stages of a command are of the data that the first one read, whatever becomes of the file meanwhile."""
    write_pickle(tmp_path)
    command = inputs(tmp_path)
    first = command.digest("videos")
    (tmp_path / "video_sequences.pkl").write_bytes(pickle.dumps(dict([*tiny.videos().items()][:5])))
    assert command.digest("videos") == first
    assert inputs(tmp_path).digest("videos") != first


def test_an_unfinished_or_damaged_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).write_text("{}")
    with pytest.raises(DataError, match="an import that did not finish.*start the same import again"):
        _ = inputs(tmp_path).videos
    (tmp_path / INDEX).write_text("{}")
    for read in (lambda: inputs(tmp_path).videos, lambda: inputs(tmp_path).digest("videos")):
        with pytest.raises(DataError, match="is no index.*import it again"):
            read()
