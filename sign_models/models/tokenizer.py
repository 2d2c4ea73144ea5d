"""The tokenizer of a translator that was trained from scratch. Knows tokenizers, but not Transformers.

To import Transformers takes a second, half of it to list the installed packages: with a pretrained text model only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

FILE = "tokenizer.json"


class TextTokenizer:
    """Texts to token ids and back, by the methods of Transformers' tokenizers that a Translator calls.

    A pretrained model brings one of Transformers in its place.
    """

    def __init__(self, backend: Tokenizer) -> None:
        """Wrap `backend`, as data.tokenizer.train_tokenizer gives it."""
        self.backend = backend

    @classmethod
    def from_pretrained(cls, folder: Path) -> TextTokenizer:
        """Read what save_pretrained wrote, or Transformers before 2026-11-30."""
        return cls(Tokenizer.from_file(str(folder / FILE)))

    def save_pretrained(self, folder: Path) -> None:
        """Write tokenizer.json into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.backend.save(str(folder / FILE))

    def __len__(self) -> int:
        return int(self.backend.get_vocab_size())

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        """The token ids of a text, as "input_ids"."""
        return {"input_ids": self.backend.encode(text, add_special_tokens=add_special_tokens).ids}

    def batch_decode(self, rows: Iterable[list[int]], skip_special_tokens: bool = True) -> list[str]:
        """The texts of rows of token ids."""
        found: list[str] = self.backend.decode_batch(list(rows), skip_special_tokens=skip_special_tokens)
        return found
