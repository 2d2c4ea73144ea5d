"""What the alignment model asks of its text side: to write text after a prefix of vectors.

`decoder.TextDecoder` is trained from scratch, `pretrained.PretrainedText` is a model of Transformers.

B clips, S vectors, L tokens, N texts, D width of the model's embeddings, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor, nn

IGNORED = -100  # label of padding, by the convention of torch's and transformers' losses
MAX_LOG_PROBS = 2**26  # log probabilities of every token of the vocabulary at a time, to score texts: 256 MiB


class TextModel(nn.Module, ABC):
    """Writes text after a prefix of vectors.

    Attributes:
        vocabulary: V, entries that it can write.
        width: D, of its embeddings and of the prefix.
        eos_id: The token that ends a text.
        pad_id: The token that stands behind the end, where there is one.
        note: What a user should know of how it searches, where there is anything.
    """

    vocabulary: int
    width: int
    eos_id: int
    pad_id: int | None
    note: str = ""

    @abstractmethod
    def embed(self, tokens: Tensor) -> Tensor:
        """Embeddings of tokens.

        Args:
            tokens: (B, L) ids, none of them IGNORED.

        Returns:
            (B, L, D).
        """

    @abstractmethod
    def encode(self, prefix: Tensor, mask: Tensor) -> Tensor:
        """What texts are written from, computed once for all methods below.

        Args:
            prefix: (B, S, D).
            mask: (B, S) bool, True up to each clip's end.

        Returns:
            (B, S, D).
        """

    @abstractmethod
    def logits(self, encoded: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Logits of each token after those before it.

        Args:
            encoded: (B, S, D), of encode().
            mask: (B, S) bool.
            labels: (B, L) ids with IGNORED padding.

        Returns:
            (B, L, V) float32.
        """

    @abstractmethod
    def generate(
        self, encoded: Tensor, mask: Tensor, *, beams: int, max_length: int, length_penalty: float
    ) -> tuple[Tensor, Tensor]:
        """The best texts of each clip, by beam search; one beam is greedy search.

        Args:
            encoded: (B, S, D), of encode().
            mask: (B, S) bool.
            beams: Texts that are followed, and returned.
            max_length: Tokens of a text at most.
            length_penalty: Exponent of a text's length, which its log likelihood is divided by.

        Returns:
            The token ids (B, beams, L), best first, and the log likelihood of each text with its end (B, beams), not a
            number where it is not known.
        """

    @abstractmethod
    def save_config(self, folder: Path) -> None:
        """Write config.json, which the model without its weights is made from.

        Args:
            folder: Where to.
        """

    def to_model_ids(self, tokens: list[int]) -> list[int]:
        """Translate the tokenizer's ids.

        Args:
            tokens: Ids of the tokenizer.

        Returns:
            Ids of the model, as many.
        """
        return tokens

    def to_tokenizer_ids(self, tokens: list[int]) -> list[int]:
        """Translate the model's ids.

        Args:
            tokens: Ids of the model.

        Returns:
            Ids of the tokenizer, as many.
        """
        return tokens

    def merge(self) -> None:
        """Make all that training added part of the weights. The outputs stay as they are."""

    @torch.no_grad()
    def log_likelihood(self, encoded: Tensor, mask: Tensor, labels: Tensor, clips: Tensor) -> Tensor:
        """Log likelihoods of given texts.

        Args:
            encoded: (B, S, D), of encode().
            mask: (B, S) bool.
            labels: (N, L) ids with IGNORED padding, the end of each text among them.
            clips: (N,) which clip each text is of.

        Returns:
            (N,) sums over the tokens of each text.
        """
        known, found = labels != IGNORED, []
        at_once = max(1, MAX_LOG_PROBS // (labels.shape[1] * self.vocabulary))
        for part in torch.split(torch.arange(len(labels), device=labels.device), at_once):
            log_p = self.logits(encoded[clips[part]], mask[clips[part]], labels[part]).log_softmax(-1)
            token = log_p.gather(-1, labels[part].clamp(min=0).unsqueeze(-1)).squeeze(-1)
            found.append((token * known[part]).sum(1))
        return torch.cat(found)
