"""What validates does not train, as far as the data allows: by signer, else by text, else by clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.data.corpus import Corpus
from sign_models.data.splits import MAX_HELD_OUT_SHARE, divide, hold_out
from sign_models.errors import DataError


def corpus_of(
    groups: list[str | None], texts: list[str | None] | None = None, splits: list[str | None] | None = None
) -> Corpus:
    count = len(groups)
    frames = np.zeros((count, 1, 3), np.float16)
    ids = [f"clip {i}" for i in range(count)]
    blank: list[str | None] = [None] * count
    return Corpus(ids, frames, np.arange(count + 1), [25.0] * count, splits or blank, groups, texts or blank, "")


KEYS = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=60)
SHARES = st.sampled_from([(0.9, 0.1), (0.8, 0.1, 0.1), (0.5, 0.0, 0.5), (0.2, 0.4, 0.4), (1.0, 0.0)])


@given(KEYS, SHARES, st.integers(0, 3))
def test_equal_keys_stay_together_and_no_part_is_empty(keys: list[str], shares: tuple, seed: int) -> None:
    wanted = {part for part, share in enumerate(shares) if share}
    if len(set(keys)) < len(wanted):
        with pytest.raises(ValueError, match="keys for"):
            divide(keys, shares, str(seed))
        return
    parts = divide(keys, shares, str(seed))
    assert len(set(zip(keys, parts, strict=True))) == len(set(keys)) and set(parts) == wanted
    turned = divide(keys[::-1], shares, str(seed))
    assert (turned[::-1] == parts).all()


@given(st.integers(2, 12), st.integers(1, 9), st.integers(0, 4), st.data())
def test_signers_are_held_out_where_there_are_several(signers: int, each: int, seed: int, data: st.DataObject) -> None:
    sizes = [data.draw(st.integers(1, each)) for _ in range(signers)]
    corpus = corpus_of([f"signer {i}" for i, size in enumerate(sizes) for _ in range(size)])
    train, validation, said, apart = hold_out(corpus, 0.1, seed)
    assert apart and sorted([*train, *validation]) == [*range(len(corpus))]
    assert len(train) and len(validation) and len(validation) <= MAX_HELD_OUT_SHARE * len(corpus)
    assert {corpus.groups[i] for i in train}.isdisjoint(corpus.groups[i] for i in validation)
    assert f"{len(validation)} of {len(corpus)} training clips validate and do not train, whole groups" in said


@given(st.integers(2, 9), st.integers(1, 5), st.sampled_from([None, "anna"]), st.integers(0, 4))
def test_texts_are_held_out_where_there_is_one_signer_or_none_is_known(
    texts: int, each: int, signer: str | None, seed: int
) -> None:
    corpus = corpus_of([signer] * texts * each, [f"text {i}" for i in range(texts)] * each)
    train, validation, said, apart = hold_out(corpus, 0.1, seed)
    assert apart and len(train) and len(validation)
    assert {corpus.texts[i] for i in train}.isdisjoint(corpus.texts[i] for i in validation)
    assert "whole texts" in said


@given(st.integers(2, 40), st.sampled_from([None, "hello"]), st.integers(0, 4))
def test_clips_are_held_out_where_signer_and_text_are_the_same(count: int, text: str | None, seed: int) -> None:
    corpus = corpus_of(["anna"] * count, [text] * count)
    train, validation, said, apart = hold_out(corpus, 0.1, seed)
    assert apart and set(train).isdisjoint(validation) and len(train) + len(validation) == count
    assert len(validation) == max(1, round(0.1 * count)) and "one by one" in said


def test_the_dev_split_validates_where_there_is_one_and_nothing_is_said() -> None:
    corpus = corpus_of([None] * 4, splits=["train", "dev", "test", None])
    train, validation, said, apart = hold_out(corpus, 0.1, 0)
    assert ([*train], [*validation], said, apart) == ([0, 3], [1], "", True)


def test_one_clip_validates_as_it_trains_and_that_is_said() -> None:
    held_out = hold_out(corpus_of(["anna"]), 0.1, 0)
    assert not held_out.disjoint and "the clip that trains validates too" in held_out.explanation


def test_only_clips_with_a_text_count_where_texts_are_given() -> None:
    corpus = corpus_of(["a", "b", "c", "d"], splits=["train", "train", "train", "dev"])
    train, validation, said, _ = hold_out(corpus, 0.1, 0, ["eins", "zwei", None, None])
    assert sorted([*train, *validation]) == [0, 1] and "no clip with a text of split dev" in said
    with pytest.raises(DataError, match="no clip with a text to train on"):
        hold_out(corpus, 0.1, 0, [None, None, None, "vier"])
