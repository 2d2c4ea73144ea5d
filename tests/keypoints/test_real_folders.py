"""What stands in folders as people have them: tables of other programs, labels without a header, files of none."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from tests.keypoints.signer import pixels

POINTS = pixels("mediapipe_75", 8)
NAMES = [f"{axis}{k}" for k in range(75) for axis in "xy"]
TEXTS = {"clip_0": "guten Morgen", "clip_1": "früh, am Ort", "clip_2": "drei"}


def table(separator: str = ",", decimal: str = ".", points: np.ndarray = POINTS, quote: str = "") -> str:
    rows = [[f"{quote}{v:.3f}{quote}".replace(".", decimal) for v in frame.ravel()] for frame in points]
    return "\n".join(separator.join(row) for row in [NAMES, *rows]) + "\n"


LATE = np.concatenate([np.zeros((1, 75, 2)), POINTS[1:]])
TABLES = {
    "a decimal comma": table(";", ","),
    "a decimal comma between tabs": table("\t", ","),
    "a decimal comma in quotes": table(",", ",", quote='"'),
    "a decimal comma beside whole numbers": table(";", ",", LATE).replace("0,000", "0"),
    "spaces": table(" "),
    "Excel's first line": "sep=;\n" + table(";"),
    "comments": "# made by a program\n# on a day, with care\n" + table(),
    "numpy's header": "# " + table(),
    "empty lines": "\n\n" + table(),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_other_programs_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "clip.csv").write_text(TABLES[name])
    (sequence,) = read(tmp_path)
    assert sequence.id == "clip" and len(sequence) == len(POINTS)
    np.testing.assert_allclose(sequence.points[1:], POINTS[1:], atol=1e-3)
    assert sequence.confidence[1:].all()


def test_a_text_with_a_decimal_comma_makes_no_decimal_comma(tmp_path: Path) -> None:
    lines = table(";").splitlines()
    (tmp_path / "clip.csv").write_text("\n".join([f"text;{lines[0]}", *(f"3,5;{line}" for line in lines[1:])]))
    (sequence,) = read(tmp_path)
    assert sequence.text == "3,5"
    np.testing.assert_allclose(sequence.points, POINTS, atol=1e-3)


def test_a_table_of_parts_may_have_a_counted_column_too(tmp_path: Path) -> None:
    names = [f"{axis}_pose_{k}" for k in range(33) for axis in "xy"] + ["x1"]
    values = np.concatenate([POINTS[:, :33].reshape(8, -1), np.ones((8, 1))], 1)
    np.savetxt(tmp_path / "clip.csv", values, delimiter=",", header=",".join(names), comments="")
    (sequence,) = read(tmp_path)
    np.testing.assert_allclose(sequence.points[:, :33], POINTS[:, :33])


@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_landmarks_at_minus_1_are_unseen(suffix: str, tmp_path: Path) -> None:
    points = POINTS.copy()
    points[:, 33:54] = -1
    if suffix == "csv":
        (tmp_path / "clip.csv").write_text(table(points=points))
    else:
        np.save(tmp_path / "clip.npy", points)
    (sequence,) = read(tmp_path)
    assert not sequence.confidence[:, 33:54].any() and sequence.confidence[:, 54:].all()


def clips(folder: Path) -> None:
    for seed, name in enumerate(TEXTS):
        np.save(folder / f"{name}.npy", pixels("mediapipe_75", 8, seed))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["", ".mp4"])
def test_labels_without_a_header_are_joined(separator: str, ending: str, tmp_path: Path) -> None:
    """As AUTSL's train_labels.csv has them."""
    clips(tmp_path)
    rows = [f'{name}{ending}{separator}"{text}"' for name, text in TEXTS.items()]
    (tmp_path / "train_labels.csv").write_text("\n".join(rows))
    assert {s.id: (s.text, s.split) for s in read(tmp_path)} == {k: (v, "train") for k, v in TEXTS.items()}


def test_pairs_that_name_other_things_are_no_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips(tmp_path)
    (tmp_path / "versions.csv").write_text("numpy,2.0\ntorch,2.5\nclip_0,x\n")
    assert {s.text for s in read(tmp_path)} == {None}
    assert "1 files that nobody reads: versions.csv" in caplog.text


def test_labels_without_a_header_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    clips(tmp_path / "in")
    (tmp_path / "labels.csv").write_text("clip_0,tea\nclip_0,milk\nother,cup\nmore,jug\n")
    found = list(read(tmp_path / "in", labels=str(tmp_path / "labels.csv"), on_bad=(problems := []).append))
    assert [s.text for s in found] == [None, None, None]
    assert "labels.csv: line 2: 'clip_0' again with 'milk', after 'tea'" in str(problems[0])


def test_times_with_frames_in_their_last_part_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rec.npz", keypoints=POINTS, fps=np.array(25.0))
    (tmp_path / "labels.csv").write_text("id,recording,start,end,text\na,rec,00:00:00:00,00:00:00:05,tea\n")
    with pytest.raises(DataError, match="labels.csv: start '00:00:00:00' and end.*last part may be frames"):
        list(read(tmp_path))


def test_files_of_other_programs_do_not_stop_the_reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips(tmp_path)
    (tmp_path / "desktop.ini").write_text("[.ShellClassInfo]\nIconIndex=0\n")
    (tmp_path / "settings.cfg").write_text("{name}\n")
    assert len(list(read(tmp_path))) == 3
    assert "2 files that nobody reads: desktop.ini, settings.cfg" in caplog.text


def test_json_in_a_file_of_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "clip.txt").write_text(json.dumps({"keypoints": POINTS.tolist()}))
    (sequence,) = read(tmp_path)
    np.testing.assert_allclose(sequence.points, POINTS, rtol=1e-6)


@pytest.mark.parametrize("name", ["clip.npy", "clip.pkl", "clip.parquet", "clip.csv"])
def test_a_pointer_of_git_lfs_is_named(name: str, tmp_path: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"{name}: is a pointer of Git LFS, not the file.*git lfs pull"):
        list(read(tmp_path))


KEPT = [0, 1, 2, 5, 6, 7]
BY_NUMBER = {
    "numbers": ("clip.pkl", pickle.dumps({t: POINTS[t] for t in reversed(KEPT)})),
    "numbers as text": ("clip.json", json.dumps({str(t): POINTS[t].tolist() for t in KEPT}).encode()),
    "names of frames": ("clip.json", json.dumps({f"frame_{t:04}": POINTS[t].tolist() for t in KEPT}).encode()),
    "names of pictures": ("clip.pkl", pickle.dumps({f"{t:04}.jpg": POINTS[t] for t in KEPT})),
    "null": ("clip.json", json.dumps([p.tolist() if t in KEPT else None for t, p in enumerate(POINTS)]).encode()),
    "empty": ("clip.json", json.dumps({"frames": [p.tolist() if t in KEPT else [] for t, p in enumerate(POINTS)]}).encode()),
    "None": ("clip.pkl", pickle.dumps([p if t in KEPT else None for t, p in enumerate(POINTS)])),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_NUMBER)
def test_frames_that_are_missing_are_unseen(name: str, tmp_path: Path) -> None:
    file, content = BY_NUMBER[name]
    (tmp_path / file).write_bytes(content)
    (sequence,) = read(tmp_path)
    assert sequence.id == "clip" and sequence.confidence.any(1).tolist() == [t in KEPT for t in range(8)]
    np.testing.assert_allclose(sequence.points[KEPT], POINTS[KEPT], rtol=1e-6)


def named(points: np.ndarray, names: list[str]) -> dict[str, dict[str, float]]:
    return {name: {"x": x, "y": y} for name, (x, y) in zip(names, points.tolist(), strict=True)}


def test_landmarks_by_name_are_read_and_others_are_no_silent_loss(tmp_path: Path) -> None:
    from sign_models.keypoints.landmarks import MEDIAPIPE_POSE

    names = [name.removeprefix("body.").upper() for name in MEDIAPIPE_POSE]
    hands = {"left_hand": slice(33, 54), "right_hand": slice(54, 75)}
    frames = [
        {
            "pose": named(p[:33], names),
            **{hand: named(p[part], list(map(str, range(21)))) for hand, part in hands.items()},
        }
        for p in POINTS
    ]
    (tmp_path / "clip.json").write_text(json.dumps(frames))
    (sequence,) = read(tmp_path)
    np.testing.assert_allclose(sequence.points, POINTS, rtol=1e-6)
    for frame in frames:
        frame["pose"] = {"TAIL": {"x": 1.0, "y": 2.0}}
    (tmp_path / "clip.json").write_text(json.dumps(frames))
    with pytest.raises(DataError, match="'pose' holds no list of points"):
        list(read(tmp_path))
