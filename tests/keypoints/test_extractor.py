"""Which program found the landmarks: told by the file, kept with the data, and held against training's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sign_models.data.corpus import Corpus
from sign_models.datasets.importing import import_corpus
from sign_models.datasets.store import open_store
from sign_models.errors import DataError
from sign_models.keypoints import formats
from sign_models.keypoints.extractor import check_extractor, difference, extractor_line, same_extractor, short_name
from sign_models.keypoints.formats.estimators.pose_record import MAGIC
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.video.pose_file import write_pose
from tests.keypoints.signer import pixels

A, B = ("a" * 64, "b" * 64)
OURS = extractor_line("mediapipe-tasks", "1.2.3", {"pose": A, "hand": B})
NEWER = extractor_line("mediapipe-tasks", "1.3.0", {"hand": B, "pose": A})
OTHER_MODEL = extractor_line("mediapipe-tasks", "1.2.3", {"pose": B, "hand": B})
OTHER_PROGRAM = extractor_line("rtmpose", "1.2.3", {"pose": A, "hand": B})


def record(line: str) -> dict[str, object]:
    name, version, *models = line.split(" ")
    return {"extractor": {"name": name, "version": version, "models": dict(m.split("=") for m in models)}}


def clip(name: str = "clip", seed: int = 0, frames: int = 12) -> KeypointSequence:
    points = pixels("mediapipe_75", frames, seed).astype(np.float32)
    return KeypointSequence(name, points, np.ones((frames, 75), np.float32), "mediapipe_75", size=(640, 480), fps=25.0)


def write(path: Path, told: dict[str, object], seed: int = 0, frames: int = 12) -> Path:
    write_pose(path, clip(path.stem, seed, frames), np.zeros((frames, 75), np.float32), told)
    return path


def test_program_and_model_files_make_an_extractor_and_its_version_does_not() -> None:
    assert same_extractor(OURS, NEWER) and same_extractor(None, None)
    for other in (OTHER_MODEL, OTHER_PROGRAM, None):
        assert not same_extractor(OURS, other) and not same_extractor(other, OURS)
    assert short_name(OURS) == "mediapipe-tasks 1.2.3 (hand bbbbbbbb, pose aaaaaaaa)"
    for name, version, models in (("two words", "1", {}), ("a", "", {}), ("a", "1", {"pose": "x"}), ("a\nb", "1", {})):
        with pytest.raises(ValueError):
            extractor_line(name, version, models)


@pytest.mark.parametrize(
    ("clips", "trained", "strict", "said"),
    [
        ({OURS: 3}, [OURS], False, ""),
        ({NEWER: 3}, [OURS], True, ""),
        ({OURS: 1, None: 2}, [OURS, None], False, ""),
        ({None: 2}, [], False, ""),
        ({None: 2}, [None], True, "2 of 2 clips: 2 from files that name no extractor"),
        ({OURS: 1}, [], False, "the model was trained on files that name no extractor"),
        ({OURS: 1, OTHER_MODEL: 2}, [OURS], False, "2 of 3 clips: 2 from mediapipe-tasks 1.2.3 (hand bbbbbbbb, pose b"),
        ({None: 2}, [OURS], False, "2 of 2 clips: 2 from files that name no extractor; the model was trained on medi"),
    ],
)
def test_what_is_said_of_clips_of_another_extractor(
    clips: dict[str | None, int], trained: list[str | None], strict: bool, said: str
) -> None:
    found = difference(clips, trained, strict=strict)
    assert said in found if said else found == ""


def test_a_clip_of_another_extractor_is_refused_where_that_is_asked_for() -> None:
    ours = replace(clip(), extractor=OURS, source="a.pose")
    assert check_extractor(ours, [OURS], strict=True) == ""
    assert "1 of 1 clips" in check_extractor(ours, [OTHER_MODEL])
    with pytest.raises(DataError, match="a.pose: 1 of 1 clips.*leave out strict_extractor"):
        check_extractor(ours, [OTHER_MODEL], strict=True)
    with pytest.raises(DataError, match="names no|name no"):
        check_extractor(clip(), [OURS], strict=True)


def test_a_pose_file_tells_its_extractor(tmp_path: Path) -> None:
    (told,) = formats.read(write(tmp_path / "a.pose", record(OURS)))
    (silent,) = formats.read(write(tmp_path / "b.pose", {}))
    assert (told.extractor, silent.extractor) == (OURS, None)
    np.testing.assert_array_equal(told.points, silent.points)


@pytest.mark.parametrize(
    "extractor",
    [
        1,
        [],
        {"name": "a"},
        {"name": "a", "version": "1", "models": {"pose": "short"}},
        {"name": "a b", "version": "1", "models": {}},
    ],
)
def test_a_record_that_lies_is_refused(tmp_path: Path, extractor: object) -> None:
    with pytest.raises(DataError, match=r"a\.pose.*record is damaged"):
        list(formats.read(write(tmp_path / "a.pose", {"extractor": extractor})))


@pytest.mark.parametrize("tail", [b"{", b"[1]", b"\xff", b"[" * 5000])
def test_a_damaged_record_is_refused(tmp_path: Path, tail: bytes) -> None:
    path = write(tmp_path / "a.pose", {})
    path.write_bytes(path.read_bytes() + tail + len(tail).to_bytes(4, "little") + MAGIC)
    with pytest.raises(DataError, match=r"a\.pose.*record is damaged"):
        list(formats.read(path))


def test_the_extractor_is_part_of_the_data_in_memory_and_in_a_store(tmp_path: Path) -> None:
    digests = {}
    for name, line in (("none", None), ("ours", OURS), ("other", OTHER_MODEL)):
        folder = tmp_path / name
        for seed in range(3):
            write(folder / f"clip{seed}.pose", record(line) if line else {}, seed)
        corpus = Corpus.from_sequences(formats.read(folder), str(folder))
        report = import_corpus(folder, tmp_path / f"{name}.store")
        store = open_store(tmp_path / f"{name}.store", full=True)
        assert corpus.extractors == store.extractors == {line: 3}
        assert corpus.digest == store.digest
        assert report.numbers["extractors"] == {short_name(line): 3}
        digests[name] = corpus.digest
    assert len({*digests.values()}) == 3


def test_several_extractors_in_one_import_are_told(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.pose", record(OURS), 0)
    write(tmp_path / "in" / "b.pose", record(OTHER_PROGRAM), 1)
    report = import_corpus(tmp_path / "in", tmp_path / "out")
    assert "warning: the clips come from several extractors: " in report.markdown()


def test_a_store_of_before_extractors_were_told_opens_with_its_digest(tmp_path: Path) -> None:
    """Its shards lack the column, and its digest has no part for it."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    from sign_models.datasets.store import Shard

    write(tmp_path / "in" / "a.pose", {})
    import_corpus(tmp_path / "in", tmp_path / "out")
    (path,) = (tmp_path / "out").glob("frames-*")
    with safe_open(path, "np") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del about["known"]["extractors"]
    save_file(tensors, tmp_path / "old", {"about": json.dumps(about)})
    assert Shard.read(tmp_path / "old").known["extractors"] == [None]
