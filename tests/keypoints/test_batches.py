"""Arrays of several clips, padded to one length, with ids, labels and lengths in the file or beside it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sign_models.data.corpus import Corpus
from sign_models.datasets.importing import import_corpus
from sign_models.errors import DataError
from sign_models.keypoints.formats import detect, read
from sign_models.keypoints.sequence import KeypointSequence
from tests.keypoints.clips import dump, scored

LENGTHS = [5, 9, 7, 12, 6]
CLIPS = [scored("mediapipe_75", i, frames=length) for i, length in enumerate(LENGTHS)]
IDS = [f"0{i}7" for i in range(len(LENGTHS))]
TEXTS = ["eins", "zwei", "drei", "vier", "fünf"]
PADDED = sum(max(LENGTHS) - length for length in LENGTHS)


def batch(filler: float = 0.0, before: bool = False) -> np.ndarray:
    """(N, T, 75, 3) with the padding after or before each clip."""
    whole = np.full((len(CLIPS), max(LENGTHS), *CLIPS[0].shape[1:]), filler, np.float32)
    for i, clip in enumerate(CLIPS):
        whole[i, -len(clip) if before else 0 :][: len(clip)] = clip
    return whole


def objects(values: list) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def check(found: list[KeypointSequence], ids: list[str] = IDS, texts: list[str] | None = None) -> None:
    """Every clip has its id, its text and its own frames."""
    assert [one.id for one in found] == ids
    for one, clip in zip(found, CLIPS, strict=True):
        np.testing.assert_array_equal(one.points, clip[..., :2])
        np.testing.assert_array_equal(one.confidence, clip[..., 2])
    if texts:
        assert [one.text for one in found] == texts


def npz(folder: Path) -> None:
    np.savez(folder / "data.npz", X=batch(), ids=np.array(IDS), y=np.array(TEXTS), lengths=np.array(LENGTHS))


def npz_without_lengths(folder: Path) -> None:
    np.savez_compressed(folder / "corpus.npz", keypoints=batch(), video_names=np.array(IDS), labels=np.array(TEXTS))


def npz_with_a_mask(folder: Path) -> None:
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    np.savez(folder / "a.npz", poses=batch(), names=objects(IDS), sentences=objects(TEXTS), mask=mask)


def npz_with_a_mask_of_padding(folder: Path) -> None:
    mask = np.arange(max(LENGTHS)) >= np.array(LENGTHS)[:, None]
    np.savez(folder / "a.npz", x=batch(), filenames=np.array(IDS), text=np.array(TEXTS), padding_mask=mask)


def npz_padded_before(folder: Path) -> None:
    np.savez(folder / "a.npz", X=batch(before=True), ids=IDS, texts=TEXTS, seq_lens=LENGTHS)


def npz_padded_with_nan(folder: Path) -> None:
    np.savez(folder / "a.npz", X=batch(np.nan), ids=IDS, texts=TEXTS)


def npz_padded_with_minus_one(folder: Path) -> None:
    np.savez(folder / "a.npz", X=batch()[..., :2], confidence=batch()[..., 2], ids=IDS, texts=TEXTS)


def npz_with_classes(folder: Path) -> None:
    order = [3, 0, 4, 1, 2]
    names = [TEXTS[i] for i in np.argsort(order)]
    np.savez(folder / "a.npz", X=batch(), ids=IDS, y=order, class_names=names)


def npz_of_splits(folder: Path) -> None:
    whole = {"X": batch(), "y": np.array(TEXTS), "ids": np.array(IDS)}
    split = {f"{n}_train": v[:3] for n, v in whole.items()} | {f"{n}_test": v[3:] for n, v in whole.items()}
    np.savez(folder / "dataset.npz", **split)


def npz_of_parts(folder: Path) -> None:
    whole = batch()
    parts = {"pose": whole[:, :, :33], "left_hand": whole[:, :, 33:54], "right_hand": whole[:, :, 54:]}
    np.savez(folder / "a.npz", **parts, names=IDS, texts=TEXTS)


def ragged_npz(folder: Path) -> None:
    np.savez(folder / "a.npz", X=objects(CLIPS), ids=IDS, labels=objects(TEXTS))


def files(folder: Path) -> None:
    np.save(folder / "X.npy", batch())
    np.save(folder / "ids.npy", np.array(IDS))
    np.save(folder / "y.npy", np.array(TEXTS))
    np.save(folder / "lengths.npy", np.array(LENGTHS))


def files_of_text(folder: Path) -> None:
    np.save(folder / "phoenix_poses.npy", batch())
    (folder / "phoenix_ids.txt").write_text("\n".join(IDS) + "\n")
    (folder / "phoenix_labels.json").write_text(json.dumps(TEXTS))


def files_of_splits(folder: Path) -> None:
    for split, part in (("train", slice(0, 3)), ("val", slice(3, 5))):
        np.save(folder / f"{split}_X.npy", batch()[part])
        dump(folder / f"{split}_ids.pkl", IDS[part])
        (folder / f"{split}_labels.csv").write_text("label\n" + "\n".join(TEXTS[part]) + "\n", encoding="utf-8")


def ragged_file(folder: Path) -> None:
    np.save(folder / "clips.npy", objects(CLIPS))
    np.save(folder / "clips_names.npy", objects(IDS))
    np.save(folder / "clips_texts.npy", np.array(TEXTS))


def pickled(folder: Path) -> None:
    dump(folder / "corpus.pkl", {"keypoints": batch(), "names": IDS, "sentences": TEXTS, "num_frames": LENGTHS})


def pickled_ragged(folder: Path) -> None:
    dump(folder / "corpus.pkl", {"keypoints": CLIPS, "names": IDS, "sentences": TEXTS})


def json_ragged(folder: Path) -> None:
    tree = {"keypoints": [clip.tolist() for clip in CLIPS], "ids": IDS, "labels": TEXTS}
    (folder / "corpus.json").write_text(json.dumps(tree))


def hdf5(folder: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "corpus.h5", "w") as file:
        file["X"], file["ids"], file["labels"], file["length"] = batch(), IDS, TEXTS, LENGTHS


WRITERS = [
    npz, npz_without_lengths, npz_with_a_mask, npz_with_a_mask_of_padding, npz_padded_before, npz_padded_with_nan,
    npz_padded_with_minus_one, npz_with_classes, npz_of_splits, npz_of_parts, ragged_npz, files, files_of_text,
    files_of_splits, ragged_file, pickled, pickled_ragged, json_ragged, hdf5,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
def test_every_clip_has_its_id_its_text_and_its_own_frames(
    tmp_path: Path, write: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    check(sorted(read(tmp_path), key=lambda one: one.id), texts=TEXTS)
    assert "nobody reads" not in caplog.text and "without a clip" not in caplog.text


@pytest.mark.parametrize("write", [npz_of_splits, files_of_splits])
def test_names_of_splits_are_splits(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    found = {one.id: one.split for one in read(tmp_path)}
    assert write is files_of_splits or [found[id] for id in IDS] == ["train"] * 3 + ["test"] * 2


def test_padding_is_counted_said_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "source").mkdir()
    npz_without_lengths(tmp_path / "source")
    with caplog.at_level("INFO", "sign_models"):
        report = import_corpus(tmp_path / "source", tmp_path / "store")
        corpus = Corpus.from_sequences(read(tmp_path / "source"), "source")
    assert caplog.text.count(f"source: {PADDED} frames of padding at the ends of clips are left out") == 2
    told = report.numbers["padding left out"]
    assert told == {"frames": PADDED, "clips": 4, "ids": [id for id, n in zip(IDS, LENGTHS, strict=True) if n < 12]}
    assert f"- {PADDED} frames at the ends of 4 clips are padding, left out: 007" in report.markdown()
    assert corpus.lengths.tolist() == LENGTHS


def test_clips_without_ids_are_numbered_below_their_file(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", batch())
    check(list(read(tmp_path)), [f"X/{i}" for i in range(len(CLIPS))])


def test_vectors_of_several_clips(tmp_path: Path) -> None:
    whole = batch()
    np.savez(tmp_path / "a.npz", X=whole.reshape(*whole.shape[:2], -1), ids=IDS)
    found = list(read(tmp_path))
    assert [one.id for one in found] == IDS and [len(one) for one in found] == LENGTHS
    assert {one.layout for one in found} == {"mediapipe_75"}


def test_labels_as_vectors_of_classes_and_their_names(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", batch())
    np.save(tmp_path / "y.npy", np.eye(5)[::-1])
    np.save(tmp_path / "actions.npy", np.array(TEXTS))
    assert [one.text for one in read(tmp_path)] == TEXTS[::-1]


def test_numbers_of_classes_without_names_are_no_texts_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.savez(tmp_path / "a.npz", X=batch(), y=np.arange(5))
    assert [one.text for one in read(tmp_path)] == [None] * 5
    assert "its labels are numbers, which are no texts" in caplog.text


def test_frames_that_repeat_at_the_ends_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    held = np.stack([np.concatenate([c, np.repeat(c[-1:], 15 - len(c), 0)]) for c in CLIPS])
    np.savez(tmp_path / "a.npz", X=held, ids=IDS)
    assert [len(one) for one in read(tmp_path)] == [15] * 5
    assert "a.npz: 5 of 5 clips end in frames that repeat, which may be padding" in caplog.text
    np.savez(tmp_path / "a.npz", X=held, ids=IDS, lengths=LENGTHS)
    check(list(read(tmp_path)))


def test_clips_of_their_own_lengths_keep_frames_in_which_nothing_is_seen(tmp_path: Path) -> None:
    clips = [np.concatenate([np.zeros_like(clip[:2]), clip]) for clip in CLIPS]
    np.savez(tmp_path / "a.npz", X=objects(clips), ids=IDS)
    assert [(len(one), one.padded) for one in read(tmp_path)] == [(length + 2, 0) for length in LENGTHS]


def test_one_person_along_an_axis_is_one_clip(tmp_path: Path) -> None:
    clip = scored("coco_wholebody_133")
    np.save(tmp_path / "a.npy", clip[:, None])
    np.save(tmp_path / "b.npy", clip[None])
    np.savez(tmp_path / "c.npz", keypoints=clip[:, None, :, :2], scores=clip[:, None, :, 2])
    found = list(read(tmp_path))
    assert [one.id for one in found] == ["a", "b", "c"]
    for one in found:
        np.testing.assert_array_equal(one.points, clip[..., :2])
        np.testing.assert_array_equal(one.confidence, clip[..., 2])


def test_a_hand_keeps_its_side(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left_hand=batch()[:, :, 33:54], ids=IDS)
    assert {one.layout for one in read(tmp_path)} == {"left_hand_21"}


REFUSED = {
    "people or clips": (lambda: {"keypoints": batch()[:2]}, "may be of people or of clips.*ids=names"),
    "channels first": (lambda: {"X": batch().transpose(0, 3, 1, 2), "ids": IDS}, r"a.transpose\(0, 2, 3, 1\)"),
    "graphs of persons": (lambda: {"x": batch().transpose(0, 3, 1, 2)[..., None]}, r"a\[..., 0\].transpose\(0, 2, 3"),
    "too few ids": (lambda: {"X": batch(), "ids": IDS[:3]}, "3 ids for 5 clips.*in the order of the clips"),
    "too few labels": (lambda: {"X": batch(), "y": TEXTS[:4]}, "4 texts for 5 clips"),
    "a length beyond": (lambda: {"X": batch(), "ids": IDS, "lengths": [5, 9, 7, 13, 6]}, "a length of 13 in 12 frames"),
    "a mask of another": (lambda: {"X": batch(), "ids": IDS, "mask": np.eye(5, 12)}, "save lengths in place"),
    "ids that are no ids": (lambda: {"X": batch(), "ids": [0.5] * 5}, "an id 0.5.*name each clip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_unsure_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    make, message = REFUSED[name]
    np.savez(tmp_path / "a.npz", **make())
    with pytest.raises(DataError, match=f"a.npz.*{message}"):
        list(read(tmp_path))


def test_arrays_of_clips_are_told_from_other_files(tmp_path: Path) -> None:
    frames = scored("coco_wholebody_133")
    clip = {"keypoints": [v[None, :, :2] for v in frames], "scores": [v[None, :, 2] for v in frames]}
    assert detect(dump(tmp_path / "unisign.pkl", clip)) == "unisign"
    assert detect(dump(tmp_path / "seed.pkl", {"a": frames, "b": frames})) == "seed"
    assert detect(dump(tmp_path / "list.pkl", CLIPS)) == "seed"


def test_files_with_names_like_ids_are_clips_where_no_array_has_several(tmp_path: Path) -> None:
    for name in ("ids", "labels", "word_1", "name"):
        np.save(tmp_path / f"{name}.npy", CLIPS[0])
    assert [one.id for one in read(tmp_path)] == ["ids", "labels", "name", "word_1"]


# Arrays of objects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_array_of_clips_of_several_lengths(tmp_path: Path, protocol: int) -> None:
    dump(tmp_path / "a.pkl", objects(CLIPS), protocol=protocol)
    check(list(read(tmp_path)), list("01234"))
    dump(tmp_path / "a.pkl", {"x": [objects([CLIPS[0]] * 3), {"a": objects([])}]}, protocol=protocol)


def test_what_numpy_saves_as_objects_is_read_like_a_pickle(tmp_path: Path) -> None:
    record = {"id": "clip", "keypoints": CLIPS[0], "text": "hallo", "fps": 25}
    np.save(tmp_path / "records.npy", objects([record]))
    np.save(tmp_path / "dict.npy", {"one": CLIPS[0], "two": CLIPS[1]}, allow_pickle=True)
    parts = {"pose": CLIPS[0][:, :33], "left_hand": CLIPS[0][:, 33:54], "right_hand": CLIPS[0][:, 54:]}
    np.save(tmp_path / "parts.npy", parts, allow_pickle=True)
    np.save(tmp_path / "frames.npy", objects([None if t == 2 else f for t, f in enumerate(CLIPS[1])]))
    found = {one.id: one for one in read(tmp_path)}
    assert {id: len(one) for id, one in found.items()} == {"clip": 5, "one": 5, "two": 9, "parts": 5, "frames": 9}
    assert (found["clip"].text, found["clip"].fps) == ("hallo", 25)
    np.testing.assert_array_equal(found["parts"].points, CLIPS[0][..., :2])
    assert not found["frames"].confidence[2].any() and found["frames"].confidence[3].all()


def holds_itself(times: int) -> np.ndarray:
    array = np.empty(times, object) if times else np.empty((), object)
    if not times:
        array[()] = array
    for i in range(times):
        array[i] = array
    return array


def shared(levels: int) -> np.ndarray:
    array = objects([1.5, 2.5])
    for _ in range(levels):
        array = objects([array, array])
    return array


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: holds_itself(0), "an array of objects in one without axes"),
        (lambda: holds_itself(1), "holds itself"),
        (lambda: holds_itself(3), "holds itself"),
        (lambda: shared(30), "counted every time"),
        (lambda: shared(60), "counted every time|containers within one another"),
        (lambda: objects([{1, 2}]), "opcode 0x8f"),
        (lambda: objects([Path("a")]), "pathlib.PosixPath, which was not run"),
    ],
)
def test_arrays_of_objects_that_are_bombs_or_run_code_are_refused(
    tmp_path: Path, make: Callable[[], np.ndarray], message: str, zipped: bool
) -> None:
    dump(tmp_path / "a.pkl", make(), zipped=zipped)
    with pytest.raises(DataError, match=message):
        list(read(tmp_path))


@pytest.mark.parametrize("shape", [(3,), (2, 10**6), (10**9, 0), (0,), (-1,), (2,) * 40])
def test_the_shape_of_an_array_of_objects_is_believed_only_as_far_as_it_has_values(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    state = (1, shape, np.dtype(object), False, [1, 2])

    class Liar:
        def __reduce__(self) -> tuple:
            return (np.zeros(0).__reduce__()[0], (np.ndarray, (0,), b"b"), state)

    dump(tmp_path / "a.pkl", {"clip": Liar()})
    with pytest.raises(DataError, match="whose shape does not fit its 2 values|without a list"):
        list(read(tmp_path))


@pytest.mark.parametrize("write", ["npy", "npz", "pickle"])
def test_characters_that_are_none_are_refused(tmp_path: Path, write: str) -> None:
    ids = np.array(IDS)
    ids.view("u4")[3] = 0x110000
    if write == "pickle":
        dump(tmp_path / "a.pkl", {"keypoints": batch(), "ids": ids})
    elif write == "npz":
        np.savez(tmp_path / "a.npz", X=batch(), ids=ids)
    else:
        np.save(tmp_path / "X.npy", batch())
        np.save(tmp_path / "ids.npy", ids)
    with pytest.raises(DataError, match="a character of number 1114112"):
        list(read(tmp_path))
