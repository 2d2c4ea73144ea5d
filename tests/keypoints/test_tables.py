"""Tables of landmarks guess nothing: ids and texts stay text, clips are told apart by a column or not at all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import detect, read, source_at
from sign_models.keypoints.formats.tables import delimited
from sign_models.keypoints.formats.tables.table_columns import is_landmark
from sign_models.keypoints.layout_files import load_layout
from tests.keypoints.signer import pixels

FRAMES = 4
XY = [f"{axis}{i}" for i in range(75) for axis in "xy"]
CLIPS = [pixels("mediapipe_75", FRAMES, seed) for seed in (1, 2)]


def table(path: Path, columns: dict[str, Sequence[str]], separator: str = ",", encoding: str = "utf-8") -> Path:
    """A CSV file with the two clips one after another; columns: name -> the cell of each clip, "<" before the name:
    to the left of the landmarks."""
    left = [name for name in columns if name.startswith("<")]
    right = [name for name in columns if not name.startswith("<")]
    rows = [separator.join([*(name[1:] for name in left), *XY, *right])]
    for i, clip in enumerate(CLIPS):
        for frame in clip:
            numbers = [f"{value:.3f}" for value in frame.ravel()]
            if separator == ";":
                numbers = [number.replace(".", ",") for number in numbers]
            rows.append(separator.join([*(columns[n][i] for n in left), *numbers, *(columns[n][i] for n in right)]))
    path.write_text("\n".join(rows) + "\n", encoding=encoding)
    return path


@pytest.mark.parametrize("name", ["clip", "cl", "cd", "cp", "cq_id", "PAR1", "lp1", "id"])
def test_a_header_is_not_taken_for_a_pickle(tmp_path: Path, name: str) -> None:
    path = table(tmp_path / "a.csv", {f"<{name}": ("c0", "c1"), "video_id": ("a", "b")})
    assert detect(path) == "table"


@pytest.mark.parametrize("name", ["<clip", "<Clip", "<vid", "video", "sample_id", "FileName"])
def test_the_id_columns_of_the_field_part_a_table(tmp_path: Path, name: str) -> None:
    found = list(read(table(tmp_path / "a.csv", {name: ("c0", "c1")})))
    assert [sequence.id for sequence in found] == ["c0", "c1"]
    for sequence, clip in zip(found, CLIPS, strict=True):
        np.testing.assert_allclose(sequence.points, clip, atol=1e-3)


def test_ids_and_texts_stay_text(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {"<video_id": ("00414", "1e5"), "text": ("0049", "true"), "signer": ("07", "NA")})
    assert [(s.id, s.text, s.group) for s in read(path)] == [("00414", "0049", "07"), ("1e5", "true", "NA")]


@pytest.mark.parametrize(
    ("separator", "encoding"), [(";", "utf-8"), ("\t", "utf-8"), (",", "utf-16"), (";", "utf-8-sig")]
)
def test_any_separator_and_encoding(tmp_path: Path, separator: str, encoding: str) -> None:
    path = table(tmp_path / "a.csv", {"<id": ("ä", "b"), "word": ("Öl", "für")}, separator, encoding)
    found = list(read(path))
    assert [(s.id, s.text) for s in found] == [("ä", "Öl"), ("b", "für")]
    np.testing.assert_allclose(found[1].points, CLIPS[1], atol=1e-3)


@pytest.mark.parametrize("columns", [{"class": ("tea", "milk")}, {"<take": ("tea", "milk")}, {"<take": ("1", "2")}])
def test_a_column_that_changes_within_a_clip_is_a_question(tmp_path: Path, columns: dict[str, Sequence[str]]) -> None:
    with pytest.raises(DataError, match="changes .*column.* id"):
        list(read(table(tmp_path / "a.csv", columns)))


def test_a_table_without_y_is_refused(tmp_path: Path) -> None:
    rows = [",".join([*(f"x{i}" for i in range(42)), "label"]), ",".join(["0.5"] * 42 + ["hello"])]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"a\.csv: column 'x0' without the other coordinate.*rename the columns"):
        list(read(tmp_path / "a.csv"))


def test_a_given_layout_holds_for_numbered_columns(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("- body.nose\n- body.left_shoulder\n- body.right_shoulder\n")
    names = ",".join(f"{axis}{i}" for i in range(3) for axis in "xy")
    (tmp_path / "a.csv").write_text(f"{names}\n320,100,400,200,240,200\n321,101,401,201,241,201\n")
    (sequence,) = read(tmp_path / "a.csv", layout=str(tmp_path / "own.yaml"))
    assert sequence.layout == load_layout(tmp_path / "own.yaml")
    assert sequence.points[1].tolist() == [[321, 101], [401, 201], [241, 201]]


@pytest.mark.parametrize("name", ["frame", "Frame", "frame_id", "frame number"])
def test_frame_numbers_of_numbered_columns_are_time(tmp_path: Path, name: str) -> None:
    rows = [",".join([name, *XY])]
    for number, frame in zip((3, 4, 7, 8), CLIPS[0], strict=True):
        rows.append(",".join([str(number), *(f"{value:.3f}" for value in frame.ravel())]))
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    (sequence,) = read(tmp_path / "a.csv")
    assert sequence.confidence.any(1).tolist() == [True, True, False, False, True, True]
    np.testing.assert_allclose(sequence.points[4], CLIPS[0][2], atol=1e-3)


HEADS = [
    "x_{}",
    "{}_x",
    "kp{}_x",
    "joint_{}_x",
    "x[{}]",
    "{}.x",
    "X{}",
    "landmark_{}_x",
    "point{}x",
    "kpt_x_{}",
    "pt {} x",
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("separator", [",", "^"])
def test_numbered_columns_in_every_spelling(tmp_path: Path, head: str, separator: str) -> None:
    heads = [head.replace("x", axis).replace("X", axis.upper()).format(i) for i in range(75) for axis in "xy"]
    rows = [["id", *heads, "text"], *(["007", *map(str, frame.ravel()), "tea"] for frame in CLIPS[0])]
    (tmp_path / "a.csv").write_text("\n".join(separator.join(row) for row in rows) + "\n")
    [found] = read(tmp_path)
    assert (found.id, found.text) == ("007", "tea")
    np.testing.assert_allclose(found.points, CLIPS[0], rtol=1e-5)


def test_a_column_that_holds_texts_among_numbers_is_named(tmp_path: Path) -> None:
    rows = [",".join(map(str, frame.ravel())) for frame in CLIPS[0]]
    rows[1] = ",".join(["?" if i == 7 else cell for i, cell in enumerate(rows[1].split(","))])
    (tmp_path / "a.csv").write_text("\n".join([",".join(XY), *rows]))
    with pytest.raises(DataError, match="column 'y3' holds something else than numbers"):
        list(read(tmp_path))


@pytest.mark.parametrize("axis", ["visibility", "confidence", "conf", "score", "v", "c", "likelihood"])
def test_scores_of_numbered_columns_in_every_spelling(tmp_path: Path, axis: str) -> None:
    scores = np.linspace(0.2, 1, 75, dtype=np.float32)
    heads = [f"landmark_{i}_{name}" for i in range(75) for name in ("x", "y", axis)]
    rows = [np.column_stack([frame, scores]).ravel() for frame in CLIPS[0]]
    (tmp_path / "a.csv").write_text("\n".join([",".join(heads), *(",".join(map(str, row)) for row in rows)]))
    [found] = read(tmp_path)
    np.testing.assert_allclose(found.confidence, np.broadcast_to(scores, found.confidence.shape), rtol=1e-6)


def test_a_line_is_not_taken_for_one_name_with_separators_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{axis}{i}" for i in range(75) for axis in "xy"]
    (tmp_path / "a.csv").write_text(",".join(names) + "\n" + ",".join(["0.5"] * 150) + "\n")
    asked: list[str] = []
    monkeypatch.setattr(delimited, "is_landmark", lambda name: asked.append(name) or is_landmark(name))
    assert delimited.rows(source_at(tmp_path / "a.csv")) is None
    assert sorted(asked) == sorted(names)  # a name of two thousand letters takes longer than all of these


def test_a_numbered_pose_of_another_count_is_told_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Columns like pose_0_x name MediaPipe's pose, and OpenPose's of 25 landmarks is called so too."""
    pose, other = pixels("mediapipe_pose_33", 6)[:, :25], pixels("openpose_25", 6)[:, ::-1]
    for name, points in (("a", pose), ("b", other)):
        heads = [f"pose_{i}_{axis}" for i in range(25) for axis in "xy"]
        rows = [",".join(map(str, frame.ravel())) for frame in points]
        (tmp_path / f"{name}.csv").write_text("\n".join([",".join(heads), *rows]))
    [found] = read(tmp_path / "a.csv")
    np.testing.assert_allclose(found.points[:, :25], pose, rtol=1e-5)
    assert "a.csv: 25 landmarks of the pose are only numbered; they are taken for MediaPipe's first 25" in caplog.text
    with pytest.raises(DataError, match="25 landmarks of a pose that are only numbered.*LEFT_SHOULDER_x"):
        list(read(tmp_path / "b.csv"))
