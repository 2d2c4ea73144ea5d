"""How texts are rewritten and split before they are scored."""

from __future__ import annotations

import re

from sign_models.data.scripts import UNSPACED, pattern

# GloFE splits "rain ." into "rain" and an empty word, and counts both. sacrebleu sees no empty word: this is one.
EMPTY_WORD = "\N{SYMBOL FOR NULL}"


def words(text: str) -> list[str]:
    """Split a text into words: runs of letters, marks and digits of any script.

    In scripts without spaces (Han, kana, Thai) every character is a word, with the marks that it bears. A text of
    punctuation only is split at white space, so that no written text is without words.

    Args:
        text: The text.

    Returns:
        Its words.
    """
    single = rf"[{UNSPACED}]\p{{M}}*"
    return pattern(rf"(?V1){single}|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+").findall(text) or text.split()


def same(text: str) -> str:
    """Leave a text as it is.

    Args:
        text: The text.

    Returns:
        The same text.
    """
    return text


def characters(text: str) -> str:
    """Put a space between all characters.

    Args:
        text: The text.

    Returns:
        The text with spaces.
    """
    return " ".join(text)


def one_space(text: str) -> str:
    """Make white space single spaces.

    Args:
        text: The text.

    Returns:
        The text with single spaces.
    """
    return " ".join(text.split())


def punctuation_split(text: str) -> str:
    """Put spaces between words and each sign of punctuation.

    Args:
        text: The text.

    Returns:
        The text with spaces.
    """
    return " ".join(pattern(r"[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}\s]").findall(text))


def full_stop_at_end(text: str) -> str:
    """End a text with " .", as PHOENIX14T's references do.

    Args:
        text: The text.

    Returns:
        The text with its end; empty where it is empty.
    """
    body = text.rstrip().removesuffix(".").rstrip()
    return f"{body} ." if body else ""


def no_full_stops(text: str) -> str:
    """Drop full stops, as GloFE does.

    Args:
        text: The text.

    Returns:
        The text; EMPTY_WORD where GloFE counts an empty word.
    """
    return " ".join(word or EMPTY_WORD for word in re.sub(r"[ \n]+", " ", text.strip().replace(".", "")).split(" "))


def unisign_hypothesis(text: str) -> str:
    """Split an output into characters, as Uni-Sign does for CSL-Daily.

    Args:
        text: The text.

    Returns:
        Characters with spaces between them.
    """
    return characters(text.replace(" ", "").replace("\n", ""))


def unisign_reference(text: str) -> str:
    """Split a reference into characters, as Uni-Sign does for CSL-Daily: with ASCII commas and question marks.

    Args:
        text: The text.

    Returns:
        Characters with spaces between them.
    """
    return characters(text.replace("，", ",").replace("？", "?").replace(" ", ""))
