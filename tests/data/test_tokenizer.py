"""The tokenizer of the corpus: what it is given comes back, in any script."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.data.tokenizer import SPECIAL, choose_kind, train_tokenizer

SCRIPTS = {
    "german": ["im süden regnet es", "morgen wird es schön , sagt er .", "Größe"],
    "chinese": ["今天天气很好", "你 好 吗 ？", "明天见。"],
    "arabic": ["صباح الخير", "كيف حالك؟"],
    "malay": ["selamat pagi", "terima kasih"],
    "hindi": ["नमस्ते दुनिया", "क्षत्रिय"],
    "emoji": ["hello 👋🏽 world 🌍", "👩‍👩‍👧"],
    "japanese": ["こんにちは、世界", "カタカナ"],
    "punctuation": ["don't stop!", "a-b, c.d; e?f", "100 % (of 3.5)"],
}
KINDS = ("word", "char", "bpe")


def round_trip(tokenizer, text: str) -> str:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_texts_come_back_as_they_were(kind: str, script: str) -> None:
    texts = [unicodedata.normalize("NFC", text) for text in SCRIPTS[script]]
    tokenizer = train_tokenizer(texts, [], kind, 500)
    assert [round_trip(tokenizer, text) for text in texts] == texts


@pytest.mark.parametrize("kind", KINDS)
def test_words_never_seen_come_back_where_their_letters_were_seen(kind: str) -> None:
    tokenizer = train_tokenizer(["tea please", "coffee now", "a late stop"], [], kind, 500)
    assert round_trip(tokenizer, "late please stan") == "late please stan"
    ids = tokenizer.encode("zebra", add_special_tokens=False).ids
    assert SPECIAL.index("<unk>") in ids  # z and b were in no text


@given(st.lists(st.text(st.characters(blacklist_categories=("C", "Z"), blacklist_characters="▁<>"), min_size=1, max_size=6),
                min_size=1, max_size=5), st.sampled_from(KINDS))  # fmt: skip
def test_any_words_come_back(words: list[str], kind: str) -> None:
    text = unicodedata.normalize("NFC", " ".join(words))
    assert round_trip(train_tokenizer([text], [], kind, 300), text) == text


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_the_first_and_the_vocabulary_is_bounded(kind: str) -> None:
    texts = [f"word{i} is here" for i in range(400)]
    tokenizer = train_tokenizer(texts, [], kind, 100)
    assert [tokenizer.id_to_token(i) for i in range(4)] == SPECIAL
    assert tokenizer.get_vocab_size() <= 100
    assert [round_trip(tokenizer, text) for text in texts] == texts


def test_a_word_is_one_token_where_words_are_the_kind() -> None:
    tokenizer = train_tokenizer(["tea please", "coffee now"], [], "word", 100)
    assert len(tokenizer.encode("coffee please tea", add_special_tokens=False).ids) == 3


@pytest.mark.parametrize(
    ("dev", "kind"),
    [(["tea now"], "word"), (["a bat sat"], "char"), (["tea now coffee please bat"], "bpe"), ([], "word")],
)
def test_the_kind_follows_from_how_much_of_dev_is_new(dev: list[str], kind: str) -> None:
    train = ["tea now", "coffee please"] * 10
    assert choose_kind(train, dev) == kind


CLAUSES = {
    "chinese": ["你好，今天天气很好。", "请给我一杯大的咖啡和一份松饼。"],
    "japanese": ["こんにちは、世界のみなさん。", "コーヒーをください。"],
    "thai": ["กินข้าวแล้วหรือยัง", "ขอกาแฟหนึ่งแก้วครับ"],
    "chinese with a name": ["我昨天在北京见到了Anna。", "请给我一杯大的咖啡。"],
}


@pytest.mark.parametrize("script", CLAUSES)
def test_clauses_without_spaces_are_read_by_the_character(script: str) -> None:
    train = CLAUSES[script] * 10
    assert choose_kind(train, train) == "char"
    tokenizer = train_tokenizer(train, train, "auto", 4000)
    assert all(len(token) == 1 for text in train for token in tokenizer.encode(text).tokens)
    assert [round_trip(tokenizer, text) for text in train] == train


@pytest.mark.parametrize(
    "texts", [["我 想要 一杯 咖啡 。", "你 好 吗 ？"], ["咖啡", "谢谢", "天气预报"], ["नमस्ते दुनिया"], ["صباح الخير"]]
)
def test_words_that_something_tells_apart_are_tokens(texts: list[str]) -> None:
    assert choose_kind(texts * 10, texts) == "word"


def test_a_word_is_not_new_because_of_the_comma_behind_it() -> None:
    assert choose_kind(["tea now", "coffee please"] * 10, ["now, tea! please: coffee."]) == "word"
