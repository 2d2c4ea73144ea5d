"""npz and HDF5 files: a clip or a corpus, parts, records, attributes; what they refuse. MATLAB's files are refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.files import hdf5
from tests.keypoints import here
from tests.keypoints.signer import pixels

h5py = pytest.importorskip("h5py", reason="the optional extra hdf5 is not installed")

CLIPS = {f"clip_{i}": pixels("mediapipe_75", 6 + i, i) for i in range(3)}
ONE = CLIPS["clip_0"]


def found(path: Path) -> dict[str, tuple]:
    result = {}
    for s in read(path):
        np.testing.assert_allclose(s.points, CLIPS[s.id.rpartition("/")[2]], rtol=1e-6)
        result[s.id] = (s.layout, s.text, s.split, s.fps)
    return result


@pytest.mark.parametrize("name", ["data", "landmarks", "keypoints", "arr_0", "whatever"])
def test_a_file_with_one_array_is_a_clip_by_the_files_name(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "clip_0.h5", "w") as file:
        file.create_dataset(name, data=ONE, compression="gzip")
        file[name].attrs["label"] = "tea"
        file.attrs["fps"] = 25.0
    assert found(tmp_path) == {"clip_0": ("mediapipe_75", "tea", None, 25.0)}


def test_datasets_are_clips_by_id(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.hdf5", "w") as file:
        file.attrs["fps"] = 30
        for id, clip in CLIPS.items():
            file[id] = clip
    assert found(tmp_path) == {id: ("mediapipe_75", None, None, 30.0) for id in CLIPS}


def test_groups_are_splits_or_signers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for group, (id, clip) in zip(("train", "val", "signer_3"), CLIPS.items(), strict=True):
            file[f"{group}/{id}"] = clip
            file[f"{group}/{id}"].attrs["text"] = f"text of {id}"
            file[f"{group}/times"] = np.arange(3)
    assert found(tmp_path) == {
        "signer_3/clip_2": ("mediapipe_75", "text of clip_2", None, None),
        "train/clip_0": ("mediapipe_75", "text of clip_0", "train", None),
        "val/clip_1": ("mediapipe_75", "text of clip_1", "dev", None),
    }


def test_groups_are_records(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for id, clip in CLIPS.items():
            group = file.create_group(id)
            group["keypoints"], group["confidence"] = clip, np.full(clip.shape[:2], 0.5)
            group["text"], group["fps"] = f"text of {id}", 15.0
            group.attrs["layout"] = "mediapipe_75"
    assert found(tmp_path) == {id: ("mediapipe_75", f"text of {id}", None, 15.0) for id in CLIPS}
    assert all((s.confidence == 0.5).all() for s in read(tmp_path))


@pytest.mark.parametrize("by_id", [False, True])
def test_groups_are_the_parts_of_a_clip(tmp_path: Path, by_id: bool) -> None:
    with h5py.File(tmp_path / "clip_0.h5", "w") as file:
        group = file.create_group("clip_0") if by_id else file
        group["right_hand"], group["pose"], group["left_hand"] = ONE[:, 54:], ONE[:, :33], ONE[:, 33:54]
        group.attrs["gloss"] = "TEA"
    assert found(tmp_path) == {"clip_0": ("mediapipe_75", "TEA", None, None)}


@pytest.mark.parametrize("name", ["data", "landmarks", "xyz"])
def test_a_group_with_one_array_and_its_metadata_is_a_clip(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for id, clip in CLIPS.items():
            file[f"train/{id}/{name}"], file[f"train/{id}/text"] = clip, f"text of {id}"
    assert found(tmp_path) == {f"train/{id}": ("mediapipe_75", f"text of {id}", "train", None) for id in CLIPS}


def test_an_npz_holds_a_corpus_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", **CLIPS, fps=np.array(25.0))
    assert found(tmp_path) == {id: ("mediapipe_75", None, None, 25.0) for id in CLIPS}


def test_a_file_reads_no_other(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = ONE
    (folder := tmp_path / "below").mkdir()
    with h5py.File(folder / "external.h5", "w") as file:
        file["a"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "a")
    with h5py.File(folder / "soft.h5", "w") as file:
        file["a"], file["b"] = ONE, h5py.SoftLink("/a")
    with h5py.File(folder / "stored.h5", "w") as file:
        raw = folder / "raw.bin"
        raw.write_bytes(ONE.astype(np.float64).tobytes())
        file.create_dataset("a", ONE.shape, "f8", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
    with h5py.File(folder / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(ONE.shape, "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", ONE.shape)
        file.create_virtual_dataset("a", layout)
    for name, message in {
        "external": "a link to elsewhere",
        "soft": "a link to elsewhere",
        "stored": "data in other files",
        "virtual": "data in other files",
    }.items():
        with pytest.raises(DataError, match=f"{name}.h5: .*{message}"):
            list(read(folder / f"{name}.h5"))


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with h5py.File(path := tmp_path / "a.h5", "w") as file:
        file["clip"] = ONE
    whole = path.read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "no": whole[:16]}.items():
        (tmp_path / f"{name}.h5").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.h5: .*(no readable HDF5|bytes)"):
            list(read(tmp_path / f"{name}.h5"))
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("clip", (2**20, 75, 3), "f8", chunks=True, compression="gzip")
    with pytest.raises(DataError, match="says it holds 1,887,436,800 bytes"):
        list(read(tmp_path / "bomb.h5"))
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file["/".join("abcdefghijkl")] = ONE
    with pytest.raises(DataError, match="groups within groups"):
        list(read(tmp_path / "deep.h5"))


@pytest.mark.parametrize("version", ["5.0", "7.3"])
def test_matlab_files_are_refused_with_what_to_do(tmp_path: Path, version: str) -> None:
    text = f"MATLAB {version} MAT-file, Platform: GLNXA64, Created on: Mon Nov 30 2026".ljust(124)
    (tmp_path / "clip.mat").write_bytes(text.encode() + b"\x00\x01IM" + bytes(400))
    np.save(tmp_path / "clip_0.npy", ONE)
    with pytest.raises(DataError, match=r"clip\.mat: is a MATLAB file.*numpy\.savez.*loadmat"):
        list(read(tmp_path))
    bad: list[DataError] = []
    assert [s.id for s in read(tmp_path, on_bad=bad.append)] == ["clip_0"] and len(bad) == 1


def test_a_label_of_a_record_is_its_text(tmp_path: Path) -> None:
    """But a number is no text where label files may tell one."""
    np.savez(tmp_path / "clip_0.npz", keypoints=ONE, label="tea", subject="s1", split="val")
    (s,) = read(tmp_path)
    assert (s.text, s.group, s.split) == ("tea", "s1", "dev")
    np.savez(tmp_path / "clip_0.npz", keypoints=ONE, label=np.array(7))
    (tmp_path / "labels.csv").write_text("id,text\nclip_0,tea\n")
    assert [s.text for s in read(tmp_path)] == ["tea"]


@pytest.mark.parametrize(
    ("program", "message"),
    [("import time; time.sleep(60)", "reading it does not end"), ("import os; os.abort()", "the library ends on it")],
)
def test_a_library_that_hangs_or_crashes_does_so_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    with h5py.File(tmp_path / "clip_0.h5", "w") as file:
        file["clip"] = ONE
    monkeypatch.setattr(hdf5, "_probe", hdf5._Probe())
    monkeypatch.setattr(hdf5, "PROBE", [sys.executable, "-c", program])
    monkeypatch.setattr(hdf5, "MAX_SECONDS", 0.5)
    with pytest.raises(DataError, match=rf"clip_0\.h5: is no readable HDF5 file \({message}"):
        list(here.read(tmp_path))
    monkeypatch.undo()
    assert found(tmp_path) == {"clip_0": ("mediapipe_75", None, None, None)}
