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
        """Wrap a tokenizer.

        Args:
            backend: As data.tokenizer.train_tokenizer gives it.
        """
        self.backend = backend

    @classmethod
    def from_pretrained(cls, folder: Path) -> TextTokenizer:
        """Read what save_pretrained wrote, or Transformers before 2026-11-30.

        Args:
            folder: With tokenizer.json.

        Returns:
            The tokenizer.
        """
        return cls(Tokenizer.from_file(str(folder / FILE)))

    def save_pretrained(self, folder: Path) -> None:
        """Write tokenizer.json.

        Args:
            folder: Where to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.backend.save(str(folder / FILE))

    def __len__(self) -> int:
        return int(self.backend.get_vocab_size())

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        """Tokenize a text.

        Args:
            text: One sentence.
            add_special_tokens: Whether the end is added.

        Returns:
            {"input_ids": ids}.
        """
        return {"input_ids": self.backend.encode(text, add_special_tokens=add_special_tokens).ids}

    def batch_decode(self, rows: Iterable[list[int]], skip_special_tokens: bool = True) -> list[str]:
        """Turn token ids into texts.

        Args:
            rows: Token ids of each text.
            skip_special_tokens: Whether those are left out.

        Returns:
            The texts.
        """
        found: list[str] = self.backend.decode_batch(list(rows), skip_special_tokens=skip_special_tokens)
        return found
