"""Tables whose cells are lists of numbers: a row a clip or a row a frame, whole or in parts, in Parquet and CSV."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import detect, read
from tests.keypoints.clips import scored

CLIPS = [scored("mediapipe_75", i, frames=5 + 2 * i) for i in range(3)]
IDS, TEXTS = ["007", "a", "b/c"], ["eins", "zwei", "drei"]
PARTS = {"pose": slice(0, 33), "left_hand": slice(33, 54), "right_hand": slice(54, 75)}
MISSING = 2  # number of a frame without a row
FRAMES = [
    (i, t, values) for i, clip in enumerate(CLIPS) for t, values in enumerate(clip.astype(np.float64)) if t != MISSING
]


def parquet(path: Path, columns: dict) -> Path:
    pa.parquet.write_table(pa.table(columns), path / "all.parquet", row_group_size=4)
    return path


def lists(of: Callable[[np.ndarray], object]) -> list:
    return [of(clip.astype(np.float64)) for clip in CLIPS]


def rows(of: Callable[[np.ndarray], object]) -> list:
    return [of(values) for *_, values in FRAMES]


OF_CLIPS = {
    "three levels": {"keypoints": lists(np.ndarray.tolist)},
    "vectors": {"landmarks": lists(lambda c: c.reshape(len(c), -1).tolist())},
    "fixed and large": {
        "kpts": pa.array(
            lists(np.ndarray.tolist), pa.large_list(pa.list_(pa.list_(pa.float32(), 3), 75)))
    },
    "objects": {"frames": lists(lambda c: [[dict(x=x, y=y, score=s) for x, y, s in frame] for frame in c])},
    "axes": {name: lists(lambda c, i=i: c[..., i].tolist()) for i, name in enumerate(("x", "y", "confidence"))},
    "scores apart": {
        "keypoints": lists(lambda c: c[..., :2].tolist()), "scores": lists(lambda c: c[..., 2].tolist())
    },
    "parts": {name: lists(lambda c, part=part: c[:, part].tolist()) for name, part in PARTS.items()},
    "vectors of parts": {
        f"{name}_landmarks": lists(lambda c, part=part: c[:, part].reshape(len(c), -1).tolist())
        for name, part in PARTS.items()
    },
    "axes of parts": {
        f"{name}_{axis}": lists(lambda c, part=part, i=i: c[:, part, i].tolist())
        for name, part in PARTS.items() for i, axis in enumerate(("x", "y", "visibility"))
    },
}  # fmt: skip
OF_FRAMES = {
    "two levels": {"keypoints": rows(np.ndarray.tolist)},
    "vectors": {"landmarks": rows(lambda v: v.ravel().tolist())},
    "objects": {"points": rows(lambda v: [dict(x=x, y=y, visibility=s) for x, y, s in v])},
    "axes": {name: rows(lambda v, i=i: v[..., i].tolist()) for i, name in enumerate(("x", "y", "c"))},
    "parts": {name: rows(lambda v, part=part: v[part].tolist()) for name, part in PARTS.items()},
    "axes of parts": {
        f"{axis}_{name}": rows(lambda v, part=part, i=i: v[part, i].tolist())
        for name, part in PARTS.items() for i, axis in enumerate(("x", "y", "score"))
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OF_CLIPS)
def test_a_row_a_clip(tmp_path: Path, name: str) -> None:
    parquet(tmp_path, {"id": IDS, **OF_CLIPS[name], "text": TEXTS, "fps": [25.0] * 3, "signer": [1, 1, 2]})
    assert detect(tmp_path) == "lists"
    found = list(read(tmp_path))
    assert [(one.id, one.text, one.fps, one.group) for one in found] == [
        (id, text, 25.0, group) for id, text, group in zip(IDS, TEXTS, "112", strict=True)
    ]
    for one, clip in zip(found, CLIPS, strict=True):
        np.testing.assert_array_equal(one.points, clip[..., :2])
        np.testing.assert_array_equal(one.confidence, 1.0 if name == "vectors" else clip[..., 2])  # x, y, z


@pytest.mark.parametrize("as_csv", [False, True], ids=["parquet", "csv"])
@pytest.mark.parametrize("name", OF_FRAMES)
def test_a_row_a_frame_whose_number_is_its_time(tmp_path: Path, name: str, as_csv: bool) -> None:
    columns = {"clip_id": [IDS[i] for i, *_ in FRAMES], "frame": [t for _, t, _ in FRAMES], **OF_FRAMES[name]}
    columns["sentence"] = [TEXTS[i] for i, *_ in FRAMES]
    if as_csv:
        cells = [[json.dumps(v) if isinstance(v, list) else v for v in column] for column in columns.values()]
        lines = [",".join(f'"{str(v).replace(chr(34), chr(34) * 2)}"' for v in row) for row in zip(*cells, strict=True)]
        if name == "objects":
            pytest.skip("objects in cells of CSV are refused, below")
        (tmp_path / "all.csv").write_text("\n".join([",".join(columns), *lines]))
    else:
        parquet(tmp_path, columns)
    found = list(read(tmp_path))
    assert [(one.id, one.text) for one in found] == list(zip(IDS, TEXTS, strict=True))
    for one, clip in zip(found, CLIPS, strict=True):
        assert len(one) == len(clip) and not one.confidence[MISSING].any()
        seen = np.arange(len(clip)) != MISSING
        np.testing.assert_array_equal(one.points[seen], clip[seen, :, :2])
        np.testing.assert_array_equal(one.confidence[seen], 1.0 if name == "vectors" else clip[seen, :, 2])


def test_a_cell_without_anything_is_unseen(tmp_path: Path) -> None:
    columns = {name: rows(lambda v, part=part: v[part].tolist()) for name, part in PARTS.items()}
    columns["left_hand"][:3] = [None, [], None]
    parquet(tmp_path, {"id": [IDS[i] for i, *_ in FRAMES], **columns})
    one = next(read(tmp_path))
    assert not one.confidence[:3, 33:54].any() and one.confidence[3:].all() and one.confidence[:, :33].all()
    np.testing.assert_array_equal(one.points[:, 54:], CLIPS[0][[0, 1, 3, 4], 54:, :2])


def test_rows_without_ids_are_numbered_and_a_single_one_is_the_file(tmp_path: Path) -> None:
    parquet(tmp_path, OF_CLIPS["three levels"])
    assert [one.id for one in read(tmp_path)] == ["all/0", "all/1", "all/2"]
    parquet(tmp_path, {"keypoints": lists(np.ndarray.tolist)[:1]})
    assert [one.id for one in read(tmp_path)] == ["all"]


def test_frames_without_ids_are_one_clip(tmp_path: Path) -> None:
    parquet(tmp_path, {"frame_number": [3, 4, 6], "keypoints": CLIPS[0][:3].tolist()})
    (one,) = read(tmp_path)
    assert one.id == "all" and len(one) == 4 and not one.confidence[2].any()


def test_words_in_lists_are_a_text(tmp_path: Path) -> None:
    parquet(tmp_path, {"id": IDS, **OF_CLIPS["parts"], "gloss": [["ICH", "GEHEN"], ["DU"], []]})
    assert [one.text for one in read(tmp_path)] == ["ICH GEHEN", "DU", None]


def test_a_hand_keeps_its_side(tmp_path: Path) -> None:
    parquet(tmp_path, {"id": IDS, "left_hand": OF_CLIPS["parts"]["left_hand"]})
    assert {one.layout for one in read(tmp_path)} == {"left_hand_21"}


REFUSED = {
    "numbers of two layouts": ({"id": ["a"] * 5, "keypoints": CLIPS[0][..., :2].reshape(5, -1).tolist()}, "150 numbers a frame: 50 landmarks of 3 or 75 landmarks of 2.*--layout"),
    "clips as one list": ({"id": IDS, "keypoints": lists(lambda c: c.ravel().tolist())}, "no layout that is known|one list of numbers each.*lists of its frames"),
    "frames of several sizes": ({"id": ["a"] * 2, "keypoints": [CLIPS[0][0].tolist(), CLIPS[0][0, :33].tolist()]}, "lists of 33 and of 75 values"),
    "ragged clips": ({"id": ["a"], "keypoints": [[CLIPS[0][0].tolist(), CLIPS[0][0, :33].tolist()]]}, "lists of 33 and of 75 values"),
    "unknown objects": ({"id": ["a"], "keypoints": [[[{"u": 1.0, "v": 2.0}]]]}, "objects with u, v"),
    "nothing": ({"id": ["a"], "keypoints": pa.array([None], pa.list_(pa.list_(pa.float32())))}, "its first 1 lists are empty"),
    "a text that changes": ({"id": ["a"] * 2, "keypoints": CLIPS[0][:2].tolist(), "text": ["x", "y"]}, "column 'text' changes within the clip"),
    "a column that may be an id": ({"take": [1, 1, 2, 2], "keypoints": CLIPS[0][:4].tolist()}, "column 'take' changes 1 times"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_unsure_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    columns, message = REFUSED[name]
    parquet(tmp_path, columns)
    with pytest.raises(DataError, match=f"all.parquet.*({message})"):
        list(read(tmp_path))


def test_numbers_of_two_layouts_are_read_by_the_one_that_is_named(tmp_path: Path) -> None:
    parquet(tmp_path, REFUSED["numbers of two layouts"][0])
    (one,) = read(tmp_path, layout="mediapipe_75")
    np.testing.assert_array_equal(one.points, CLIPS[0][..., :2])


def test_cells_that_numpy_printed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,keypoints\na,"[[[1. 2.]\n  [3. 4.]]]"\n')
    with pytest.raises(DataError, match=r"a cell that is no list in JSON.*json.dumps\(array.tolist\(\)\)"):
        list(read(tmp_path))


def test_labels_with_boxes_are_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CLIPS[0])
    (tmp_path / "labels.csv").write_text('id,bbox,text\na,"[1, 2, 3, 4]",eins\n')
    assert [one.text for one in read(tmp_path)] == ["eins"]


def test_lists_beside_numbers_that_are_ids_too_are_no_labels(tmp_path: Path) -> None:
    for i in range(4):
        np.save(tmp_path / f"{i}x.npy", CLIPS[0])
        (tmp_path / f"{i}x.npy").rename(tmp_path / f"{i}")
    rows = [f'{t},"{json.dumps(frame.tolist())}"' for t, frame in enumerate(CLIPS[0])]
    (tmp_path / "lists.csv").write_text("\n".join(["frame,keypoints", *rows]))
    assert {one.id: one.text for one in read(tmp_path)} == dict.fromkeys(["0", "1", "2", "3", "lists"])
