import collections
import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sign_models.errors import DataError
from sign_models.keypoints.pickles import folded_arrays, pickle_scan
from sign_models.keypoints.pickles.safe_pickle import load, loads

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
MEBIBYTE = 2**20


def same(a: object, b: object) -> bool:
    """Equal in value; a tensor is its array, an ordered dict a dict."""
    if isinstance(b, torch.Tensor):
        b = b.float().numpy()
    if isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and a.shape == b.shape and bool((np.asarray(a) == b).all())
    if isinstance(b, dict):
        return isinstance(a, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in b)
    if isinstance(a, folded_arrays.Arrays):
        return isinstance(b, list) and same(list(a), b) and same(np.asarray(a), np.array(b))
    if isinstance(b, list | tuple):
        return isinstance(a, type(b)) and len(a) == len(b) and all(map(same, a, b))
    return a == b


DATA = {
    "array": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "half": np.arange(3, dtype=np.float16),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">f8"),
    "strings": np.array(["a", "süß", "手"]),
    "empty": np.zeros((0, 5)),
    "scalar": np.float64(2.5),
    "list": [1, -1, 2.5, True, None, 10**30, "text", b"bytes", bytearray(b"x"), (), (1, (2, 3))],
    "ordered": collections.OrderedDict(z=1, a=[2]),
    "default": collections.defaultdict(list, {"q": [1]}),
    7: {"nested": {}},
}
TENSORS = [
    torch.arange(6.0).reshape(2, 3).T,
    torch.arange(20.0)[3:9:2],
    torch.zeros(0, 3),
    torch.tensor(3.0),
    torch.ones(3, dtype=torch.bfloat16),
    torch.ones(4, dtype=torch.float64),
    torch.tensor([True, False]),
    torch.arange(3),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_data_comes_back_as_it_was(protocol: int) -> None:
    assert same(loads(pickle.dumps(DATA, protocol), "a.pkl"), DATA)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype}{tuple(t.shape)}")
def test_tensors_come_back_as_arrays(protocol: int, tensor: torch.Tensor) -> None:
    assert same(loads(pickle.dumps([tensor, tensor], protocol), "a.pkl"), [tensor, tensor])


def test_arrays_of_numpy_1_and_of_python_2_are_read() -> None:
    new = pickle.dumps(DATA["array"], 2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    assert same(loads(old, "a.pkl"), DATA["array"])
    # Python 2 wrote an array's bytes as a str (SHORT_BINSTRING); the same array, spelt by hand.
    python2 = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08\x00\x00\x80?\x00\x00\x00@tb."
    )
    assert same(loads(python2, "a.pkl"), np.float32([1, 2]))


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=4) | st.integers(-99, 99), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(trees, st.sampled_from(list(PROTOCOLS)))
def test_any_tree_of_plain_data_comes_back(tree, protocol: int) -> None:
    assert same(loads(pickle.dumps(tree, protocol), "a.pkl"), tree)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_refused(protocol: int) -> None:
    data = pickle.dumps({"a": np.arange(3), "t": torch.ones(2), "b": [1.5, "x"]}, protocol)
    for length in range(len(data)):
        with pytest.raises(DataError, match="^a.pkl: "):
            loads(data[:length], "a.pkl")


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(list(PROTOCOLS)))
def test_a_damaged_pickle_is_read_or_refused(data, protocol: int) -> None:
    whole = bytearray(pickle.dumps({"a": np.arange(3), "t": torch.ones(2), "b": [1.5, "x", (1, {})]}, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        loads(bytes(whole), "a.pkl")
    except DataError as error:
        assert str(error).startswith("a.pkl: ")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_noise_is_read_or_refused(noise: bytes) -> None:
    try:
        loads(noise, "a.pkl")
    except DataError as error:
        assert str(error).startswith("a.pkl: ")


def frames(count: int, dtype: str = "f4", shape: tuple[int, ...] = (1, 5, 2), seed: int = 0) -> list[np.ndarray]:
    return list((np.random.default_rng(seed).random((count, *shape)) * 100).astype(dtype))


LISTS = {
    "Uni-Sign's": {"keypoints": frames(150, "f8", (1, 133, 2)), "scores": frames(150, shape=(1, 133))},
    "more than a batch": [frames(2500), "after", frames(3)],
    "tuples": (tuple(frames(100)), tuple(frames(100, "i2"))),
    "one by id": {str(i): frame for i, frame in enumerate(frames(50))},
    "other shapes between": frames(20) + frames(20, shape=(2, 5, 2)) + frames(20, "f8") + [np.zeros((0, 4))] * 3,
    "many dimensions": frames(30, shape=(1, 2, 3, 4, 5)),
    "no dimension": [np.array(float(i)) for i in range(30)],
    "in Fortran's order": [np.asfortranarray(frame[0]) for frame in frames(30)],
    "the same again": (again := frames(40)) + [again[7], again[39]] + again + [again[0]] * 9,
    "lists in lists": [frames(12, seed=i) for i in range(12)],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", LISTS)
def test_lists_of_like_arrays_come_back(name: str, protocol: int) -> None:
    assert same(loads(pickle.dumps(LISTS[name], protocol), "a.pkl"), LISTS[name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_is_what_its_bytes_are(tmp_path: Path, protocol: int) -> None:
    """Whole, cut off in or between its frames, or with something behind them."""
    whole, path = pickle.dumps([LISTS["Uni-Sign's"], "end"], protocol), tmp_path / "a.pkl"
    rng = np.random.default_rng(protocol)
    cuts = [
        whole[:n] for n in (1, 2, 5, 11, 12, 67241, len(whole) - 9, len(whole) - 1, *rng.integers(len(whole), size=9))
    ]
    damaged = [whole[:n] + b"\xff" * 8 + whole[n + 8 :] for n in (3, 67251, 67252)]
    for data in (whole, whole + b"\x95", whole + b"\x95" + bytes(8), whole + whole[:99], *cuts, *damaged):
        path.write_bytes(data)
        assert outcome(lambda: load(path)) == outcome(lambda data=data: loads(data, "a.pkl"))


def outcome(read) -> object:
    try:
        return numbers(read())
    except DataError:
        return "refused"


def test_a_clip_as_uni_sign_writes_it_comes_back_joined() -> None:
    clip = LISTS["Uni-Sign's"]
    found = loads(pickle.dumps(clip, 4), "a.pkl")
    for name, arrays in clip.items():
        assert isinstance(found[name], folded_arrays.Arrays) and len(found[name].parts) < len(arrays) / 2
        np.testing.assert_array_equal(np.concatenate(found[name].parts), arrays)


def test_an_array_that_occurs_twice_is_one_object() -> None:
    found = loads(pickle.dumps((again := frames(40)) + [again[20]], 4), "a.pkl")
    assert found[40] is found[20]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_taking_like_arrays_out_changes_nothing(data) -> None:
    """A list of arrays, as Uni-Sign has them, damaged anywhere, is read or refused as without that."""
    repeated = frames(150)
    whole = bytearray(pickle.dumps({"keypoints": repeated, "scores": [f[..., 0] for f in repeated]}, 4))
    for _ in range(data.draw(st.integers(0, 2))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from([0x72, 0x2E, 0x94, 0x42, 0, 255]))

    taken_out = outcome(lambda: loads(bytes(whole), "a.pkl"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickle_scan.Scanner, "_like", lambda *_: [])
        assert outcome(lambda: loads(bytes(whole), "a.pkl")) == taken_out


def numbers(tree: object) -> list[tuple[tuple[int, ...], bytes]]:
    if isinstance(tree, np.ndarray):
        return [(tree.shape, tree.tobytes())]
    lists = list | tuple | folded_arrays.Arrays
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, lists) else ()
    return [part for value in values for part in numbers(value)]


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    whole = gzip.compress(pickle.dumps(list(range(999))))
    for broken in (whole[:-9], whole[: len(whole) // 2], whole[:40] + b"\xff" * 9 + whole[49:], b"\x1f\x8b"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="a.pkl: is a broken or truncated gzip file"):
            load(path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sharing_that_data_has_is_read(protocol: int) -> None:
    unseen, array = [0.0, 0.0, 0.0], np.ones((2, 3), np.float32)
    tree = {"a": [[unseen] * 75] * 40, "b": array, "c": array, "size": (640, 480), "again": [array] * 3}
    found = loads(pickle.dumps(tree, protocol), "a.pkl")
    assert found["a"] == tree["a"] and found["size"] == tree["size"] and len(found["again"]) == 3
