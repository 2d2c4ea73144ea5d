"""Tables of landmarks in Parquet: their clips, and what they refuse."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from tests.keypoints import here
from tests.keypoints.clips import FRAMES
from tests.keypoints.table_examples import landmark_rows


def parquet(path: Path, table: pa.Table) -> Path:
    pa.parquet.write_table(table, path)
    return path


def test_a_table_is_parted_by_its_ids(tmp_path: Path) -> None:
    rows = landmark_rows()
    ids = pa.array(["x"] * 4 * 543 + ["y"] * (FRAMES - 4) * 543)
    found = list(read(parquet(tmp_path / "a.parquet", rows.append_column("sequence_id", ids))))
    assert [(s.id, len(s)) for s in found] == [("x", 4), ("y", FRAMES - 4)]
    (whole,) = read(parquet(tmp_path / "b.parquet", rows))
    np.testing.assert_array_equal(np.concatenate([s.points for s in found]), whole.points)


def test_clips_longer_than_a_batch_are_put_together(tmp_path: Path) -> None:
    rows = landmark_rows()
    long = pa.concat_tables([rows] * 40).set_column(0, "frame", pa.array(np.repeat(np.arange(40 * FRAMES), 543)))
    (sequence,) = read(parquet(tmp_path / "a.parquet", long))
    assert len(sequence) == 40 * FRAMES
    np.testing.assert_array_equal(sequence.points[:FRAMES], sequence.points[-FRAMES:])


def test_what_a_table_lacks_is_unseen(tmp_path: Path) -> None:
    rows = landmark_rows()
    (whole,) = read(parquet(tmp_path / "a.parquet", rows))
    assert whole.confidence[0, 40] == 0 and whole.confidence[1, 40] == 1  # NaN in the file
    (part,) = read(parquet(tmp_path / "b.parquet", rows.slice(33)))  # the first frame's pose was not found
    assert not part.confidence[0, :33].any() and part.confidence[1, :33].all()


TABLES = {
    "an unknown type": (["tail"], [0], "landmarks of type 'tail'; wanted pose"),
    "a landmark too high": (["left_hand"], [21], "landmark 21 of left_hand; wanted 0 to 20"),
    "a landmark below zero": (["pose"], [-1], "landmark -1 of pose"),
    "half a landmark": (["pose"], [0.5], "is not whole numbers"),
}


@pytest.mark.parametrize("name", TABLES)
def test_bad_landmarks_of_a_table_are_refused(name: str, tmp_path: Path) -> None:
    kind, index, message = TABLES[name]
    table = pa.table({"frame": [0], "type": kind, "landmark_index": index, "x": [0.5], "y": [0.5]})
    with pytest.raises(DataError, match=message):
        list(read(parquet(tmp_path / "a.parquet", table)))


@pytest.mark.parametrize(
    ("frame", "message"),
    [([0, 0], "same landmark of a frame twice"), ([0, 10**11], "2 frames between"), ([0, 2**50], "not whole numbers")],
)
def test_bad_frames_of_a_table_are_refused(frame: list[int], message: str, tmp_path: Path) -> None:
    columns = {"frame": frame, "type": ["pose"] * 2, "landmark_index": [0, 0], "x": [0.5, 0.5], "y": [0.5, 0.4]}
    with pytest.raises(DataError, match=message):
        list(read(parquet(tmp_path / "a.parquet", pa.table(columns))))


def test_other_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns a, b; wanted frame, type, landmark_index"):
        list(read(parquet(tmp_path / "a.parquet", pa.table({"a": [1], "b": [2]}))))
    with pytest.raises(DataError, match="has no rows"):
        list(read(parquet(tmp_path / "b.parquet", landmark_rows().slice(0, 0))))
    (tmp_path / "c.csv").write_text("x1,y1,x2,y2,x3,y3\n1,2,3,4,5,six\n")
    with pytest.raises(DataError, match="3 landmarks a frame fit no known layout"):
        list(read(tmp_path / "c.csv"))
    (tmp_path / "d.csv").write_text("frame,type,landmark_index,x,y\n0,pose,0,left,1\n")
    with pytest.raises(DataError, match="column 'x' holds something else than numbers"):
        list(read(tmp_path / "d.csv"))


def test_a_parquet_footer_that_promises_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sign_models.keypoints.formats.tables.table_files.MAX_GROUP_BYTES", 1000)
    with pytest.raises(DataError, match="says it has 6 columns of up to"):
        list(here.read(parquet(tmp_path / "a.parquet", landmark_rows())))
