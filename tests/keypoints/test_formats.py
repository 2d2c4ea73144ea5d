"""Every format: told, read, normalised to the same numbers; damaged files are refused and nothing else."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sign_models.data.texts import read_texts
from sign_models.datasets.importing import ImportRules, import_corpus
from sign_models.errors import DataError
from sign_models.keypoints.formats import READERS, detect, read
from sign_models.keypoints.layouts import CANONICAL, PARTS
from sign_models.keypoints.normalise import normalise
from tests.keypoints.clips import FRAMES, SIZE
from tests.keypoints.file_examples import EXAMPLES

BODIES = [name for name in EXAMPLES if name != "pose hand"]


def test_every_reader_has_an_example() -> None:
    assert {example.reader for example in EXAMPLES.values()} == {reader.name for reader in READERS}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_file_is_told_and_read(name: str, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    path = example.write(tmp_path)
    assert detect(path) == example.reader
    (sequence,) = read(path)
    assert (sequence.id,) == example.ids
    assert sequence.layout == example.layout
    assert (sequence.text, sequence.split) == (example.text, example.split)
    assert sequence.points.shape == (FRAMES, sequence.confidence.shape[1], 2)
    assert sequence.points.dtype == sequence.confidence.dtype == np.float32
    assert sequence.confidence.min() >= 0 and sequence.confidence.max() <= 1
    assert sequence.source


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_folder_above_gives_the_same_clip(name: str, tmp_path: Path) -> None:
    path = EXAMPLES[name].write(tmp_path)
    (alone,) = read(path)
    (below,) = read(tmp_path)
    np.testing.assert_array_equal(below.points, alone.points)
    assert below.text == alone.text and below.layout == alone.layout


@pytest.mark.parametrize("name", EXAMPLES)
def test_content_tells_a_file_whose_name_says_nothing(name: str, tmp_path: Path) -> None:
    path = EXAMPLES[name].write(tmp_path)
    if not path.is_file() or path.suffix in (".files", ".text"):
        pytest.skip("a folder")
    bare = path.rename(tmp_path / "download")
    assert detect(bare) == EXAMPLES[name].reader


@pytest.mark.parametrize("name", BODIES)
def test_every_format_normalises_to_the_same_movement(name: str, tmp_path: Path) -> None:
    """Pixels, fractions of a picture and centred coordinates, in any layout: the same body and hands, to 1 %."""
    (reference,) = (normalise(s) for s in read(EXAMPLES["seed dict"].write(_folder(tmp_path / "reference"))))
    (sequence,) = read(EXAMPLES[name].write(_folder(tmp_path / "other")), size=SIZE)
    out = normalise(sequence)
    assert out.shape == (FRAMES, len(CANONICAL), 3)
    both = (out[..., 2] > 0) & (reference[..., 2] > 0)
    assert both[:, PARTS["left_hand"]].any() and both[:, PARTS["right_hand"]].any() and both[:, PARTS["body"]].any()
    # The seed's dict is in float32 pixels, .skels in five decimals of a third of the size.
    np.testing.assert_allclose(out[both][:, :2], reference[both][:, :2], atol=0.01)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_formats_may_lie_side_by_side_in_one_folder(tmp_path: Path) -> None:
    for i, (name, example) in enumerate(EXAMPLES.items()):
        if name not in ("glofe how2sign", "elan"):  # which would cut sentences out of all recordings called "clip"
            example.write(_folder(tmp_path / f"{i:02d}"))
    (tmp_path / "README.md").write_text("# notes, which are no keypoints\n")
    (tmp_path / "gloss2ids.json").write_text('{"A": 1, "B": 2}')
    with pytest.raises(DataError, match="id 'clip' again"):
        list(read(tmp_path))
    first = [sequence.id for sequence in read(tmp_path / "00")]
    assert first == ["clip"]


def test_order_is_stable(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        EXAMPLES["pose coco"].write(_folder(tmp_path / name))
    assert [sequence.id for sequence in read(tmp_path)] == ["a/clip", "b/clip", "c/clip"]
    assert [sequence.id for sequence in read(tmp_path)] == ["a/clip", "b/clip", "c/clip"]


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


ODD: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a device": (lambda path, _: path.symlink_to("/dev/zero"), "leads out of the folder"),
    "a terminal": (lambda path, _: path.symlink_to("/dev/tty"), "leads out of the folder"),
    "a FIFO": (fifo, "a FIFO"),
    "a socket": (unix_socket, "a socket"),
    "a file elsewhere": (lambda path, elsewhere: path.symlink_to(elsewhere), "leads out of the folder"),
    "a folder elsewhere": (lambda path, elsewhere: path.symlink_to(elsewhere.parent), "leads out of the folder"),
    "through a folder": (lambda path, _: path.symlink_to("../../../etc/passwd"), "leads out of the folder"),
    "nowhere": (lambda path, _: path.symlink_to("missing.npy"), "leads nowhere"),
    "itself": (lambda path, _: path.symlink_to(path), "leads nowhere"),
}
PLACES = ["0.npy", "x.json", "a_left_hand.npy", "left_hand", "left_hand/b.npy", "clip.skels", "labels.csv", "x.pose"]


def put(kind: str, place: Path, elsewhere: Path) -> str:
    """Make something odd at a place of the corpus. Returns what is said of it."""
    make, why = ODD[kind]
    place.parent.mkdir(parents=True, exist_ok=True)
    make(place, elsewhere)
    return why


@pytest.mark.parametrize("place", PLACES)
def test_only_regular_files_of_the_folder_itself_are_read(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = EXAMPLES["pose coco"].write(_folder(tmp_path / "elsewhere"))
    for i, kind in enumerate(ODD):
        corpus = _folder(tmp_path / f"corpus{i}")
        monkeypatch.chdir(corpus)
        EXAMPLES["seed dict"].write(corpus)
        (corpus / "right_hand").mkdir()
        why = put(kind, corpus / place, elsewhere)
        bad: list[DataError] = []
        assert [sequence.id for sequence in read(corpus, on_bad=bad.append)] == ["clip"]
        assert [why in str(error) and place in str(error) for error in bad] == [True]


@pytest.mark.parametrize("place", PLACES)
def test_an_import_leaves_out_what_is_no_regular_file_of_the_folder_or_stops(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = EXAMPLES["pose coco"].write(_folder(tmp_path / "elsewhere"))
    corpus = _folder(tmp_path / "corpus")
    monkeypatch.chdir(corpus)
    EXAMPLES["seed dict"].write(corpus)
    said = [put(kind, corpus / f"of{i}" / place, elsewhere) for i, kind in enumerate(ODD)]
    report = import_corpus(corpus, tmp_path / "store", ImportRules(on_bad_sample="reject"), workers=0)
    assert (report.numbers["clips"], report.numbers["rejected"]["samples"]) == (1, len(ODD))
    with pytest.raises(DataError, match=said[0]):
        import_corpus(corpus, tmp_path / "other", workers=0)


@pytest.mark.parametrize("suffix", [".text", ".files"])
def test_what_is_read_beside_a_file_is_of_the_folder_too(suffix: str, tmp_path: Path) -> None:
    corpus = _folder(tmp_path / "corpus")
    skels = EXAMPLES["skels"].write(corpus)
    (tmp_path / "secret").write_text("secret\n")
    (corpus / skels.name).with_suffix(suffix).unlink()
    (corpus / skels.name).with_suffix(suffix).symlink_to(tmp_path / "secret")
    for sequence in read(corpus, on_bad=lambda error: None):
        assert "secret" not in (sequence.id, sequence.text)


@pytest.mark.parametrize("kind", ["a device", "a FIFO", "a socket"])
def test_a_source_that_is_no_regular_file_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ODD[kind][0](tmp_path / "a.json", tmp_path)
    for reader in (lambda path: list(read(path)), read_texts, lambda path: import_corpus(path, tmp_path / "out")):
        with pytest.raises(DataError, match="a device|a FIFO|a socket"):
            reader(tmp_path / "a.json")


def test_links_within_the_folder_are_read_and_never_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = _folder(tmp_path / "corpus")
    EXAMPLES["pose coco"].write(_folder(corpus / "a"))
    (corpus / "b.pose").symlink_to("a/clip.pose")
    (corpus / "circle").symlink_to(corpus)
    (corpus / "again").symlink_to("a")
    for i in range(8):  # each leads to the others: a walk that follows them never ends
        (corpus / f"d{i}").mkdir()
        for j in range(8):
            (corpus / f"d{i}" / f"to{j}").symlink_to(f"../d{j}")
    with caplog.at_level("INFO", "sign_models"):
        assert [sequence.id for sequence in read(corpus)] == ["a/clip", "b"]
    assert "again is a link to a folder" in caplog.text


def test_a_corpus_that_is_a_link_itself_is_read(tmp_path: Path) -> None:
    EXAMPLES["pose coco"].write(_folder(tmp_path / "elsewhere"))
    (tmp_path / "corpus").symlink_to("elsewhere")
    assert [sequence.id for sequence in read(tmp_path / "corpus")] == ["clip"]


def test_a_missing_path_offers_the_nearest(tmp_path: Path) -> None:
    EXAMPLES["seed dict"].write(tmp_path)
    with pytest.raises(DataError, match="does not exist.*did you mean 'video_sequences.pkl'"):
        list(read(tmp_path / "video_sequence.pkl"))


@pytest.mark.parametrize("name", ["a.pkl", "a.pose", "a.json", "a.npz", "a.parquet", "a.csv", "a.skels", "a"])
def test_an_empty_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match="empty"):
        list(read(tmp_path / name))


def test_a_folder_without_keypoints_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="without a file of keypoints.*OpenPose"):
        list(read(tmp_path))
    with pytest.raises(DataError):
        detect(tmp_path)


def test_a_bad_clip_is_handed_over_and_the_others_are_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        EXAMPLES["pose coco"].write(_folder(tmp_path / name))
    broken = tmp_path / "b" / "clip.pose"
    broken.write_bytes(broken.read_bytes()[:-7])
    with pytest.raises(DataError, match="clip.pose"):
        list(read(tmp_path))
    bad: list[DataError] = []
    assert [sequence.id for sequence in read(tmp_path, on_bad=bad.append)] == ["a/clip", "c/clip"]
    assert len(bad) == 1 and "clip.pose" in str(bad[0])


def test_what_the_user_says_holds_where_the_file_is_silent(tmp_path: Path) -> None:
    path = EXAMPLES["seed dict"].write(tmp_path)
    (sequence,) = read(path, fps=30, size=(100, 200), unit="normalized")
    assert (sequence.fps, sequence.size, sequence.unit) == (30, (100, 200), "normalized")
    with pytest.raises(DataError, match="wanted the 75 of layout 'mediapipe_75'"):
        list(read(path, layout="mediapipe_75"))
    with pytest.raises(DataError, match="unknown layout"):
        list(read(path, layout="mediapipe_76"))


def test_a_layout_of_ones_own_is_read_from_yaml(tmp_path: Path) -> None:
    path = EXAMPLES["seed sequences"].write(tmp_path)
    names = tmp_path / "mine.yaml"
    names.write_text("\n".join(["- body.nose"] + ["- null"] * 74))
    (sequence,) = read(path, layout=str(names))
    assert normalise_seen(sequence) == {"body.nose", "face.nose_tip"}


def normalise_seen(sequence) -> set[str]:
    from sign_models.keypoints.layouts import to_canonical

    _, sure = to_canonical(sequence.points, sequence.confidence, sequence.layout)
    return {name for name, seen in zip(CANONICAL, sure.any(0), strict=True) if seen}
