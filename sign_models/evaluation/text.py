"""How texts are rewritten and split before they are scored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sign_models.data.scripts import UNSPACED, pattern

if TYPE_CHECKING:
    pass


# GloFE splits "rain ." into "rain" and an empty word, and counts both. sacrebleu sees no empty word: this is one.
EMPTY_WORD = "\N{SYMBOL FOR NULL}"


def words(text: str) -> list[str]:
    """Runs of letters, marks and digits of any script; of scripts without spaces (Han, kana, Thai) every character is a
    word, with the marks that it bears.

    A text of punctuation only is split at white space, so that no written text is without words.
    """
    single = rf"[{UNSPACED}]\p{{M}}*"
    return pattern(rf"(?V1){single}|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+").findall(text) or text.split()


def same(text: str) -> str:
    return text


def characters(text: str) -> str:
    return " ".join(text)


def one_space(text: str) -> str:
    return " ".join(text.split())


def punctuation_split(text: str) -> str:
    return " ".join(pattern(r"[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}\s]").findall(text))


def full_stop_at_end(text: str) -> str:
    body = text.rstrip().removesuffix(".").rstrip()
    return f"{body} ." if body else ""


def no_full_stops(text: str) -> str:
    return " ".join(word or EMPTY_WORD for word in re.sub(r"[ \n]+", " ", text.strip().replace(".", "")).split(" "))


def unisign_hypothesis(text: str) -> str:
    return characters(text.replace(" ", "").replace("\n", ""))


def unisign_reference(text: str) -> str:
    return characters(text.replace("，", ",").replace("？", "?").replace(" ", ""))
