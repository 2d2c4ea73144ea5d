import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.data.texts import TextRow, read_texts
from sign_models.errors import DataError


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "text_data.json"

    def put(content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(data)
        return path

    return put


def test_both_forms_keep_the_order_of_the_file(write):
    assert read_texts(write({"b": "two", "a": "one"})) == [TextRow("b", "two"), TextRow("a", "one")]
    rows = [{"id": "b", "text": "two", "split": "test", "text_seen": False}, {"id": "a", "text": "one"}]
    assert read_texts(str(write(rows))) == [TextRow("b", "two", "test"), TextRow("a", "one", None)]


def test_a_signer_is_named_as_in_tables(write):
    for key in ("signer", "group", "Signer ID", "participantId", "SPEAKER", "subject"):
        rows = read_texts(write([{"id": "a", "text": "one", key: "maria"}, {"id": "b", "text": "two", key: 7}]))
        assert [row.signer for row in rows] == ["maria", "7"], key
    assert read_texts(write([{"id": "a", "text": "one", "signer": None, "speaker": ""}]))[0].signer is None


@pytest.mark.parametrize(
    ("given", "told"),
    [({"signer": ["a"]}, "its signer is a list"), ({"signer": "a", "speaker": "b"}, "two signers.*'a', speaker 'b'")],
)
def test_a_signer_is_one_name(write, given, told):
    with pytest.raises(DataError, match=told):
        read_texts(write([{"id": "a", "text": "one"} | given]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("train", "train"),
        ("dev", "dev"),
        ("val", "dev"),
        ("valid", "dev"),
        ("validation", "dev"),
        ("test", "test"),
        (None, None),
    ],
)
def test_split_names(write, given, expected):
    assert read_texts(write([{"id": "a", "text": "one", "split": given}]))[0].split == expected


def test_numbers_serve_as_ids(write):
    assert read_texts(write([{"id": 7, "text": "one"}])) == [TextRow("7", "one")]


def test_a_byte_order_mark_is_no_text(write):
    assert read_texts(write('\ufeff{"a": "你好"}'.encode())) == [TextRow("a", "你好")]


@given(
    texts=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1),
        st.text(st.characters(codec="utf-8")).filter(str.strip),
        min_size=1,
    )
)
def test_any_unicode_comes_back_as_nfc_and_otherwise_untouched(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("texts") / "text_data.json"
    path.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8", newline="")
    assert read_texts(path) == [TextRow(name, unicodedata.normalize("NFC", text)) for name, text in texts.items()]


def test_nfc_joins_accents_and_keeps_full_width_letters(write):
    assert read_texts(write({"a": "cafe\u0301 ＡＢ ﬁ"}))[0].text == "café ＡＢ ﬁ"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "text_data.json: is empty"),
        (b" \n", "is empty"),
        (b"{}", "no text in it"),
        (b"[]", "no text in it"),
        (b'{"a": "one",}', "is not JSON.*line 1, column 1[0-9]"),
        (b"a\tone\n", "is not JSON.*line 1, column 1"),
        (b"\xff\xfe{\x00", "byte 0 is not UTF-8.*iconv"),
        ('{"a": "\u00fc"}'.encode("latin1"), "byte 7 is not UTF-8"),
        (b"[" * 200_000, "is nested too deep|is not JSON"),
        (b"3", "holds a number"),
        (b'"text"', "holds a string"),
        (b'{"a": "one", "b": "two", "a": "three"}', "keys given more than once: 'a'"),
        ([{"id": "a", "text": "one"}, "b"], "entry 2: is a string"),
        ([{"id": "a", "text": "one"}, {"name": "b", "text": "two"}], "entry 2: has no 'id', but 'name', 'text'"),
        ([{"id": "a", "texts": "one"}], "entry 1: has no 'text', but 'texts'"),
        ({"train": {"a": "one"}}, "'train': the text of 'train' is an object"),
        ({"a": None}, "the text of 'a' is null"),
        ([{"id": None, "text": "one"}], "entry 1: its id is null"),
        ([{"id": True, "text": "one"}], "entry 1: its id is true or false"),
        ([{"id": "", "text": "one"}], "entry 1: its id is an empty string"),
        ({"a": "one", "b": "", "c": " \n"}, "empty texts: 'b', 'c'"),
        ({f"v{i}": "" for i in range(9)}, "empty texts: 'v0', 'v1', 'v2', 'v3', 'v4' and 4 more"),
        ([{"id": "a", "text": "one"}, {"id": "a", "text": "two"}], "ids given more than once: 'a'"),
        ([{"id": 1, "text": "one"}, {"id": "1", "text": "two"}], "ids given more than once: '1'"),
        (
            [{"id": "a", "text": "one", "split": "dev"}, {"id": "a", "text": "one", "split": "test"}],
            "ids in more than one split: 'a'",
        ),
        (
            [{"id": "a", "text": "one", "split": "tset"}],
            "entry 1: split 'tset'; wanted train, dev.*did you mean 'test'",
        ),
        ([{"id": "a", "text": "one", "split": 1}], "entry 1: split 1; wanted"),
        (b'{"a": "\\ud83d"}', "'a' holds half of a surrogate pair"),
    ],
)
def test_refusals_name_the_place_and_what_was_found(write, content, message):
    with pytest.raises(DataError, match=message):
        read_texts(write(content))


def test_a_missing_file_is_named_in_full(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}/none.json: cannot be read .No such file"):
        read_texts(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(tmp_path)
