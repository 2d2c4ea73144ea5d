"""Scripts that write no spaces between words."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

HAN = r"\p{Han}"
UNSPACED = rf"{HAN}\p{{Hiragana}}\p{{Katakana}}\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}"
WORD = 5  # characters; longer runs of such a script are several words


@cache
def pattern(expression: str) -> Any:
    import regex  # not re, which knows no scripts, and whose \w leaves out combining marks: Devanagari, Thai

    return regex.compile(expression)


def share(script: str, texts: Iterable[str]) -> float:
    """Of their letters and marks those that belong to a script, as HAN and UNSPACED name them."""
    text = " ".join(texts)
    letters = len(pattern(r"[\p{L}\p{M}]").findall(text))
    return len(pattern(rf"(?V1)[[\p{{L}}\p{{M}}]&&[{script}]]").findall(text)) / max(1, letters)


def run_together(texts: Iterable[str]) -> bool:
    """Whether nothing tells their words apart: most of them is such a script, in runs longer than a word."""
    texts = list(texts)
    runs = [len(run) for text in texts for run in pattern(f"[{UNSPACED}]+").findall(text)]
    return share(UNSPACED, texts) > 0.5 and sum(n * n for n in runs) > WORD * sum(runs)
