"""Writing systems without spaces between words."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

HAN = r"\p{Han}"
UNSPACED = rf"{HAN}\p{{Hiragana}}\p{{Katakana}}\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}"
MAX_WORD_CHARACTERS = 5  # longer runs of an unspaced script are several words


@cache
def pattern(expression: str) -> Any:
    r"""Compile a regular expression that knows scripts. `re` does not, and its \w lacks combining marks (Thai).

    Args:
        expression: In the syntax of the package regex.

    Returns:
        The compiled pattern.
    """
    import regex

    return regex.compile(expression)


def script_share(script: str, texts: Iterable[str]) -> float:
    """Share of letters and marks that belong to a script.

    Args:
        script: Character classes of regex, such as HAN and UNSPACED.
        texts: Texts, counted together.

    Returns:
        Share in [0, 1]. 0 without any letter.
    """
    text = " ".join(texts)
    letters = len(pattern(r"[\p{L}\p{M}]").findall(text))
    return len(pattern(rf"(?V1)[[\p{{L}}\p{{M}}]&&[{script}]]").findall(text)) / max(1, letters)


def is_unspaced(texts: Iterable[str]) -> bool:
    """Whether words are not separated by spaces.

    Args:
        texts: Texts of one language.

    Returns:
        True where most letters are of an unspaced script, in runs longer than a word.
    """
    texts = list(texts)
    runs = [len(run) for text in texts for run in pattern(f"[{UNSPACED}]+").findall(text)]
    return script_share(UNSPACED, texts) > 0.5 and sum(n * n for n in runs) > MAX_WORD_CHARACTERS * sum(runs)
