"""What JSON holds is counted before it is parsed, and what stands in a tree before numpy is given it."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sign_models.data.texts import read_texts
from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.clip import as_numbers
from sign_models.keypoints.trees import FREE_MEMORY, MEMORY_PER_BYTE, check_json, check_tree, memory_for, parse_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4), inner, max_size=8),
    max_leaves=40,
)
SHAPES = ["[],", "{},", "[[]],", '{"a":1},', '"",', "1,", '["a"],', "[0.5,1],", '{"a":[{"b":""}]},', "null,"]


@pytest.mark.parametrize("shape", SHAPES)
def test_parsed_json_takes_no_more_than_was_counted(shape: str) -> None:
    data = f"[{shape * 20_000}0]".encode()
    with pytest.raises(DataError) as refused:
        check_json(data, "a.json", memory=0)
    counted = float(str(refused.value).partition(" MiB")[0].rpartition(" ")[2].replace(",", "")) * 2**20
    tracemalloc.start()
    try:
        kept = parse_json(data.decode())
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept and taken <= counted + 2**20


@pytest.mark.parametrize("shape", ["[],", "{},", '{"a":1},', "[[]],"])
@pytest.mark.parametrize("name", ["a.json", "text_data.json"])
def test_json_that_would_take_too_much_is_refused_unparsed(tmp_path: Path, shape: str, name: str) -> None:
    path = tmp_path / name
    path.write_text(f"[{shape * (FREE_MEMORY // 60 // len(shape) * len(shape))}0]")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=rf"^{name}: holds [\d,]+ values, which take [\d,]+ MiB; wanted at most"):
            read_texts(path) if name.startswith("text") else list(read(path))
        assert tracemalloc.get_traced_memory()[1] < 2.5 * path.stat().st_size
    finally:
        tracemalloc.stop()


def test_json_of_many_megabytes_of_keypoints_is_no_bomb() -> None:
    check_json(json.dumps(np.random.default_rng(0).random((2000, 75, 3)).round(4).tolist()).encode() * 3, "a.json")
    assert memory_for(10) == FREE_MEMORY + 10 * MEMORY_PER_BYTE


@settings(deadline=None, max_examples=200)
@given(json_values)
def test_trees_of_json_are_counted_as_they_are(tree: object) -> None:
    check_tree(parse_json(json.dumps(tree)), "a.json")


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "9" * 5000, '{"id": ' + "9" * 5000 + "}", "[1e400, -0, 1" + "0" * 5000]
)
def test_depth_and_digits_end_in_one_message(tmp_path: Path, content: str) -> None:
    (tmp_path / "text_data.json").write_text(content)
    for reader in (read_texts, lambda path: list(read(path))):
        with pytest.raises(DataError, match=r"^text_data.json: "):
            reader(tmp_path / "text_data.json")


@pytest.mark.parametrize(
    "values",
    [["a" * 2**20] + ["b"] * 2**12, [[0.5, "1"]], [b"1"], [[["x"]]], [1, [2, "3"]], [np.array(["a"])], [object()]],
)
def test_strings_never_become_an_array(values: list[object]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"^a: keypoints .*wanted numbers"):
            as_numbers(values, "a")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "values", [[1, 2], [[0.5, None]], [np.float32(1)], [[True, 2.5]], ((1, 2), (3, 4)), [np.ones(3)]]
)
def test_numbers_do(values: object) -> None:
    assert as_numbers(values, "a").dtype.kind in "biuf"
