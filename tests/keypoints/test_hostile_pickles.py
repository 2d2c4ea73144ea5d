"""Pickles that run code, take memory without end, or hold themselves are refused."""

import gzip
import io
import os
import pickle
import subprocess
import time
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.pickles import safe_pickle
from sign_models.keypoints.pickles.safe_pickle import load, loads
from tests.keypoints.test_safe_pickle import MEBIBYTE, PROTOCOLS


class Call:
    """Pickles into a call of `function`."""

    def __init__(self, function, *args) -> None:
        self.call = function, args

    def __reduce__(self):
        return self.call


def exploits(mark: Path) -> dict[str, object]:
    command = f"touch {mark}"
    return {
        "os.system": Call(os.system, command),
        "subprocess": Call(subprocess.Popen, ["touch", str(mark)]),
        "eval": Call(eval, f"open({str(mark)!r}, 'w')"),
        "exec": Call(exec, f"open({str(mark)!r}, 'w')"),
        "open": Call(open, str(mark), "w"),
        "getattr": Call(getattr, "x", "__class__"),
        "import": Call(__import__, "antigravity"),
        "numpy.load": Call(np.load, str(mark), None, True),
        "numpy.save": Call(np.save, str(mark), 1),
        "torch.load": Call(torch.load, str(mark)),
        "object array": np.array([Call(os.system, command)], dtype=object),
        "set": {1, 2},
        "complex": 1j,
        "class": Path,
        "instance": Path(mark),
    }


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"a": [1, (x,)]}], ids=["bare", "nested"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", exploits(Path()))
def test_an_exploit_is_refused_and_not_run(tmp_path: Path, name: str, protocol: int, wrap, zipped: bool) -> None:
    mark, path = tmp_path / "ran", tmp_path / "evil.pkl"
    data = pickle.dumps(wrap(exploits(mark)[name]), protocol)
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(DataError, match="^evil.pkl: "):
        load(path)
    assert not mark.exists() and not (tmp_path / "ran.npy").exists()


def test_the_refusal_names_what_was_wanted_and_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="posix.system, which was not run") as raised:
        loads(pickle.dumps(Call(os.system, "true")), "evil.pkl")
    assert all(name in str(raised.value) for name in safe_pickle.ALLOWED)


@pytest.mark.parametrize("protocol", [protocol for protocol in PROTOCOLS if protocol >= 2])  # what pandas writes
@pytest.mark.parametrize("column", [[1.0, 2.0], ["a", "b"]])
def test_a_table_of_pandas_is_named_with_what_to_save_instead(protocol: int, column: list) -> None:
    for table in (pd.DataFrame({"x": column}), pd.Series(column)):
        for tree in (table, {"clip": table}, [{"id": "a", "keypoints": table}]):
            with pytest.raises(DataError, match=r"pandas\.[\w.]+.*; wanted only dicts, lists, .*save") as refusal:
                loads(pickle.dumps(tree, protocol), "x.pkl")
            assert "opcode" not in str(refusal.value)


def test_an_exploit_inside_a_tensor_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    inner = io.BytesIO()
    torch.save(Call(os.system, f"touch {mark}"), inner, _use_new_zipfile_serialization=False)
    evil = Call(torch.storage._load_from_bytes, inner.getvalue())
    with pytest.raises(DataError, match="system"):
        loads(pickle.dumps(evil), "evil.pkl")
    # A tensor's pickle inside a tensor's pickle is nothing that torch writes.
    inner = io.BytesIO()
    torch.save(Call(torch.storage._load_from_bytes, b""), inner, _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="_load_from_bytes, which was not run"):
        loads(pickle.dumps(Call(torch.storage._load_from_bytes, inner.getvalue())), "evil.pkl")
    assert not mark.exists()


RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n"


NDARRAY = RECONSTRUCT + b"(cnumpy\nndarray\n(K\x00tC\x01btR"


FLOAT = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4K\x00K\x01tR"


BOMBS = {
    "memo place of 2 billion": b"\x80\x04]r\xff\xff\xff\x7f.",
    "memo place in text": b"]p2147483647\n.",
    "bytearray of 9 exabytes": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "bytes of 4 gigabytes": b"\x80\x03B\xff\xff\xff\xffabc.",
    "frame of 9 exabytes": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN",
    "array of a billion": b"\x80\x03" + NDARRAY + b"(K\x01(J\x00\xca\x9a;t" + FLOAT + b"\x89C\x04\x00\x00\x00\x00tb.",
    "array of nothing, a billion times": (
        b"\x80\x03" + NDARRAY + b"(K\x01(J\x00\xca\x9a;t" + FLOAT.replace(b"f4", b"S0") + b"\x89C\x00tb."
    ),
    "empty but long array": b"\x80\x03" + NDARRAY + b"(K\x01(J\x00\xca\x9a;K\x00t" + FLOAT + b"\x89C\x00tb.",
    "records": b"\x80\x03" + FLOAT.replace(b"\x02\x00\x00\x00f4", b"\x05\x00\x00\x00f4,f4") + b".",
    "huge items": b"\x80\x03" + FLOAT.replace(b"\x02\x00\x00\x00f4", b"\x0b\x00\x00\x00S2000000000") + b".",
    "tuples of tuples as a key": b"\x80\x02}()q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"K\x01u.",
    "deep tuple as a key": b"\x80\x02}()" + b"\x85" * 300_000 + b"K\x01u.",
    "deep tuple in an old dict": b"(()" + b"\x85" * 100_000 + b"K\x01d.",
    "deep tuple in an ordered dict": b"\x80\x02ccollections\nOrderedDict\n)R()" + b"\x85" * 100_000 + b"K\x01u.",
    "deep tuple in a set": b"\x80\x04\x8f()" + b"\x85" * 100_000 + b"\x90.",
    "tuples of tuples as a shape": (
        b"\x80\x03" + NDARRAY + b"(K\x01()q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"t" + FLOAT + b"\x89C\x00tb."
    ),
    "attribute of what it calls": b"\x80\x03" + RECONSTRUCT + b"(NX\x04\x00\x00\x00_run}tb.",
    "state of what it calls": b"\x80\x03" + RECONSTRUCT + b"}X\x04\x00\x00\x00_runNsb.",
    "extension registry": b"\x80\x02\x82\x01.",
    "persistent id": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "instance of protocol 0": b"(S'true'\niposix\nsystem\n.",
    "object of protocol 1": b"(cposix\nsystem\nS'true'\no.",
    "call of a number": b"\x80\x02K\x01K\x02\x85R.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once_in_little_memory(name: str) -> None:
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(DataError, match="^evil.pkl: "):
            loads(BOMBS[name], "evil.pkl")
        assert time.process_time() - start < 3
        assert tracemalloc.get_traced_memory()[1] < 64 * MEBIBYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("size", "stride"), [((10**6, 10**6), (0, 0)), ((3,), (100,)), ((2**40,), (1,)), ((-1,), (1,)), ((2,), (1, 1))]
)
def test_a_tensor_larger_than_its_memory_is_refused(size, stride) -> None:
    good = torch.arange(4.0)
    storage = good.__reduce_ex__(2)[1][0]
    data = pickle.dumps(Call(torch._utils._rebuild_tensor_v2, storage, 0, size, stride, False, {}))
    with pytest.raises(DataError, match="a tensor"):
        loads(data, "evil.pkl")


def test_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "zeros.pkl"
    path.write_bytes(gzip.compress(pickle.dumps(np.zeros(2**22, np.uint8))))
    assert path.stat().st_size < 2**14
    with pytest.raises(DataError, match="unzips to more than 1,048,576 bytes"):
        load(path, max_bytes=MEBIBYTE)
    path.write_bytes(pickle.dumps(np.zeros(2**21, np.uint8)))
    with pytest.raises(DataError, match="at most 1,048,576"):
        load(path, max_bytes=MEBIBYTE)
    monkeypatch.setattr("sign_models.keypoints.pickles.pickle_scan.MAX_OBJECTS", 1000)
    with pytest.raises(DataError, match="more than 1,000 objects"):
        loads(pickle.dumps([[] for _ in range(1000)]), "a.pkl")


def cyclic_list() -> object:
    held: list[object] = []
    held.append(held)
    return held


def cyclic_dict() -> object:
    held: dict[str, object] = {}
    held["keypoints"] = [(held,)]
    return held


def shared(levels: int, times: int, leaf: object) -> object:
    for _ in range(levels):
        leaf = [leaf] * times
    return leaf


TREES: dict[str, Callable[[], object]] = {
    "a list in itself": cyclic_list,
    "a dict in itself": cyclic_dict,
    "lists twice in one another": lambda: shared(40, 2, [1, 2]),
    "lists ten times in one another": lambda: shared(12, 10, 1),
    "one list a million times": lambda: [[0] * 10_000] * 10_000,
    "tuples in dicts": lambda: {"a": shared(30, 3, (1,)), "keypoints": shared(30, 3, (1,))},
    "a record's fields": lambda: {"clip": {"keypoints": cyclic_list(), "confidence": shared(20, 9, 0.5)}},
    "one array many times": lambda: [np.zeros(2**16)] * 20_000,
    "forty levels": lambda: shared(40, 1, 1),
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize(("protocol", "zipped"), [*((p, False) for p in PROTOCOLS), (PROTOCOLS[-1], True)])
def test_what_is_shared_counts_every_time(tmp_path: Path, name: str, protocol: int, zipped: bool) -> None:
    data = pickle.dumps(TREES[name](), protocol)
    (tmp_path / "a.pkl").write_bytes(gzip.compress(data) if zipped else data)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"^a.pkl: holds .*(itself|every time|within one another).*numpy arrays"):
            load(tmp_path / "a.pkl")
        assert tracemalloc.get_traced_memory()[1] < 2**26 + 2 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("number", [10**100, -(10**4000), 2**4000], ids=["101", "4001", "1205"])
def test_numbers_of_thousands_of_digits_are_refused(protocol: int, number: int) -> None:
    with pytest.raises(DataError, match="^a.pkl: is no readable pickle"):
        loads(pickle.dumps({"start": number}, protocol), "a.pkl")


@pytest.mark.parametrize("kind", [np.ndarray, np.dtype, np.float32, OrderedDict, list, complex])
@pytest.mark.parametrize(
    "tree", [lambda kind: {0: kind, 1: np.ones((3, 2))}, lambda kind: [kind], lambda kind: {"a": [kind]}]
)
def test_a_class_in_place_of_a_value_is_one_message(kind: type, tree: Callable[[type], object], tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree(kind)))
    with pytest.raises(DataError, match="a.pkl"):
        list(read(tmp_path / "a.pkl"))
