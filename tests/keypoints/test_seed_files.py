"""The seed's files: every shape of them, and every refusal of bad input."""

import ast
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.files.containers import read_npy
from sign_models.keypoints.formats.metadata import unit_of
from sign_models.keypoints.normalise import normalise
from tests.keypoints import here
from tests.keypoints.clips import dump, scored
from tests.keypoints.signer import pixels, signer

CLIP = scored("mediapipe_75")
XY, SURE = CLIP[..., :2], CLIP[..., 2]
XYZ = np.concatenate([XY, -np.ones_like(SURE)[..., None]], -1)
RECORD = {"id": "a", "keypoints": XY, "confidence": SURE}

SHAPES = {
    "dict of arrays": ({"a": CLIP, "b": CLIP}, ["a", "b"]),
    "dict of records": ({"a": {"keypoints": XY, "confidence": SURE}, "b": {"keypoints": CLIP}}, ["a", "b"]),
    "numbers as ids": ({3: CLIP, 10: CLIP}, ["3", "10"]),
    "list of arrays": ([CLIP, CLIP], ["0", "1"]),
    "list of records": ([RECORD, RECORD | {"id": 7}], ["a", "7"]),
    "sequences by id": ({"layout": "mediapipe_75", "fps": 25, "sequences": {"a": CLIP}}, ["a"]),
    "sequences in a list": ({"sequences": [RECORD]}, ["a"]),
    "one record": (RECORD, ["a"]),
    "nested lists": ({"a": CLIP.tolist()}, ["a"]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_gives_the_same_clips(name: str, tmp_path: Path) -> None:
    tree, ids = SHAPES[name]
    sequences = list(read(dump(tmp_path / "a.pkl", tree)))
    assert [sequence.id for sequence in sequences] == ids
    for sequence in sequences:
        np.testing.assert_array_equal(sequence.points, XY)
        np.testing.assert_array_equal(sequence.confidence, SURE)
        assert sequence.layout == "mediapipe_75" and sequence.unit == "pixel"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_gives_the_same_clip(protocol: int, zipped: bool, tmp_path: Path) -> None:
    (sequence,) = read(dump(tmp_path / "a.pkl", {"a": CLIP}, protocol=protocol, zipped=zipped))
    np.testing.assert_array_equal(sequence.points, XY)


def test_npz_and_json_give_the_same_clips(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=CLIP, b=CLIP, fps=np.array(25), layout=np.array("mediapipe_75"))
    (tmp_path / "a.json").write_text(json.dumps({"fps": 25, "sequences": {"a": CLIP.tolist(), "b": CLIP.tolist()}}))
    for name in ("a.npz", "a.json"):
        sequences = list(read(tmp_path / name))
        assert [(s.id, s.fps, s.layout) for s in sequences] == [("a", 25, "mediapipe_75"), ("b", 25, "mediapipe_75")]
        np.testing.assert_allclose(sequences[1].points, XY)


@pytest.mark.parametrize(
    ("array", "confidence"),
    [
        (XY, np.ones_like(SURE)),
        (CLIP, SURE),
        (XYZ, np.ones_like(SURE)),
        (np.concatenate([XYZ, SURE[..., None]], -1), SURE),
        (CLIP.astype(np.float64), SURE),
    ],
    ids=["xy", "xyc", "xyz", "xyzc", "float64"],
)
def test_channels_are_told_apart(array: np.ndarray, confidence: np.ndarray, tmp_path: Path) -> None:
    (sequence,) = read(dump(tmp_path / "a.pkl", {"a": array}))
    np.testing.assert_array_equal(sequence.points, XY)
    np.testing.assert_array_equal(sequence.confidence, confidence)


def test_without_a_score_zero_is_unseen(tmp_path: Path) -> None:
    for array in (XY.copy(), XYZ.copy()):
        array[2, 5] = 0
        (sequence,) = read(dump(tmp_path / "a.pkl", {"a": array}))
        assert sequence.confidence[2, 5] == 0 and sequence.confidence.sum() == SURE.size - 1


def test_a_record_keeps_what_it_tells(tmp_path: Path) -> None:
    told = {"fps": 29.97, "text": "früh 早上 🌞", "split": "dev", "signer": 4, "unit": "pixel", "size": (640, 480)}
    (sequence,) = read(dump(tmp_path / "a.pkl", [RECORD | told]))
    assert (sequence.fps, sequence.text, sequence.split, sequence.group) == (29.97, "früh 早上 🌞", "dev", "4")
    assert sequence.size == (640, 480)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 99), width=st.integers(80, 4000), height=st.integers(80, 4000), scale=st.floats(0.1, 2))
def test_the_unit_is_told_by_the_range(seed: int, width: int, height: int, scale: float) -> None:
    points = pixels("mediapipe_75", 8, seed, (width, height))
    # Only what is in the picture is there to be seen by most.
    seen = ((points >= 0) & (points <= (width, height))).all(-1)
    assert unit_of([(points, seen)]) == "pixel"
    assert unit_of([(points / (width, height), seen)]) == "normalized"
    assert unit_of([(signer("mediapipe_75", 8, seed) * scale, seen)]) == "centered"


BAD = {
    "no clips": ({}, "holds no clips"),
    "no clips in a list": ([], "holds no clips"),
    "a wrong count": ({"a": np.ones((4, 74, 3))}, "sample 'a': 74 landmarks a frame.*75 .mediapipe_75"),
    "too many channels": ({"a": np.ones((4, 75, 5))}, r"keypoints of shape \(4, 75, 5\)"),
    "one channel": ({"a": np.ones((4, 75, 1))}, "wanted .frames, landmarks, 2 to 4"),
    "two dimensions": ({"a": np.ones((4, 150))}, r"shape \(4, 150\)"),
    "no frames": ({"a": np.ones((0, 75, 3))}, "sample 'a': has no frames"),
    "nothing seen": ({"a": np.concatenate([XY, 0 * XY[..., :1]], -1)}, "no landmark is seen in any of its 6 frames"),
    "nothing but zeros": ({"a": np.zeros((4, 75, 2))}, "no landmark is seen in any of its 4 frames"),
    "NaN": ({"a": np.where(np.arange(2) == 1, np.nan, XY)}, "no landmark is seen in any"),
    "Inf": ({"a": np.where(np.arange(75)[:, None] == 3, np.inf, XY)}, "NaN or Inf at frame 0, landmark 3"),
    "NaN as confidence": ({"a": np.concatenate([XY, np.nan * XY[..., :1]], -1)}, "NaN among the confidences"),
    "confidence of 7": ([RECORD | {"confidence": SURE * 10}], "confidence from 5.*wanted 0 .unseen. to 1"),
    "negative confidence": ([RECORD | {"confidence": SURE - 1}], "confidence from -0"),
    "confidence of another shape": ([RECORD | {"confidence": SURE[1:]}], r"confidence of shape \(5, 75\)"),
    "strings": ({"a": np.full((4, 75, 2), "x")}, "keypoints of type"),
    "ragged": ({"a": [[[1, 2]], [[1, 2], [3, 4]]]}, "no regular array"),
    "mixed channels": ({"a": CLIP, "b": XYZ}, "sample 'b': its third channel.*a depth, but sample 'a'"),
    "the same id twice": ([RECORD, RECORD], "id 'a' again"),
    "the same id as number and text": ({1: CLIP, "1": CLIP}, "id '1' again"),
    "an id that is a list": ([RECORD | {"id": [1]}], "an id that is a list"),
    "an unknown layout": ({"layout": "mediapip_75", "sequences": {"a": CLIP}}, "did you mean 'mediapipe_75'"),
    "a layout of another count": ({"layout": "openpose_137", "sequences": {"a": CLIP}}, "75 landmarks a frame; wanted"),
    "a frame rate below zero": ([RECORD | {"fps": -1}], "frame rate"),
    "a text that is a list": ([RECORD | {"text": ["a", "b"]}], "a text that is a list"),
    "something else": ({"a": CLIP, "b": {"poses": CLIP}}, "sample 'b': is a dict with poses"),
    "no keypoints at all": ({"a": 1}, "wanted .*Uni-Sign"),
    "a number": (7, "a file of kind 'pickle'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name: str, tmp_path: Path) -> None:
    tree, message = BAD[name]
    with pytest.raises(DataError, match=message) as raised:
        list(read(dump(tmp_path / "clips.pkl", tree)))
    assert "clips.pkl" in str(raised.value)


def test_objects_in_an_npz_are_read_by_the_safe_unpickler_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([Path("a")], dtype=object))
    with pytest.raises(DataError, match="array 'a'.*pathlib.*not run"):
        list(read(tmp_path / "a.npz"))


def test_an_npz_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sign_models.keypoints.formats.files.containers.MAX_ARRAY_BYTES", 2**20)
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros((2**12, 75, 2), np.float32))
    assert (tmp_path / "a.npz").stat().st_size < 2**14
    with pytest.raises(DataError, match="unzips to 2,457,728 bytes"):
        list(here.read(tmp_path / "a.npz"))


def test_an_npy_header_is_believed_only_as_far_as_there_are_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones((4, 75, 2)))
    path.write_bytes(path.read_bytes().replace(b"(4, 75, 2)", b"(9999999999, 75, 2)"[:10].ljust(10)))
    with pytest.raises(DataError, match="a.npy"):
        list(read(path))
    np.save(path, np.ones((1000, 75, 2))[:4])
    path.write_bytes(path.read_bytes().replace(b"(4, 75, 2), }     ", b"(4000, 75, 200), }"))
    with pytest.raises(DataError, match="more than its .* bytes can"):
        list(read(path))


HEADERS = [
    "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }",
    "{'shape': (2L, 3L), 'fortran_order': False, 'descr': '<f8'}",
    '{"descr": "<f8", "fortran_order": False, "shape": (2,3)}',
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_headers_of_every_version_and_writer_are_read_without_evaluating_them(
    tmp_path: Path, header: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 fails now and then where threads of a server evaluate headers at once."""

    def fails(*args: object, **more: object) -> object:
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr(ast, "parse", fails)
    values = np.arange(6.0).reshape(2, 3)
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + values.tobytes())
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), values)


def test_an_array_of_several_fields_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(4, [("x", "f4"), ("y", "f4")]))
    with pytest.raises(DataError, match=r"a\.npy: holds values of several fields.*save plain arrays"):
        read_npy(tmp_path / "a.npy")


def test_json_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * 200_000)
    with pytest.raises(DataError, match="no readable JSON"):
        list(read(path))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(CLIP) | st.just(XYZ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["id", "keypoints", "confidence", "layout", "fps", "unit", "size", "text", "split", "signer"])
damaged = st.tuples(st.just(RECORD), st.dictionaries(fields, anything, max_size=3)).map(lambda pair: pair[0] | pair[1])


@settings(deadline=None, max_examples=300)
@given(anything | damaged | st.lists(damaged, max_size=3) | st.dictionaries(st.text(max_size=3), damaged, max_size=3))
def test_any_tree_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, tree: object) -> None:
    path = dump(tmp_path_factory.mktemp("any") / "a.pkl", tree)
    try:
        for sequence in here.read(path):
            normalise(sequence)
    except DataError as error:
        assert "a.pkl" in str(error)


@settings(deadline=None, max_examples=150)
@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.bool_]),
        arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=3).map(lambda s: s[:1] + (75,) + s[2:]),
    )
)
def test_any_array_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = dump(tmp_path_factory.mktemp("any") / "a.pkl", {"a": array})
    try:
        (sequence,) = here.read(path)
    except DataError as error:
        assert str(error).startswith("a.pkl")
    else:
        assert np.isfinite(sequence.points[sequence.confidence > 0]).all()


@pytest.mark.parametrize("field", ["id", "group", "split", "text"])
@pytest.mark.parametrize("value", ["a\0b", "\ud83d", "x\udfff"])
def test_characters_that_cannot_be_written_are_refused(tmp_path: Path, field: str, value: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"id": "a", "keypoints": CLIP.tolist(), field: value}]))
    with pytest.raises(DataError, match=f"its {field} holds the character "):
        list(read(tmp_path / "a.json"))


@pytest.mark.parametrize("id", ["", "x" * 70_000, "a\nb", "a\x1b[2J", "a\u202eb"])
def test_ids_are_names(tmp_path: Path, id: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({id: CLIP.tolist()}))
    with pytest.raises(DataError, match="its id ") as error:
        list(read(tmp_path / "a.json"))
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("fps", [1e-320, 1e-9, -1, 1e9, float("nan"), float("inf")])
def test_frame_rates_are_rates(tmp_path: Path, fps: float) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([{"id": "a", "keypoints": CLIP, "fps": fps}]))
    with pytest.raises(DataError, match=r"a frame rate .* from 0.01 to 10,000"):
        list(read(tmp_path / "a.pkl"))
